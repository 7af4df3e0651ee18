//! Standard output and standard error, as the users of tools expect them to fail.
//!
//! A standard output that is closed (`talk ... | head -1`) ends a tool without a word, with
//! [`CLOSED`]. One that fails otherwise (a full disk) is a failure that names it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::Failure;

/// The exit code of a tool whose standard output was closed: what a shell reports of a program
/// that `SIGPIPE` has ended, 128 and the signal's number (`signal(7)`).
pub const CLOSED: u8 = 128 + 13;

impl Failure {
    /// Standard output took no more, for this reason.
    pub fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Text(format!("standard output: {error}")),
        }
    }

    /// Tells it on standard error, behind the name of the tool. Returns the tool's exit code: 1,
    /// or [`CLOSED`], of which nothing is told.
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

/// Writes `text` to standard output, to its last byte.
///
/// # Errors
/// When standard output takes no more.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text).and_then(|()| output.flush());
    written.map_err(|error| Failure::of_output(&error))
}

/// Writes a line to standard error. One that fails is not told: there is no place left to tell it.
pub fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Replaces the line of progress on standard error with `line`, if that is a terminal; an empty one
/// makes way for what is printed next. One that fails is not told: it is no part of the result.
pub fn progress(line: &str) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        let _ = write!(terminal, "\r\x1b[K{line}");
    }
}

/// The arguments of this process. Help, the version and wrong arguments are printed instead, and
/// the exit code is returned as the error: 0 for help, 2 for wrong arguments.
///
/// # Errors
/// When there is nothing to do but to exit with this code.
pub fn arguments<T: Parser>(tool: &str) -> Result<T, ExitCode> {
    T::try_parse().map_err(|told| {
        let printed = told.print().and_then(|()| io::stdout().flush());
        let code = match printed {
            Err(error) if !told.use_stderr() => Failure::of_output(&error).report(tool),
            _ => u8::try_from(told.exit_code()).unwrap_or(2),
        };
        code.into()
    })
}
