//! A load generator that verifies every byte of the replies.

mod datagrams;
mod report;
mod worker;

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use protocol::Limits;
use protocol::link::Link;
use reactor::{
    Address, BackendKind, ConnectOptions, LoopCx, LoopLimits, Reactor, Signal, Stream, Target,
    raise_descriptor_limit,
};

use crate::tls::Encryption;
use crate::{Failure, signals_to_end};
use report::Processor;
pub use report::Report;
use worker::{Role, Worker};

/// The maximum number of connections that are being established at the same time.
const CONNECTING_MAX: usize = 200;
/// The interval at which further connections are started.
const CONNECT_INTERVAL: Duration = Duration::from_millis(1);
/// The time limit for the last replies.
const PATIENCE: Duration = Duration::from_secs(5);
/// The maximum size of a message in bytes. One message is kept in memory.
const SIZE_MAX: usize = 1 << 30;
/// The period after which the content of messages repeats.
const ALPHABET: usize = 26;

/// The reply that the server is expected to send to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The same bytes.
    Echo,
    /// The same bytes with ASCII letters in upper case.
    Uppercase,
}

/// The parameters of a load.
#[derive(Clone, Debug)]
pub struct Load {
    /// The addresses of the server, the best first. Each connection is made to the first that accepts
    /// it. Datagrams go to the first that does not refuse one: before the measurement, all but the
    /// last are sent a message, and have a second to answer.
    pub addresses: Vec<Address>,
    /// What encrypts the connections.
    pub encryption: Option<Encryption>,
    /// The number of connections that exchange messages.
    pub connections: usize,
    /// The number of connections that stay open and send nothing.
    pub idle: usize,
    /// The size of a message in bytes.
    pub size: usize,
    /// The number of messages in flight on each connection.
    pub depth: usize,
    /// The duration of the measurement, which starts when all connections are open.
    pub duration: Duration,
    /// The time without a reply after which a datagram counts as unanswered, and another one is sent.
    pub lost_after: Duration,
    /// The expected reply.
    pub expect: Expect,
}

impl Load {
    fn is_datagram(&self) -> bool {
        self.addresses.first().is_some_and(Address::is_datagram)
    }

    /// Returns what messages call the server.
    fn server(&self) -> String {
        Target::from(&self.addresses[..]).to_string()
    }
}

/// The state that the connections share.
struct App {
    load: Load,
    /// The bytes to send and the bytes to expect. A message is a slice of `size` bytes that starts
    /// at one of the first letters.
    sent: Vec<u8>,
    expected: Vec<u8>,
    opened: usize,
    connecting: usize,
    open: usize,
    started: Option<Instant>,
    started_processor: Processor,
    stopping: bool,
    report: Report,
    /// Sends the report when the loop has ended.
    sender: Sender<Report>,
}

impl Drop for App {
    /// Sends the report. When the loop is dropped, it calls `closed` for the connections that are
    /// left. Only then are all messages without a reply counted.
    fn drop(&mut self) {
        // Sending fails if the receiver is gone because the loop could not run.
        let _ = self.sender.send(self.report.clone());
    }
}

/// Starts some more connections. Starts measuring when all connections are open.
fn open_more(cx: &mut LoopCx<'_, App>) {
    let total = cx.app.load.connections + cx.app.load.idle;
    while cx.app.opened < total && cx.app.connecting < CONNECTING_MAX && !cx.app.stopping {
        let number = cx.app.opened;
        let role = if number < cx.app.load.connections { Role::Active } else { Role::Idle };
        cx.app.opened += 1;
        cx.app.connecting += 1;
        // Only the loop's time limit ends the wait for the last replies, not a limit on slow
        // connections.
        let limits = Limits { stopping_quiet: 2 * PATIENCE, ..Limits::DEFAULT };
        let opened = match cx.app.load.is_datagram() {
            true => datagrams::open(number, role, limits, cx),
            false => connect(Worker::new(number, role), limits, cx),
        };
        if let Err(error) = opened {
            cx.app.connecting -= 1;
            let server = cx.app.load.server();
            cx.app.report.fail(format!("connection {number} to {server}: {error}"));
        }
    }
    if cx.app.started.is_none() && cx.app.opened == total && cx.app.connecting == 0 {
        cx.app.started = Some(cx.now());
        cx.app.started_processor = Processor::now();
        cx.app.report.connected = cx.app.open;
        let duration = cx.app.load.duration;
        if cx.after(duration, end).is_err() {
            cx.stop();
        }
    }
}

