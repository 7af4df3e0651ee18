//! Doing what was planned: every subject in turn, round after round.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::measure;
use crate::plan::Plan;
use crate::subject::Subject;
use crate::work::{Values, Work};

/// One figure that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What was done.
    pub work: Work,
    /// By whom.
    pub subject: &'static str,
    /// In which round.
    pub round: usize,
    /// What the figure is called.
    pub metric: String,
    /// The figure.
    pub value: f64,
}

/// Where the server and the client run; negative is anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinning {
    /// The core of the subject.
    pub server: i32,
    /// The core of the client.
    pub client: i32,
}

impl Pinning {
    /// The last core for the server and the one before it for the client: the first cores serve
    /// most interrupts.
    pub fn choose() -> Self {
        let core = |core: usize| i32::try_from(core).unwrap_or(-1);
        match measure::cores().as_slice() {
            [.., client, server] => Self { server: core(*server), client: core(*client) },
            _ => Self { server: -1, client: -1 },
        }
    }

    /// In words.
    pub fn describe(self) -> String {
        match self.server {
            ..0 => "not pinned: one core only, so client and server take it from each other".into(),
            server => format!("servers on core {server}, the client on core {}", self.client),
        }
    }
}

/// A comparison under way.
#[derive(Debug)]
pub struct Run {
    /// What is to be done.
    pub plan: Plan,
    /// By whom.
    pub subjects: Vec<Subject>,
    /// Where.
    pub pinning: Pinning,
    /// Whether every server is stopped for [`STALL`](crate::drive::STALL) in the middle of its measurement, to see that
    /// the report shows it.
    pub stall: bool,
    /// Set when the user wants it to end.
    pub stop: Arc<AtomicBool>,
    /// What was measured.
    pub samples: Vec<Sample>,
    /// What could not be measured, and why.
    pub skipped: Vec<String>,
    /// The share of the cores that others had meanwhile.
    pub others: Option<f64>,
}

impl Run {
    /// Does all of the plan, or as much of it as there is time for until it is stopped.
    pub fn all(&mut self) {
        let before = measure::Usage::now();
        self.works();
        let now = measure::Usage::now();
        self.others = now.zip(before).map(|(now, before)| now.others_since(&before));
    }

    fn works(&mut self) {
        let works = self.plan.works.clone();
        let mut progress = Progress::new(self.steps());
        for work in &works {
            let (needed, limit) = (work.descriptors(), measure::descriptors_max());
            if needed > limit {
                let text = format!("{work}: needs {needed} descriptors, ulimit -n allows {limit}");
                self.skipped.push(text);
                continue;
            }
            let mut subjects: Vec<Subject> =
                self.subjects.iter().copied().filter(|it| it.does(work)).collect();
            for round in 0..work.rounds(self.plan.rounds) {
                for subject in &subjects {
                    if self.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    progress.step(&format!("{work}: {}", subject.name));
                    self.one(work, subject, round);
                }
                // The subject that comes first in one round is last in the next.
                subjects.reverse();
            }
        }
        progress.end();
    }

    fn steps(&self) -> usize {
        let subjects = |work: &Work| self.subjects.iter().filter(|it| it.does(work)).count();
        let steps = |work: &Work| subjects(work) * work.rounds(self.plan.rounds);
        self.plan.works.iter().map(steps).sum()
    }

    fn one(&mut self, work: &Work, subject: &Subject, round: usize) {
        match (work.kind.measure)(self, work, subject) {
            Ok(values) => self.keep(work, subject, round, values),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A client that was interrupted by the same Ctrl-C is no failure either.
            Err(_) if self.stop.load(Ordering::Relaxed) => {}
            Err(error) => self.skipped.push(format!("{work}: {}: {error}", subject.name)),
        }
    }

    /// A subject that measures itself repeats its figures; the median of them is this round's.
    fn keep(&mut self, work: &Work, subject: &Subject, round: usize, values: Values) {
        for metric in work.kind.metrics {
            let mut found: Vec<f64> =
                values.iter().filter(|(name, _)| name == metric.name).map(|(_, it)| *it).collect();
            if found.is_empty() {
                continue;
            }
            found.sort_by(f64::total_cmp);
            self.samples.push(Sample {
                work: *work,
                subject: subject.name,
                round,
                metric: metric.name.to_owned(),
                value: found[found.len() / 2],
            });
        }
    }
}

/// Says on standard error how far things are.
struct Progress {
    total: usize,
    done: usize,
    started: Instant,
    last: String,
}

impl Progress {
    fn new(total: usize) -> Self {
        Self { total, done: 0, started: Instant::now(), last: String::new() }
    }

    fn step(&mut self, what: &str) {
        let (total, done) = (self.total, self.done);
        self.done += 1;
        let elapsed = self.started.elapsed().as_secs();
        let mut output = io::stderr();
        // Nothing is lost when progress is.
        if output.is_terminal() {
            let _ = write!(output, "\r\x1b[K[{done}/{total}, {elapsed} s] {what}");
        } else {
            // A log wants one line for each work, not each step.
            let work = what.rsplit_once(':').map_or(what, |(work, _)| work);
            if self.last != work {
                let _ = writeln!(output, "[{done}/{total}, {elapsed} s] {work}");
                self.last = work.to_owned();
            }
        }
    }

    fn end(&mut self) {
        let mut output = io::stderr();
        let start = if output.is_terminal() { "\r\x1b[K" } else { "" };
        let elapsed = self.started.elapsed().as_secs();
        let _ = writeln!(output, "{start}{} measurements in {elapsed} s", self.done);
    }
}
