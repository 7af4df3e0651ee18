//! A load generator that verifies every byte.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use protocol::{Buffer, Cause, Flow, Limits, Output, Refusal, Session, Turn};
use reactor::{
    Address, BackendKind, ConnectOptions, Cx, LoopLimits, Reactor, Reason, Signal, Stream,
    raise_descriptor_limit,
};

use crate::Failure;

/// Connections that are being made at once at most.
const CONNECTING_MAX: usize = 200;
/// How often further ones are made.
const CONNECT_INTERVAL: Duration = Duration::from_millis(1);
/// How long the last replies are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages are kept in memory once, so that a gigabyte is plenty.
const SIZE_MAX: usize = 1 << 30;
/// Where the content of messages starts over.
const ALPHABET: usize = 26;

/// What the server is expected to make of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The same bytes.
    Echo,
    /// The same bytes with ASCII letters in upper case.
    Uppercase,
}

/// What load to make.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub address: Address,
    /// Connections that exchange messages.
    pub connections: usize,
    /// Connections that only stand there.
    pub idle: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages in flight on each connection.
    pub depth: usize,
    /// How long to measure, once all connections stand.
    pub duration: Duration,
    /// What the server is expected to answer.
    pub expect: Expect,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Messages that were answered, each verified.
    pub messages: u64,
    /// Bytes of them, one way.
    pub bytes: u64,
    /// How long was measured.
    pub elapsed: Duration,
    /// From sending a message to its whole answer, in microseconds, as the loop's clock sees it:
    /// read once a turn.
    pub latency: Histogram<u64>,
    /// Connections that stood when measuring began.
    pub connected: usize,
    /// Connections that failed or were lost, and why the first of them was.
    pub errors: u64,
    /// The first error.
    pub first_error: Option<String>,
    /// The share of a processor that this process used itself, from 0 to 1.
    pub busy: f64,
}

impl Report {
    /// Whether everything was answered, and rightly.
    pub fn is_clean(&self) -> bool {
        self.errors == 0 && self.messages > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let rate = self.messages as f64 / seconds;
        let megabytes = self.bytes as f64 / seconds / 1e6;
        writeln!(f, "connections  {}", self.connected)?;
        writeln!(f, "messages     {} in {seconds:.2} s, every byte verified", self.messages)?;
        writeln!(f, "throughput   {rate:.0} messages/s, {megabytes:.1} MB/s each way")?;
        write!(f, "latency      ")?;
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            write!(f, "{name} {} us, ", self.latency.value_at_quantile(quantile))?;
        }
        writeln!(f, "max {} us", self.latency.max())?;
        write!(f, "errors       {}", self.errors)?;
        if let Some(error) = &self.first_error {
            write!(f, ", the first: {error}")?;
        }
        if self.busy > 0.9 && self.messages > 0 {
            let percent = self.busy * 100.0;
            write!(f, "\nwarning      this load generator was itself busy for {percent:.0} % of ")?;
            write!(f, "the time: the server may be able to do more")?;
        }
        Ok(())
    }
}

/// What the connections share.
struct App {
    load: Load,
    /// What is sent, and what is expected: any run of `size` bytes from one of the first letters.
    sent: Vec<u8>,
    expected: Vec<u8>,
    opened: usize,
    connecting: usize,
    standing: usize,
    started: Option<Instant>,
    started_busy: f64,
    stopping: bool,
    report: Report,
}

impl App {
    fn fail(&mut self, error: String) {
        self.report.errors += 1;
        self.report.first_error.get_or_insert(error);
    }
}

/// Where in the alphabet a message starts: another place on each connection and for each message.
fn offset(connection: usize, message: u64) -> usize {
    (connection + message as usize * 7) % ALPHABET
}

/// One connection.
struct Worker {
    number: usize,
    role: Role,
    /// When each message in flight was sent.
    in_flight: VecDeque<Instant>,
    /// How many messages may still be begun.
    allowed: usize,
    /// How many were begun, and how much of the last is not in the output yet.
    sent: u64,
    unsent: usize,
    answered: u64,
    /// Bytes of the current answer that have been verified.
    verified: usize,
    opened: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Active,
    Idle,
}