fn connect(worker: Worker, limits: Limits, cx: &mut LoopCx<'_, App>) -> io::Result<()> {
    let (target, options) = (Target::from(&cx.app.load.addresses[..]), ConnectOptions::DEFAULT);
    let token = match &cx.app.load.encryption {
        None => Stream::new(worker, limits).connect(target, &options, cx),
        Some(encryption) => {
            let first = cx.app.load.addresses[0].clone();
            let layer = encryption.layer(&first.into())?;
            Stream::over(Link::with_layer(worker, layer, limits.shared()?))
                .connect(target, &options, cx)
        }
    };
    token.map(drop)
}

/// Ends the measurement, unless it has ended, and waits for the last replies for a limited time.
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

/// Checks that this process may open this many connections, each with as many descriptors, besides
/// its other descriptors.
fn check_descriptors(connections: usize, each: usize) -> Result<(), Failure> {
    const OTHERS: usize = 16;
    let wanted = connections.saturating_mul(each).saturating_add(OTHERS) as u64;
    let limit = raise_descriptor_limit(wanted)?;
    if limit < wanted {
        let text = format!(
            "{connections} connections need {wanted} descriptors, but the limit of this process is \
            {limit}: use fewer connections, or raise the limit with ulimit -n"
        );
        return Err(Failure::new(text));
    }
    Ok(())
}

/// Generates the load and returns the measurements. When the time is up, it waits up to five
/// seconds for missing replies. The first `SIGINT` ends the measurement early, a second one ends
/// the wait. `progress` is called once a second with the report so far.
///
/// # Errors
/// Fails if the parameters are invalid or the loop cannot run.
pub fn run(mut load: Load, progress: impl Fn(&Report) + 'static) -> Result<Report, Failure> {
    if load.size == 0 || load.depth == 0 || load.connections == 0 {
        return Err(Failure::new("size, depth and connections must be at least 1"));
    }
    if load.size > SIZE_MAX {
        let text =
            format!("messages of {} bytes are too large: the limit is {SIZE_MAX}", load.size);
        return Err(Failure::new(text));
    }
    let Some(first) = load.addresses.first() else {
        return Err(Failure::new("the server has no address"));
    };
    let has_files = matches!(first, Address::UnixDatagram(_));
    if load.is_datagram() {
        datagrams::check(first, load.size, load.depth)?;
    }
    // The file of a Unix socket takes another one.
    let each = if has_files { 2 } else { 1 };
    check_descriptors(load.connections.saturating_add(load.idle), each)?;
    let alphabet = |first: u8| -> Vec<u8> {
        (0..load.size + ALPHABET).map(|place| first + (place % ALPHABET) as u8).collect()
    };
    let sent = alphabet(b'a');
    let expected = match load.expect {
        Expect::Echo => sent.clone(),
        Expect::Uppercase => alphabet(b'A'),
    };
    if load.is_datagram() {
        datagrams::choose(&mut load, &sent);
    }
    let (sender, receiver) = channel();
    let app = App {
        load,
        sent,
        expected,
        opened: 0,
        connecting: 0,
        open: 0,
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
    if has_files {
        // The files of the sockets have to be removed.
        let mut signals = signals_to_end();
        signals.retain(|signal| *signal != Signal::INTERRUPT);
        cx.on_signals(&signals, |_, cx| cx.stop())?;
    }
    cx.every(CONNECT_INTERVAL, |_, cx| {
        open_more(cx);
        let is_pointless = match cx.app.started {
            Some(_) => cx.app.open == 0,
            // All connections that are established at once have failed, so the others would fail
            // too.
            None => cx.app.open == 0 && cx.app.report.errors >= CONNECTING_MAX as u64,
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
