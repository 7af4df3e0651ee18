//! Watches masters, replicas and sentinels, and shows what all of them say.

#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clients::output::arguments;
use clients::resp::Credentials;
use clients::sentinel::{Place, SentinelOptions};
use clients::sentinel_watch::{Form, Watch, run};
use clients::tls::TlsArgs;

/// Watches masters, replicas and sentinels, and shows what all of them say
#[derive(Parser)]
#[command(
    name = "sentinel-watch",
    version,
    after_help = "One sentinel is enough to find the others, the master and its replicas. On a \
    terminal, a table is redrawn until Ctrl-C. Otherwise, each change is a line: text, or an object \
    with --json.\n\nDOWN FOR lists the sentinels in whose eyes a server is down; (agreed) means that \
    a quorum agrees. LAG is how far a replica is behind its master, in bytes, and how long ago it \
    acknowledged something.\n\nREDISCLI_AUTH is the password of the servers, SENTINEL_AUTH that of \
    the sentinels. REACTOR_BACKEND chooses epoll, epoll-lt, poll, select or uring.\n\nExit codes: 0 when all \
    was well when it ended: there is a master, everything answers, and no sentinel considers \
    anything down; 1 when that is not so, or sentinel-watch could not run or print; 2 on wrong \
    arguments; 141 without a message, as after SIGPIPE, when standard output is closed."
)]
struct Cli {
    /// Name of the master, or * for all that the sentinels know
    name: String,
    #[arg(
        required = true,
        value_name = "ADDRESS",
        value_parser = place,
        help = "Addresses of sentinels: 127.0.0.1:26379, [::1]:26379 or host:26379"
    )]
    addresses: Vec<Place>,
    /// Seconds between two questions to each server
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// Show everything once, and end
    #[arg(long)]
    once: bool,
    /// Print a JSON object for each change
    #[arg(long)]
    json: bool,
    /// Encrypt the connections to all of them
    #[arg(long)]
    tls: bool,
    #[command(flatten)]
    tls_args: TlsArgs,
}

fn place(text: &str) -> Result<Place, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number of seconds from 0.1 to 3600".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(wrong())
    }
}

fn password(variable: &str) -> Option<Credentials> {
    let password = std::env::var(variable).ok()?;
    Some(Credentials { user: None, password })
}

fn main() -> ExitCode {
    env_logger::init();
    let cli: Cli = match arguments("sentinel-watch") {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let form = match cli.json {
        true => Form::Json,
        false if std::io::stdout().is_terminal() => Form::Screen,
        false => Form::Lines,
    };
    let encryption = match cli.tls_args.encryption_if(cli.tls, "sentinel-watch") {
        Ok(encryption) => encryption,
        Err(failure) => return failure.report("sentinel-watch").into(),
    };
    let options = SentinelOptions {
        encryption,
        interval: cli.interval,
        sentinel: password("SENTINEL_AUTH"),
        server: password("REDISCLI_AUTH"),
        ..SentinelOptions::default()
    };
    let name = (cli.name != "*").then_some(cli.name);
    let (interval, once) = (cli.interval, cli.once);
    let watch = Watch { name, sentinels: cli.addresses, interval, once, form, options };
    match run(watch) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => failure.report("sentinel-watch").into(),
    }
}
