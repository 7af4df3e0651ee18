//! What the ready daemons share: arguments, logs, listening, signals, graceful stop.
//!
//! Each server is a sans-IO service and the few lines that [`run`] it.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser};
use log::{error, info, warn};
use protocol::{Limits, Session};
use reactor::{
    Address, AddressError, BackendKind, Cx, ListenOptions, Listener, LoopLimits, Reactor, Signal,
    Stream, raise_descriptor_limit,
};

pub mod echo;
mod ending;
pub mod kv;
pub mod uppercase;

/// The loop, its mailbox, signals, listeners, logs: what it opens beside connections.
const DESCRIPTORS_OF_ITS_OWN: usize = 64;
/// How long connections may go on after the first signal to stop.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

const LISTEN_HELP: &str = "Address to listen on: 127.0.0.1:8080, tcp://[::1]:8080 or \
                           unix:/run/x.sock. May be given several times";

/// The arguments that every server takes.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// The addresses to listen on, as they were written: one that is malformed is an error of the
    /// server, like one that is taken.
    #[arg(long, value_name = "ADDRESS", help = LISTEN_HELP)]
    pub listen: Vec<String>,

    /// What tells which connections are ready: epoll, epoll-lt, poll or select
    #[arg(long, env = "REACTOR_BACKEND", default_value = "epoll")]
    pub backend: BackendKind,

    /// Close connections that are silent for this long, such as 500ms, 60s or 5m; off never does
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_idle)]
    pub idle_timeout: IdleTimeout,

    /// Connections held at once; further ones wait to be accepted
    #[arg(long, value_name = "COUNT", default_value_t = 65_536, value_parser = parse_count)]
    pub max_connections: usize,

    /// Permission bits of the files of Unix sockets, in octal, such as 660; by default as umask
    /// says
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    pub unix_mode: Option<u32>,
}

/// How long a connection may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleTimeout {
    /// For ever.
    Off,
    /// This long.
    After(Duration),
}

/// Reads a time such as `500ms`, `60s`, `5m`, or `off`.
fn parse_idle(text: &str) -> Result<IdleTimeout, String> {
    if text == "off" {
        return Ok(IdleTimeout::Off);
    }
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || "expected a positive time such as 500ms, 60s or 5m, or off".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" | "" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    match milliseconds {
        Some(0) | None => Err(wrong()),
        Some(milliseconds) => Ok(IdleTimeout::After(Duration::from_millis(milliseconds))),
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected permission bits in octal, from 0 to 777".to_owned()),
    }
}

/// What makes one server different from another.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its name, on the command line and in logs.
    pub name: &'static str,
    /// One line on what it does.
    pub about: &'static str,
    /// Where it listens when nobody says.
    pub address: &'static str,
}

/// What a server is made of beside the arguments that all take: the state that its connections
/// share, and what makes each of them.
pub struct Application<A, S> {
    /// The state, which every call of a connection is lent.
    pub state: A,
    /// What one connection may cost.
    pub limits: Limits,
    /// What the loop may cost. The arguments have the last word on connections and silence.
    pub loop_limits: LoopLimits,
    /// Makes the session of a connection from its peer's address, which Unix sockets have none of.
    pub session: Rc<dyn Fn(Option<SocketAddr>) -> S>,
    /// Called once before the loop runs: the place to arm timers.
    pub start: fn(&mut Cx<'_, A>) -> io::Result<()>,
}

/// No further arguments than those that every server takes.
#[derive(Clone, Copy, Debug, Args)]
pub struct NoArgs {}

/// Runs a server without any state until it is told to stop, with a session from `make` for each
/// connection. See [`run_with`].
pub fn run<S>(server: Server, make: fn() -> S) -> ExitCode
where
    S: Session + 'static,
{
    run_with(server, move |_common: &ServerArgs, _own: &NoArgs| {
        let session = Rc::new(move |_peer| make());
        let (limits, loop_limits) = (Limits::DEFAULT, LoopLimits::DEFAULT);
        Ok(Application { state: (), limits, loop_limits, session, start: |_| Ok(()) })
    })
}

/// Runs a server until it is told to stop. `build` makes it of the arguments that every server
/// takes and of its own, `E`.
///
/// Exits with 0 after `SIGTERM` or `SIGINT`, with 1 when it can not run, with 2 when the arguments
/// are wrong.
pub fn run_with<E, A, S>(
    server: Server,
    build: impl FnOnce(&ServerArgs, &E) -> io::Result<Application<A, S>>,
) -> ExitCode
where
    E: Args,
    A: 'static,
    S: Session<A> + 'static,
{
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let cli: Cli<E> = parse(server, std::env::args_os());
    let result = build(&cli.server, &cli.own).and_then(|it| serve(server, &cli.server, it));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Parser)]
