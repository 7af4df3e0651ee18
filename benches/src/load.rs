//! The client: it loads a server with messages, verifies every byte of the answers, and tells what
//! it saw as lines of names and values.
//!
//! It is a bare epoll loop and not the `load` tool of this workspace: a client that is built on the
//! reactor would judge itself, and one that costs more than the server it loads measures nothing
//! but itself.
//!
//! It loads in one of two ways. **Closed**: each connection has `depth` messages under way and sends
//! the next when one is answered. A server that stalls is then asked less, so the few messages that
//! wait would vanish among the many that did not ("coordinated omission"); the latencies are
//! therefore corrected, as HdrHistogram does it, for the messages that would have been sent
//! meanwhile at the median pace. **At a rate**: each message has its time on a fixed schedule,
//! whatever the server does, and its latency counts from that time, not from when it could be sent.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::{measure, net};

pub mod connections;

/// Connections that are made before one of them is tried, so that no backlog overflows.
const CONNECT_BATCH: usize = 256;
/// How long answers are waited for: longer than a machine that does other work needs.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that is sent or received at once.
const CHUNK: usize = 256 * 1024;
/// How long the client sleeps at most, so that it sees the time pass.
const NAP: Duration = Duration::from_millis(1);
/// By how much a measurement may be longer than it was asked to be.
const EXTENSION_MAX: u32 = 4;

/// What load to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// Bytes of a message; the last one is a line feed.
    pub size: usize,
    /// Messages in flight on each connection; unused at a rate.
    pub depth: usize,
    /// Messages a second on all connections together; closed when there is none.
    pub rate: Option<f64>,
    /// Whether the answer is in upper case.
    pub uppercase: bool,
    /// How long to load before measuring.
    pub warm_up: Duration,
    /// How long to measure.
    pub duration: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Messages that were answered within the measured time.
    pub messages: u64,
    /// The measured time.
    pub elapsed: Duration,
    /// Nanoseconds from sending a message, or from its time in the schedule, to its whole answer.
    pub latency: Histogram<u64>,
    /// Nanoseconds of processor time that the server used meanwhile.
    pub server_nanoseconds: u64,
    /// Nanoseconds of processor time that this client used meanwhile.
    pub client_nanoseconds: u64,
}

impl Outcome {
    /// Names and values, a line each, as [`crate::run`] reads them.
    pub fn lines(&self) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let share = |nanoseconds: u64| nanoseconds as f64 / 1e9 / seconds;
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        let values = [
            ("messages", self.messages as f64),
            ("per_second", self.messages as f64 / seconds),
            ("server_ns", self.server_nanoseconds as f64 / self.messages.max(1) as f64),
            ("server_busy", share(self.server_nanoseconds)),
            ("client_busy", share(self.client_nanoseconds)),
            ("p50_us", at(0.5)),
            ("p99_us", at(0.99)),
            ("p999_us", at(0.999)),
            ("max_us", self.latency.max() as f64 / 1e3),
        ];
        values.iter().map(|(name, value)| format!("{name} {value:.3}\n")).collect()
    }
}

/// One connection.
struct Connection {
    fd: OwnedFd,
    /// When each message that is not answered was sent or, at a rate, should have been.
    waiting: VecDeque<Instant>,
    /// Bytes that are to be sent and that the socket had no room for.
    unsent: usize,
    sent: usize,
    received: usize,
}

/// A stretch of the endless repetition of one message.
struct Pattern {
    size: usize,
    bytes: Vec<u8>,
}

impl Pattern {
    fn new(size: usize, first: u8) -> Self {
        let letter = |place: usize| match place % size {
            last if last == size - 1 => b'\n',
            place => first + (place * 7 % 26) as u8,
        };
        Self { size, bytes: (0..size + CHUNK).map(letter).collect() }
    }

    fn at(&self, position: usize, count: usize) -> &[u8] {
        let from = position % self.size;
        &self.bytes[from..from + count.min(CHUNK)]
    }
}

