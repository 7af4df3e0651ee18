//! The arguments that choose how connections are served, and which of them belong together.

use std::fmt;

use clap::{Args, ValueEnum};
use reactor::{LoopLimits, ThreadPoolOptions};

use crate::args::{Cli, ServerArgs};
use crate::logs::Writing;
use crate::loops;

/// How many processes `fork` has at most by default: what most systems allow a user easily.
const CHILDREN_MAX: usize = 1024;
/// How many threads `thread` has at most by default.
const THREADS_MAX: usize = 4096;
/// How many connections wait for a thread of `pool` by default.
const QUEUE_MAX: usize = 64;
/// How many processes `prefork` has by default.
const WORKERS: usize = 8;

/// How connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// One connection at a time; the others wait
    Iterative,
    /// A process for each connection, up to --max-connections (1024 by default)
    Fork,
    /// --workers processes that were started before, each with one connection at a time
    Prefork,
    /// A thread for each connection, up to --max-connections (4096 by default)
    Thread,
    /// A pool of threads, each with one connection at a time, and a queue in front of it
    Pool,
    /// One loop for all connections
    Reactor,
    /// Several loops, each on a thread: --threads, which is auto here by default
    Reactors,
}

/// The arguments that choose how connections are served.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// How connections are served: by a loop (reactor, the default), by several, or with blocking
    /// sockets. Those models have no TLS and no datagrams, and hand nothing over
    #[arg(long, value_name = "MODEL", value_enum)]
    pub model: Option<Model>,

    /// Processes of prefork, 8 by default, at most 1024
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub workers: Option<usize>,

    /// Threads that pool keeps while there is nothing to do, 1 by default
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub pool_min: Option<usize>,

    /// Threads that pool has at most, 16 by default
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub pool_max: Option<usize>,

    /// Connections that wait for a thread of pool, 64 by default; further ones wait to be accepted
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub pool_queue: Option<usize>,
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=65_536) => Ok(count),
        _ => Err("expected a whole number from 1 to 65536".to_owned()),
    }
}

/// A model without a loop for the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Iterative,
    Fork,
    Prefork { workers: usize },
    Thread,
    Pool(ThreadPoolOptions),
}

impl Kind {
    /// Returns how many connections there may be at a time.
    pub(crate) fn connections_max(&self, args: &ServerArgs) -> usize {
        let given = |default| args.max_connections.unwrap_or(default);
        match self {
            Self::Iterative => 1,
            Self::Fork => given(CHILDREN_MAX),
            Self::Prefork { workers } => *workers,
            Self::Thread => given(THREADS_MAX),
            Self::Pool(options) => {
                let most = options.threads_max + options.queue_max;
                given(most).min(most).min(LoopLimits::DEFAULT.connections_max)
            }
        }
    }
}

impl Kind {
    /// Returns how many descriptors the main process has besides those of its connections. It watches
    /// each child by two.
    pub(crate) fn descriptors(&self, connections_max: usize) -> usize {
        match self {
            Self::Fork | Self::Prefork { .. } => connections_max,
            Self::Iterative | Self::Thread | Self::Pool(_) => 0,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iterative => f.write_str("iterative"),
            Self::Fork => f.write_str("fork"),
            Self::Prefork { workers } => write!(f, "prefork ({workers} workers)"),
            Self::Thread => f.write_str("thread"),
            Self::Pool(ThreadPoolOptions { threads_min, threads_max, queue_max, .. }) => {
                write!(f, "pool ({threads_min} to {threads_max} threads, {queue_max} may wait)")
            }
        }
    }
}

/// How a server serves its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// With one loop or several.
    Loops,
    Other(Kind),
}

impl Plan {
    /// Returns how its log is written.
    pub(crate) fn writing(&self) -> Writing {
        match self {
            Self::Other(Kind::Fork | Kind::Prefork { .. }) => Writing::Directly,
            _ => Writing::Thread,
        }
    }
}

/// Returns how a server serves its connections, with the number of threads that its model asks for.
///
/// # Errors
/// One sentence that says which argument does not belong to the model, and what to do.
pub(crate) fn plan(cli: &mut Cli<ModelArgs>) -> Result<Plan, String> {
    let ModelArgs { model, workers, pool_min, pool_max, pool_queue } = cli.own;
    let name = model.map_or("reactor", name);
    let belongs = |argument: &str, is_given: bool, owner: Model| match model {
        _ if !is_given => Ok(()),
        Some(model) if model == owner => Ok(()),
        _ => Err(format!(
            "--{argument} belongs to --model {}, and this is --model {name}: leave one of them out",
            self::name(owner)
        )),
    };
    belongs("workers", workers.is_some(), Model::Prefork)?;
    belongs("pool-min", pool_min.is_some(), Model::Pool)?;
    belongs("pool-max", pool_max.is_some(), Model::Pool)?;
    belongs("pool-queue", pool_queue.is_some(), Model::Pool)?;
    let kind = match model {
        None => return Ok(Plan::Loops),
        Some(Model::Reactor) => {
            refuse(cli, name, &["threads", "accept", "pin"], "use --model reactors")?;
            return Ok(Plan::Loops);
        }
        Some(Model::Reactors) => {
            if !is_given(cli, "threads") {
                cli.server.loops.threads = loops::auto();
            }
            return Ok(Plan::Loops);
        }
        Some(Model::Iterative) => Kind::Iterative,
        Some(Model::Fork) => Kind::Fork,
        Some(Model::Prefork) => Kind::Prefork { workers: workers.unwrap_or(WORKERS) },
        Some(Model::Thread) => Kind::Thread,
        Some(Model::Pool) => Kind::Pool(pool(pool_min, pool_max, pool_queue)?),
    };
    check(cli, name, kind)?;
    Ok(Plan::Other(kind))
}

