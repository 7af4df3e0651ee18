//! Tests the bare loops on io_uring: whatever is slow, short or used up, no byte is lost.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use benches::load::{Load, exchange, talk::Talk};
use benches::process::Running;
use benches::subject::{self, Program, Subject};
use rustix::net::sockopt::set_socket_linger;
use testkit::process::memory_bytes;
use testkit::{Random, skip, wait_until};

/// The bare loops and their works. `echo-narrow` has rings of 4 and 8 places and two buffers of
/// 4 KiB, so submissions, completions and buffers are always used up.
const WORKS: [(&str, &str); 3] =
    [("ring", "echo"), ("ring", "echo-narrow"), ("ring-sends", "echo")];

const PATIENCE: Duration = Duration::from_secs(60);
/// More than the buffers of a connection on loopback take.
const FLOOD: usize = 32 * 1024 * 1024;
/// What a server may have for three connections whose peers do not read. Each of its loops stops
/// reading at 256 KiB, beside a pool of 2 MiB or an input of 4 MiB.
const MEMORY_MAX: u64 = 16 * 1024 * 1024;

fn named(name: &str) -> Subject {
    subject::ALL.into_iter().find(|it| it.name == name).expect("it is there")
}

/// A bare loop, and its address.
struct Server {
    running: Running,
    address: SocketAddr,
}

impl Server {
    /// Returns `None`, and tells why, if the loop is absent.
    fn start(name: &str, work: &str) -> Option<Self> {
        Self::start_by(name, |path| {
            let mut command = Command::new(path);
            command.args([work, "-1", "0"]);
            command
        })
    }

    fn start_by(name: &str, command: impl Fn(&str) -> Command) -> Option<Self> {
        let subject = named(name);
        let path = match (subject.absent(), subject.program) {
            (None, Program::C(Ok(path), _)) => path,
            (why, _) => {
                skip(&format!("{name}: {why:?}"));
                return None;
            }
        };
        let running = Running::start(command(path)).expect("it starts");
        let address = running.address(PATIENCE, &AtomicBool::new(false)).expect("it listens");
        Some(Self { running, address: address.parse().expect("it is an address") })
    }
}

fn load(connections: usize, size: usize, depth: usize) -> Load {
    let (warm_up, duration) = (Duration::ZERO, Duration::ZERO);
    Load { connections, size, depth, rate: None, talk: Talk::Echo, tls: false, warm_up, duration }
}

#[test]
fn ten_thousand_messages_come_back_unchanged() {
    for (name, work) in WORKS {
        for load in [load(1, 64, 1), load(50, 64, 16), load(500, 100, 4)] {
            let Some(server) = Server::start(name, work) else { continue };
            let count = exchange(load, 10_000, server.address);
            assert!(count.expect("all are answered") >= 10_000, "{name} {work}");
        }
    }
}

#[test]
fn large_messages_come_back_unchanged() {
    for (name, work) in WORKS {
        for load in [load(1, 64 * 1024, 1), load(20, 64 * 1024, 2), load(20, 5000, 16)] {
            let Some(server) = Server::start(name, work) else { continue };
            let count = exchange(load, 1000, server.address);
            assert!(count.expect("all are answered") >= 1000, "{name} {work}");
        }
    }
}

/// Returns the byte at a place of what is sent.
fn byte(place: usize) -> u8 {
    (place.wrapping_mul(0x9e37_79b9) >> 13) as u8
}

/// Sends a flood in pieces of all sizes, and then ends this side.
fn flood(mut stream: &TcpStream, sent: &AtomicUsize, seed: u64) {
    let (mut random, mut from) = (Random::new(seed), 0);
    while from < FLOOD {
        let count = [1, 700, 5000, 300_000][random.below(4) as usize].min(FLOOD - from);
        let bytes: Vec<u8> = (from..from + count).map(byte).collect();
        stream.write_all(&bytes).expect("the server reads");
        from += count;
        sent.fetch_add(count, Ordering::Relaxed);
    }
    stream.shutdown(Shutdown::Write).expect("it is open");
}

