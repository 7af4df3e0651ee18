//! The options of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protocol::Limits;
use protocol::tls::TlsClient;
use reactor::{Address, ConnectOptions};

use super::{Error, ErrorKind, Proxies};

/// What makes the TLS of a client when the first URL of `https` needs it: reading the authorities
/// that a system trusts takes some milliseconds. Its connections should offer `http/1.1` (ALPN).
pub type MakeTls = Arc<dyn Fn() -> Result<TlsClient, String> + Send + Sync>;

/// The options of a [`Client`](super::Client). All limits are finite unless they say otherwise.
#[derive(Clone)]
pub struct Options {
    /// How connections are made. The time for one includes the name, the dialogue with a proxy and
    /// the handshake of TLS, each of which may take that long.
    pub connect: ConnectOptions,
    /// The limits of each connection.
    pub limits: Limits,
    /// What makes TLS. Without it, URLs of `https` are refused.
    pub tls: Option<MakeTls>,
    /// The proxies. None by default.
    pub proxies: Proxies,
    /// Addresses of hosts and ports, in place of what their names resolve to. The names stay in the
    /// request and in the check of the certificate.
    pub addresses: Vec<(String, u16, Address)>,
    /// Connections to one origin at the same time. Further requests wait. Default 8.
    pub connections_per_origin_max: usize,
    /// Connections at the same time, idle ones included. Default 256.
    pub connections_max: usize,
    /// Requests that wait for a connection. Further ones are refused. Default 10,000.
    pub waiting_max: usize,
    /// How long a connection is kept without a request. Default 30 s: less than most servers do.
    pub idle_timeout: Duration,
    /// How many redirections are followed. Zero delivers them as they are. Default 10.
    pub redirects_max: u32,
    /// How long an exchange may take altogether, with its redirections and attempts. `None`, the
    /// default, is for ever: a large body takes long.
    pub timeout: Option<Duration>,
    /// How long a server may take from the end of the request to the head of its response. Default
    /// 60 s.
    pub answer_timeout: Duration,
    /// How long the exchange of the bodies may stand still. Time in which the receiver pauses does
    /// not count. Default 60 s.
    pub stall_timeout: Duration,
    /// How often a request is sent, if that does no harm and the failure may be temporary. Default 3.
    pub attempts_max: u32,
    /// Statuses that are a reason for another attempt, if that does no harm. Default 408, 429, 502,
    /// 503 and 504. `Retry-After` is heeded, up to [`pause_max`](Self::pause_max).
    pub retried_statuses: Vec<u16>,
    /// The bound of the pause before the second attempt, which doubles with each. Default 500 ms.
    pub pause_first: Duration,
    /// The largest bound of a pause. Default 30 s.
    pub pause_max: Duration,
    /// What the pauses are drawn from. `None`, the default: each client has its own, so that clients
    /// that failed together do not come back together. With a seed, a run can be repeated.
    pub seed: Option<u64>,
    /// Whether compressed bodies are asked for and decoded. Default `true`.
    pub decodes: bool,
    /// The value of the field `User-Agent`; none if empty.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect: ConnectOptions::DEFAULT,
            limits: Limits::DEFAULT,
            tls: None,
            proxies: Proxies::default(),
            addresses: Vec::new(),
            connections_per_origin_max: 8,
            connections_max: 256,
            waiting_max: 10_000,
            idle_timeout: Duration::from_secs(30),
            redirects_max: 10,
            timeout: None,
            answer_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            attempts_max: 3,
            retried_statuses: vec![408, 429, 502, 503, 504],
            pause_first: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
            seed: None,
            decodes: true,
            user_agent: concat!("myevent/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Options {
    /// Makes what encrypts connections.
    pub(super) fn make_tls(&self) -> Result<TlsClient, Error> {
        match &self.tls {
            Some(make) => make().map_err(|text| Error::new(ErrorKind::Tls, text)),
            None => {
                let text = "this client has no TLS, which a URL of https needs";
                Err(Error::new(ErrorKind::Tls, text))
            }
        }
    }

    /// Checks whether these options can be worked with.
    pub(super) fn check(&self) -> Result<(), String> {
        let numbers = [
            ("connections_per_origin_max", self.connections_per_origin_max),
            ("connections_max", self.connections_max),
            ("waiting_max", self.waiting_max),
            ("attempts_max", self.attempts_max as usize),
            ("idle_timeout", usize::from(!self.idle_timeout.is_zero())),
            ("answer_timeout", usize::from(!self.answer_timeout.is_zero())),
            ("stall_timeout", usize::from(!self.stall_timeout.is_zero())),
        ];
        if let Some((name, _)) = numbers.into_iter().find(|(_, number)| *number == 0) {
            return Err(format!("{name} is zero, which would allow nothing"));
        }
        self.limits.check().map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("proxies", &self.proxies)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}