/// Checks that a model without a loop is not asked for what only loops have.
fn check(cli: &Cli<ModelArgs>, name: &str, kind: Kind) -> Result<(), String> {
    let loops = "use --model reactor";
    refuse(cli, name, &["threads", "accept", "pin"], "use --model reactors")?;
    refuse(cli, name, &["backend", "handover_timeout"], loops)?;
    refuse(cli, name, &["certificates", "keys", "client_ca", "handshake_timeout"], loops)?;
    for endpoint in &cli.server.listen {
        if endpoint.is_encrypted || endpoint.location.is_datagram() {
            return Err(format!(
                "--model {name} serves plain streams alone, not {endpoint}: {loops}"
            ));
        }
    }
    match kind {
        Kind::Iterative => {
            refuse(cli, name, &["max_connections"], "it serves one connection at a time")
        }
        Kind::Prefork { workers } if workers > CHILDREN_MAX => {
            Err(format!("--workers is {workers}: {CHILDREN_MAX} are the most"))
        }
        Kind::Prefork { .. } => {
            refuse(cli, name, &["max_connections"], "each of --workers serves one at a time")
        }
        Kind::Fork | Kind::Thread | Kind::Pool(_) => Ok(()),
    }
}

/// Refuses arguments that are on the command line and not for a model.
fn refuse(
    cli: &Cli<ModelArgs>,
    name: &str,
    arguments: &[&str],
    instead: &str,
) -> Result<(), String> {
    let Some(id) = arguments.iter().find(|id| is_given(cli, id)) else { return Ok(()) };
    let argument = match *id {
        "certificates" => "cert".to_owned(),
        "keys" => "key".to_owned(),
        id => id.replace('_', "-"),
    };
    Err(format!("--{argument} is not for --model {name}: leave it out, or {instead}"))
}

fn is_given(cli: &Cli<ModelArgs>, id: &str) -> bool {
    cli.given.iter().any(|given| given == id)
}

fn pool(
    min: Option<usize>,
    max: Option<usize>,
    queue: Option<usize>,
) -> Result<ThreadPoolOptions, String> {
    let default = ThreadPoolOptions::DEFAULT;
    let threads_max = max.unwrap_or(default.threads_max);
    let threads_min = min.unwrap_or(default.threads_min.min(threads_max));
    if threads_min > threads_max {
        return Err(format!(
            "--pool-min {threads_min} exceeds --pool-max {threads_max}: lower the one, or raise the other"
        ));
    }
    let queue_max = queue.unwrap_or(QUEUE_MAX);
    Ok(ThreadPoolOptions { threads_min, threads_max, queue_max, ..default })
}

/// Returns how the command line names a model.
fn name(model: Model) -> &'static str {
    match model {
        Model::Iterative => "iterative",
        Model::Fork => "fork",
        Model::Prefork => "prefork",
        Model::Thread => "thread",
        Model::Pool => "pool",
        Model::Reactor => "reactor",
        Model::Reactors => "reactors",
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::echo::SERVER;

    fn planned(words: &str) -> Result<Plan, String> {
        let words = ["echo-server"].into_iter().chain(words.split_whitespace()).map(OsString::from);
        plan(&mut crate::args::read(SERVER, words).map_err(|error| error.to_string())?)
    }

    #[test]
    fn arguments_that_do_not_belong_to_a_model_are_refused_by_name() {
        for (words, expected) in [
            ("--workers 2", "--workers belongs to --model prefork, and this is --model reactor"),
            ("--model thread --pool-max 2", "--pool-max belongs to --model pool"),
            ("--model reactor --threads 2", "--threads is not for --model reactor"),
            ("--model fork --threads 1", "--threads is not for --model fork"),
            ("--model pool --backend poll", "--backend is not for --model pool"),
            ("--model fork --cert x.pem", "--cert is not for --model fork"),
            ("--model thread --listen tls://127.0.0.1:0", "not tls://127.0.0.1:0: use --model"),
            ("--model thread --listen udp://127.0.0.1:0", "not udp://127.0.0.1:0: use --model"),
            ("--model iterative --max-connections 2", "it serves one connection at a time"),
            ("--model prefork --max-connections 2", "each of --workers serves one at a time"),
            ("--model prefork --workers 2000", "1024 are the most"),
            ("--model pool --pool-min 3 --pool-max 2", "--pool-min 3 exceeds --pool-max 2"),
            ("--model prefork --handover-timeout 3s", "--handover-timeout is not for"),
            ("--model processes", "invalid value 'processes'"),
        ] {
            let error = planned(words).expect_err(words);
            assert!(error.contains(expected), "{words}: {error}");
        }
    }

    #[test]
    fn loops_take_their_arguments_with_and_without_a_model() {
        for words in [
            "",
            "--threads 2",
            "--model reactor --backend poll",
            "--model reactors",
            "--model reactors --threads 2 --accept shared",
        ] {
            assert_eq!(planned(words), Ok(Plan::Loops), "{words}");
        }
        let two = planned("--model prefork --workers 2");
        assert_eq!(two, Ok(Plan::Other(Kind::Prefork { workers: 2 })));
    }
}
