//! Compares the reactor with other loops, side by side:
//! `cargo run --release -p myevent-benches --bin compare`.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::load::names::About;
use benches::load::talk::Talk;
use benches::load::{self, Load, connections, handshakes};
use benches::loops::{models, names, nginx, web};
use benches::plan::Plan;
use benches::program::Program;
use benches::run::{Pinning, Run};
use benches::work::Work;
use benches::{calls, kinds, measure, record, subject};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Compares the reactor with other event loops, doing the same work side by side
#[derive(Parser)]
#[command(
    name = "compare",
    version,
    after_help = "Each table names the processor, whether the machine is virtual, the cores and the \
    kernel. Ratios are the medians of the ratios of the rounds. A table shows unresolved instead of a \
    ratio if the rounds do not agree which of the two has more (sign test, 95 % confidence), or if there \
    are fewer than 6 rounds. Figures that are equal in all rounds have the ratio 1.00. summary.csv has \
    every ratio with its interval.\n\nThe comparison uses the loopback interface only. Ctrl-C ends it, and it \
    reports the results so far.\n\nExit codes: 0 when all measurements succeeded; 1 when one failed; 2 \
    on wrong arguments."
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Args)]
struct Options {
    /// Take about two minutes instead of some twenty, for rough results
    #[arg(long)]
    quick: bool,
    /// Run only these kinds of work, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "KIND", value_parser = kinds::LOOPS.map(|it| it.name))]
    only: Vec<String>,
    /// Run only these loops, separated by commas; ratios need the loop that they refer to: raw for
    /// most kinds of work, nginx for files
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = names())]
    loops: Vec<String>,
    /// Number of times that each loop does each work
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Duration of each measurement under load, in milliseconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    duration: Option<u64>,
    /// Folder for the report, the CSV files and the plots
    #[arg(long, value_name = "DIR", default_value = "target/compare")]
    out: PathBuf,
    /// Folder of the book to write a page with the tables and plots to as well, unless other
    /// processes used more than 20 % of the cores or a measurement failed
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Stop every server for 1 s in the middle of its measurement, to test that the report shows it
    #[arg(long, hide = true)]
    stall: bool,
}

fn names() -> Vec<&'static str> {
    subject::ALL.iter().map(|it| it.name).collect()
}

/// The roles in which the program starts itself.
#[derive(Subcommand)]
enum Part {
    /// A loop that does a work
    #[command(hide = true)]
    Serve {
        name: String,
        work: String,
        #[arg(allow_negative_numbers = true)]
        core: i32,
        number: Option<usize>,
    },
    /// The client
    #[command(hide = true)]
    Load(LoadArgs),
    /// strace, which starts a server
    #[command(hide = true)]
    Trace {
        program: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Args)]
struct LoadArgs {
    /// Addresses of servers that are loaded together, separated by commas
    #[arg(value_delimiter = ',', required = true)]
    addresses: Vec<SocketAddr>,
    /// The process whose processor time is measured
    #[arg(long)]
    pid: u32,
    #[arg(long, allow_negative_numbers = true, default_value_t = -1)]
    core: i32,
    #[arg(long, default_value = "exchange")]
    kind: Kind,
    #[arg(long, default_value_t = 50)]
    connections: usize,
    #[arg(long, default_value_t = 64)]
    size: usize,
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Messages a second, on all connections together
    #[arg(long)]
    rate: Option<f64>,
    /// Number of messages to exchange, without a time limit
    #[arg(long)]
    messages: Option<u64>,
    #[arg(long, default_value = "echo")]
    talk: Talk,
    /// Over TLS
    #[arg(long)]
    tls: bool,
    /// Milliseconds
    #[arg(long, default_value_t = 100)]
    warm_up: u64,
    /// Milliseconds
    #[arg(long, default_value_t = 1000)]
    duration: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Exchange,
    Idle,
    /// The memory of a process and its children
    IdleFamily,
    Churn,
    /// Datagrams
    Datagrams,
    /// The server of programs that make connections. The listener is the standard input
    Accept,
    /// Handshakes of TLS
    Handshakes,
    /// Those of sessions that are resumed
    Resumed,
    /// Questions of the Domain Name System that were asked before. The socket of the upstream is the
    /// standard input
    KnownNames,
    /// Those that were not
    NewNames,
}

/// Runs a loop that does a work, on its core.
fn serve(name: &str, work: &str, core: i32, number: Option<usize>) -> io::Result<()> {
    measure::end_with_parent()?;
    measure::pin(core)?;
    subject::serve(name, work, number.unwrap_or(0))
}

