//! The exit codes of `mfs-client`.

use protocol::mfs::Status;

use crate::Failure;
use crate::mfs::{Cause, Error, is_missing};
use crate::output::CLOSED;

/// The text about exit codes in the help.
pub(super) const HELP: &str =
    "This proves a framework. It is no client for data to keep: that is the real \
MooseFS.

Paths of the file system begin at the exported directory. Arguments after -- are paths, also those
that begin with a dash.

Exit codes:
  0    done
  1    another failure
  2    wrong arguments
  3    a file or directory is not there
  4    the master refuses: permissions, or a file system that may only be read
  5    the master cannot be reached, or was away for too long
  6    the master refuses a session: the exports, or the password
  7    no copy of a chunk can be read
  8    no chunkserver takes what is written: no space, no quota left, or none is connected
  9    copies differ, or cannot be read (verify)
  10   a local file failed
  130  interrupted
  141  standard output was closed
Of several failures, the first one determines the code.";

/// The exit code for wrong arguments.
pub(super) const USAGE: u8 = 2;
/// The exit code when copies differ.
pub(super) const DIFFERS: u8 = 9;
/// The exit code when a local file failed.
pub(super) const LOCAL: u8 = 10;
/// The exit code after Ctrl-C: 128 plus the number of the signal.
pub(super) const INTERRUPTED: u8 = 130;

/// Why a command has failed: a message and an exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// One sentence. Empty if nothing is to be printed.
    pub(super) text: String,
    pub(super) code: u8,
}

impl Failed {
    pub(super) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { text: text.into(), code }
    }

    /// Returns the failure of a local file.
    pub(super) fn local(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(LOCAL, format!("{}: {error}", path.display()))
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::OutputClosed => Self::new(CLOSED, ""),
            Failure::Text(text) => Self::new(1, text),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::new(code(&error), error.to_string())
    }
}

/// Returns the exit code for an error.
fn code(error: &Error) -> u8 {
    match error.cause() {
        Cause::Invalid(_) => USAGE,
        Cause::Master(_) => 5,
        Cause::Session(_) => 6,
        Cause::Status(_) if is_missing(error) => 3,
        Cause::Status(Status::EPERM | Status::EACCES | Status::EROFS | Status::EPERM_NOTADMIN) => 4,
        Cause::Status(Status::CHUNKLOST | Status::NOCHUNK) | Cause::Copies(_) => 7,
        Cause::Status(
            Status::NOSPACE | Status::QUOTA | Status::NOCHUNKSERVERS | Status::CSNOTPRESENT,
        )
        | Cause::Chain(_) => 8,
        Cause::Local(_) => LOCAL,
        Cause::Cancelled => INTERRUPTED,
        _ => 1,
    }
}
