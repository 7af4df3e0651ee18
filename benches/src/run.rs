//! Doing what was planned: every subject in turn, round after round.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::benchmark::{self, Test};
use crate::calls::{self, Counted};
use crate::plan::{LINES_CONNECTIONS, Plan, Work};
use crate::subject::{Running, Subject, this_program};
use crate::{measure, neighbour};

/// How long a subject may take to start: longer than a machine that does other work needs.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long one measurement may take beyond its duration, on such a machine too.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a planted stall is.
pub const STALL: Duration = Duration::from_secs(1);

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
    /// Whether every server is stopped for [`STALL`] in the middle of its measurement, to see that
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
                // Whoever comes first in one round is last in the next.
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
        let result = match work {
            Work::Calls { .. } => self.counted(work, subject),
            Work::Scale { .. } => self.scaled(work, subject),
            Work::Requests { test, depth, count, half } => {
                self.requested(work, subject, (*test, *depth, *count), *half)
            }
            Work::Keys { count } => self.filled(work, subject, *count),
            _ if work.needs_client() => self.loaded(work, subject),
            _ => subject
                .start(work, self.pinning.server)
                .and_then(|running| running.values(PATIENCE, &self.stop)),
        };
        match result {
            Ok(values) => self.keep(work, subject, round, values),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A client that was interrupted by the same Ctrl-C is no failure either.
            Err(_) if self.stop.load(Ordering::Relaxed) => {}
            Err(error) => self.skipped.push(format!("{work}: {}: {error}", subject.name)),
        }
    }

    /// A subject that measures itself repeats its figures; the median of them is this round's.
    fn keep(&mut self, work: &Work, subject: &Subject, round: usize, values: Vec<(String, f64)>) {
        for metric in work.metrics() {
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

    fn loaded(&self, work: &Work, subject: &Subject) -> io::Result<Vec<(String, f64)>> {
        let server = subject.start(work, self.pinning.server)?;
        let address = server.address(START_PATIENCE, &self.stop)?;
        let client = Running::start(self.client(work, &address, server.pid())?)?;
        if self.stall {
            thread::sleep(self.plan.warm_up + self.plan.duration / 4);
            stall(&server)?;
        }
        client.values(self.plan.duration + PATIENCE, &self.stop)
    }

    /// The calls that more messages cost, from two runs of different length.
    fn counted(&self, work: &Work, subject: &Subject) -> io::Result<Vec<(String, f64)>> {
        let shorter = self.traced(work, subject, calls::MESSAGES)?;
        self.traced(work, subject, 2 * calls::MESSAGES)?.beyond(&shorter)
    }

    /// A server under strace, from its start to its end.
    fn traced(&self, work: &Work, subject: &Subject, messages: u64) -> io::Result<Counted> {
        let served = subject.command(work, self.pinning.server, &work.numbers())?;
        let mut command = Command::new(this_program()?);
        command.arg("trace").arg(served.get_program()).args(served.get_args());
        let strace = Running::start(command)?;
        let address = strace.address(START_PATIENCE, &self.stop)?;
        let server = calls::child(strace.pid())?;
        let sockets = calls::sockets(server)?;
        let mut client = self.client(work, &address, server)?;
        client.arg(format!("--messages={messages}"));
        let values = Running::start(client)?.values(PATIENCE, &self.stop)?;
        calls::settle(server, sockets)?;
        signal(server, Signal::KILL)?;
        let summary = strace.rest(PATIENCE, &self.stop)?;
        let answered = values.iter().find(|(name, _)| name == "messages");
        Counted::parse(answered.map_or(0, |(_, count)| *count as u64), &summary)
    }

    /// What one reactor reaches, and two, one right after the other.
    fn scaled(&self, work: &Work, subject: &Subject) -> io::Result<Vec<(String, f64)>> {
        let mut values = self.reached(work, subject, 1, "one")?;
        values.extend(self.reached(work, subject, 2, "two")?);
        let value = |name: &str| values.iter().find(|(it, _)| it == name).map(|(_, it)| *it);
        if let (Some(one), Some(two)) = (value("one_per_second"), value("two_per_second")) {
            values.push(("gain".to_owned(), two / one));
        }
        Ok(values)
    }

    /// The figures of so many reactors, each with its name after that of the number.
    fn reached(
        &self,
        work: &Work,
        subject: &Subject,
        reactors: usize,
        number: &str,
    ) -> io::Result<Vec<(String, f64)>> {
        // One has the core that servers have; more take one each of all.
        let core = if reactors == 1 { self.pinning.server } else { -1 };
        let server = Running::start(subject.command(work, core, &[reactors.to_string()])?)?;
        let address = server.address(START_PATIENCE, &self.stop)?;
        // The client is the same whatever it loads: two threads.
        let addresses = if reactors == 1 { format!("{address},{address}") } else { address };
        let client = Running::start(self.client(work, &addresses, server.pid())?)?;
        let values = client.values(self.plan.duration + PATIENCE, &self.stop)?;
        Ok(values.into_iter().map(|(name, it)| (format!("{number}_{name}"), it)).collect())
    }

    /// What `redis-benchmark` makes of a server that was just started.
    fn requested(
        &self,
        work: &Work,
        subject: &Subject,
        (test, depth, count): (Test, usize, usize),
        half: bool,
    ) -> io::Result<Vec<(String, f64)>> {
        let core = self.pinning.server;
        let server = subject.start(work, core)?;
        let address = benchmark::ready(&server, &self.stop)?;
        if let Some((first, count)) = test.needs() {
            self.benchmark(address, first, 1, count)?;
        }
        let _neighbour = if half { Some(neighbour::start(core, &self.stop)?) } else { None };
        self.benchmark(address, test, depth, count / 10)?;
        let (started, before) = (Instant::now(), measure::cpu_nanoseconds(server.pid())?);
        let (lines, client) = self.benchmark(address, test, depth, count)?;
        let used = measure::cpu_nanoseconds(server.pid())? - before;
        let elapsed = started.elapsed().as_nanos() as f64;
        let mut values = benchmark::parse(&lines)?;
        for (who, nanoseconds) in [("server", used as f64), ("client", client as f64)] {
            values.push((format!("{who}_ns"), nanoseconds / count as f64));
            values.push((format!("{who}_busy"), nanoseconds / elapsed));
        }
        Ok(values)
    }

    /// One run of `redis-benchmark`: what it printed, and the processor time that it used.
    fn benchmark(
        &self,
        server: SocketAddr,
        test: Test,
        depth: usize,
        count: usize,
    ) -> io::Result<(Vec<String>, u64)> {
        let mut command = Command::new(this_program()?);
        command.arg("load").arg(self.pinning.client.to_string());
        command.args(benchmark::arguments(server, test, depth, count));
        Running::start(command)?.used(PATIENCE, &self.stop)
    }

    /// What keys take in a server that was just started.
    fn filled(
        &self,
        work: &Work,
        subject: &Subject,
        count: usize,
    ) -> io::Result<Vec<(String, f64)>> {
        let server = subject.start(work, self.pinning.server)?;
        let address = benchmark::ready(&server, &self.stop)?;
        let before = measure::memory_bytes(server.pid())?;
        benchmark::fill(address, count, &self.stop)?;
        let bytes = measure::memory_bytes(server.pid())?.saturating_sub(before) as f64;
        Ok(vec![("bytes".to_owned(), bytes / count as f64), ("mb".to_owned(), bytes / 1e6)])
    }

    fn client(&self, work: &Work, address: &str, pid: u32) -> io::Result<Command> {
        let mut arguments = vec!["load".to_owned(), address.to_owned(), format!("--pid={pid}")];
        let mut add = |name: &str, value: String| arguments.push(format!("--{name}={value}"));
        let duration = match work {
            // Half a schedule shows no tail.
            Work::Schedule { .. } => self.plan.duration * 2,
            _ => self.plan.duration,
        };
        // Where every core has its reactor, none is the client's own.
        let core = if matches!(work, Work::Scale { .. }) { -1 } else { self.pinning.client };
        add("core", core.to_string());
        add("warm-up", self.plan.warm_up.as_millis().to_string());
        add("duration", duration.as_millis().to_string());
        match work {
            Work::Echo { connections, size, depth } => {
                add("connections", connections.to_string());
                add("size", size.to_string());
                add("depth", depth.to_string());
            }
            Work::Schedule { connections, rate } => {
                add("connections", connections.to_string());
                add("rate", rate.to_string());
            }
            Work::Lines { depth } => {
                add("connections", LINES_CONNECTIONS.to_string());
                add("depth", depth.to_string());
                add("expect", "uppercase".to_owned());
            }
            Work::Idle { connections } => {
                add("connections", connections.to_string());
                add("kind", "idle".to_owned());
            }
            Work::Churn => add("kind", "churn".to_owned()),
            Work::Calls { connections } => add("connections", connections.to_string()),
            Work::Scale { connections, depth } => {
                add("connections", connections.to_string());
                add("depth", depth.to_string());
            }
            Work::Dispatch { .. }
            | Work::Timers { .. }
            | Work::Requests { .. }
            | Work::Keys { .. } => {}
        }
        let mut command = Command::new(this_program()?);
        command.args(arguments);
        Ok(command)
    }
}

/// Stops a server from outside, whatever it is written in, and has it go on after a while.
fn stall(server: &Running) -> io::Result<()> {
    signal(server.pid(), Signal::STOP)?;
    thread::sleep(STALL);
    signal(server.pid(), Signal::CONT)
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the server's number is none"))?;
    Ok(kill_process(pid, signal)?)
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
