//! Sends standard input to a server and prints its replies.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use clients::output::arguments;
use clients::tls::TlsArgs;

/// Sends standard input to a server and prints its replies
#[derive(Parser)]
#[command(
    name = "talk",
    version,
    after_help = "At the end of standard input, talk ends its sending side. It goes on printing \
    replies until the server ends the connection.\n\nTo an address of datagrams, talk sends each \
    line as a datagram. At the end of standard input, it waits until there are as many replies as \
    datagrams, or no reply has come for 2 s.\n\nAll addresses of a name are tried. Over datagrams, what \
    was sent to an address that refuses is sent to the next one, until a reply has come.\n\nREACTOR_BACKEND chooses \
    epoll, epoll-lt, poll, select or uring.\n\nExit codes: 0 when the server ended the connection, or every datagram was answered; 1 \
    when the connection failed or was lost, a datagram was not answered, or standard output failed; 2 on wrong arguments; 141 without a message, as after \
    SIGPIPE, when standard output is closed."
)]
struct Cli {
    #[arg(
        help = "Address of the server: 127.0.0.1:8080, tcp://[::1]:8080, host:8080, tls://host:8443 \
                (encrypted) or unix:/run/x.sock; for datagrams, udp://host:8000 or unix-dgram:/run/x.sock"
    )]
    address: String,
    #[command(flatten)]
    tls: TlsArgs,
}

fn main() -> ExitCode {
    env_logger::init();
    let cli: Cli = match arguments("talk") {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let endpoint = cli.tls.endpoint("talk", &cli.address);
    match endpoint.and_then(|endpoint| clients::talk::talk(&cli.address, &endpoint)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("talk").into(),
    }
}
