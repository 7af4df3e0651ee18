//! Puts a server under load and verifies every byte of its replies.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use clients::Failure;
use clients::load::{Expect, Load, Report};
use clients::output::{arguments, print, progress};
use clients::tls::TlsArgs;

/// Puts a server under load and verifies every byte of its replies
#[derive(Parser)]
#[command(
    name = "load",
    version,
    after_help = "Ctrl-C ends the measurement early and prints the report. REACTOR_BACKEND chooses \
    epoll, epoll-lt, poll, select or uring.\n\nWhen the time is up, load waits up to 5 s for replies that \
    are still missing. Their waiting time counts in the latencies. A long wait counts several times: \
    once for each message that could have been sent meanwhile.\n\nEach connection \
    tries all addresses of a name. Over datagrams, each message is one of them, and a connection is a \
    socket of its own. They go to the first address that does not refuse a message. A message without \
    a reply for --lost-after counts as unanswered.\n\nExit codes: 0 when every message \
    was answered and every byte was correct; 1 when a reply is missing or wrong, a connection failed \
    or was lost, no message was answered, or load could not run or print its report; 2 on wrong \
    arguments; 141 without a message, as after SIGPIPE, when standard output is closed."
)]
struct Cli {
    #[arg(
        help = "Address of the server: 127.0.0.1:8080, tcp://[::1]:8080, host:8080, tls://host:8443 \
                (encrypted) or unix:PATH; for datagrams, udp://host:8000 or unix-dgram:PATH"
    )]
    address: String,
    /// Number of connections that exchange messages
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = at_least_one)]
    connections: usize,
    /// Number of further connections that stay open and send nothing
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    idle: usize,
    /// Size of a message in bytes
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = at_least_one)]
    size: usize,
    /// Number of messages in flight on each connection
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = at_least_one)]
    depth: usize,
    /// Seconds to measure, starting when all connections are open
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = at_least_one)]
    duration: usize,
    /// Seconds without a reply after which a datagram counts as unanswered, and another one is sent
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = at_least_one)]
    lost_after: usize,
    /// The reply that the server is expected to send
    #[arg(long, default_value = "echo")]
    expect: ExpectedReply,
    #[command(flatten)]
    tls: TlsArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum ExpectedReply {
    Echo,
    Uppercase,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

/// Shows a line on a terminal that replaces the previous one.
fn show_progress(report: &Report) {
    let (seconds, messages) = (report.elapsed.as_secs(), report.messages);
    progress(&format!("{seconds} s, {messages} messages, {} errors", report.errors));
}

fn load(cli: &Cli) -> Result<Report, Failure> {
    let endpoint = cli.tls.endpoint("load", &cli.address)?;
    let load = Load {
        addresses: endpoint.location.addresses()?,
        encryption: endpoint.encryption,
        connections: cli.connections,
        idle: cli.idle,
        size: cli.size,
        depth: cli.depth,
        duration: Duration::from_secs(cli.duration as u64),
        lost_after: Duration::from_secs(cli.lost_after as u64),
        expect: match cli.expect {
            ExpectedReply::Echo => Expect::Echo,
            ExpectedReply::Uppercase => Expect::Uppercase,
        },
    };
    clients::load::run(load, show_progress)
}

fn main() -> ExitCode {
    env_logger::init();
    let cli: Cli = match arguments("load") {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let code = load(&cli).and_then(|report| {
        progress("");
        print(format!("{report}\n").as_bytes())?;
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    });
    code.unwrap_or_else(|failure| failure.report("load").into())
}
