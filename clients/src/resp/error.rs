//! Errors, with the operation, the address and a hint.

use std::fmt;
use std::io;
use std::sync::Arc;

use protocol::Reason;
use protocol::resp::ValueError;
use protocol::tls::{TlsError, TlsErrorKind};
use reactor::{ConnectError, Unanswered};

use crate::blocking;

/// The reason why a command or another operation failed.
///
/// Its text names the operation and the address and, if possible, says what to do. It does not
/// contain arguments, which may be secret or long.
#[derive(Clone, Debug)]
pub struct Error {
    operation: String,
    address: String,
    cause: Cause,
}

/// The cause of an [`Error`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The address is not valid, or its name was not resolved. The text says why.
    Address(String),
    /// The options contradict one another. The text says how.
    Options(&'static str),
    /// The connection could not be made.
    Connect(Arc<io::Error>),
    /// The server answered with an error, in these words. The connection goes on.
    Server(Vec<u8>),
    /// The server closed the connection.
    Closed,
    /// The server sent nothing, or accepted nothing, in time.
    TimedOut,
    /// A system call failed.
    Io(Arc<io::Error>),
    /// The server sent something that is not RESP.
    Protocol(ValueError),
    /// Pushes and messages that were not taken exceed
    /// [`pushes_size_max`](super::Options::pushes_size_max).
    Pushes,
    /// The server is not a master, and [`only_master`](super::Options::only_master) requires one.
    NotMaster,
    /// The answer is not of the kind that the command returns.
    Unexpected,
    /// A [`Client`](super::Client) has no answer: the command was not sent, its connection ended, or
    /// its time passed. The client goes on.
    Unanswered(Unanswered),
}

impl Error {
    pub(super) fn new(operation: impl Into<String>, address: &str, cause: Cause) -> Self {
        Self { operation: operation.into(), address: address.to_owned(), cause }
    }

    /// Returns the cause.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Returns the operation that failed: `connect`, or the name of a command.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Returns the address of the server, as it was given when connecting.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the text of the server, if it answered with an error.
    pub fn server(&self) -> Option<&[u8]> {
        match &self.cause {
            Cause::Server(words) => Some(words),
            _ => None,
        }
    }

    /// Returns whether the connection cannot be used any more. An error of the server is an answer,
    /// and the connection goes on.
    pub fn is_lost(&self) -> bool {
        !matches!(self.cause, Cause::Server(_) | Cause::Unexpected | Cause::Unanswered(_))
    }

    /// Returns whether the server may have carried out the command although there is no answer. If
    /// not, the command can be sent again without being carried out twice.
    pub fn may_be_done(&self) -> bool {
        match &self.cause {
            Cause::Unanswered(unanswered) => unanswered.may_be_done(),
            Cause::Address(_) | Cause::Options(_) | Cause::Connect(_) | Cause::Server(_) => false,
            Cause::Closed
            | Cause::TimedOut
            | Cause::Io(_)
            | Cause::Protocol(_)
            | Cause::Pushes
            | Cause::NotMaster
            | Cause::Unexpected => true,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.operation, self.address, self.cause)
    }
}

impl std::error::Error for Error {}

impl Cause {
    /// Returns the cause for a connection that was not made.
    pub(super) fn of_connecting(error: io::Error) -> Self {
        match connect_error(&error).and_then(ConnectError::lookup) {
            Some(lookup) => Self::Address(lookup.to_string()),
            None => Self::Connect(Arc::new(error)),
        }
    }
}

impl Cause {
    /// Returns the cause for a connection whose handshake of TLS has failed.
    pub(super) fn of_handshake(self) -> Self {
        let error = match self {
            Self::Io(error) => return Self::Connect(error),
            Self::TimedOut => io::Error::other(
                "the TLS handshake was not completed in time: is this a port for TLS?",
            ),
            Self::Closed => io::Error::other(
                "the peer ended the stream during the TLS handshake: is this a port for TLS?",
            ),
            other => return other,
        };
        Self::Connect(Arc::new(error))
    }
}

/// Returns the error of TLS that has ended a connection.
fn tls_error(reason: &Reason) -> Option<&TlsError> {
    match reason {
        Reason::Refused(error) => error.downcast_ref(),
        _ => None,
    }
}

/// Returns what the attempts to connect came to, if that is in `error`.
pub(crate) fn connect_error(error: &io::Error) -> Option<&ConnectError> {
    error.get_ref().and_then(|error| error.downcast_ref())
}

impl From<blocking::Error> for Cause {
    fn from(error: blocking::Error) -> Self {
        match error {
            blocking::Error::TimedOut => Self::TimedOut,
            blocking::Error::Closed => Self::Closed,
            blocking::Error::Io(error) => Self::Io(Arc::new(error)),
            blocking::Error::Session(reason) => match tls_error(&reason) {
                // Every answer says where it ends, so an attacker that has cut the stream has hidden
                // none. Servers of Redis end their connections so.
                Some(error) if error.kind() == TlsErrorKind::Cut => Self::Closed,
                Some(error) => Self::Io(Arc::new(error.clone().into())),
                None => Self::Io(Arc::new(io::Error::other(reason.to_string()))),
            },
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => f.write_str(text),
            Self::Options(text) => f.write_str(text),
            Self::Connect(error) => {
                if let Some(error) = connect_error(error) {
                    return error.without_target().fmt(f);
                }
                write!(f, "{error}")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::ConnectionRefused => ": nothing listens there",
                    io::ErrorKind::NotFound => ": there is no such socket, is the server running?",
                    io::ErrorKind::PermissionDenied => ": the socket is another user's",
                    io::ErrorKind::TimedOut => ": the host does not answer, or a firewall drops it",
                    _ => "",
                })
            }
            Self::Server(words) => {
                let text = String::from_utf8_lossy(words);
                f.write_str(&text)?;
                f.write_str(match text.split(' ').next() {
                    Some("NOAUTH") => ": give a password when connecting",
                    Some("WRONGPASS") => ": check the user and the password",
                    _ => "",
                })
            }
            Self::Closed => f.write_str(
                "the server closed the connection: its log says why; connect again to go on",
            ),
            Self::TimedOut => f.write_str(
                "no answer in time: the server is busy or gone; whether it has done what it was \
                 asked is not known",
            ),
            Self::Io(error) => write!(f, "{error}: the connection is gone; connect again to go on"),
            Self::Protocol(error) => write!(f, "{error}: is this a server of RESP?"),
            Self::Pushes => {
                f.write_str("too many messages wait to be received: take them between commands")
            }
            Self::Unanswered(unanswered) => unanswered.fmt(f),
            Self::NotMaster => f.write_str("the server is not a master"),
            Self::Unexpected => f.write_str("the answer is not what this command answers with"),
        }
    }
}
