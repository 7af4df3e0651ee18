//! Standard input to a server, its replies to standard output.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

/// Sends standard input to a server and prints its replies
#[derive(Parser)]
#[command(
    name = "talk",
    version,
    after_help = "The end of standard input ends the sending side; replies are \
    printed until the server ends its own. REACTOR_BACKEND chooses epoll, epoll-lt, poll or \
    select. It exits with 0 when the server has ended the conversation, 1 when the connection \
    could not be made or was lost, 2 on wrong arguments."
)]
struct Cli {
    #[arg(
        help = "Where the server is: 127.0.0.1:8080, tcp://[::1]:8080, host:8080 or unix:/run/x.sock"
    )]
    address: String,
}

fn main() -> ExitCode {
    env_logger::init();
    match clients::talk::talk(&Cli::parse().address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("talk: {failure}");
            ExitCode::FAILURE
        }
    }
}