impl Worker {
    /// Says what may be said. It stays under the output's high mark, since nothing is read of who
    /// reaches that: the server would wait for this side as this side does for the server.
    fn send(&mut self, output: &mut Output, turn: &Turn<'_, App>) {
        let size = turn.app.load.size;
        loop {
            let room = (turn.limits.output_high - 1).saturating_sub(output.len());
            let done = self.allowed == 0 || turn.app.stopping;
            if room == 0 || (self.unsent == 0 && done) {
                return;
            }
            if self.unsent == 0 {
                self.allowed -= 1;
                self.in_flight.push_back(turn.now);
                self.sent += 1;
                self.unsent = size;
            }
            let count = self.unsent.min(room as usize);
            let from = offset(self.number, self.sent - 1) + size - self.unsent;
            output.append(&turn.app.sent[from..from + count]);
            self.unsent -= count;
        }
    }

    /// Verifies what came; returns false when it is wrong.
    fn verify(&mut self, mut bytes: &[u8], turn: &mut Turn<'_, App>) -> bool {
        let size = turn.app.load.size;
        while !bytes.is_empty() {
            if self.in_flight.is_empty() {
                return false;
            }
            let count = bytes.len().min(size - self.verified);
            let from = offset(self.number, self.answered) + self.verified;
            if bytes[..count] != turn.app.expected[from..from + count] {
                return false;
            }
            bytes = &bytes[count..];
            self.verified += count;
            if self.verified == size {
                self.verified = 0;
                self.answered += 1;
                let sent_at = self.in_flight.pop_front().unwrap_or(turn.now);
                self.record(turn.now - sent_at, turn);
                self.allowed += usize::from(!turn.app.stopping);
            }
        }
        true
    }

    fn record(&self, latency: Duration, turn: &mut Turn<'_, App>) {
        if turn.app.started.is_some() && !turn.app.stopping {
            turn.app.report.messages += 1;
            turn.app.report.bytes += turn.app.load.size as u64;
            let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            turn.app.report.latency.saturating_record(microseconds);
        }
    }
}

impl Session<App> for Worker {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        turn: &mut Turn<'_, App>,
    ) -> Result<Flow, Refusal> {
        if turn.cause == Cause::Opened {
            self.opened = true;
            turn.app.connecting -= 1;
            turn.app.standing += 1;
            if self.role == Role::Active {
                self.allowed = turn.app.load.depth;
            }
        }
        let right = self.verify(input.filled(), turn);
        input.clear();
        self.send(output, turn);
        if !right {
            return Err("the answer differs from what was expected".into());
        }
        if turn.input_ended {
            return Err("the server ended the connection".into());
        }
        let done = turn.app.stopping && self.in_flight.is_empty();
        Ok(if done { Flow::Close } else { Flow::Continue })
    }

    fn closed(&mut self, error: Option<&(dyn Error + 'static)>, turn: &mut Turn<'_, App>) {
        match self.opened {
            true => turn.app.standing -= 1,
            false => turn.app.connecting -= 1,
        }
        match error.and_then(|error| error.downcast_ref::<Reason>()) {
            Some(Reason::Stopped) if self.in_flight.is_empty() => {}
            Some(Reason::Stopped) => turn.app.fail("an answer never came".to_owned()),
            Some(reason) => {
                let failure = Failure::of_connection(&turn.app.load.address.to_string(), reason);
                turn.app.fail(failure.to_string());
            }
            None => {}
        }
    }
}

/// Makes some more connections; starts measuring when all stand.
fn open_more(cx: &mut Cx<'_, App>) {
    let total = cx.app.load.connections + cx.app.load.idle;
    while cx.app.opened < total && cx.app.connecting < CONNECTING_MAX && !cx.app.stopping {
        let number = cx.app.opened;
        let role = if number < cx.app.load.connections { Role::Active } else { Role::Idle };
        let worker = Worker {
            number,
            role,
            in_flight: VecDeque::new(),
            allowed: 0,
            sent: 0,
            unsent: 0,
            answered: 0,
            verified: 0,
            opened: false,
        };
        cx.app.opened += 1;
        cx.app.connecting += 1;
        let address = cx.app.load.address.clone();
        // The last answers are waited for, however slow they are.
        let limits = Limits { drain_quiet: PATIENCE, ..Limits::DEFAULT };
        if let Err(error) = Stream::connect(&address, &ConnectOptions::DEFAULT, limits, worker, cx)
        {
            cx.app.connecting -= 1;
            cx.app.fail(format!("connection {number} to {address}: {error}"));
        }
    }
    if cx.app.started.is_none() && cx.app.opened == total && cx.app.connecting == 0 {
        cx.app.started = Some(cx.now());
        cx.app.started_busy = busy_seconds();
        cx.app.report.connected = cx.app.standing;
        let duration = cx.app.load.duration;
        if cx.after(duration, stop).is_err() {
            cx.stop();
        }
    }
}

