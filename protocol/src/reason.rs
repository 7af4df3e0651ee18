//! The reason for the end of a connection.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

/// The reason for the end of a connection. A session returns one to end the connection, and gets one
/// in [`Session::closed`](crate::Session::closed).
///
/// Only [`Finished`](Self::Finished) and [`PeerClosed`](Self::PeerClosed) are orderly: all output
/// was sent.
#[derive(Debug)]
pub enum Reason {
    /// This side closed the connection in order.
    Finished,
    /// The peer ended its stream, and all its messages were handled.
    PeerClosed,
    /// The input was refused.
    Refused(Box<dyn Error + Send + Sync>),
    /// A limit of size was reached. The text names the limit.
    Limit(&'static str),
    /// The connection was silent for longer than the idle limit allows.
    Idle,
    /// A limit of time passed while connecting, or while the last bytes were being sent.
    Deadline,
    /// A system call of the driver failed.
    Failed {
        /// The system call.
        operation: &'static str,
        /// The error that it returned.
        error: io::Error,
        /// The usual cause of such an error. Empty if the error itself is clear.
        hint: &'static str,
    },
    /// Other code closed the connection.
    Cancelled,
    /// Another process goes on with the connection ([`Link::save`](crate::link::Link::save)).
    HandedOver,
    /// The driver stopped.
    Stopped,
    /// The session panicked.
    Panicked,
}

impl Reason {
    /// Returns the reason for refusing input. Logs and users see the text of `error`.
    pub fn refused(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Refused(error.into())
    }

    /// Returns whether nothing was cut short: both sides were done.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::Finished | Self::PeerClosed)
    }

    /// Returns whether the peer had closed or reset the connection when a system call used it.
    pub fn is_disconnect(&self) -> bool {
        let Self::Failed { error, .. } = self else { return false };
        let kinds =
            [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe];
        kinds.contains(&error.kind())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::PeerClosed => f.write_str("peer closed"),
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::Limit(limit) => write!(f, "limit reached: {limit}"),
            Self::Idle => f.write_str("idle for too long"),
            Self::Deadline => f.write_str("deadline passed"),
            Self::Failed { operation, error, hint: "" } => write!(f, "{operation}: {error}"),
            Self::Failed { operation, error, hint } => write!(f, "{operation}: {error}: {hint}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::HandedOver => f.write_str("handed over"),
            Self::Stopped => f.write_str("stopped"),
            Self::Panicked => f.write_str("panicked"),
        }
    }
}

impl Error for Reason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error.as_ref()),
            Self::Failed { error, .. } => Some(error),
            _ => None,
        }
    }
}
