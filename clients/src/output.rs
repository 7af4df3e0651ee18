//! Writes to standard output and standard error, and handles their failures.
//!
//! If standard output is closed (`talk ... | head -1`), a tool exits without a message, with the
//! code [`CLOSED`]. If it fails in another way (a full disk), the tool reports an error that names
//! it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use protocol::resp::text::json_string;

use crate::Failure;

/// The exit code of a tool whose standard output was closed. A shell reports the same code for a
/// program that `SIGPIPE` killed: 128 plus the number of the signal (`signal(7)`).
pub const CLOSED: u8 = 128 + 13;

impl Failure {
    /// Creates a failure from an error of standard output.
    pub fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Text(format!("standard output: {error}")),
        }
    }

    /// Prints the failure to standard error, after the name of the tool. Returns the exit code of
    /// the tool: 1, or [`CLOSED`], for which it prints nothing.
    pub fn report(&self, tool: &str) -> u8 {
        match self {
            Self::OutputClosed => CLOSED,
            Self::Text(text) => {
                complain(format_args!("{tool}: {text}"));
                1
            }
        }
    }
}

/// Writes all of `text` to standard output and flushes it.
///
/// # Errors
/// Fails if standard output fails.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text).and_then(|()| output.flush());
    written.map_err(|error| Failure::of_output(&error))
}

/// Writes a line to standard error. A failure to write is ignored: there is no place left to report
/// it.
pub fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Returns a text as a JSON string, with its quotation marks (RFC 8259 section 7).
pub fn json_text(text: &str) -> String {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    json_string(text.as_bytes(), &mut quoted);
    String::from_utf8_lossy(&quoted).into_owned()
}

/// Replaces the line of progress on standard error with `line`, if standard error is a terminal. An
/// empty `line` removes it before other output. A failure to write is ignored: progress is not part
/// of the result.
pub fn progress(line: &str) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        let _ = write!(terminal, "\r\x1b[K{line}");
    }
}

/// Parses the arguments of this process. For help, the version and wrong arguments it prints a
/// message, and returns the exit code as the error: 0 for help and the version, 2 for wrong
/// arguments.
///
/// # Errors
/// Returns the code with which the process has to exit.
pub fn arguments<T: Parser>(tool: &str) -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        let printed = error.print().and_then(|()| io::stdout().flush());
        let code = match printed {
            Err(failed) if !error.use_stderr() => Failure::of_output(&failed).report(tool),
            _ => u8::try_from(error.exit_code()).unwrap_or(2),
        };
        code.into()
    })
}
