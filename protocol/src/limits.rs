//! The limits of one conversation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What one conversation may cost the process that holds it.
///
/// Every limit is finite, and none of them means "unlimited" when it is zero: a zero that would
/// allow nothing is refused by [`check`](Self::check), as is a set of limits that contradict each
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an incomplete message that are kept, whatever the codec would allow.
    /// Default 1 MiB: larger messages are unusual enough to be asked for.
    pub message_size_max: usize,
    /// Bytes of unsent output at which decoding and reading stop. Default 256 KiB: a few round
    /// trips' worth, so that the peer never waits for us on a fast path.
    ///
    /// The default is for protocols whose peers write one request and read its answer, or read while
    /// they write. A peer that writes a whole pipeline of requests before it reads the first answer
    /// waits for ever once reading stops, as it reads only when all has been read from it. A protocol
    /// with such clients, as RESP and those of databases are, needs a high mark beyond the answers to
    /// the longest pipeline. Its service then does what the mark does else: it closes peers whose
    /// [`backlog`](crate::Reply::backlog) is more than it puts up with, it pauses and wakes itself after
    /// a portion of answers, so that others have their turn, and it bounds what all peers leave unread
    /// together.
    pub output_high: u64,
    /// Bytes of unsent output under which they start again. Default 64 KiB: low enough that
    /// stopping and starting is rare, high enough that the socket never runs dry meanwhile.
    pub output_low: u64,
    /// Bytes of unsent output in memory at which the connection is closed; those of files do not
    /// count. Default 16 MiB: it bounds what others' messages to a peer that does not read can
    /// cost.
    pub output_max: u64,
    /// Bytes read for one connection in one turn of the loop before others get theirs.
    /// Default 256 KiB: about 50 microseconds of copying.
    pub read_budget: usize,
    /// How long a connection must have been silent to be let go while the loop winds down, unless
    /// its session pauses, which means that it waits for something of its own. Default 500 ms:
    /// with a protocol of raw bytes nothing else tells that a transfer is over.
    pub stopping_quiet: Duration,
    /// How long a closing connection waits without any progress for its peer to take what was sent
    /// and close too. What the peer acknowledges is progress. Default 5 s: a few retransmissions, and
    /// what a slow reader takes to make room for the next segment.
    pub linger: Duration,
    /// Bytes that a closing connection reads and throws away while it lingers. Default 4 MiB:
    /// enough for what was under way, too little to be worth flooding.
    pub linger_bytes_max: usize,
}

impl Limits {
    /// The defaults, each explained at its field.
    pub const DEFAULT: Self = Self {
        message_size_max: 1024 * 1024,
        output_high: 256 * 1024,
        output_low: 64 * 1024,
        output_max: 16 * 1024 * 1024,
        read_budget: 256 * 1024,
        stopping_quiet: Duration::from_millis(500),
        linger: Duration::from_secs(5),
        linger_bytes_max: 4 * 1024 * 1024,
    };

    /// These limits, shared by the connections they are for.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn shared(self) -> Result<Arc<Self>, LimitsError> {
        self.check().map(|()| Arc::new(self))
    }

    /// Whether these limits can be worked with.
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

/// Why a set of [`Limits`] cannot be worked with.
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
