//! Crowds: as many connections as the limits allow, silent, slow, or turned away for a while.

mod common;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE};
use protocol::codecs::Bytes;
use protocol::{Conversation, Flow, Limits, Reply, Service, Turn};
use reactor::{
    Address, BackendKind, ConnectOptions, LoopLimits, Reactor, Stream, raise_descriptor_limit,
};

const ECHO: &str = env!("CARGO_BIN_EXE_echo");
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// Raises the limit of descriptors as far as `wanted`. Returns what is left for connections, and
/// says aloud when that is less.
fn room_for(wanted: usize) -> usize {
    const OTHERS: usize = 100;
    let limit = raise_descriptor_limit((wanted + OTHERS) as u64).expect("it can be raised");
    let room = wanted.min((limit as usize).saturating_sub(OTHERS));
    if room < wanted {
        eprintln!("SCALED DOWN: {room} connections instead of {wanted}: ulimit -Hn is the limit");
    }
    room
}

/// Starts a server with as many descriptors as `script` (of a shell) allows it.
fn start(script: &str, args: &[&str]) -> Daemon {
    let script = format!("{script} && exec \"$0\" \"$@\"");
    Daemon::start(&["sh", "-c", &script], ECHO, args)
}

/// What the clients of a crowd have seen.
#[derive(Default)]
struct Crowd {
    answered: usize,
    /// How long each was left in silence before it was closed.
    silences: Vec<Duration>,
    failures: usize,
}

/// Says one thing, and then nothing more.
struct Silent {
    heard: Option<Instant>,
}

impl Service<Bytes, Crowd> for Silent {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, _turn: &mut Turn<'_, Crowd>) -> Flow {
        reply.send(b"anybody there?");
        Flow::Continue
    }

    fn call(
        &mut self,
        _bytes: &mut [u8],
        _reply: &mut Reply<'_, Bytes>,
        turn: &mut Turn<'_, Crowd>,
    ) -> Flow {
        turn.app.answered += usize::from(self.heard.is_none());
        self.heard = Some(turn.now);
        Flow::Continue
    }

    fn closed(&mut self, error: Option<&(dyn Error + 'static)>, turn: &mut Turn<'_, Crowd>) {
        turn.app.failures += usize::from(error.is_some());
        turn.app.silences.extend(self.heard.map(|heard| turn.now - heard));
    }
}

/// Connects `count` silent clients, a few hundred at once, and waits until all were answered.
fn gather(reactor: &mut Reactor<Crowd>, address: &Address, count: usize) {
    let start = Instant::now();
    for number in 1..=count {
        let session = Conversation::new(Bytes, Silent { heard: None });
        let options = ConnectOptions::DEFAULT;
        Stream::connect(address, &options, Limits::DEFAULT, session, &mut reactor.cx())
            .expect("it connects");
        while reactor.app.answered + 200 < number
            || (number == count && reactor.app.answered < count)
        {
            reactor.run_once(Some(Duration::from_millis(10))).expect("it turns");
            assert!(start.elapsed() < PATIENCE, "{} of {count} answered", reactor.app.answered);
        }
    }
}

