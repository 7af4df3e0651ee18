//! How a server ends that has only something to tell: help, its version, or what is wrong with its
//! arguments.

use std::io::{self, ErrorKind, Write};

/// The exit code of a program whose standard output was closed: what a shell reports of one that
/// `SIGPIPE` has ended, 128 and the signal's number (`signal(7)`).
const CLOSED: i32 = 128 + 13;

/// Prints what is `told` and ends the process: with 0 after help, with 2 after wrong arguments.
/// Help that cannot be printed is a failure that names standard output, unless that was closed,
/// which is no reason for words.
pub(crate) fn tell(name: &str, told: &clap::Error) -> ! {
    let printed = told.print().and_then(|()| io::stdout().flush());
    let code = match printed {
        Err(error) if !told.use_stderr() => refused(name, &error),
        _ => told.exit_code(),
    };
    std::process::exit(code)
}

fn refused(name: &str, error: &io::Error) -> i32 {
    if error.kind() == ErrorKind::BrokenPipe {
        return CLOSED;
    }
    // There is no place left to tell a failure of this one.
    let _ = writeln!(io::stderr(), "{name}: standard output: {error}");
    1
}
