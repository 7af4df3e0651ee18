//! Runs a test for many seeds, and reduces a run that fails to the faults that it needs.

use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

use crate::sim::{Drawn, Fault, Faults, Sim, Tracing};

/// The environment variable with the only seed to run.
pub const SEED_VARIABLE: &str = "SIM_SEED";
/// The environment variable with the only faults to draw, separated by commas. It belongs to a seed.
pub const FAULTS_VARIABLE: &str = "SIM_FAULTS";

/// How many runs the reduction of a failure may take.
const REDUCING_RUNS_MAX: usize = 400;
/// How many lines of the trace a report shows.
const LINES_SHOWN: usize = 60;

/// The result of a test.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Runs a test for many seeds, with faults.
///
/// `SIM_SEED` in the environment runs one seed alone and prints its trace as it happens;
/// with it, `SIM_FAULTS` leaves out all faults but those that it names. The report of a failure
/// contains both.
///
/// ```
/// use reactor::sim::{Fault, Faults, Storm};
/// use std::time::Duration;
///
/// let summary = Storm::new(0..3).faults(Faults::all().without(&[Fault::Crash])).run(|sim| {
///     let host = sim.host("10.0.0.1");
///     sim.start(host, || reactor::Reactor::new(()))?;
///     sim.run_for(Duration::from_secs(60))?;
///     Ok(())
/// });
/// assert_eq!(summary.runs, 3);
/// ```
#[derive(Clone, Debug)]
pub struct Storm {
    seeds: Range<u64>,
    faults: Faults,
    is_swarm: bool,
    is_repeated: bool,
    is_reduced: bool,
    tracing: Tracing,
}

/// What a storm has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many runs there were.
    pub runs: u64,
    /// The virtual time that passed in them.
    pub time: Duration,
    /// How often each fault was drawn.
    pub drawn: BTreeMap<Fault, u64>,
    /// How often things coincided that no fault has to arrange.
    pub coincidences: Coincidences,
}

/// How often things coincided in a run that no fault has to arrange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coincidences {
    /// A program got a descriptor with the number of one that it had closed in the same turn or in
    /// the one before. The system gives the lowest free number.
    pub reused_descriptors: u64,
    /// An event told of two changes or more.
    pub merged_events: u64,
}

impl Summary {
    /// Adds what another storm has done.
    pub fn merge(&mut self, other: &Self) {
        self.runs += other.runs;
        self.time += other.time;
        for (fault, count) in &other.drawn {
            *self.drawn.entry(*fault).or_default() += count;
        }
        self.coincidences.reused_descriptors += other.coincidences.reused_descriptors;
        self.coincidences.merged_events += other.coincidences.merged_events;
    }

    /// Returns the faults that were never drawn, besides [`Fault::Corrupt`], which
    /// [`Faults::all`] leaves out, and [`Fault::Chance`], which the program has to ask for.
    pub fn missing(&self) -> Vec<Fault> {
        let is_expected = |fault: &Fault| !matches!(fault, Fault::Corrupt | Fault::Chance);
        let missing = Fault::ALL.into_iter().filter(is_expected);
        missing.filter(|fault| !self.drawn.contains_key(fault)).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = if self.runs == 1 { "run" } else { "runs" };
        write!(f, "{} {runs}, {} s of virtual time", self.runs, self.time.as_secs())?;
        for (fault, count) in &self.drawn {
            write!(f, "\n  {fault:<22} {count:>9}")?;
        }
        let Coincidences { reused_descriptors, merged_events } = self.coincidences;
        write!(f, "\n  {:<22} {reused_descriptors:>9}", "(reused descriptors)")?;
        write!(f, "\n  {:<22} {merged_events:>9}", "(merged events)")
    }
}

/// A run that failed, reduced to the faults that it needs unless the storm is
/// [`unreduced`](Storm::unreduced).
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What is wrong: the error of the test, or its panic.
    pub message: String,
    /// How many faults the run drew.
    pub drawn: usize,
    /// Those that it needs to fail.
    pub needed: Vec<Drawn>,
    /// The last lines of the trace of the reduced run.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needed: Vec<String> = self.needed.iter().map(Drawn::to_string).collect();
        let needed = needed.join(",");
        let seed = self.seed;
        writeln!(f, "seed {seed}: {}", self.message)?;
        writeln!(f, "needed {} of {} faults: {needed}", self.needed.len(), self.drawn)?;
        write!(f, "to see all of it: {SEED_VARIABLE}={seed} {FAULTS_VARIABLE}=\"{needed}\" ")?;
        // The harness names the thread of a test after the test.
        match std::thread::current().name() {
            Some(test) if test != "main" => writeln!(f, "cargo test {test} -- --nocapture")?,
            _ => writeln!(f, "and the same command")?,
        }
        write!(f, "the end of its trace:\n{}", self.trace)
    }
}

