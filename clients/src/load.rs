//! A load generator that verifies every byte.

mod report;
mod worker;

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use protocol::Limits;
use reactor::{
    Address, BackendKind, ConnectOptions, LoopCx, LoopLimits, Reactor, Signal, Stream,
    raise_descriptor_limit,
};

use crate::Failure;
use report::Processor;
pub use report::Report;
use worker::{Role, Worker};

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
    started_processor: Processor,
    stopping: bool,
    report: Report,
    /// Where the report goes in the end.
    sender: Sender<Report>,
}

impl Drop for App {
    /// The connections that a loop leaves behind are told of their end when it is dropped, and
    /// only then is all counted that has no answer.
    fn drop(&mut self) {
        // It fails when the receiver is gone, since the loop could not run.
        let _ = self.sender.send(self.report.clone());
    }
}

/// Makes some more connections; starts measuring when all stand.
fn open_more(cx: &mut LoopCx<'_, App>) {
    let total = cx.app.load.connections + cx.app.load.idle;
    while cx.app.opened < total && cx.app.connecting < CONNECTING_MAX && !cx.app.stopping {
        let number = cx.app.opened;
        let role = if number < cx.app.load.connections { Role::Active } else { Role::Idle };
        let worker = Worker::new(number, role);
        cx.app.opened += 1;
        cx.app.connecting += 1;
        let address = cx.app.load.address.clone();
        // The loop's patience ends the wait for the last answers, and not their being slow.
        let limits = Limits { stopping_quiet: 2 * PATIENCE, ..Limits::DEFAULT };
        if let Err(error) =
            Stream::new(worker, limits).connect(&address, &ConnectOptions::DEFAULT, cx)
        {
            cx.app.connecting -= 1;
            cx.app.report.fail(format!("connection {number} to {address}: {error}"));
        }
    }
    if cx.app.started.is_none() && cx.app.opened == total && cx.app.connecting == 0 {
        cx.app.started = Some(cx.now());
        cx.app.started_processor = Processor::now();
        cx.app.report.connected = cx.app.standing;
        let duration = cx.app.load.duration;
        if cx.after(duration, end).is_err() {
            cx.stop();
        }
    }
}

/// Ends the measurement, unless it has ended, and waits a little for the last answers.
fn end(cx: &mut LoopCx<'_, App>) {
    if cx.app.stopping {
        return;
    }
    cx.app.stopping = true;
    if let Some(started) = cx.app.started {
        cx.app.report.elapsed = cx.now() - started;
        let seconds = cx.app.report.elapsed.as_secs_f64().max(1e-9);
        let used = Processor::now().since(cx.app.started_processor);
        cx.app.report.busy = used.ran.as_secs_f64() / seconds;
        cx.app.report.starved = used.waited.as_secs_f64() / seconds;
    }
    cx.stop_gracefully(PATIENCE);
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

/// Makes the load and measures what comes of it. The answers that are missing when the time is up
/// are waited for during five seconds. The first `SIGINT` ends the measurement early, a second one
/// the wait; `progress` is called once a second with what there is so far.
///
/// # Errors
/// When the load makes no sense, or the loop cannot run.
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
    let (sender, receiver) = channel();
    let app = App {
        load,
        sent,
        expected,
        opened: 0,
        connecting: 0,
        standing: 0,
        started: None,
        started_processor: Processor::default(),
        stopping: false,
        report: Report::new(),
        sender,
    };
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(BackendKind::from_env()?.open()?, limits, app)?;
    let mut cx = reactor.cx();
    cx.on_signals(&[Signal::INTERRUPT], |_, cx| match cx.app.stopping {
        true => cx.stop(),
        false => end(cx),
    })?;
    cx.every(CONNECT_INTERVAL, |_, cx| {
        open_more(cx);
        let is_pointless = match cx.app.started {
            Some(_) => cx.app.standing == 0,
            // As many as are made at once have all failed: so will the rest.
            None => cx.app.standing == 0 && cx.app.report.errors >= CONNECTING_MAX as u64,
        };
        if is_pointless {
            end(cx);
        }
    })?;
    cx.every(Duration::from_secs(1), move |_, cx| {
        if let Some(started) = cx.app.started.filter(|_| !cx.app.stopping) {
            cx.app.report.elapsed = cx.now() - started;
            progress(&cx.app.report);
        }
    })?;
    reactor.run()?;
    drop(reactor);
    Ok(receiver.recv().expect("dropping the loop drops its application, which sends it"))
}
