//! Crowds on every backend: many slow readers, and many connections that end in the middle of everything.
//! Descriptors and memory come back.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{PATIENCE, serve, turn_until};
use protocol::{Buffer, Context, Flow, Limits, Output, Reason, Session};
use reactor::{BackendKind, Interest, LoopLimits, Reactor, Registration, Role, Stream, Token};
use testkit::{Random, process};

const MEBIBYTE: u64 = 1 << 20;

/// The variable with the backend of a process that runs one test.
const BACKEND: &str = "CROWDS_BACKEND";

/// The backends for what takes minutes.
const MAIN: [BackendKind; 2] = [BackendKind::Epoll, BackendKind::Uring];

/// Runs `run` with a fresh reactor on each of `kinds`, in a process of its own that runs `test` alone: memory
/// that one backend has freed would hide what the next one takes.
fn in_a_process_for_each<A: Default + 'static>(
    kinds: &[BackendKind],
    test: &str,
    limits: LoopLimits,
    run: impl Fn(Reactor<A>),
) {
    if let Ok(name) = std::env::var(BACKEND) {
        let kind: BackendKind = name.parse().expect("it was chosen below");
        let backend = kind.open().expect("the backend opens");
        run(Reactor::with_backend(backend, limits, A::default()).expect("the reactor opens"));
        return;
    }
    for kind in kinds {
        if let Err(error) = kind.open() {
            testkit::skip(&format!("{kind}: {error}"));
            continue;
        }
        eprintln!("on {kind}");
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(["--exact", test, "--include-ignored", "--nocapture"]);
        let output = command.env(BACKEND, kind.name()).output().expect("it starts");
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{kind}: {}", output.status);
    }
}

fn memory() -> u64 {
    process::memory_bytes(std::process::id()).expect("this process runs")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("it can be listed").count()
}

/// The length of the pattern that is sent again and again: a prime number.
const PATTERN: usize = 65_521;

/// Sends the pattern until `left` bytes are sent, no more at a time than the marks allow, and closes.
struct Pours {
    left: u64,
    position: usize,
    pattern: Arc<[u8]>,
}

impl<A> Session<A> for Pours {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        input.clear();
        let mut room = context.limits.output_high.saturating_sub(output.len()).min(self.left);
        while room > 0 {
            let rest = &self.pattern[self.position..];
            let count = rest.len().min(room as usize);
            room -= count as u64;
            output.append(&rest[..count]);
            self.position = (self.position + count) % PATTERN;
            self.left -= count as u64;
        }
        Ok(if self.left == 0 { Flow::Close } else { Flow::Pause })
    }
}

/// How much a reader reads at a time, less than the pattern has.
const SIP: usize = 60_000;

/// A peer that reads a little at a time, and knows what has to come.
struct Reader {
    stream: TcpStream,
    count: u64,
    has_ended: bool,
}

