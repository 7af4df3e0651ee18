//! Loads a server and verifies every byte of its answers.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use clients::load::{Expect, Load, Report};
use clients::output::{arguments, print, progress};
use clients::{Failure, resolve};

/// Loads a server and verifies every byte of its answers
#[derive(Parser)]
#[command(
    name = "load",
    version,
    after_help = "Ctrl-C prints what there is. REACTOR_BACKEND chooses epoll, epoll-lt, poll or \
    select.\n\nAnswers that are missing when the time is up are waited for during 5 s. They count \
    into the latencies with how long they took, or were missing, and as often as messages would \
    have been sent in their place.\n\nExit codes: 0 when every message was answered and every byte \
    was right; 1 when an answer is missing or wrong, a connection failed or was lost, nothing was \
    answered, or the load could not be made or reported; 2 on wrong arguments; 141, silently, when \
    standard output is closed, as by SIGPIPE."
)]
struct Cli {
    #[arg(help = "Where the server is: 127.0.0.1:8080, tcp://[::1]:8080, host:8080 or unix:PATH")]
    address: String,
    /// Connections that exchange messages
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = at_least_one)]
    connections: usize,
    /// Further connections that only stand there
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    idle: usize,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = at_least_one)]
    size: usize,
    /// Messages in flight on each connection
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = at_least_one)]
    depth: usize,
    /// Seconds to measure, once all connections stand
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = at_least_one)]
    duration: usize,
    /// What the server makes of a message
    #[arg(long, default_value = "echo")]
    expect: Answer,
}

#[derive(Clone, Copy, ValueEnum)]
enum Answer {
    Echo,
    Uppercase,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

/// A line on a terminal that replaces the one before.
fn show_progress(report: &Report) {
    let (seconds, messages) = (report.elapsed.as_secs(), report.messages);
    progress(&format!("{seconds} s, {messages} messages, {} errors", report.errors));
}

fn load(cli: &Cli) -> Result<Report, Failure> {
    let load = Load {
        address: resolve(&cli.address)?,
        connections: cli.connections,
        idle: cli.idle,
        size: cli.size,
        depth: cli.depth,
        duration: Duration::from_secs(cli.duration as u64),
        expect: match cli.expect {
            Answer::Echo => Expect::Echo,
            Answer::Uppercase => Expect::Uppercase,
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
    let told = load(&cli).and_then(|report| {
        progress("");
        print(format!("{report}\n").as_bytes())?;
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    });
    told.unwrap_or_else(|failure| failure.report("load").into())
}
