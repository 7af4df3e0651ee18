//! What a server of HTTP allows.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::Clock;
use super::fields::{FIELDS_MAX, SECTION_MAX};
use crate::LimitsError;

/// What a server of HTTP allows its clients, and says of itself. All its connections share it.
///
/// Every limit is finite. [`shared`](Self::shared) checks them.
///
/// ```
/// use protocol::http::Options;
///
/// let options = Options { body_size_max: 1024, ..Options::default() }.shared()?;
/// assert_eq!(options.fields_max, 100);
/// # Ok::<(), protocol::LimitsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of a head, or of the trailers of a body, in bytes; 65,535 at most. A larger one is
    /// answered with 431. Default 16 KiB: browsers with many cookies send 8 KiB.
    pub head_size_max: usize,
    /// The number of fields of a head, or of trailers; 256 at most. More are answered with 431.
    /// Default 100: browsers send about 20.
    pub fields_max: usize,
    /// The length of a request target in bytes. A longer one is answered with 414. Default 8,000
    /// bytes, the least that RFC 9112 section 3 recommends.
    pub target_size_max: usize,
    /// The size of the body of a request in bytes, extensions of chunks included, unless the service
    /// sets another for the request ([`Response::set_body_max`](super::Response::set_body_max)). A
    /// larger one is answered with 413. Default 1 MiB.
    pub body_size_max: u64,
    /// How many bytes of a body are read and dropped once the response is complete. If more are to
    /// come, the connection is closed. Default 64 KiB: reading them takes less than a new connection
    /// does.
    pub discard_max: u64,
    /// How many requests a connection may have. The last response says `Connection: close`. Default
    /// 100,000: memory that a connection might lose is given back some day.
    pub requests_max: u32,
    /// How long the head of a request may take from its first byte on. Longer ones are answered with
    /// 408. Default 10 s. How long a connection may be idle between requests is a limit of the loop.
    pub head_timeout: Duration,
    /// The time in which [`body_progress_min`](Self::body_progress_min) bytes of a body have to
    /// arrive. Otherwise the request is answered with 408. Default 10 s. Time in which the service
    /// takes no input does not count.
    pub body_timeout: Duration,
    /// How many bytes of a body have to arrive in each `body_timeout`. Default 1 KiB: about 100
    /// bytes a second, which the slowest networks carry.
    pub body_progress_min: u64,
    /// The value of the field `Server`. Default: there is no such field.
    pub server_name: Option<Cow<'static, str>>,
    /// The clock for the field `Date`. A server that has one has to send that field (RFC 9110
    /// section 6.6.1). Default: there is none, since this crate knows no clock.
    pub clock: Option<Clock>,
}

impl Options {
    /// Checks these options and returns them in an `Arc`, for the connections that share them.
    ///
    /// # Errors
    /// When a limit is zero, which would mean that nothing is allowed, or when `head_size_max` or
    /// `fields_max` is larger than it may be.
    pub fn shared(self) -> Result<Arc<Self>, LimitsError> {
        LimitsError::check(&[
            ("head_size_max", self.head_size_max as u64, SECTION_MAX as u64),
            ("fields_max", self.fields_max as u64, FIELDS_MAX as u64),
            ("target_size_max", self.target_size_max as u64, u64::MAX),
            ("requests_max", self.requests_max.into(), u64::MAX),
            ("head_timeout", u64::from(!self.head_timeout.is_zero()), 1),
            ("body_timeout", u64::from(!self.body_timeout.is_zero()), 1),
        ])?;
        Ok(Arc::new(self))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            head_size_max: 16 * 1024,
            fields_max: 100,
            target_size_max: 8000,
            body_size_max: 1024 * 1024,
            discard_max: 64 * 1024,
            requests_max: 100_000,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            body_progress_min: 1024,
            server_name: None,
            clock: None,
        }
    }
}
