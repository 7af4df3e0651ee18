//! Errors, with the operation, what it was about, and a hint.

use std::fmt;
use std::io;
use std::sync::Arc;

use protocol::mfs::Status;

/// Why an operation failed. Its text names the operation and the path, and says what to do where that
/// is known.
#[derive(Clone, Debug)]
pub struct Error {
    operation: &'static str,
    subject: String,
    cause: Cause,
}

/// The cause of an [`Error`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The options or the path cannot be used. The text says why.
    Invalid(String),
    /// The master cannot be reached, or it was away for too long.
    Master(String),
    /// The master refuses a session.
    Session(Status),
    /// The master has answered with this status.
    Status(Status),
    /// No copy of a chunk can be read. The text has the reason of each copy.
    Copies(String),
    /// No chain of chunkservers has taken what was written. The text has the last reason.
    Chain(String),
    /// A local file, or a standard stream, has failed.
    Local(Arc<io::Error>),
    /// The caller has cancelled the operation.
    Cancelled,
}

impl Error {
    pub(super) fn new(operation: &'static str, subject: impl Into<String>, cause: Cause) -> Self {
        Self { operation, subject: subject.into(), cause }
    }

    /// Returns the cause.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Returns the operation, such as `lookup`.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Returns what it was about: a path, or the address of a server.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the status with which the master has answered.
    pub fn status(&self) -> Option<Status> {
        match self.cause {
            Cause::Session(status) | Cause::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Returns the same error about something else.
    #[must_use]
    pub(super) fn about(self, operation: &'static str, subject: impl Into<String>) -> Self {
        match self.cause {
            // It is about the master.
            Cause::Master(_) | Cause::Session(_) => self,
            cause => Self::new(operation, subject, cause),
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Local(Arc::new(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.subject, self.operation, self.cause)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) | Self::Master(text) => f.write_str(text),
            Self::Session(status) => write!(f, "no session: {status}{}", session_hint(*status)),
            Self::Status(status) => write!(f, "{status}{}", hint(*status)),
            Self::Copies(text) => {
                write!(f, "no copy can be read ({text}): check the chunkservers with mfscli -SCS")
            }
            Self::Chain(text) => {
                write!(f, "it cannot be written ({text}): check the chunkservers with mfscli -SCS")
            }
            Self::Local(error) => write!(f, "{error}"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// Returns what to do about a session that is refused.
const fn session_hint(status: Status) -> &'static str {
    match status {
        Status::EACCES => ": mfsexports.cfg of the master does not have this host and directory",
        Status::NOPASSWORD => ": give one with --password-file",
        Status::BADPASSWORD => ": check the password",
        Status::ENOENT => ": the exported directory is not there",
        _ => "",
    }
}

/// Returns what to do about an operation that has failed.
const fn hint(status: Status) -> &'static str {
    match status {
        Status::NOCHUNKSERVERS | Status::CSNOTPRESENT => {
            ": no chunkserver is connected, see mfscli -SCS"
        }
        Status::NOSPACE => ": free some space, or add a chunkserver",
        Status::CHUNKLOST => ": no chunkserver that is connected has a copy",
        Status::LOCKED => ": another client writes to it, try again later",
        Status::EROFS => ": the session may only read, see mfsexports.cfg of the master",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_where_what_and_what_to_do() {
        let error = Error::new("open", "/a/b", Cause::Status(Status::EACCES));
        assert_eq!(error.to_string(), "/a/b: open: permission denied (4)");
        let error = Error::new("session", "10.0.0.1:9421", Cause::Session(Status::NOPASSWORD));
        assert_eq!(
            error.to_string(),
            "10.0.0.1:9421: session: no session: a password is needed (36): give one with \
             --password-file"
        );
        assert_eq!(error.status(), Some(Status::NOPASSWORD));
    }
}