/// Ends the measurement and waits a little for the last answers.
fn stop(cx: &mut Cx<'_, App>) {
    if cx.app.stopping {
        cx.stop();
        return;
    }
    cx.app.stopping = true;
    if let Some(started) = cx.app.started {
        cx.app.report.elapsed = cx.now() - started;
        let seconds = cx.app.report.elapsed.as_secs_f64().max(1e-9);
        cx.app.report.busy = (busy_seconds() - cx.app.started_busy) / seconds;
    }
    cx.drain(PATIENCE);
}

/// Processor time that this process has used, from `/proc/self/schedstat` (`proc(5)`).
fn busy_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0);
    nanoseconds / 1e9
}

/// Whether this process may have so many connections, beside what it needs for itself.
fn check_descriptors(connections: usize) -> Result<(), Failure> {
    const OTHERS: usize = 16;
    let wanted = connections.saturating_add(OTHERS) as u64;
    let limit = raise_descriptor_limit(wanted)?;
    if limit < wanted {
        let text = format!(
            "{connections} connections take {wanted} descriptors, and {limit} are the limit of \
             this process: ask for fewer, or raise it with ulimit -n"
        );
        return Err(Failure::new(text));
    }
    Ok(())
}

/// Makes the load and measures what comes of it. The first `SIGINT` ends it early; `progress` is
/// called once a second with what there is so far.
///
/// # Errors
/// When the load makes no sense, or the loop can not run.
pub fn run(load: Load, progress: impl Fn(&Report) + 'static) -> Result<Report, Failure> {
    if load.size == 0 || load.depth == 0 || load.connections == 0 {
        return Err(Failure::new("size, depth and connections must be at least 1"));
    }
    if load.size > SIZE_MAX {
        let text =
            format!("messages of {} bytes are too large: {SIZE_MAX} is the limit", load.size);
        return Err(Failure::new(text));
    }
    check_descriptors(load.connections.saturating_add(load.idle))?;
    let alphabet = |first: u8| -> Vec<u8> {
        (0..load.size + ALPHABET).map(|place| first + (place % ALPHABET) as u8).collect()
    };
    let sent = alphabet(b'a');
    let expected = match load.expect {
        Expect::Echo => sent.clone(),
        Expect::Uppercase => alphabet(b'A'),
    };
    // Up to a minute, to three digits.
    let latency = Histogram::new_with_max(60_000_000, 3).expect("the bounds make sense");
    let report = Report {
        messages: 0,
        bytes: 0,
        elapsed: Duration::ZERO,
        latency,
        connected: 0,
        errors: 0,
        first_error: None,
        busy: 0.0,
    };
    let app = App {
        load,
        sent,
        expected,
        opened: 0,
        connecting: 0,
        standing: 0,
        started: None,
        started_busy: 0.0,
        stopping: false,
        report,
    };
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(BackendKind::from_env()?.open()?, limits, app)?;
    let mut cx = reactor.cx();
    cx.on_signals(&[Signal::INTERRUPT], |_, cx| stop(cx))?;
    cx.every(CONNECT_INTERVAL, |_, cx| {
        open_more(cx);
        if cx.app.started.is_some() && cx.app.standing == 0 && !cx.app.stopping {
            // All were lost: there is nothing left to measure.
            stop(cx);
        }
    })?;
    cx.every(Duration::from_secs(1), move |_, cx| {
        if let Some(started) = cx.app.started.filter(|_| !cx.app.stopping) {
            cx.app.report.elapsed = cx.now() - started;
            progress(&cx.app.report);
        }
    })?;
    reactor.run()?;
    Ok(reactor.app.report.clone())
}
