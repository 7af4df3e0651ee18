//! Crowds: as many connections as the limits allow, which are silent, slow or refused for a while.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE};
use protocol::codecs::Bytes;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Address, BackendKind, ConnectOptions, LoopLimits, Reactor, Stream, raise_descriptor_limit,
};
use testkit::{Folder, tell};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// Raises the limit of descriptors, to `wanted` if possible. Returns the number that is left for
/// connections, and prints a note if it is lower.
fn room_for(wanted: usize) -> usize {
    const OTHERS: usize = 100;
    let limit = raise_descriptor_limit((wanted + OTHERS) as u64).expect("it can be raised");
    let room = wanted.min((limit as usize).saturating_sub(OTHERS));
    if room < wanted {
        tell("SCALED DOWN", &format!("{room} connections of {wanted}: ulimit -Hn is the limit"));
    }
    room
}

/// Returns a lock, so that only one test at a time has thousands of connections. Each of these
/// tests needs most of the descriptors of the process. A failed test leaves nothing behind, so a
/// poisoned lock does not matter.
fn descriptors() -> MutexGuard<'static, ()> {
    static DESCRIPTORS: Mutex<()> = Mutex::new(());
    DESCRIPTORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a server with the descriptor limit that `script` (a shell script) sets.
fn start(script: &str, args: &[&str]) -> Daemon {
    let script = format!("{script} && exec \"$0\" \"$@\"");
    Daemon::start(&["sh", "-c", &script], ECHO, args)
}

/// The counts of the clients of a crowd.
#[derive(Default)]
struct Crowd {
    answered: usize,
    /// The connections that the server closed after that.
    closed: usize,
    failures: usize,
}

/// Sends one message, and is then silent.
struct Silent {
    was_heard: bool,
}

impl Service<Bytes, Crowd> for Silent {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, _context: &mut Context<'_, Crowd>) -> Flow {
        reply.send(b"hello");
        Flow::Continue
    }

    fn call(
        &mut self,
        _bytes: &mut [u8],
        _reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Crowd>,
    ) -> Flow {
        context.app.answered += usize::from(!self.was_heard);
        self.was_heard = true;
        Flow::Continue
    }

    fn closed(&mut self, reason: &protocol::Reason, context: &mut Context<'_, Crowd>) {
        context.app.failures += usize::from(!reason.is_orderly());
        context.app.closed += usize::from(reason.is_orderly() && self.was_heard);
    }
}

/// What has happened so far, and when the last of it has. A busy machine takes long for a crowd, and a
/// server that hangs does nothing at all.
struct Progress(usize, Instant);

impl Progress {
    fn start() -> Self {
        Self(0, Instant::now())
    }

    /// Fails if nothing has happened for long.
    #[track_caller]
    fn check(&mut self, so_far: usize, what: &str) {
        if so_far > self.0 {
            *self = Self(so_far, Instant::now());
        }
        assert!(self.1.elapsed() < PATIENCE, "{so_far} {what}, and no more");
    }
}

/// Connects `count` silent clients, a few hundred at once, and waits until all have a reply.
fn gather(reactor: &mut Reactor<Crowd>, address: &Address, count: usize) {
    let mut progress = Progress::start();
    for number in 1..=count {
        let session = Conversation::new(Bytes, Silent { was_heard: false });
        let options = ConnectOptions::DEFAULT;
        Stream::new(session, Limits::DEFAULT)
            .connect(address, &options, &mut reactor.cx())
            .expect("it connects");
        while reactor.app.answered + 200 < number
            || (number == count && reactor.app.answered < count)
        {
            reactor.run_once(Some(Duration::from_millis(10))).expect("it turns");
            progress.check(reactor.app.answered, "are answered");
        }
    }
}

/// Returns a loop for clients, which wait without limits.
fn clients() -> Reactor<Crowd> {
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let backend = BackendKind::Epoll.open().expect("epoll opens");
    Reactor::with_backend(backend, limits, Crowd::default()).expect("the reactor opens")
}

/// Starts an echo server for thousands of clients with this idle timeout.
fn start_for_thousands(idle_timeout: &str) -> (Daemon, Address) {
    let args = ["--idle-timeout", idle_timeout, "--max-connections", "20000"];
    let server = start("ulimit -n $(ulimit -Hn)", &[&LISTEN[..], &args].concat());
    let address = server.addresses[0].parse().expect("it is an address");
    (server, address)
}

