//! The client: it loads a server with messages, verifies every byte of the answers, and prints its
//! results as lines of names and values.
//!
//! It is a bare epoll loop and not the `load` tool of this workspace. A client that uses the
//! reactor would measure itself. A client that costs more than the server would also measure only
//! itself.
//!
//! [`Talk`] says which bytes are sent and expected: lines, HTTP, or WebSocket, each also over TLS.
//!
//! It has two modes. **Closed**: each connection has `depth` messages in flight and sends the next
//! when one is answered. A server that stalls then gets fewer messages, so the few that wait would
//! not show among the many that did not ("coordinated omission"). Therefore the latencies are
//! corrected by the method of HdrHistogram, for the messages that would have been sent meanwhile at
//! the median pace. **At a rate**: each message has its time on a fixed schedule that does not
//! depend on the server. Its latency counts from that time, not from the time at which it could be
//! sent.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::measure;

pub mod accept;
pub mod connections;
pub mod datagrams;
pub mod handshakes;
pub mod meter;
pub mod names;
pub mod talk;
mod wire;

use talk::{Pattern, Talk};
use wire::Wire;

/// The number of connections that are opened before one of them is tried, so that no backlog
/// overflows.
const CONNECT_BATCH: usize = 256;
/// The time limit for answers, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The maximum number of bytes that are sent or received at once.
const CHUNK: usize = 256 * 1024;
/// The longest sleep of the client, so that it checks the time.
const NAP: Duration = Duration::from_millis(1);
/// The factor by which a measurement may be longer than requested.
const EXTENSION_MAX: u32 = 4;

/// The parameters of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// The number of connections.
    pub connections: usize,
    /// The size of a message in bytes: of a line with its line feed, of the body of a response, or of
    /// the payload of a message of a WebSocket.
    pub size: usize,
    /// The number of messages in flight on each connection. Not used at a rate.
    pub depth: usize,
    /// Messages a second on all connections together. The load is closed if there is none.
    pub rate: Option<f64>,
    /// What client and server say to each other.
    pub talk: Talk,
    /// Whether they say it over TLS.
    pub tls: bool,
    /// The time of loading before the measurement.
    pub warm_up: Duration,
    /// The duration of the measurement.
    pub duration: Duration,
}

/// The results of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The number of messages that were answered within the measured time.
    pub messages: u64,
    /// The measured time.
    pub elapsed: Duration,
    /// The time from sending a message, or from its time in the schedule, to its complete answer,
    /// in nanoseconds.
    pub latency: Histogram<u64>,
    /// The processor time that the server used in that time, in nanoseconds.
    pub server_nanoseconds: u64,
    /// The processor time that this client used in that time, in nanoseconds.
    pub client_nanoseconds: u64,
}

impl Outcome {
    /// Returns names and values, one per line, as [`crate::run`] reads them.
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
    wire: Wire,
    /// The time at which each unanswered message was sent or, at a rate, was due.
    waiting: VecDeque<Instant>,
    /// The number of bytes that the socket has not accepted yet.
    unsent: usize,
    sent: usize,
    received: usize,
}

impl Connection {
    /// Sends unsent bytes until the socket is full.
    fn flush(&mut self, pattern: &Pattern) -> io::Result<()> {
        self.wire.flush()?;
        while self.unsent > 0 {
            let chunk = pattern.at(self.sent, self.unsent);
            let Some(count) = self.wire.write(chunk)? else { return Ok(()) };
            self.sent += count;
            self.unsent -= count;
            if count < chunk.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads and verifies answers. Returns the number of messages that are completed.
    fn receive(&mut self, buffer: &mut [u8], expected: &Pattern) -> io::Result<usize> {
        let before = self.received / expected.size;
        while let Some(count) = self.wire.read(buffer)? {
            if count == 0 {
                return Err(io::Error::other("the server ended a connection"));
            }
            if !expected.is_at(self.received, &buffer[..count]) {
                return Err(io::Error::other("an answer differs from the expected one"));
            }
            self.received += count;
            if count < buffer.len() && self.wire.short_read_exhausts() {
                break;
            }
        }
        Ok(self.received / expected.size - before)
    }
}

/// The phase of a load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warming,
    Measuring,
    /// Nothing more is sent. Messages in flight still count for the latencies.
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
        if load.size > CHUNK {
            return Err(io::Error::other(format!("a message has at most {CHUNK} bytes")));
        }
        let tls = if load.tls { Some(handshakes::config(false)?) } else { None };
        let connect = || Wire::connect(server, tls.as_ref());
        let expected = load.talk.expected(load.size, connect)?;
        let mut client = Self {
            load,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(load.connections),
            sent: load.talk.sent(load.size),
            expected,
            buffer: vec![0; CHUNK],
            phase: Phase::Warming,
            messages: 0,
            // Up to a minute, with three digits of precision.
            latency: Histogram::new_with_max(60_000_000_000, 3).map_err(io::Error::other)?,
        };
        for number in 0..load.connections {
            let mut wire = connect()?;
            load.talk.begin(&mut wire)?;
            if number % CONNECT_BATCH == CONNECT_BATCH - 1 || number + 1 == load.connections {
                client.try_out(&mut wire)?;
            }
            wire.stop_blocking()?;
            client.add(wire, number)?;
        }
        Ok(client)
    }

