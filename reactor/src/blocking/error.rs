//! Why an operation failed.

use std::fmt;
use std::io;

use protocol::Reason;

/// Why an operation on a blocking connection failed.
#[derive(Debug)]
pub enum Error {
    /// The deadline has passed. The connection stays usable.
    TimedOut,
    /// The peer has ended its stream.
    Closed,
    /// A system call failed.
    Io(io::Error),
    /// The session has ended the connection.
    Session(Reason),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("nothing came in time"),
            Self::Closed => f.write_str("the peer closed the connection"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Session(reason) => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Session(reason) => Some(reason),
            Self::TimedOut | Self::Closed => None,
        }
    }
}