impl Reader {
    /// Reads once, if there is something. `twice` is the pattern, two times.
    fn sip(&mut self, buffer: &mut [u8; SIP], twice: &[u8]) {
        match self.stream.read(buffer) {
            Ok(0) => self.has_ended = true,
            Ok(count) => {
                let start = (self.count % PATTERN as u64) as usize;
                let expected = &twice[start..start + count];
                assert!(buffer[..count] == *expected, "wrong bytes after {}", self.count);
                self.count += count as u64;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

/// Serves `size` bytes to each of `count` readers that read nothing at first and little later. Checks
/// that all get everything, and that the process holds no more than the marks of all.
fn serve_slow_readers(kinds: &[BackendKind], test: &str, count: usize, size: u64) {
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    in_a_process_for_each::<()>(kinds, test, limits, |mut reactor| {
        let pattern: Arc<[u8]> = Random::new(1).bytes(PATTERN).into();
        let (twice, mut buffer) = (pattern.repeat(2), [0; SIP]);
        let make = move || Pours { left: size, position: 0, pattern: Arc::clone(&pattern) };
        let address = serve(&mut reactor, Limits::DEFAULT, make);
        let before = memory();
        let most = count as u64 * Limits::DEFAULT.output_high + 20 * MEBIBYTE;
        let connect = |_| {
            let stream = TcpStream::connect(&address).expect("it accepts");
            stream.set_nonblocking(true).expect("modes can be set");
            Reader { stream, count: 0, has_ended: false }
        };
        let mut readers: Vec<Reader> = (0..count).map(connect).collect();
        // Until the buffers of the kernel, and the marks of all, are full.
        let (mut written, mut still) = (0, 0);
        turn_until(&mut reactor, |reactor| reactor.counters().accepts == count as u64);
        while still < 20 {
            reactor.run_once(Some(Duration::from_millis(2))).expect("it turns");
            let now = reactor.counters().bytes_written;
            still = if now == written { still + 1 } else { 0 };
            written = now;
        }
        let (mut held, mut progress) = (0, (0, Instant::now()));
        for round in 0.. {
            if readers.iter().all(|it| it.has_ended) {
                break;
            }
            // Looking at the memory takes longer than a round.
            if round % 20 == 0 {
                held = memory().saturating_sub(before).max(held);
                let so_far: u64 = readers.iter().map(|it| it.count).sum();
                if so_far > progress.0 {
                    progress = (so_far, Instant::now());
                }
                assert!(progress.1.elapsed() < PATIENCE, "{so_far}: {}", reactor.counters());
            }
            for reader in readers.iter_mut().filter(|it| !it.has_ended) {
                reader.sip(&mut buffer, &twice);
            }
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        }
        eprintln!("{count} readers of {size} bytes: {held} bytes held, of at most {most}");
        assert!(held <= most, "{held} bytes are held, of at most {most}");
        assert!(readers.iter().all(|it| it.count == size), "an answer is not whole");
        drop(readers);
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        assert_eq!(reactor.counters().cut_short, 0);
    });
}

#[test]
fn slow_readers_get_everything_within_the_marks() {
    serve_slow_readers(
        &BackendKind::ALL,
        "slow_readers_get_everything_within_the_marks",
        16,
        16 * MEBIBYTE,
    );
}

#[test]
#[ignore = "it sends 50 GB on each of two backends, which takes minutes"]
fn five_hundred_slow_readers_of_100_mb_get_everything_within_the_marks() {
    let name = "five_hundred_slow_readers_of_100_mb_get_everything_within_the_marks";
    serve_slow_readers(&MAIN, name, 500, 100_000_000);
}

/// How many sessions were told of their end.
type Ends = usize;

/// Answers any input with more than a Unix socket takes.
struct Floods;

const FLOOD: usize = 300_000;

impl Session<Ends> for Floods {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Ends>,
    ) -> Result<Flow, Reason> {
        if !input.is_empty() && output.is_empty() {
            output.append(&[7; FLOOD]);
        }
        input.clear();
        Ok(if context.input_ended { Flow::Close } else { Flow::Continue })
    }

    fn closed(&mut self, _reason: &Reason, context: &mut Context<'_, Ends>) {
        *context.app += 1;
    }
}

/// The other side of a connection to the loop.
enum Peer {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Peer {
    /// Makes a connection, and returns the descriptor for the loop too. One in eight is of TCP, through
    /// `listener`.
    fn new(random: &mut Random, listener: &TcpListener) -> (Self, OwnedFd) {
        if random.one_in(8) {
            let address = listener.local_addr().expect("it is bound");
            let peer = TcpStream::connect(address).expect("it listens");
            let (near, _) = listener.accept().expect("it is there");
            return (Self::Tcp(peer), near.into());
        }
        let (near, peer) = UnixStream::pair().expect("a pair can be made");
        (Self::Unix(peer), near.into())
    }

    fn write(&mut self, bytes: &[u8]) {
        let written = match self {
            Self::Unix(peer) => peer.write_all(bytes),
            Self::Tcp(peer) => peer.write_all(bytes),
        };
        written.expect("there is room");
    }

    fn end_output(&self) {
        let ended = match self {
            Self::Unix(peer) => peer.shutdown(Shutdown::Write),
            Self::Tcp(peer) => peer.shutdown(Shutdown::Write),
        };
        ended.expect("it is connected");
    }
}

/// Turns a loop a few times without waiting, so that operations are under way.
fn turn_a_little(reactor: &mut Reactor<Ends>, random: &mut Random) {
    for _ in 0..random.below(4) {
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    }
}

/// Registers `count` connections in the middle of receiving and sending.
fn gather(reactor: &mut Reactor<Ends>, random: &mut Random, count: usize) -> Vec<(Token, Peer)> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let connect = |_| {
        let (mut peer, near) = Peer::new(random, &listener);
        // A part is registered while something has come, a part before.
        let is_early = random.one_in(2);
        if is_early {
            peer.write(b"more");
        }
        let registration = Registration::new(Interest::READ).role(Role::Connection);
        let stream = Stream::new(Floods, Limits::DEFAULT);
        let token = stream.register_fd(near, registration, &mut reactor.cx());
        if !is_early && !random.one_in(4) {
            peer.write(b"more");
        }
        if random.one_in(8) {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        (token.expect("it registers"), peer)
    };
    (0..count).map(connect).collect()
}

/// Ends connections in every way: by the loop, by the peer, by both at once.
fn scatter(reactor: &mut Reactor<Ends>, random: &mut Random, crowd: Vec<(Token, Peer)>) {
    let mut kept = Vec::new();
    for (token, mut peer) in crowd {
        match random.below(5) {
            0 => drop(peer),
            1 => {
                reactor.cx().close(token);
                kept.push(peer);
            }
            2 => {
                drop(peer);
                reactor.cx().close(token);
            }
            3 => {
                peer.end_output();
                turn_a_little(reactor, random);
                reactor.cx().close(token);
                kept.push(peer);
            }
            _ => {
                peer.write(b"and more");
                reactor.cx().close(token);
                kept.push(peer);
            }
        }
        if random.one_in(16) {
            turn_a_little(reactor, random);
        }
    }
    turn_until(reactor, |reactor| reactor.counters().live() == 0);
}

/// Ends `total` connections with receives and sends under way, `batch` at a time. Checks that each is told
/// once, and that descriptors and memory come back. Some of the last ones end with their loop.
fn end_many(kinds: &[BackendKind], test: &str, total: usize, batch: usize) {
    let before = descriptors();
    in_a_process_for_each::<Ends>(kinds, test, LoopLimits::DEFAULT, |mut reactor| {
        let mut random = Random::new(16);
        let mut settled = 0;
        for number in 1..=total / batch {
            let crowd = gather(&mut reactor, &mut random, batch);
            turn_a_little(&mut reactor, &mut random);
            scatter(&mut reactor, &mut random, crowd);
            assert_eq!(reactor.app, number * batch, "not every session was told once");
            if number == 2 {
                settled = memory();
            }
        }
        let grown = memory().saturating_sub(settled);
        eprintln!("{total} connections ended: {grown} bytes are left");
        // The allocator may keep what one crowd had.
        let most = batch * FLOOD;
        assert!(grown <= most as u64, "{grown} bytes are left of {total} connections");
        serve_one_more(&mut reactor);
        let crowd = gather(&mut reactor, &mut random, batch);
        turn_a_little(&mut reactor, &mut random);
        drop(reactor);
        drop(crowd);
        assert_eq!(descriptors(), before, "descriptors are left");
    });
}

/// Checks that a connection gets all that it is sent.
fn serve_one_more(reactor: &mut Reactor<Ends>) {
    let (near, mut peer) = UnixStream::pair().expect("a pair can be made");
    peer.set_nonblocking(true).expect("modes can be set");
    let registration = Registration::new(Interest::READ).role(Role::Connection);
    let stream = Stream::new(Floods, Limits::DEFAULT);
    stream.register_fd(near.into(), registration, &mut reactor.cx()).expect("it registers");
    peer.write_all(b"more").expect("there is room");
    let (mut count, mut buffer) = (0, [0; 40_000]);
    turn_until(reactor, |_| {
        count += peer.read(&mut buffer).unwrap_or(0);
        count == FLOOD
    });
    drop(peer);
    turn_until(reactor, |reactor| reactor.counters().live() == 0);
}

#[test]
fn connections_that_end_in_the_middle_of_everything_leave_nothing() {
    end_many(
        &BackendKind::ALL,
        "connections_that_end_in_the_middle_of_everything_leave_nothing",
        2_000,
        100,
    );
}

#[test]
#[ignore = "it ends 100,000 connections on each of two backends, which takes minutes"]
fn a_hundred_thousand_connections_that_end_in_the_middle_of_everything_leave_nothing() {
    let name = "a_hundred_thousand_connections_that_end_in_the_middle_of_everything_leave_nothing";
    end_many(&MAIN, name, 100_000, 200);
}