/// Reads what comes back in pieces of all sizes, to its end.
fn drain(mut stream: &TcpStream, seed: u64) {
    let (mut random, mut from) = (Random::new(seed), 0);
    let mut buffer = vec![0; 400_000];
    loop {
        let most = [100, 70_000, 400_000][random.below(3) as usize];
        let count = stream.read(&mut buffer[..most]).expect("the server answers");
        if count == 0 {
            assert_eq!(from, FLOOD, "all bytes came back before the end");
            return;
        }
        let wrong = (0..count).find(|it| buffer[*it] != byte(from + it));
        assert_eq!(wrong.map(|it| from + it), None, "a byte differs");
        from += count;
    }
}

#[test]
fn readers_that_stop_lose_nothing_and_bound_the_memory() {
    for (name, work) in WORKS {
        let Some(server) = Server::start(name, work) else { continue };
        let connect = |_| {
            let stream = TcpStream::connect(server.address).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
            stream.set_write_timeout(Some(PATIENCE)).expect("it is a time");
            stream
        };
        let (streams, sent) = ([0, 1, 2].map(connect), AtomicUsize::new(0));
        thread::scope(|scope| {
            for (seed, stream) in (1..).zip(&streams) {
                let sent = &sent;
                scope.spawn(move || flood(stream, sent, seed));
            }
            // All buffers are full when no more is sent for a while.
            let mut before = 0;
            wait_until("the server to stop reading", || {
                thread::sleep(Duration::from_millis(300));
                let now = sent.load(Ordering::Relaxed);
                let is_full = now > 0 && now == before;
                before = now;
                is_full
            });
            assert!(before < 3 * FLOOD, "{name} {work}: it reads all that is not read");
            let bytes = memory_bytes(server.running.pid()).expect("it runs");
            assert!(bytes < MEMORY_MAX, "{name} {work} has {bytes} bytes");
            for (seed, stream) in (1..).zip(&streams) {
                scope.spawn(move || drain(stream, seed));
            }
        });
    }
}

#[test]
fn the_place_of_a_connection_is_free_when_it_has_ended_or_failed() {
    for (name, work) in WORKS {
        // With few descriptors, a place that is not given back is missed soon.
        let limited = |path: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", path, work, "-1", "0"]);
            command
        };
        let Some(server) = Server::start_by(name, limited) else { continue };
        for number in 0..500 {
            let mut stream = TcpStream::connect(server.address).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
            stream.write_all(b"hello").expect("it is open");
            match number % 3 {
                // Ended by this side, and only then by the server.
                0 => {
                    let mut said = Vec::new();
                    stream.shutdown(Shutdown::Write).expect("it is open");
                    stream.read_to_end(&mut said).expect("the server ends it");
                    assert_eq!(said, b"hello", "{name} {work}, connection {number}");
                }
                // Reset after the answer.
                1 => {
                    stream.read_exact(&mut [0; 5]).expect("the server answers");
                    set_socket_linger(&stream, Some(Duration::ZERO)).expect("it is a socket");
                }
                // Reset while the server may have something to send.
                _ => {
                    stream.write_all(&[0; 100_000]).expect("it is open");
                    set_socket_linger(&stream, Some(Duration::ZERO)).expect("it is a socket");
                }
            }
        }
    }
}

#[test]
fn a_loop_that_is_refused_something_ends_and_tells_what() {
    let Program::C(Ok(path), _) = named("ring").program else {
        return skip("ring is not compiled");
    };
    // The C library, the pool and the table of connections take more.
    let probe = Command::new("sh")
        .args(["-c", "ulimit -v 6000; exec \"$0\" probe -1", path])
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&probe.stderr).into_owned();
    assert_eq!(probe.status.code(), Some(1), "{said}");
    assert!(said.contains(": Cannot allocate memory ("), "{said}");
    assert!(said.contains("io_uring_disabled: "), "{said}");
}
