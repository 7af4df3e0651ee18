//! Loads a server and verifies every byte of its answers.

#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use clients::load::{Expect, Load, Report};
use clients::{Failure, resolve};

/// Loads a server and verifies every byte of its answers
#[derive(Parser)]
#[command(
    version,
    after_help = "Ctrl-C prints what there is. REACTOR_BACKEND chooses epoll, \
    epoll-lt, poll or select. It exits with 0 when every answer was right, 1 when one was not, or \
    a connection failed or was lost, 2 on wrong arguments."
)]
struct Cli {
    #[arg(help = "Where the server is: 127.0.0.1:8080, tcp://[::1]:8080, host:8080 or unix:PATH")]
    address: String,
    /// Connections that exchange messages
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Further connections that only stand there
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Messages in flight on each connection
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Seconds to measure, once all connections stand
    #[arg(long, default_value_t = 5)]
    duration: u64,
    /// What the server makes of a message
    #[arg(long, default_value = "echo")]
    expect: Answer,
}

#[derive(Clone, Copy, ValueEnum)]
enum Answer {
    Echo,
    Uppercase,
}

/// A line on a terminal that replaces the one before.
fn show_progress(report: &Report) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        let (seconds, messages) = (report.elapsed.as_secs(), report.messages);
        // Nothing is lost when a progress line is.
        let _ = write!(terminal, "\r{seconds} s, {messages} messages, {} errors ", report.errors);
    }
}

fn load(cli: &Cli) -> Result<Report, Failure> {
    let load = Load {
        address: resolve(&cli.address)?,
        connections: cli.connections,
        idle: cli.idle,
        size: cli.size,
        depth: cli.depth,
        duration: Duration::from_secs(cli.duration),
        expect: match cli.expect {
            Answer::Echo => Expect::Echo,
            Answer::Uppercase => Expect::Uppercase,
        },
    };
    clients::load::run(load, show_progress)
}

fn main() -> ExitCode {
    env_logger::init();
    match load(&Cli::parse()) {
        Ok(report) => {
            println!("{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}
