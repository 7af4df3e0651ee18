//! Executes a plan: one subject after the other, in several rounds.

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
    /// The work.
    pub work: Work,
    /// The subject.
    pub subject: &'static str,
    /// The number of the round.
    pub round: usize,
    /// The name of the figure.
    pub metric: String,
    /// The figure.
    pub value: f64,
}

/// The cores of the server and the client. A negative number means any core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinning {
    /// The core of the subject.
    pub server: i32,
    /// The core of the client.
    pub client: i32,
}

impl Pinning {
    /// Chooses the last core for the server and the one before it for the client: the first cores
    /// serve most interrupts.
    pub fn choose() -> Self {
        let core = |core: usize| i32::try_from(core).unwrap_or(-1);
        match measure::cores().as_slice() {
            [.., client, server] => Self { server: core(*server), client: core(*client) },
            _ => Self { server: -1, client: -1 },
        }
    }

    /// Describes the pinning in words.
    pub fn describe(self) -> String {
        match self.server {
            ..0 => "not pinned: client and server share the only core".into(),
            server => format!("servers on core {server}, the client on core {}", self.client),
        }
    }
}

/// A running comparison.
#[derive(Debug)]
pub struct Run {
    /// The plan.
    pub plan: Plan,
    /// The subjects.
    pub subjects: Vec<Subject>,
    /// The cores that they use.
    pub pinning: Pinning,
    /// Whether every server is stopped for [`STALL`](crate::drive::STALL) in the middle of its
    /// measurement, to test that the report shows it.
    pub stall: bool,
    /// Set when the user interrupts the comparison.
    pub stop: Arc<AtomicBool>,
    /// The samples so far.
    pub samples: Vec<Sample>,
    /// The measurements that failed, and why.
    pub skipped: Vec<String>,
    /// The share of the cores that other processes used meanwhile.
    pub others: Option<f64>,
}

impl Run {
    /// Executes the plan until its end or until it is interrupted.
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
            for round in 0..self.plan.rounds {
                for subject in &subjects {
                    if self.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    progress.step(&format!("{work}: {}", subject.name));
                    self.one(work, subject, round);
                }
                // The subject that is first in one round is last in the next.
                subjects.reverse();
            }
        }
        progress.end();
    }

    fn steps(&self) -> usize {
        let subjects = |work: &Work| self.subjects.iter().filter(|it| it.does(work)).count();
        let steps = |work: &Work| subjects(work) * self.plan.rounds;
        self.plan.works.iter().map(steps).sum()
    }

    fn one(&mut self, work: &Work, subject: &Subject, round: usize) {
        match (work.kind.measure)(self, work, subject) {
            Ok(values) => self.keep(work, subject, round, values),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A client that the same Ctrl-C interrupted is not a failure either.
            Err(_) if self.stop.load(Ordering::Relaxed) => {}
            Err(error) => self.skipped.push(format!("{work}: {}: {error}", subject.name)),
        }
    }

    /// Stores the figures of a round. A subject that measures itself prints a figure several times;
    /// the median is stored.
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

/// Shows the progress on standard error.
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
        // A failure to print progress does not matter.
        if output.is_terminal() {
            let _ = write!(output, "\r\x1b[K[{done}/{total}, {elapsed} s] {what}");
        } else {
            // A log gets one line for each work, not for each step.
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
