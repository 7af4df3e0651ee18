//! Compares `kv` with Redis under `redis-benchmark`:
//! `cargo run --release -p myevent-benches --bin against_redis`.

#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use benches::benchmark::{self, Test};
use benches::plan::Plan;
use benches::program::Program;
use benches::run::{Pinning, Run};
use benches::subject::Subject;
use benches::work::Work;
use benches::{kinds, measure, neighbour, record, subject};
use clap::{Args, Parser, Subcommand};
use servers::{Server, kv};

/// Compares kv with Redis under the load of redis-benchmark
#[derive(Parser)]
#[command(
    name = "against_redis",
    version,
    after_help = "The comparison needs redis-server and redis-benchmark. It uses the loopback interface \
    only. A table shows unresolved instead of a ratio if the rounds do not agree which of the two has more \
    (sign test, 95 % confidence), or if there are fewer than 6 rounds. Measuring on half a core needs chrt \
    (util-linux), and root or ulimit -r 1; otherwise it is left out. Ctrl-C ends the comparison, which \
    reports the results so far.\n\nExit codes: 0 when all measurements that were tried succeeded; 1 \
    when one failed; 2 on wrong arguments."
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Args)]
struct Options {
    /// Take about ten seconds instead of eight minutes, for rough results
    #[arg(long)]
    quick: bool,
    /// Run only these tests, separated by commas: each on a whole core and on half of one, or
    /// memory
    #[arg(long, value_delimiter = ',', value_name = "TEST", value_parser = names())]
    only: Vec<String>,
    /// Also measure kv on this backend, beside its default
    #[arg(long, value_name = "NAME", value_parser = subject::KV_ON.map(|(name, _)| name))]
    backend: Option<String>,
    /// Number of times that each server runs each test
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Folder for the report, the CSV files and the page
    #[arg(long, value_name = "DIR", default_value = "target/against_redis")]
    out: PathBuf,
    /// Folder of the book to write the page to as well, unless other processes used more than 20 %
    /// of the cores or a measurement failed
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
}

fn names() -> Vec<&'static str> {
    Test::ALL.iter().map(|it| it.name()).chain(["memory"]).collect()
}

/// The roles in which the program starts itself.
#[derive(Subcommand)]
enum Part {
    /// A server
    #[command(hide = true)]
    Serve {
        name: String,
        work: String,
        #[arg(allow_negative_numbers = true)]
        core: i32,
    },
    /// redis-benchmark
    #[command(hide = true)]
    Load {
        #[arg(allow_negative_numbers = true)]
        core: i32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The process that occupies half of a core
    #[command(hide = true)]
    Neighbour {
        #[arg(allow_negative_numbers = true)]
        core: i32,
    },
}

/// Runs a server on its core.
fn serve(name: &str, work: &str, core: i32) -> io::Result<()> {
    measure::end_with_parent()?;
    measure::pin(core)?;
    subject::serve(name, work, 0)
}

/// Runs the client on its core.
fn load(core: i32, arguments: &[String]) -> io::Result<()> {
    measure::end_with_parent()?;
    measure::pin(core)?;
    benchmark::become_benchmark(arguments)
}

/// Returns the plan for the options.
fn plan(options: &Options) -> Plan {
    let quick = options.quick;
    let mut plan = if quick { Plan::against_redis_quick() } else { Plan::against_redis_full() };
    let is_wanted = |work: &Work| {
        let name = work.test.map_or(work.kind.name, Test::name);
        options.only.is_empty() || options.only.iter().any(|it| it == name)
    };
    plan.works.retain(is_wanted);
    plan.rounds = options.rounds.map_or(plan.rounds, usize::from);
    plan
}

/// Returns the servers for the options.
fn subjects(options: &Options) -> Vec<Subject> {
    let is_chosen = |name: &str| options.backend.as_deref() == Some(name);
    let further = subject::KV_ON.into_iter().filter(|(name, _)| is_chosen(name));
    subject::AGAINST_REDIS.into_iter().chain(further.map(|(_, subject)| subject)).collect()
}

/// Returns the reason if no server can be measured on half of a core.
fn no_half(pinning: Pinning) -> Option<String> {
    let why = match pinning.server {
        ..0 => "it needs a core that the client does not use".to_owned(),
        _ => neighbour::absent()?,
    };
    Some(format!("NOT TRIED: a server on half a core: {why}"))
}

fn compare(options: &Options) -> io::Result<ExitCode> {
    if let Some(why) = benchmark::absent() {
        return Err(io::Error::other(why));
    }
    let program = Program {
        name: "against_redis",
        out: &options.out,
        record: options.record.as_deref(),
        page: &record::AGAINST_REDIS,
    };
    let (mut plan, pinning) = (plan(options), Pinning::choose());
    let is_half = |work: &Work| work.kind == &kinds::HALF;
    let no_half = if plan.works.iter().any(is_half) { no_half(pinning) } else { None };
    if let Some(why) = &no_half {
        plan.works.retain(|work| !is_half(work));
        if options.record.is_some() {
            return Err(io::Error::other(format!("cannot record without this. {why}")));
        }
    }
    let stop = program.prepare()?;
    let mut run = Run {
        plan,
        subjects: subjects(options),
        pinning,
        stall: false,
        stop,
        samples: Vec::new(),
        skipped: Vec::new(),
        others: None,
    };
    let versions = [("redis", benchmark::version("redis-server")?)];
    let loads = "a tenth of the requests before each measurement";
    let (head, started) = (program.head(&run, loads, &versions), Instant::now());
    print!("{head}");
    run.subjects.retain(|it| it.absent().is_none());
    run.all();
    program.report(&run, &head, no_half.as_slice(), started)
}

/// Returns whether this program was started under the name `kv`.
fn is_kv() -> bool {
    std::env::args_os().next().is_some_and(|it| Path::new(&it).ends_with(benchmark::KV))
}

fn main() -> ExitCode {
    if is_kv() {
        let server = Server {
            name: "kv",
            about: "The server that against_redis starts",
            address: "127.0.0.1:0",
            datagram_port: None,
        };
        return servers::run_with(server, kv::application);
    }
    let cli = Cli::parse();
    let (role, result) = match &cli.part {
        Some(Part::Serve { name, work, core }) => {
            (name.as_str(), serve(name, work, *core).map(|()| ExitCode::SUCCESS))
        }
        Some(Part::Load { core, arguments }) => {
            ("redis-benchmark", load(*core, arguments).map(|()| ExitCode::SUCCESS))
        }
        Some(Part::Neighbour { core }) => {
            ("the neighbour", neighbour::take_half(*core).map(|never| match never {}))
        }
        None => ("against_redis", compare(&cli.options)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{role}: {error}");
        ExitCode::FAILURE
    })
}