impl Connection {
    /// Sends what is to be sent, as far as there is room.
    fn flush(&mut self, pattern: &Pattern) -> io::Result<()> {
        while self.unsent > 0 {
            let chunk = pattern.at(self.sent, self.unsent);
            let Some(count) = net::write(&self.fd, chunk)? else { return Ok(()) };
            self.sent += count;
            self.unsent -= count;
            if count < chunk.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes what has come; returns how many messages are complete by it.
    fn receive(&mut self, buffer: &mut [u8], expected: &Pattern) -> io::Result<usize> {
        let before = self.received / expected.size;
        while let Some(count) = net::read(&self.fd, buffer)? {
            if count == 0 {
                return Err(io::Error::other("the server ended a connection"));
            }
            if buffer[..count] != *expected.at(self.received, count) {
                return Err(io::Error::other("an answer differs from what was expected"));
            }
            self.received += count;
            if count < buffer.len() {
                break;
            }
        }
        Ok(self.received / expected.size - before)
    }
}

/// Where in its course the load is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warming,
    Measuring,
    /// Nothing more is sent; what is under way still counts for the latencies.
    Stopping,
}

struct Client {
    load: Load,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    sent: Pattern,
    expected: Pattern,
    buffer: Vec<u8>,
    phase: Phase,
    messages: u64,
    latency: Histogram<u64>,
}

impl Client {
    fn connect(load: Load, server: SocketAddr) -> io::Result<Self> {
        let mut client = Self {
            load,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(load.connections),
            sent: Pattern::new(load.size, b'a'),
            expected: Pattern::new(load.size, if load.uppercase { b'A' } else { b'a' }),
            buffer: vec![0; CHUNK],
            phase: Phase::Warming,
            messages: 0,
            // Up to a minute, to three digits.
            latency: Histogram::new_with_max(60_000_000_000, 3).map_err(io::Error::other)?,
        };
        for number in 0..load.connections {
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            if number % CONNECT_BATCH == CONNECT_BATCH - 1 || number + 1 == load.connections {
                client.try_out(&stream)?;
            }
            stream.set_nonblocking(true)?;
            client.add(stream.into(), number)?;
        }
        Ok(client)
    }

    /// One message there and back, after which the server has accepted this one and those before.
    fn try_out(&self, mut stream: &TcpStream) -> io::Result<()> {
        use io::{Read, Write};
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = vec![0; self.load.size.min(CHUNK)];
        stream.write_all(self.sent.at(0, answer.len()))?;
        stream.read_exact(&mut answer)?;
        match answer == self.expected.at(0, answer.len()) {
            true => Ok(()),
            false => Err(io::Error::other("the first answer differs from what was expected")),
        }
    }

    fn add(&mut self, fd: OwnedFd, number: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &fd, EventData::new_u64(number as u64), flags)?;
        let waiting = VecDeque::with_capacity(self.load.depth);
        self.connections.push(Connection { fd, waiting, unsent: 0, sent: 0, received: 0 });
        Ok(())
    }

    /// Sends `count` messages on a connection, which count from `at` on.
    fn send(&mut self, number: usize, count: usize, at: Instant) -> io::Result<()> {
        let connection = &mut self.connections[number];
        connection.waiting.extend(std::iter::repeat_n(at, count));
        connection.unsent += count * self.load.size;
        connection.flush(&self.sent)
    }

    fn turn(&mut self, events: &mut Vec<Event>, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        events.clear();
        let spare = rustix::buffer::spare_capacity(events);
        epoll::wait(&self.epoll, spare, Some(&timeout))?;
        for event in events {
            let number = event.data.u64() as usize;
            let connection = &mut self.connections[number];
            connection.flush(&self.sent)?;
            let answered = connection.receive(&mut self.buffer, &self.expected)?;
            if answered > 0 {
                self.answered(number, answered)?;
            }
        }
        Ok(())
    }

    fn answered(&mut self, number: usize, count: usize) -> io::Result<()> {
        let now = Instant::now();
        for _ in 0..count {
            let sent_at = self.connections[number].waiting.pop_front();
            if let Some(sent_at) = sent_at
                && self.phase != Phase::Warming
            {
                self.latency.saturating_record((now - sent_at).as_nanos() as u64);
            }
        }
        if self.phase == Phase::Measuring {
            self.messages += count as u64;
        }
        if self.load.rate.is_none() && self.phase != Phase::Stopping {
            self.send(number, count, now)?;
        }
        Ok(())
    }

    /// Loads until `until`; at a rate, `next` is the number of the next message and `start` when
    /// the first was due.
    fn load_until(&mut self, until: Instant, schedule: &mut Schedule) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        while Instant::now() < until {
            let nap = match schedule.interval {
                None => NAP,
                // A sleep would be late for the schedule.
                Some(_) => Duration::ZERO,
            };
            while let Some(due) = schedule.next_before(Instant::now().min(until)) {
                let number = (schedule.count % self.connections.len() as u64) as usize;
                self.send(number, 1, due)?;
            }
            self.turn(&mut events, nap)?;
        }
        Ok(())
    }

    /// Waits for what is under way.
    fn drain(&mut self) -> io::Result<()> {
        self.phase = Phase::Stopping;
        let (mut events, until) = (Vec::with_capacity(1024), Instant::now() + PATIENCE);
        while self.connections.iter().any(|it| !it.waiting.is_empty()) {
            if Instant::now() > until {
                return Err(io::Error::other(format!("answers are missing after {PATIENCE:?}")));
            }
            self.turn(&mut events, NAP)?;
        }
        Ok(())
    }
}