/// Runs the client on its core, and prints its measurements.
fn load(args: &LoadArgs) -> io::Result<()> {
    measure::end_with_parent()?;
    measure::pin(args.core)?;
    let load = Load {
        connections: args.connections,
        size: args.size,
        depth: args.depth,
        rate: args.rate,
        talk: args.talk,
        tls: args.tls,
        warm_up: Duration::from_millis(args.warm_up),
        duration: Duration::from_millis(args.duration),
    };
    let (server, pid) = (args.addresses[0], args.pid);
    let lines = match (args.kind, args.messages) {
        (Kind::Idle, _) => connections::idle(load, server, pid)?,
        (Kind::IdleFamily, _) => connections::idle_family(load, server, pid)?,
        (Kind::Churn, _) => connections::churn(load, server, pid)?,
        (Kind::Datagrams, _) => load::datagrams::run(load, server, pid)?,
        (Kind::Accept, _) => load::accept::run(load, pid)?,
        (Kind::Handshakes, _) => handshakes::run(load, false, server, pid)?,
        (Kind::Resumed, _) => handshakes::run(load, true, server, pid)?,
        (Kind::KnownNames, _) => load::names::run(load, About::Known, server, pid)?,
        (Kind::NewNames, _) => load::names::run(load, About::New, server, pid)?,
        (Kind::Exchange, Some(count)) => {
            format!("messages {}\n", load::exchange(load, count, server)?)
        }
        (Kind::Exchange, None) => load::together(load, &args.addresses, pid)?.lines(),
    };
    print!("{lines}");
    Ok(())
}

/// Replaces this process by strace, which ends with the comparison like all its processes.
fn trace(program: &str, arguments: &[String]) -> io::Result<()> {
    measure::end_with_parent()?;
    calls::become_strace(program, arguments)
}

/// Returns the plan for the options.
fn plan(options: &Options) -> Plan {
    let mut plan = if options.quick { Plan::quick() } else { Plan::full() };
    if !options.only.is_empty() {
        plan.works.retain(|work| options.only.iter().any(|kind| kind == work.kind.name));
    }
    if let Some(rounds) = options.rounds {
        plan.rounds = usize::from(rounds);
    }
    if let Some(milliseconds) = options.duration {
        plan.duration = Duration::from_millis(milliseconds);
    }
    plan
}

fn compare(options: &Options) -> io::Result<ExitCode> {
    let program = Program {
        name: "compare",
        out: &options.out,
        record: options.record.as_deref(),
        page: &record::COMPARISON,
    };
    let stop = program.prepare()?;
    let chosen = |name: &str| options.loops.is_empty() || options.loops.iter().any(|it| it == name);
    let subjects = subject::ALL.into_iter().filter(|it| chosen(it.name)).collect();
    let mut run = Run {
        plan: plan(options),
        subjects,
        pinning: Pinning::choose(),
        stall: options.stall,
        stop,
        samples: Vec::new(),
        skipped: Vec::new(),
        others: None,
    };
    let uncounted = leave_calls_out(&mut run);
    let loads = format!("loads of {:?} after {:?}", run.plan.duration, run.plan.warm_up);
    let versions = [
        ("nginx", nginx::version()),
        ("dnsmasq", names::dnsmasq_version()),
        ("unbound", names::unbound_version()),
    ];
    let versions: Vec<_> =
        versions.into_iter().filter_map(|(name, version)| Some((name, version.ok()?))).collect();
    let (mut head, started) = (program.head(&run, &loads, &versions), Instant::now());
    let mut not_done = Vec::new();
    if let Some(why) = uncounted {
        let _ = writeln!(head, "{:<12} counts system calls  ABSENT: {why}", "strace");
        not_done.push(format!("ABSENT: system calls were not counted: {why}"));
    }
    print!("{head}");
    run.subjects.retain(|it| it.absent().is_none());
    run.all();
    program.report(&run, &head, &not_done, started)
}

/// Removes the works that need strace from the plan if strace cannot trace. Returns the reason.
fn leave_calls_out(run: &mut Run) -> Option<String> {
    let is_calls = |work: &Work| work.kind == &kinds::CALLS;
    let why = calls::absent().filter(|_| run.plan.works.iter().any(is_calls))?;
    run.plan.works.retain(|work| !is_calls(work));
    Some(why)
}

/// Returns whether this program was started under another name.
fn is_named(name: &str) -> bool {
    std::env::args_os().next().is_some_and(|it| Path::new(&it).ends_with(name))
}

fn main() -> ExitCode {
    if is_named(web::WEB) {
        return servers::run_with(servers::web::SERVER, servers::web::application);
    }
    if is_named(names::DNS) {
        return servers::run_with(servers::dns::SERVER, servers::dns::application);
    }
    if is_named(models::ECHO) {
        return servers::run(servers::echo::SERVER, servers::echo::session);
    }
    let cli = Cli::parse();
    let (role, result) = match &cli.part {
        Some(Part::Serve { name, work, core, number }) => {
            (name.as_str(), serve(name, work, *core, *number).map(|()| ExitCode::SUCCESS))
        }
        Some(Part::Trace { program, arguments }) => {
            ("strace", trace(program, arguments).map(|()| ExitCode::SUCCESS))
        }
        Some(Part::Load(args)) => ("the client", load(args).map(|()| ExitCode::SUCCESS)),
        None => ("compare", compare(&cli.options)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{role}: {error}");
        ExitCode::FAILURE
    })
}