#[test]
fn fifteen_thousand_silent_connections_cost_little_and_end_in_time() {
    const IDLE: Duration = Duration::from_secs(6);
    const QUIET: Duration = Duration::from_millis(1500);
    let count = room_for(15_000);
    let server = start(
        "ulimit -n $(ulimit -Hn)",
        &[LISTEN[0], LISTEN[1], "--idle-timeout", "6s", "--max-connections", "20000"],
    );
    let address = server.addresses[0].parse().expect("it is an address");
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let backend = BackendKind::Epoll.open().expect("epoll opens");
    let mut reactor =
        Reactor::with_backend(backend, limits, Crowd::default()).expect("the reactor opens");
    // The first few have the server set up what it needs once.
    gather(&mut reactor, &address, 10);
    let memory = server.memory();
    reactor.app.answered = 0;
    gather(&mut reactor, &address, count);
    let each = server.memory().saturating_sub(memory) / count as u64;
    let busy = server.busy();
    std::thread::sleep(QUIET);
    let busy = server.busy() - busy;
    let lag = reactor.counters().lag_max;
    let start = Instant::now();
    while reactor.app.silences.len() < count + 10 {
        reactor.run_once(Some(Duration::from_millis(100))).expect("it turns");
        let there = reactor.app.silences.len();
        assert!(start.elapsed() < PATIENCE, "{there} of {count} were closed");
    }
    let (shortest, longest) =
        (reactor.app.silences.iter().min(), reactor.app.silences.iter().max());
    eprintln!(
        "{count} connections: {each} bytes each, {busy} hundredths of a second in {QUIET:?} of \
         silence, closed after {shortest:?} to {longest:?} of it (lag of this side {lag:?})"
    );
    assert_eq!(reactor.app.failures, 0);
    assert!(each <= 192, "{each} bytes each");
    assert!(busy <= 3, "{busy} hundredths of a second in {QUIET:?}");
    let late = *longest.expect("it is a crowd");
    // This side slept for a while, and may have been held up besides.
    assert!(late < IDLE + Duration::from_secs(1) + lag, "{late:?}");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn slow_readers_take_no_more_memory_than_their_marks() {
    const READERS: usize = 500;
    let count = room_for(READERS);
    let path = std::env::temp_dir().join(format!("reactor-{}-slow.sock", std::process::id()));
    let address = format!("unix:{}", path.display());
    let server = start("ulimit -n $(ulimit -Hn)", &["--listen", &address]);
    let before = server.memory();
    let chunk = vec![7; 1 << 20];
    let mut readers = Vec::new();
    for _ in 0..count {
        let stream = UnixStream::connect(&path).expect("it accepts");
        stream.set_nonblocking(true).expect("modes can be set");
        readers.push((stream, 0_u64));
    }
    // Until every reader is full on both ways, for a while.
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
    // Whoever reads at last gets everything.
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
fn running_out_of_descriptors_pauses_accepting_and_says_so_seldom() {
    const WATCHED: Duration = Duration::from_secs(6);
    let server = start("ulimit -n 64", &LISTEN);
    let mut clients = Vec::new();
    for number in 1..=200_u8 {
        let mut client = server.connect();
        client.write_all(&[number]).expect("the kernel takes a byte");
        client.set_nonblocking(true).expect("modes can be set");
        clients.push((number, client));
    }
    let (busy, start) = (server.busy(), Instant::now());
    std::thread::sleep(WATCHED);
    let busy = server.busy() - busy;
    // Hundredths of a second in so many seconds are per cent when divided by the seconds.
    let share = busy as f64 / start.elapsed().as_secs_f64();
    assert!(share < 5.0, "{share:.1} % of a processor while nothing can be accepted");
    let mut served = 0;
    let mut slowest = Duration::ZERO;
    while !clients.is_empty() {
        let before = clients.len();
        let freed = Instant::now();
        loop {
            clients.retain_mut(|(number, client)| {
                let mut reply = [0];
                match client.read(&mut reply) {
                    // Closing it frees a descriptor for the next.
                    Ok(count) => assert_eq!((count, reply), (1, [*number])),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                reply == [0]
            });
            if clients.len() < before || clients.is_empty() {
                break;
            }
            assert!(freed.elapsed() < PATIENCE, "{} wait for ever", clients.len());
            std::thread::sleep(Duration::from_millis(1));
        }
        slowest = slowest.max(freed.elapsed());
        served += before - clients.len();
    }
    assert_eq!(served, 200);
    let (code, log) = server.stop();
    let pauses = log.lines().filter(|line| line.contains("accepting pauses")).count();
    eprintln!("{share:.1} %, {pauses} lines, the next was served in {slowest:?} at most");
    assert_eq!(code, Some(0));
    assert!((1..=3).contains(&pauses), "{log}");
    // The pauses double up to a second, so this was not left to them.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}

#[test]
fn ten_thousand_signals_under_load_disturb_nothing_and_the_last_is_seen() {
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
    let logged = log.lines().filter(|line| line.contains("live=")).count();
    assert!((2..=10_001).contains(&logged), "{logged} lines");
}
