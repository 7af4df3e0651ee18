//! Servers that are replaced again and again, and clients that must not notice.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{process, wait_until};

use super::{Daemon, PATIENCE};

/// A server, and those that have taken over from it. The last is killed on drop.
pub(crate) struct Chain {
    /// The first one. All write to its log.
    pub(crate) daemon: Daemon,
    /// The present one.
    pub(crate) process: u32,
}

impl Chain {
    pub(crate) fn start(program: &str, args: &[&str]) -> Self {
        let daemon = Daemon::start(&[], program, args);
        Self { process: daemon.id(), daemon }
    }

    /// Returns the processes that have taken over.
    pub(crate) fn successors(&self) -> Vec<u32> {
        let log = self.daemon.log();
        let lines = log.lines().filter_map(|line| line.strip_suffix(" has taken over"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
    }

    /// Replaces the present program, and waits until it has ended.
    pub(crate) fn restart(&mut self) {
        let before = self.successors().len();
        let old = self.process;
        process::signal(old, "USR2");
        wait_until("a new program that has taken over", || self.successors().len() > before);
        self.process = *self.successors().last().expect("there is one");
        assert_ne!(self.process, old);
        wait_until("the end of the old program", || !process::runs(old));
    }

    /// Asks for a new program, and waits until the log says that the present one goes on.
    pub(crate) fn fail(&self) {
        let failures = || self.daemon.log().matches("this one goes on").count();
        let before = failures();
        process::signal(self.process, "USR2");
        wait_until("a failure in the log", || failures() > before);
        assert!(process::runs(self.process));
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if process::runs(self.process) {
            process::signal(self.process, "KILL");
        }
    }
}

/// Sends `bytes` and checks that `expected` comes back.
pub(crate) fn ask(stream: &mut (impl Read + Write), bytes: &[u8], expected: &[u8]) {
    stream.write_all(bytes).expect("the server takes bytes");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    assert_eq!(answer, expected);
}

/// Connects, asks once and leaves, at most `rate` times a second, until told to stop. Returns how
/// often.
pub(crate) fn visit(address: &str, rate: u32, stops: &AtomicBool) -> u64 {
    let (start, mut count) = (Instant::now(), 0);
    while !stops.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address).expect("nothing is refused");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        ask(&mut stream, b"hello", b"HELLO");
        count += 1;
        let due = start + Duration::from_secs(1) / rate * count as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    count
}

/// Asks on each of `count` connections in turn, until told to stop. Returns how often.
pub(crate) fn converse(address: &str, count: usize, asked: &AtomicU64, stops: &AtomicBool) {
    let connect = |_| {
        let stream = TcpStream::connect(address).expect("nothing is refused");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    };
    let mut streams: Vec<TcpStream> = (0..count).map(connect).collect();
    for round in 0_u64.. {
        if stops.load(Ordering::Relaxed) {
            return;
        }
        // All have something on its way while others are answered.
        for (place, stream) in streams.iter_mut().enumerate() {
            stream.write_all(format!("{round}-a-{place};").as_bytes()).expect("it is written");
        }
        for (place, stream) in streams.iter_mut().enumerate() {
            let expected = format!("{round}-A-{place};");
            let mut answer = vec![0; expected.len()];
            stream.read_exact(&mut answer).expect("nothing is reset");
            assert_eq!(String::from_utf8_lossy(&answer), expected);
            asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Calls a function at its end, also in a panic.
pub(crate) struct OnDrop<F: Fn()>(pub(crate) F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Replaces a program by a script.
pub(crate) fn install(path: &str, script: &str) {
    let new = format!("{path}.new");
    process::write_program(&new, script);
    fs::rename(new, path).expect("it is replaced");
}