impl Error for Failure {}

impl Storm {
    /// Returns a storm for `seeds`, with [all faults](Faults::all).
    pub fn new(seeds: Range<u64>) -> Self {
        let faults = Faults::all();
        let tracing = Tracing::Off;
        Self { seeds, faults, is_swarm: false, is_repeated: false, is_reduced: true, tracing }
    }

    /// Sets the faults that are drawn.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Draws other kinds of faults, at other rates, for every seed ([`Faults::swarm`]).
    #[must_use]
    pub fn swarm(mut self) -> Self {
        self.is_swarm = true;
        self
    }

    /// Runs every seed twice, and fails when the traces differ: something in the test is not drawn
    /// from the seed.
    #[must_use]
    pub fn repeated(mut self) -> Self {
        self.is_repeated = true;
        self
    }

    /// Reports the first run that fails as it is. The reduction of a run takes hundreds of others.
    #[must_use]
    pub fn unreduced(mut self) -> Self {
        self.is_reduced = false;
        self
    }

    /// Sets how much of each run is kept in text. By default, nothing.
    #[must_use]
    pub fn tracing(mut self, tracing: Tracing) -> Self {
        self.tracing = tracing;
        self
    }

    /// Runs `test` for every seed.
    ///
    /// # Panics
    /// With a report when a run fails. When a variable of the environment cannot be read, or
    /// `SIM_FAULTS` is set without `SIM_SEED`.
    pub fn run(&self, test: impl FnMut(&mut Sim) -> Outcome) -> Summary {
        self.hunt(test).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Runs `test` for every seed until one fails.
    ///
    /// # Errors
    /// The first run that fails, reduced to the faults that it needs unless the storm is
    /// [`unreduced`](Self::unreduced).
    ///
    /// # Panics
    /// When a variable of the environment cannot be read, or `SIM_FAULTS` is set without `SIM_SEED`.
    pub fn hunt(&self, mut test: impl FnMut(&mut Sim) -> Outcome) -> Result<Summary, Box<Failure>> {
        let mut summary = Summary::default();
        let (seeds, only, tracing) = match variable(SEED_VARIABLE, |text| text.parse().ok()) {
            Some(seed) => {
                let only = variable(FAULTS_VARIABLE, faults_of);
                ((Some(seed), 0..0), only, Tracing::Live)
            }
            None => {
                let is_set = std::env::var_os(FAULTS_VARIABLE).is_some();
                assert!(!is_set, "{FAULTS_VARIABLE} is for one run: set {SEED_VARIABLE} too");
                ((None, self.seeds.clone()), None, self.tracing)
            }
        };
        for seed in seeds.0.into_iter().chain(seeds.1) {
            let kept = if self.is_repeated { tracing.max(Tracing::All) } else { tracing };
            let mut run = self.run_one(seed, only.as_ref(), kept, &mut test);
            summary.merge(&run.summary());
            if self.is_repeated {
                let again = self.run_one(seed, only.as_ref(), Tracing::All, &mut test);
                if let Some(failure) = difference(seed, &run, &again) {
                    return Err(Box::new(failure));
                }
                run.trace.clear();
            }
            let Some(message) = run.message else { continue };
            return Err(Box::new(if self.is_reduced {
                self.reduce(seed, message, run.drawn, &mut test)
            } else {
                let drawn = run.drawn.len();
                Failure { seed, message, drawn, needed: run.drawn, trace: run.trace }
            }));
        }
        Ok(summary)
    }

    fn run_one(
        &self,
        seed: u64,
        only: Option<&BTreeSet<Drawn>>,
        tracing: Tracing,
        test: &mut impl FnMut(&mut Sim) -> Outcome,
    ) -> Run {
        let mut sim = Sim::new(seed);
        let faults = if self.is_swarm { Faults::swarm(seed) } else { self.faults.clone() };
        sim.set_faults(faults);
        sim.set_tracing(tracing);
        sim.world.lock().dice.only = only.cloned();
        let message = match quietly(|| catch_unwind(AssertUnwindSafe(|| test(&mut sim)))) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(format!("panicked: {}", text_of(panic.as_ref()))),
        };
        let (drawn, trace, coincidences) = (sim.drawn(), sim.trace(), sim.coincidences());
        let time = sim.now();
        // Programs that were left behind by a panic may panic again when they end.
        let _ = quietly(|| catch_unwind(AssertUnwindSafe(|| drop(sim))));
        Run { message, drawn, trace, time, coincidences }
    }