    /// Exchanges one message. After that, the server has accepted this connection and all earlier
    /// ones.
    fn try_out(&self, wire: &mut Wire) -> io::Result<()> {
        wire.say(self.sent.at(0, self.sent.size))?;
        let mut answer = vec![0; self.expected.size];
        wire.hear(&mut answer)?;
        match self.expected.is_at(0, &answer) {
            true => Ok(()),
            false => Err(io::Error::other("the first answer differs from the expected one")),
        }
    }

    fn add(&mut self, wire: Wire, number: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &wire, EventData::new_u64(number as u64), flags)?;
        let waiting = VecDeque::with_capacity(self.load.depth);
        self.connections.push(Connection { wire, waiting, unsent: 0, sent: 0, received: 0 });
        Ok(())
    }

    /// Sends `count` messages on a connection. Their time counts from `at`.
    fn send(&mut self, number: usize, count: usize, at: Instant) -> io::Result<()> {
        let connection = &mut self.connections[number];
        connection.waiting.extend(std::iter::repeat_n(at, count));
        connection.unsent += count * self.sent.size;
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

    /// Loads until `until`. `schedule` has the time of the next message if there is a rate.
    fn load_until(&mut self, until: Instant, schedule: &mut Schedule) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        while Instant::now() < until {
            let nap = match schedule.interval {
                None => NAP,
                // A sleep would end too late for the schedule.
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

    /// Waits for the answers to messages in flight.
    fn await_answers(&mut self) -> io::Result<()> {
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

/// The schedule of messages.
struct Schedule {
    start: Instant,
    interval: Option<f64>,
    count: u64,
}

impl Schedule {
    /// Returns the time of the next message, if it is before `now`.
    fn next_before(&mut self, now: Instant) -> Option<Instant> {
        let due = self.start + Duration::from_secs_f64(self.interval? * self.count as f64);
        (due < now).then(|| {
            self.count += 1;
            due
        })
    }
}

/// Loads `server`. Returns the results, including the processor time of the process `pid`.
///
/// # Errors
/// Fails if a connection fails or is lost, or an answer is wrong or missing.
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
    let used = (measure::family_nanoseconds(pid)?, measure::own_nanoseconds());
    let start = Instant::now();
    let mut until = start + load.duration;
    client.load_until(until, &mut schedule)?;
    // If other processes use the server's core, the measurement takes longer.
    while load.rate.is_none()
        && start.elapsed() < load.duration * EXTENSION_MAX
        && (measure::family_nanoseconds(pid)? - used.0) < load.duration.as_nanos() as u64 / 4
    {
        until += load.duration / 2;
        client.load_until(until, &mut schedule)?;
    }
    let elapsed = start.elapsed();
    let server_nanoseconds = measure::family_nanoseconds(pid)? - used.0;
    let client_nanoseconds = measure::own_nanoseconds() - used.1;
    client.await_answers()?;

    let latency = match load.rate {
        Some(_) => client.latency,
        None => client.latency.clone_correct(client.latency.value_at_quantile(0.5).max(1)),
    };
    let messages = client.messages;
    Ok(Outcome { messages, elapsed, latency, server_nanoseconds, client_nanoseconds })
}

/// Loads several servers of the process `pid` at once. Each has a share of the connections and its
/// own thread. Returns the results as if it were one server.
///
/// # Errors
/// Fails if a connection fails or is lost, an answer is wrong or missing, or there is no server.
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
        // The duration of each thread differs a little from the first one, whose processor time is
        // used. So rates can be added, but numbers of messages cannot.
        let ratio = all.elapsed.as_secs_f64() / other.elapsed.as_secs_f64();
        all.messages += (other.messages as f64 * ratio) as u64;
        all.latency.add(&other.latency).map_err(io::Error::other)?;
    }
    Ok(all)
}

/// Exchanges about `messages` messages without a time limit. Returns their exact number, which is a
/// little higher, because messages in flight are awaited. It is used to count the cost of each
/// message.
///
/// # Errors
/// Fails if a connection fails or is lost, or an answer is wrong or missing.
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
            return Err(io::Error::other(format!("there was no answer for {PATIENCE:?}")));
        }
    }
    client.await_answers()?;
    Ok(client.connections.iter().map(|it| (it.received / client.expected.size) as u64).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    use protocol::Limits;
    use protocol::link::Link;
    use protocol::tls::{Identity, TlsServer, TlsServerOptions};
    use reactor::{Address, ListenOptions, Listener, Reactor, Stream};
    use testkit::authority::Authority;

    const LOAD: Load = Load {
        connections: 3,
        size: 13,
        depth: 2,
        rate: None,
        talk: Talk::Http,
        tls: false,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(50),
    };

    /// Starts a server that answers each request on a connection with what `answer` has for its
    /// number.
    fn serve(answer: fn(usize) -> Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || answer_all(stream, answer));
            }
        });
        address
    }

    fn answer_all(mut stream: std::net::TcpStream, answer: fn(usize) -> Vec<u8>) {
        let (mut input, mut number, mut byte) = (Vec::new(), 0, [0]);
        while stream.read_exact(&mut byte).is_ok() {
            input.extend(byte);
            if input.ends_with(b"\r\n\r\n") {
                input.clear();
                if stream.write_all(&answer(number)).is_err() {
                    return;
                }
                number += 1;
            }
        }
    }

    fn response(number: usize, body: &str) -> Vec<u8> {
        let date = format!("Sun, 06 Nov 1994 08:49:{:02} GMT", number % 60);
        format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 13\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn responses_may_differ_in_their_date_alone() {
        let right = serve(|number| response(number, "Hello, world!"));
        assert!(exchange(LOAD, 30, right).expect("they are right") >= 30);
        let wrong = serve(|number| match number {
            5 => response(number, "Hello, World!"),
            _ => response(number, "Hello, world!"),
        });
        let error = exchange(LOAD, 30, wrong).expect_err("one has another body").to_string();
        assert!(error.contains("differs"), "{error}");
    }

    #[test]
    fn a_body_that_is_wrong_from_the_start_is_an_error() {
        for body in ["Hello, world?", "Hello, moon!!"] {
            let server = match body {
                "Hello, world?" => serve(|number| response(number, "Hello, world?")),
                _ => serve(|_| b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
            };
            assert!(exchange(LOAD, 30, server).is_err(), "{body}");
        }
    }

    #[test]
    fn a_server_that_does_not_switch_to_websocket_is_an_error() {
        let server = serve(|number| response(number, "Hello, world!"));
        let load = Load { talk: Talk::Websocket, ..LOAD };
        let error = exchange(load, 30, server).expect_err("it speaks HTTP").to_string();
        assert!(error.contains("does not switch"), "{error}");
    }

    /// Starts an echo server with TLS.
    fn serve_tls() -> SocketAddr {
        let (sender, address) = channel();
        thread::spawn(move || -> io::Result<()> {
            let issued = Authority::new("load").server(&["localhost"]);
            let identity = Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes());
            let options = TlsServerOptions::new(vec![identity.map_err(io::Error::other)?]);
            let tls = TlsServer::new(options).map_err(io::Error::other)?;
            let any: Address = "127.0.0.1:0".parse().map_err(io::Error::other)?;
            let listener = Listener::bind(&any, &ListenOptions::default())?;
            let Address::Tcp(address) = *listener.address() else { return Ok(()) };
            let mut reactor = Reactor::new(())?;
            let limits = Limits::DEFAULT.shared()?;
            listener.register(&mut reactor.cx(), move |accepted, cx| {
                let session = servers::echo::session();
                let link = Link::with_layer(session, tls.layer()?, std::sync::Arc::clone(&limits));
                Stream::over(link).register(accepted, cx).map(drop)
            })?;
            sender.send(address).map_err(io::Error::other)?;
            reactor.run()
        });
        address.recv().expect("it listens")
    }

    #[test]
    fn messages_and_handshakes_over_tls_are_verified() {
        let (server, pid) = (serve_tls(), std::process::id());
        let load = Load { talk: Talk::Echo, tls: true, size: 40_000, ..LOAD };
        assert!(exchange(load, 30, server).expect("it echoes") >= 30);
        for is_resuming in [false, true] {
            let lines = handshakes::run(LOAD, is_resuming, server, pid).expect("they succeed");
            assert!(lines.contains("server_ns "), "{lines}");
        }
    }
}
