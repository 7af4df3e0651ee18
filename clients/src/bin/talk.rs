//! Standard input to a server, its replies to standard output.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use clients::output::arguments;

/// Sends standard input to a server and prints its replies
#[derive(Parser)]
#[command(
    name = "talk",
    version,
    after_help = "The end of standard input ends the sending side; replies are \
    printed until the server ends its own. REACTOR_BACKEND chooses epoll, epoll-lt, poll or \
    select. It exits with 0 when the server has ended the conversation, 1 when the connection \
    could not be made or was lost or standard output failed, 2 on wrong arguments. When standard \
    output is closed, as by head, it ends silently with 141, as by SIGPIPE."
)]
struct Cli {
    #[arg(
        help = "Where the server is: 127.0.0.1:8080, tcp://[::1]:8080, host:8080 or unix:/run/x.sock"
    )]
    address: String,
}

fn main() -> ExitCode {
    env_logger::init();
    let cli: Cli = match arguments("talk") {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match clients::talk::talk(&cli.address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("talk").into(),
    }
}