    /// Leaves out faults as long as the run still fails: large parts first, then one by one.
    fn reduce(
        &self,
        seed: u64,
        message: String,
        drawn: Vec<Drawn>,
        test: &mut impl FnMut(&mut Sim) -> Outcome,
    ) -> Failure {
        let count = drawn.len();
        let mut needed = drawn;
        let (mut part, mut runs) = (needed.len(), 0);
        while part > 0 && runs < REDUCING_RUNS_MAX {
            let mut at = 0;
            while at < needed.len() && runs < REDUCING_RUNS_MAX {
                let end = (at + part).min(needed.len());
                let rest: BTreeSet<Drawn> =
                    needed[..at].iter().chain(&needed[end..]).copied().collect();
                runs += 1;
                let run = self.run_one(seed, Some(&rest), Tracing::Off, test);
                if run.message.is_some() {
                    // It may draw others of them than before, and then fewer.
                    needed = run.drawn;
                } else {
                    at = end;
                }
            }
            part = if part == 1 { 0 } else { part.div_ceil(2).min(needed.len().max(1)) };
        }
        let only: BTreeSet<Drawn> = needed.iter().copied().collect();
        let last = self.run_one(seed, Some(&only), Tracing::Recent, test);
        let lines: Vec<&str> = last.trace.lines().collect();
        let shown = lines.len().saturating_sub(LINES_SHOWN);
        let trace = lines[shown..].join("\n");
        Failure { seed, message: last.message.unwrap_or(message), drawn: count, needed, trace }
    }
}

/// One run.
struct Run {
    /// What is wrong.
    message: Option<String>,
    drawn: Vec<Drawn>,
    time: Duration,
    trace: String,
    coincidences: Coincidences,
}

impl Run {
    fn summary(&self) -> Summary {
        let mut drawn = BTreeMap::new();
        for one in &self.drawn {
            *drawn.entry(one.fault).or_default() += 1;
        }
        Summary { runs: 1, time: self.time, drawn, coincidences: self.coincidences }
    }
}

/// Returns the failure of a run that does not repeat itself.
fn difference(seed: u64, run: &Run, again: &Run) -> Option<Failure> {
    let mut lines = run.trace.lines().zip(again.trace.lines()).enumerate();
    let differs = lines.find(|(_, (one, other))| one != other);
    let (number, (one, other)) = match differs {
        Some(found) => found,
        None if run.trace == again.trace && run.message == again.message => return None,
        // One of them goes on.
        None => (run.trace.lines().count().min(again.trace.lines().count()), ("", "")),
    };
    let message = format!("two runs differ in line {number} of their traces");
    let before: Vec<&str> = run.trace.lines().take(number).collect();
    let shown = before.len().saturating_sub(LINES_SHOWN);
    let trace = format!("{}\nthen: {one}\n  or: {other}", before[shown..].join("\n"));
    let drawn = run.drawn.len();
    Some(Failure { seed, message, drawn, needed: run.drawn.clone(), trace })
}

/// Returns the value of a variable of the environment, if it is set.
fn variable<T>(name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text =
        std::env::var(name).ok().filter(|text| !text.is_empty() || name == FAULTS_VARIABLE)?;
    let value = parse(&text);
    assert!(value.is_some(), "{name}=\"{text}\" cannot be read");
    value
}

fn faults_of(text: &str) -> Option<BTreeSet<Drawn>> {
    text.split(',').filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect()
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no message".to_owned())
}

thread_local! {
    /// Whether panics of this thread are reported elsewhere.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `call` without a message for each of its panics, which would hide the report.
fn quietly<T>(call: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                before(panic);
            }
        }));
    });
    let before = IS_QUIET.replace(true);
    let result = call();
    IS_QUIET.set(before);
    result
}
