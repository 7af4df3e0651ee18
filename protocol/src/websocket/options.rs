//! What a side of WebSocket connections wants.

use std::sync::Arc;
use std::time::Duration;

use crate::LimitsError;

/// What one side of WebSocket connections wants, and what a connection may cost it. Connections share
/// it.
///
/// ```
/// use protocol::websocket::{Deflate, Options};
///
/// let options = Options {
///     deflate: Some(Deflate::default()),
///     subprotocols: vec!["chat.v2".into(), "chat.v1".into()],
///     ..Options::default()
/// };
/// let options = options.shared()?;
/// # Ok::<(), protocol::LimitsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The largest message in bytes, after decompression. Default 1 MiB. The peer of a larger one is
    /// told [`CloseCode::TOO_LARGE`](super::CloseCode::TOO_LARGE).
    pub message_size_max: usize,
    /// How many frames a message may have. Default 100,000: a message of 4 MiB in frames of 64 bytes
    /// has 65,536. This bounds the work for frames without content.
    pub fragments_max: u32,
    /// How many pings, pongs and close frames a peer may send in a second. Default 1,000. Each ping
    /// costs an answer.
    pub controls_per_second_max: u32,
    /// Whether messages are delivered in pieces as they arrive ([`Service::piece`]), and never held
    /// whole. Default false.
    ///
    /// [`Service::piece`]: super::Service::piece
    pub in_pieces: bool,
    /// After how much silence the peer is sent a ping. `None`: it is sent none, and only the idle
    /// limit of the loop notices that it is gone. Default 20 s: less than the time after which
    /// firewalls forget a silent connection. It should be less than the idle limit of the loop, since
    /// a browser sends nothing by itself.
    pub ping_interval: Option<Duration>,
    /// How long the answer to a ping may take. Anything that the peer sends is an answer. Default
    /// 20 s.
    pub pong_timeout: Duration,
    /// How long the peer may take to answer a close frame, and a server to end the connection after
    /// that. Default 5 s.
    pub close_timeout: Duration,
    /// Compression, if the peer supports it. Default none: it takes memory and processor time.
    pub deflate: Option<Deflate>,
    /// The subprotocols that this side speaks, the best first (RFC 6455 section 1.9). A client offers
    /// them; a server takes the first of them that the client offers. Default none.
    pub subprotocols: Vec<String>,
    /// Which pages may connect: for servers. Default [`Origins::SameHost`].
    pub origins: Origins,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_size_max: 1024 * 1024,
            fragments_max: 100_000,
            controls_per_second_max: 1_000,
            in_pieces: false,
            ping_interval: Some(Duration::from_secs(20)),
            pong_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            deflate: None,
            subprotocols: Vec::new(),
            origins: Origins::SameHost,
        }
    }
}

impl Options {
    /// Checks these options and returns them in an `Arc`, for the connections that share them.
    ///
    /// # Errors
    /// When a limit is zero, which would allow nothing.
    pub fn shared(self) -> Result<Arc<Self>, LimitsError> {
        let is_zero = |it: Option<Duration>| it.is_some_and(|it| it.is_zero());
        let zeros = [
            ("message_size_max", self.message_size_max == 0),
            ("fragments_max", self.fragments_max == 0),
            ("controls_per_second_max", self.controls_per_second_max == 0),
            ("ping_interval", is_zero(self.ping_interval)),
            ("pong_timeout", is_zero(Some(self.pong_timeout))),
            ("close_timeout", is_zero(Some(self.close_timeout))),
        ];
        match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((field, _)) => Err(LimitsError::Zero { field }),
            None => Ok(Arc::new(self)),
        }
    }
}

/// How messages are compressed (permessage-deflate, RFC 7692).
///
/// By default no side takes over context: each message is compressed for itself. So a connection has
/// no memory for compression between two messages, and only messages that repeat themselves become
/// smaller. With context takeover, small messages that resemble each other do too. Then a connection
/// costs about 380 KB where this side compresses with the largest window, and 49 KB where it
/// decompresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// How hard to compress: 1 (fast) to 9 (small). Default 1: higher levels take several times as
    /// long and save a few percent.
    pub level: u8,
    /// Messages with fewer bytes are sent uncompressed. Default 64.
    pub size_min: usize,
    /// Whether this side may take over context from one message to the next. Default false.
    pub context_takeover: bool,
    /// Whether the peer may. Default false.
    pub peer_context_takeover: bool,
    /// The logarithm of the size of the window that this side compresses with: 9 to 15. Default 15.
    /// A peer may ask for a smaller one.
    pub window_bits: u8,
    /// The logarithm of the size of the window that the peer may compress with: 9 to 15. Default 15.
    /// A peer that does not support the parameter uses 15 all the same.
    pub peer_window_bits: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            level: 1,
            size_min: 64,
            context_takeover: false,
            peer_context_takeover: false,
            window_bits: WINDOW_BITS_MAX,
            peer_window_bits: WINDOW_BITS_MAX,
        }
    }
}

/// The smallest window that can be compressed with. RFC 7692 allows 8, zlib does not support it.
pub(super) const WINDOW_BITS_MIN: u8 = 9;
/// The largest window of deflate.
pub(super) const WINDOW_BITS_MAX: u8 = 15;

/// Which pages may connect to a server (RFC 6455 section 10.2). A browser sends the origin of the
/// page, and connects to any host with the cookies of that host. Programs that are no browsers send
/// no origin, and are not refused by this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the host and port that the request names.
    SameHost,
    /// Pages of these origins, such as `https://example.com`. Upper and lower case are the same.
    Listed(Vec<String>),
    /// All pages: for services that are public and know no user by a cookie.
    Any,
}