#[test]
fn fifteen_thousand_silent_connections_use_little_memory_and_no_work() {
    const QUIET: Duration = Duration::from_millis(1500);
    let _alone = descriptors();
    let count = room_for(15_000);
    let (server, address) = start_for_thousands("600s");
    let mut reactor = clients();
    // The first connections make the server allocate what it needs once.
    gather(&mut reactor, &address, 10);
    let memory = server.memory();
    reactor.app.answered = 0;
    gather(&mut reactor, &address, count);
    let each = server.memory().saturating_sub(memory) / count as u64;
    let before = server.counters();
    std::thread::sleep(QUIET);
    let after = server.counters();
    let grown = |name: &str| after[name] - before[name];
    eprintln!("{count} connections: {each} bytes each, {} turns in {QUIET:?}", grown("turns"));
    assert!(each <= 192, "{each} bytes each");
    // The server has turned for the signals that asked for its counters. It has not visited any
    // connection.
    for (name, most) in
        [("turns", 20), ("waits", 20), ("reads", 4), ("writes", 0), ("timers", 0), ("ctl_calls", 0)]
    {
        assert!(grown(name) <= most, "{name}: {before:?}, {after:?}");
    }
    drop(reactor);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn fifteen_thousand_silent_connections_are_all_closed_at_the_idle_limit() {
    let _alone = descriptors();
    let count = room_for(15_000);
    let (server, address) = start_for_thousands("5s");
    let mut reactor = clients();
    gather(&mut reactor, &address, count);
    let mut progress = Progress::start();
    while reactor.app.closed < count {
        reactor.run_once(Some(Duration::from_millis(100))).expect("it turns");
        progress.check(reactor.app.closed, "are closed");
    }
    assert_eq!(reactor.app.failures, 0);
    let counters = server.counters();
    assert_eq!(counters["closed_timed_out"], count as u64, "{counters:?}");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn slow_readers_use_no_more_memory_than_their_marks() {
    const READERS: usize = 500;
    let _alone = descriptors();
    let count = room_for(READERS);
    let folder = Folder::new("slow");
    let path = folder.file("socket");
    let address = format!("unix:{path}");
    let server = start("ulimit -n $(ulimit -Hn)", &["--listen", &address]);
    let before = server.memory();
    let chunk = vec![7; 1 << 20];
    let mut readers = Vec::new();
    for _ in 0..count {
        let stream = UnixStream::connect(&path).expect("it accepts");
        stream.set_nonblocking(true).expect("modes can be set");
        readers.push((stream, 0_u64));
    }
    // Until both directions of every reader have been full for a while.
    let (mut still, mut sent) = (0, 0);
    while still < 10 {
        let so_far = sent;
        for (stream, sent_here) in &mut readers {
            while let Ok(count) = stream.write(&chunk) {
                *sent_here += count as u64;
                sent += count;
            }
        }
        still = if sent == so_far { still + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(20));
    }
    let held = server.memory() - before;
    let marks = count as u64 * Limits::DEFAULT.output_high;
    eprintln!("{count} slow readers, {sent} bytes: {held} bytes held, marks of {marks}");
    assert!(held <= marks + (20 << 20), "{held} bytes are held, the marks sum up to {marks}");
    // A reader that reads later gets everything.
    let (stream, sent) = &mut readers[0];
    let mut back = 0;
    let mut buffer = vec![0; 1 << 20];
    let start = Instant::now();
    while back < *sent {
        match stream.read(&mut buffer) {
            Ok(count) => back += count as u64,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(start.elapsed() < PATIENCE, "{back} of {sent} came back");
    }
    drop(readers);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn running_out_of_descriptors_pauses_accepting_and_is_rarely_logged() {
    const WATCHED: Duration = Duration::from_secs(6);
    let server = start("ulimit -n 64", &LISTEN);
    let mut clients = Vec::new();
    for number in 1..=200_u8 {
        let mut client = server.connect();
        client.write_all(&[number]).expect("the kernel takes a byte");
        client.set_nonblocking(true).expect("modes can be set");
        clients.push((number, client));
    }
    let full = server.counters();
    std::thread::sleep(WATCHED);
    let watched = server.counters();
    // The pauses double up to a second. So there are a dozen of them in that time, each with a few
    // turns. A busy loop turns a million times.
    let turns = watched["turns"] - full["turns"];
    assert!(turns < 200, "{turns} turns while nothing can be accepted");
    while !clients.is_empty() {
        let before = clients.len();
        testkit::wait_until("the service of the next client", || {
            clients.retain_mut(|(number, client)| {
                let mut reply = [0];
                match client.read(&mut reply) {
                    // Closing it frees a descriptor for the next client.
                    Ok(count) => assert_eq!((count, reply), (1, [*number])),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                reply == [0]
            });
            clients.len() < before
        });
    }
    let served = server.counters();
    let (code, log) = server.stop();
    let pauses = log.lines().filter(|line| line.contains("accepting pauses")).count();
    let timers = served["timers"] - watched["timers"];
    eprintln!("{turns} turns, {pauses} lines, {timers} pauses while clients left");
    assert_eq!((code, served["accepts"]), (Some(0), 200));
    assert!((1..=3).contains(&pauses), "{log}");
    // Over a hundred clients were accepted when another one left, and not at the end of a pause.
    assert!(timers < 50, "{timers} pauses");
}

#[test]
fn ten_thousand_signals_under_load_do_no_harm_and_the_last_is_handled() {
    let server = Daemon::start(&[], ECHO, &LISTEN);
    let mut client = server.connect();
    let burst = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let script = "i=0; while [ $i -lt 10000 ]; do kill -USR1 $0; i=$((i+1)); done";
            let pid = server.id().to_string();
            let status = Command::new("sh").args(["-c", script, &pid]).status();
            burst.store(false, Ordering::Release);
            assert!(status.expect("a shell is there").success());
        });
        let mut rounds = 0_u32;
        while burst.load(Ordering::Acquire) || rounds < 1000 {
            let message = rounds.to_le_bytes();
            let mut reply = [0; 4];
            client.write_all(&message).expect("it takes bytes");
            client.read_exact(&mut reply).expect("it answers");
            assert_eq!(reply, message);
            rounds += 1;
        }
    });
    drop(client);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "the last signal was not seen");
    let logged = log.lines().filter(|line| line.contains(" turns=")).count();
    assert!((2..=10_001).contains(&logged), "{logged} lines");
}
