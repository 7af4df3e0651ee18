//! Hunts for faults of the loop and of the servers on simulated hosts:
//! `cargo run --release -p myevent-benches --bin storm -- --seeds 100000 --minutes 10`.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use benches::storm::scenarios::{self, Scenario};
use clap::Parser;
use reactor::sim::{Drawn, FAULTS_VARIABLE, Failure, SEED_VARIABLE, Storm, Summary, Tracing};

/// The time between two lines about the progress.
const PROGRESS: Duration = Duration::from_secs(2);

/// Runs servers and their clients on simulated hosts with faults, for many seeds
#[derive(Parser)]
#[command(
    name = "storm",
    version,
    after_help = "Each seed gives one run of each scenario, the same one every time. A run that fails is reduced \
    to the faults that it needs. The report shows two variables: with SIM_SEED and SIM_FAULTS in the \
    environment and --scenario, the reduced run is repeated with its trace. Ctrl-C ends the hunt with \
    the summary.\n\nExit codes: 0 when no run has failed; 1 when one has; 2 on wrong arguments."
)]
struct Cli {
    /// Number of seeds to run
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of the seeds
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    first_seed: u64,
    /// Begin no further run after this many minutes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Run only this scenario
    #[arg(long, value_name = "NAME", value_parser = names())]
    scenario: Option<String>,
    /// Run only this seed, and print its trace
    #[arg(long, value_name = "SEED", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    #[arg(conflicts_with_all = ["seeds", "first_seed", "threads", "minutes"])]
    seed: Option<u64>,
    /// Number of threads, each with seeds of its own; by default as many as there are processors
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

fn names() -> Vec<&'static str> {
    scenarios::ALL.iter().map(|scenario| scenario.name).collect()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let found: Vec<&Scenario> = match &cli.scenario {
        Some(name) => scenarios::find(name).into_iter().collect(),
        None => scenarios::ALL.iter().collect(),
    };
    if let Some(problem) = problem(&cli) {
        eprintln!("storm: {problem}");
        return ExitCode::from(2);
    }
    if let Some(seed) = cli.seed {
        return show(seed, &found);
    }
    let hunt = Arc::new(Hunt::new(&cli, found));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&hunt.is_over)) {
            eprintln!("storm: cannot listen to signals: {error}");
            return ExitCode::FAILURE;
        }
    }
    let default = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cli.threads.map_or(default, usize::from);
    // With a seed in the environment, there is one run.
    let threads = if std::env::var_os(SEED_VARIABLE).is_some() { 1 } else { threads };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| hunt.work())).collect();
        hunt.report_progress(|| workers.iter().all(|worker| worker.is_finished()));
    });
    hunt.conclude()
}

/// Runs one seed, with its trace.
fn show(seed: u64, scenarios: &[&Scenario]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for scenario in scenarios {
        eprintln!("{}: {}", scenario.name, scenario.about);
        let storm = Storm::new(seed..seed + 1).tracing(Tracing::Live).unreduced();
        match storm.hunt(scenario.run) {
            Ok(_) => eprintln!("{}: seed {seed} succeeds", scenario.name),
            Err(failure) => {
                eprintln!("{}: seed {seed} fails: {}", scenario.name, failure.message);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// Returns what is wrong with the variables of the environment, or with the range of seeds.
fn problem(cli: &Cli) -> Option<String> {
    let seed = std::env::var(SEED_VARIABLE).ok();
    if let Some(text) = seed.as_ref().filter(|text| text.parse::<u64>().is_err()) {
        return Some(format!("{SEED_VARIABLE}=\"{text}\" is not a seed, which is a number"));
    }
    let faults = std::env::var(FAULTS_VARIABLE).unwrap_or_default();
    let unknown = faults.split(',').filter(|text| !text.is_empty());
    if let Some(error) = unknown.filter_map(|text| text.parse::<Drawn>().err()).next() {
        return Some(format!("{FAULTS_VARIABLE}: {error}"));
    }
    if std::env::var_os(FAULTS_VARIABLE).is_some() && seed.is_none() {
        return Some(format!("{FAULTS_VARIABLE} is for one run: set {SEED_VARIABLE} too"));
    }
    cli.first_seed
        .checked_add(cli.seeds)
        .is_none()
        .then(|| format!("there are no {} seeds from {} on", cli.seeds, cli.first_seed))
}

/// What the threads share.
struct Hunt {
    scenarios: Vec<&'static Scenario>,
    first: u64,
    /// How many runs there are: each seed in each scenario.
    runs: u64,
    /// The next one.
    next: AtomicU64,
    started: Instant,
    until: Instant,
    is_over: Arc<AtomicBool>,
    done: AtomicU64,
    summary: Mutex<Summary>,
    failure: Mutex<Option<(&'static str, Box<Failure>)>>,
}

impl Hunt {
    fn new(cli: &Cli, scenarios: Vec<&'static Scenario>) -> Self {
        let started = Instant::now();
        Self {
            first: cli.first_seed,
            runs: cli.seeds.saturating_mul(scenarios.len() as u64),
            scenarios,
            next: AtomicU64::new(0),
            started,
            until: started + Duration::from_secs(cli.minutes * 60),
            is_over: Arc::new(AtomicBool::new(false)),
            done: AtomicU64::new(0),
            summary: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs seeds until there are none left, or one fails.
    fn work(&self) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let is_over = self.is_over.load(Ordering::Relaxed);
            if is_over || number >= self.runs || Instant::now() >= self.until {
                return;
            }
            let count = self.scenarios.len() as u64;
            let scenario = self.scenarios[(number % count) as usize];
            let seed = self.first + number / count;
            let hunted = Storm::new(seed..seed + 1).hunt(scenario.run);
            self.done.fetch_add(1, Ordering::Relaxed);
            match hunted {
                Ok(summary) => self.summary().merge(&summary),
                Err(failure) => {
                    self.is_over.store(true, Ordering::Relaxed);
                    let mut slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    slot.get_or_insert((scenario.name, failure));
                }
            }
            if std::env::var_os(SEED_VARIABLE).is_some() && number + 1 >= count {
                return;
            }
        }
    }

    /// Writes a line about the progress now and then until all threads are done.
    fn report_progress(&self, are_done: impl Fn() -> bool) {
        let mut last = Instant::now();
        while !are_done() {
            std::thread::sleep(Duration::from_millis(50));
            if last.elapsed() >= PROGRESS {
                last = Instant::now();
                eprint!("\r{}", self.progress());
                // A terminal that is gone misses the line.
                let _ = std::io::stderr().flush();
            }
        }
        eprintln!("\r{}", self.progress());
    }

    fn progress(&self) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let passed = self.summary().time;
        let rate = done as f64 / self.started.elapsed().as_secs_f64();
        let hours = passed.as_secs_f64() / 3600.0;
        format!("{done} of {} runs, {hours:.1} h of virtual time, {rate:.1} runs/s ", self.runs)
    }

    /// Prints the summary, and the failure if there is one.
    fn conclude(&self) -> ExitCode {
        println!("{}", self.summary());
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((name, failure)) = &*failure else { return ExitCode::SUCCESS };
        println!("\nscenario {name} (--scenario {name} repeats it alone), {failure}");
        ExitCode::FAILURE
    }
}
