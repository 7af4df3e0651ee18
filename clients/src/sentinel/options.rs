//! The options of following a master.

use std::time::Duration;

use protocol::resp::Protocol;
use reactor::{ClientOptions, ConnectOptions, Resolver, WhenIdle};

use super::Election;
use crate::resp;
use crate::tls::Encryption;

/// The options of [`Sentinels`](super::Sentinels).
#[derive(Clone, Debug)]
pub struct SentinelOptions {
    /// How many sentinels have to agree on a master. `None`, the default, is a majority of those
    /// that were given: then a minority of wrong ones does no harm. With 1, the newest claim is
    /// believed, as long as the server confirms it. The leader of a failover needs the votes of a
    /// majority in any case.
    pub agreement: Option<usize>,
    /// How often each sentinel is asked, and the master for its role. They are also asked as soon as
    /// a sentinel says that the master has changed. Default 1 s.
    pub interval: Duration,
    /// How long a sentinel or a server may take to answer such a question. Default 1 s.
    pub timeout: Duration,
    /// How soon a server that does not say yet that it is the master is asked again. Default 100 ms.
    pub retry: Duration,
    /// What resolves the names of hosts. `None`, the default, is the resolver of the process.
    pub resolver: Option<Resolver>,
    /// What encrypts the connections to sentinels, masters and replicas (TLS). Default nothing.
    pub encryption: Option<Encryption>,
    /// The password of the sentinels, if they have one.
    pub sentinel: Option<resp::Credentials>,
    /// The password of the masters and replicas, if they have one.
    pub server: Option<resp::Credentials>,
}

impl Default for SentinelOptions {
    fn default() -> Self {
        Self {
            agreement: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            retry: Duration::from_millis(100),
            resolver: None,
            encryption: None,
            sentinel: None,
            server: None,
        }
    }
}

impl SentinelOptions {
    /// Returns how many of `sentinels` have to agree.
    pub(super) fn agreement(&self, sentinels: usize) -> usize {
        self.agreement.unwrap_or(Election::majority(sentinels))
    }

    /// Returns the options of a connection that only asks questions. It connects again soon, since
    /// what it asks about may have changed.
    pub(crate) fn asking(&self) -> ClientOptions {
        ClientOptions {
            connect: ConnectOptions {
                timeout: self.timeout,
                resolver: self.resolver.clone(),
                ..ConnectOptions::DEFAULT
            },
            timeout: self.timeout,
            waits: false,
            pause_min: self.retry,
            pause_max: self.interval.max(self.retry),
            when_idle: WhenIdle::KeepAlive(self.interval.saturating_mul(10)),
            silence_max: self.timeout,
            ..ClientOptions::DEFAULT
        }
    }

    /// Returns the options of the protocol for sentinels. In RESP3, subscriptions and questions share
    /// a connection.
    pub(crate) fn of_sentinels(&self) -> resp::Options {
        let credentials = self.sentinel.clone();
        let waits_for_data = false;
        let protocol = Protocol::Resp3;
        resp::Options {
            encryption: self.encryption.clone(),
            credentials,
            waits_for_data,
            protocol,
            ..resp::Options::default()
        }
    }

    /// Returns the options of the protocol for masters and replicas.
    pub(crate) fn of_servers(&self) -> resp::Options {
        resp::Options { credentials: self.server.clone(), ..self.of_sentinels() }
    }
}