#[command(version)]
struct Cli<E: Args> {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    own: E,
}

/// The arguments, or the end of the process with help or an error.
fn parse<E: Args>(server: Server, args: impl IntoIterator<Item = OsString>) -> Cli<E> {
    let default = format!("It listens on {} unless --listen says otherwise.", server.address);
    let notes = "SIGTERM and SIGINT stop it gracefully: no new connections, 5 s for the others, a \
                 second signal stops at once. SIGUSR1 logs its counters. RUST_LOG filters its \
                 logs. It exits with 0 when stopped, 1 when it can not run, 2 on wrong arguments.";
    let command = Cli::<E>::command()
        .name(server.name)
        .bin_name(server.name)
        .about(server.about)
        .after_help(format!("{default}\n\n{notes}"));
    let matches = command.try_get_matches_from(args);
    matches
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .unwrap_or_else(|told| ending::tell(server.name, &told))
}

/// Where to listen: what was asked for, or where this server listens by default.
fn addresses(server: Server, asked: &[String]) -> io::Result<Vec<Address>> {
    let default = [server.address.to_owned()];
    let texts = if asked.is_empty() { &default } else { asked };
    let parse = |text: &String| {
        text.parse().map_err(|error: AddressError| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("cannot listen: {error}"))
        })
    };
    texts.iter().map(parse).collect()
}

fn serve<A, S>(server: Server, args: &ServerArgs, application: Application<A, S>) -> io::Result<()>
where
    A: 'static,
    S: Session<A> + 'static,
{
    let idle_timeout = match args.idle_timeout {
        IdleTimeout::Off => None,
        IdleTimeout::After(limit) => Some(limit),
    };
    let limits = LoopLimits {
        connections_max: args.max_connections,
        idle_timeout,
        ..application.loop_limits
    };
    let addresses = addresses(server, &args.listen)?;
    let options = ListenOptions { unix_mode: args.unix_mode, ..ListenOptions::default() };

    let backend = args.backend.open()?;
    let mut reactor = Reactor::with_backend(backend, limits, application.state)?;
    let mut cx = reactor.cx();
    cx.on_signals(&[Signal::INTERRUPT, Signal::TERMINATE, Signal::USER_1], on_signal)?;
    (application.start)(&mut cx)?;
    for address in addresses {
        let listener = Listener::bind(&address, &options)?;
        let bound = listener.address().clone();
        let session = Rc::clone(&application.session);
        Stream::serve(listener, application.limits, &mut cx, move |peer| session(peer))?;
        info!("{} listening on {bound} with {}, {limits}", server.name, args.backend);
    }
    raise_limit(args.max_connections)?;
    reactor.run()?;
    info!("stopped: {}", reactor.counters());
    Ok(())
}

/// Has the system allow so many connections, or as many as it does.
fn raise_limit(connections: usize) -> io::Result<()> {
    let wanted = connections.saturating_add(DESCRIPTORS_OF_ITS_OWN) as u64;
    let limit = raise_descriptor_limit(wanted)?;
    if limit < wanted {
        info!(
            "{connections} connections take more than the {limit} descriptors that ulimit -n allows"
        );
    }
    Ok(())
}

/// The first signal winds down, the second stops at once.
fn on_signal<A>(signal: Signal, cx: &mut Cx<'_, A>) {
    if signal == Signal::USER_1 {
        info!("{}", cx.counters());
    } else if cx.is_draining() {
        warn!("{signal} again: stopping at once");
        cx.stop();
    } else {
        let left = cx.connections();
        info!("{signal}: stopping, {left} connections have {DRAIN_PATIENCE:?} to finish");
        cx.drain(DRAIN_PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        let after = |milliseconds| Ok(IdleTimeout::After(Duration::from_millis(milliseconds)));
        assert_eq!(parse_idle("off"), Ok(IdleTimeout::Off));
        assert_eq!(parse_idle("500ms"), after(500));
        assert_eq!(parse_idle("60s"), after(60_000));
        assert_eq!(parse_idle("60"), after(60_000));
        assert_eq!(parse_idle("5m"), after(300_000));
        for wrong in ["", "0", "0s", "-1s", "5h", "s", "99999999999999999999s"] {
            assert!(parse_idle(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn modes_and_counts_out_of_range_are_refused() {
        assert_eq!(parse_mode("660"), Ok(0o660));
        assert!(parse_mode("1777").is_err() && parse_mode("8").is_err());
        assert_eq!(parse_count("1"), Ok(1));
        assert!(parse_count("0").is_err() && parse_count("many").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::<NoArgs>::command().debug_assert();
    }
}
