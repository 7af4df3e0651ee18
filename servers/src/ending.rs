//! The end of a server that only prints a message: help, its version, or an error in its arguments.

use std::io::{self, ErrorKind, Write};

/// The exit code of a program whose standard output was closed. It equals what a shell reports for
/// a program that `SIGPIPE` has ended: 128 plus the number of the signal (`signal(7)`).
const CLOSED: i32 = 128 + 13;

/// Prints `message` and ends the process: with 0 after help, with 2 after wrong arguments.
///
/// If help cannot be printed, the error names standard output and the code is 1. If standard output
/// was closed, nothing is printed and the code is 141.
pub(crate) fn exit_with(name: &str, message: &clap::Error) -> ! {
    let printed = message.print().and_then(|()| io::stdout().flush());
    let code = match printed {
        Err(error) if !message.use_stderr() => print_failed(name, &error),
        _ => message.exit_code(),
    };
    std::process::exit(code)
}

fn print_failed(name: &str, error: &io::Error) -> i32 {
    if error.kind() == ErrorKind::BrokenPipe {
        return CLOSED;
    }
    // A failure of this write cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{name}: standard output: {error}");
    1
}
