//! The limits of one conversation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The limits of one conversation: what it may cost the process.
///
/// Every limit is finite. Zero does not mean "unlimited": it would allow nothing, so
/// [`check`](Self::check) refuses it, as it does limits that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes of an incomplete message are kept. This bounds codecs that would allow more.
    /// Default 1 MiB: an application that needs larger messages raises it.
    pub message_size_max: usize,
    /// Bytes of unsent output at which decoding and reading stop: the high mark. Default 256 KiB:
    /// enough for a few round trips, so that a peer on a fast network path never waits for output.
    ///
    /// The default suits protocols whose peers read each answer before they write the next request,
    /// or read while they write. Some peers write a whole pipeline of requests before they read the
    /// first answer, as clients of RESP and of databases do. When reading stops, such a peer and
    /// the server wait for each other for ever. Such a protocol needs a high mark above the size of
    /// all answers to the longest pipeline. Its service then has to do the work of the mark. It
    /// closes peers whose [`backlog`](crate::Reply::backlog) is too large. It pauses and wakes
    /// itself after a portion of answers, so that other connections are served. It bounds the
    /// unread answers of all peers together.
    pub output_high: u64,
    /// Bytes of unsent output at which decoding and reading start again: the low mark. Default 64
    /// KiB: low enough that stopping and starting is rare, high enough that the socket always has
    /// something to send meanwhile.
    pub output_low: u64,
    /// Bytes of unsent output in memory at which the connection is closed. Those of files do not
    /// count. Default 16 MiB: it bounds the cost of messages from other connections to a peer that
    /// does not read.
    pub output_max: u64,
    /// Bytes that one connection may read in one turn of the loop. Default 256 KiB: copying them
    /// takes about 50 microseconds.
    pub read_budget: usize,
    /// How long a connection has to be silent to be closed while the loop winds down. A session
    /// that pauses is exempt, since it waits for something other than its peer. Default 500 ms:
    /// with a protocol of raw bytes, nothing else shows that a transfer is over.
    pub stopping_quiet: Duration,
    /// How long the handshake of a layer, such as TLS, may take. Default 10 s: many round trips on a
    /// slow network, and no place for long for a peer that says nothing (P9).
    pub handshake: Duration,
    /// How long a closing connection waits, without progress, for its peer to receive the output
    /// and to close too. Each acknowledgement of the peer is progress. Default 5 s: enough for a
    /// few retransmissions, and for a slow reader to make room for the next segment.
    pub linger: Duration,
    /// Bytes that a closing connection reads and discards while it lingers. Default 4 MiB: enough
    /// for the bytes that were under way, too little for an attack by flooding.
    pub linger_bytes_max: usize,
}

impl Limits {
    /// The defaults. Each field explains its own.
    pub const DEFAULT: Self = Self {
        message_size_max: 1024 * 1024,
        output_high: 256 * 1024,
        output_low: 64 * 1024,
        output_max: 16 * 1024 * 1024,
        read_budget: 256 * 1024,
        stopping_quiet: Duration::from_millis(500),
        handshake: Duration::from_secs(10),
        linger: Duration::from_secs(5),
        linger_bytes_max: 4 * 1024 * 1024,
    };

    /// Checks these limits and returns them in an `Arc`, for the connections that share them.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn shared(self) -> Result<Arc<Self>, LimitsError> {
        self.check().map(|()| Arc::new(self))
    }

    /// Checks whether these limits are usable.
    ///
    /// # Errors
    /// When one is zero, or when `output_low < output_high <= output_max` does not hold.
    pub fn check(&self) -> Result<(), LimitsError> {
        let sizes = [
            ("message_size_max", self.message_size_max as u64),
            ("output_high", self.output_high),
            ("output_low", self.output_low),
            ("output_max", self.output_max),
            ("read_budget", self.read_budget as u64),
            ("stopping_quiet", u64::from(!self.stopping_quiet.is_zero())),
            ("handshake", u64::from(!self.handshake.is_zero())),
            ("linger", u64::from(!self.linger.is_zero())),
            ("linger_bytes_max", self.linger_bytes_max as u64),
        ];
        if let Some((field, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(LimitsError::Zero { field });
        }
        if self.output_low >= self.output_high || self.output_high > self.output_max {
            return Err(LimitsError::Watermarks {
                low: self.output_low,
                high: self.output_high,
                max: self.output_max,
            });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The reason why [`Limits`] are not usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitsError {
    /// A limit is zero, which would mean that nothing is allowed.
    Zero {
        /// The field's name.
        field: &'static str,
    },
    /// The marks of the output are not in order.
    Watermarks {
        /// `output_low`
        low: u64,
        /// `output_high`
        high: u64,
        /// `output_max`
        max: u64,
    },
    /// A limit is larger than the program can keep.
    TooLarge {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The largest possible value.
        most: u64,
    },
}

#[cfg(feature = "http")]
impl LimitsError {
    /// Checks that no limit is zero or larger than it can be. Each has a name, its value, and the
    /// largest possible value.
    pub(crate) fn check(limits: &[(&'static str, u64, u64)]) -> Result<(), Self> {
        for (field, value, most) in limits.iter().copied() {
            if value == 0 {
                return Err(Self::Zero { field });
            }
            if value > most {
                return Err(Self::TooLarge { field, value, most });
            }
        }
        Ok(())
    }
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { field } => {
                write!(f, "limit {field} is 0, which would allow nothing; give it a positive value")
            }
            Self::Watermarks { low, high, max } => write!(
                f,
                "output_low ({low}) must be less than output_high ({high}), \
                 and output_high at most output_max ({max})"
            ),
            Self::TooLarge { field, value, most } => {
                write!(f, "limit {field} is {value}, and it can be {most} at most")
            }
        }
    }
}

impl std::error::Error for LimitsError {}

impl From<LimitsError> for std::io::Error {
    fn from(error: LimitsError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_worked_with() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn zero_is_refused_by_name() {
        let limits = Limits { read_budget: 0, ..Limits::DEFAULT };
        let error = limits.check().expect_err("zero must be refused");
        assert!(error.to_string().contains("read_budget"), "{error}");
    }

    #[test]
    fn marks_out_of_order_are_refused() {
        let limits = Limits { output_low: Limits::DEFAULT.output_high, ..Limits::DEFAULT };
        assert!(matches!(limits.check(), Err(LimitsError::Watermarks { .. })));
        let limits = Limits { output_max: Limits::DEFAULT.output_high - 1, ..Limits::DEFAULT };
        assert!(matches!(limits.check(), Err(LimitsError::Watermarks { .. })));
    }
}
