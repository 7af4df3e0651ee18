//! The exit codes of `fetch`.

use crate::Failure;
use crate::http::{Error, ErrorKind};
use crate::output::CLOSED;

/// The text about exit codes in the help.
pub(crate) const HELP: &str = "Exit codes. Where curl has a code for a case, it is the same:
  0    every transfer is complete, and no status was 400 or above
  1    another failure
  2    wrong arguments
  3    a URL cannot be used
  6    the name of the host is not known
  7    no connection was established
  8    the response breaks the rules of HTTP
  18   the response ended before its end
  22   the status was 400 or above (--any-status: this is no failure)
  23   the file, or standard output, cannot be written
  26   the file to send cannot be read
  28   a limit of time has passed
  33   the server does not continue the file
  35   TLS failed
  47   too many redirections, or one that leads nowhere
  52   the server has ended the connection without an answer
  56   the connection was lost during the transfer
  60   the certificate of the server was refused
  61   the body cannot be decoded
  63   the body is larger than --max-filesize
  97   the proxy does not connect
  130  interrupted; files that are not complete are kept for -C -
  141  standard output was closed
Of several transfers that failed, the first one on the command line determines the code.";

/// The exit code for a response that breaks the rules of HTTP.
pub(super) const PROTOCOL: u8 = 8;
/// The exit code for a response that ended before its end.
pub(super) const TRUNCATED: u8 = 18;
/// The exit code for a status of 400 or above.
pub(super) const STATUS: u8 = 22;
/// The exit code for a file that cannot be written.
pub(super) const WRITE: u8 = 23;
/// The exit code for a file that cannot be continued.
pub(super) const RANGE: u8 = 33;
/// The exit code after Ctrl-C: 128 plus the number of the signal.
pub(super) const INTERRUPTED: u8 = 130;

/// The reason why a transfer failed: a message and an exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// One sentence. Empty if nothing is to be printed.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

impl Failed {
    /// Returns a failure.
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { text: text.into(), code }
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

impl From<&Error> for Failed {
    fn from(error: &Error) -> Self {
        Self::new(code(error.kind()), error.to_string())
    }
}

/// Returns the exit code for an error.
fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Url => 3,
        ErrorKind::UnknownName => 6,
        ErrorKind::Connect => 7,
        ErrorKind::Protocol => PROTOCOL,
        ErrorKind::Truncated => TRUNCATED,
        ErrorKind::Receiver => WRITE,
        ErrorKind::Upload => 26,
        ErrorKind::TimedOut => 28,
        ErrorKind::Tls => 35,
        ErrorKind::TooManyRedirects | ErrorKind::Redirect => 47,
        ErrorKind::NoAnswer => 52,
        ErrorKind::Lost => 56,
        ErrorKind::Certificate => 60,
        ErrorKind::Encoding => 61,
        ErrorKind::TooLarge => 63,
        ErrorKind::Proxy => 97,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_every_code() {
        let kinds = [
            ErrorKind::Url,
            ErrorKind::UnknownName,
            ErrorKind::Connect,
            ErrorKind::Protocol,
            ErrorKind::Truncated,
            ErrorKind::Receiver,
            ErrorKind::Upload,
            ErrorKind::TimedOut,
            ErrorKind::Tls,
            ErrorKind::TooManyRedirects,
            ErrorKind::NoAnswer,
            ErrorKind::Lost,
            ErrorKind::Certificate,
            ErrorKind::Encoding,
            ErrorKind::TooLarge,
            ErrorKind::Proxy,
            ErrorKind::Cancelled,
        ];
        let codes = kinds.map(code).into_iter().chain([STATUS, RANGE, INTERRUPTED, CLOSED, 2]);
        for code in codes {
            assert!(HELP.lines().any(|line| line.starts_with(&format!("  {code:<5}"))), "{code}");
        }
    }
}