/// When messages are due.
struct Schedule {
    start: Instant,
    interval: Option<f64>,
    count: u64,
}

impl Schedule {
    /// When the next message is due, if that is before `now`.
    fn next_before(&mut self, now: Instant) -> Option<Instant> {
        let due = self.start + Duration::from_secs_f64(self.interval? * self.count as f64);
        (due < now).then(|| {
            self.count += 1;
            due
        })
    }
}

/// Makes the load on `server` and measures what comes of it, and what the process `pid` uses.
///
/// # Errors
/// When a connection fails or is lost, or an answer is wrong or missing.
pub fn run(load: Load, server: SocketAddr, pid: u32) -> io::Result<Outcome> {
    let mut client = Client::connect(load, server)?;
    let start = Instant::now();
    let interval = load.rate.map(|rate| 1.0 / rate);
    let mut schedule = Schedule { start, interval, count: 0 };
    if load.rate.is_none() {
        for number in 0..load.connections {
            client.send(number, load.depth, Instant::now())?;
        }
    }
    client.load_until(start + load.warm_up, &mut schedule)?;

    client.phase = Phase::Measuring;
    let used = (measure::cpu_nanoseconds(pid)?, measure::own_nanoseconds());
    let start = Instant::now();
    let mut until = start + load.duration;
    client.load_until(until, &mut schedule)?;
    // Where others take the server's core from it, it needs longer to show what it uses.
    while load.rate.is_none()
        && start.elapsed() < load.duration * EXTENSION_MAX
        && (measure::cpu_nanoseconds(pid)? - used.0) < load.duration.as_nanos() as u64 / 4
    {
        until += load.duration / 2;
        client.load_until(until, &mut schedule)?;
    }
    let elapsed = start.elapsed();
    let server_nanoseconds = measure::cpu_nanoseconds(pid)? - used.0;
    let client_nanoseconds = measure::own_nanoseconds() - used.1;
    client.drain()?;

    let latency = match load.rate {
        Some(_) => client.latency,
        None => client.latency.clone_correct(client.latency.value_at_quantile(0.5).max(1)),
    };
    let messages = client.messages;
    Ok(Outcome { messages, elapsed, latency, server_nanoseconds, client_nanoseconds })
}

/// Loads several servers of the process `pid` together, each with its share of the connections from
/// a thread of its own, and tells what came of it as if they were one.
///
/// # Errors
/// When a connection fails or is lost, an answer is wrong or missing, or there is no server.
pub fn together(load: Load, servers: &[SocketAddr], pid: u32) -> io::Result<Outcome> {
    let share = Load { connections: load.connections / servers.len().max(1), ..load };
    let outcomes: io::Result<Vec<Outcome>> = thread::scope(|scope| {
        let start = |server: &SocketAddr| {
            let server = *server;
            scope.spawn(move || run(share, server, pid))
        };
        let threads: Vec<_> = servers.iter().map(start).collect();
        let panicked = |_| io::Error::other("a thread of the client panicked");
        threads.into_iter().map(|it| it.join().map_err(panicked)?).collect()
    });
    let mut outcomes = outcomes?.into_iter();
    let mut all = outcomes.next().ok_or_else(|| io::Error::other("there is no server"))?;
    for other in outcomes {
        // Each thread measures for a little longer or shorter than the first, whose count of the
        // processor time is kept: rates can be added, messages cannot.
        let ratio = all.elapsed.as_secs_f64() / other.elapsed.as_secs_f64();
        all.messages += (other.messages as f64 * ratio) as u64;
        all.latency.add(&other.latency).map_err(io::Error::other)?;
    }
    Ok(all)
}

/// Exchanges about `messages` messages, without looking at the time, and returns how many there
/// were: a few more, since what is under way is waited for. For counting what each costs.
///
/// # Errors
/// When a connection fails or is lost, or an answer is wrong or missing.
pub fn exchange(load: Load, messages: u64, server: SocketAddr) -> io::Result<u64> {
    let mut client = Client::connect(load, server)?;
    client.phase = Phase::Measuring;
    for number in 0..load.connections {
        client.send(number, load.depth, Instant::now())?;
    }
    let under_way = (load.connections * load.depth) as u64;
    let (mut events, mut last, mut since) = (Vec::with_capacity(1024), 0, Instant::now());
    while client.messages + under_way < messages {
        client.turn(&mut events, NAP)?;
        if client.messages > last {
            (last, since) = (client.messages, Instant::now());
        } else if since.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("no answer has come for {PATIENCE:?}")));
        }
    }
    client.drain()?;
    Ok(client.connections.iter().map(|it| (it.received / load.size) as u64).sum())
}
