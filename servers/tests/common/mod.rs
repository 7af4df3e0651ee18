//! What the tests of the servers share: daemons that are stopped whatever happens, and peers.

#![allow(dead_code)] // Each test program uses a part of it.

pub(crate) mod peer_programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server under test: started on port 0, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Reads its log, so that it never waits for us to do so.
    log: Option<JoinHandle<String>>,
    /// The lines it has logged about what it listens on.
    pub(crate) addresses: Vec<String>,
}

impl Daemon {
    /// Starts `program` with `args`, under `wrapper` when there is one, and waits until it listens
    /// on as many addresses as it was given, one by default.
    pub(crate) fn start(wrapper: &[&str], program: &str, args: &[&str]) -> Self {
        let expected = args.iter().filter(|arg| **arg == "--listen").count();
        let words: Vec<&str> = wrapper.iter().copied().chain([program]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(args)
            .env("RUST_LOG", "info")
            .env_remove("REACTOR_BACKEND")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut log = BufReader::new(child.stderr.take().expect("its log is piped"));
        let mut addresses = Vec::new();
        while addresses.len() < expected {
            let mut line = String::new();
            let read = log.read_line(&mut line).expect("the log is text");
            assert!(read > 0, "the server ended before it listened");
            if let Some((_, rest)) = line.split_once("listening on ") {
                addresses.push(rest.split(' ').next().unwrap_or_default().to_owned());
            }
        }
        let log = Some(std::thread::spawn(move || rest(log)));
        Self { child, log, addresses }
    }

    /// A connection to its first address.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addresses[0]).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeouts can be set");
        stream
    }

    /// The host and port of its first address.
    pub(crate) fn host_and_port(&self) -> (&str, &str) {
        self.addresses[0].rsplit_once(':').expect("it is a TCP address")
    }

    /// Sends it a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success(), "kill -s {name} failed");
    }

    /// Whether it is still running.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// Stops it with SIGTERM; returns its exit code and the rest of its log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end; returns its exit code and the rest of its log.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let log = self.log.take().expect("it is waited for once");
        let log = log.join().expect("the log is text");
        (self.child.wait().expect("it can be waited for").code(), log)
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The bytes of memory that it has written to itself: a number of pages.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).expect("it is running");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux has it");
        let kibibytes = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        kibibytes.map(|count: u64| count * 1024).expect("it is a number")
    }

    /// The processor time it has used, in hundredths of a second, as Linux counts it.
    pub(crate) fn busy(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.id());
        let stat = std::fs::read_to_string(path).expect("it is running");
        // The name in parentheses may contain spaces; utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("Linux writes it so");
        let ticks = |place| fields.split_whitespace().nth(place)?.parse::<u64>().ok();
        ticks(11).zip(ticks(12)).map(|(user, system)| user + system).expect("they are numbers")
    }
}

fn rest(mut log: BufReader<ChildStderr>) -> String {
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("the log is text");
    rest
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, which is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program with `input` on its standard input, and returns what it printed.
pub(crate) fn pipe_through(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the peer program starts");
    let mut stdin = child.stdin.take().expect("its input is piped");
    let mut stdout = child.stdout.take().expect("its output is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A peer that stops reading shows in what it printed.
            let _ = stdin.write_all(input);
        });
        let mut printed = Vec::new();
        stdout.read_to_end(&mut printed).expect("its output can be read");
        let status = child.wait().expect("it can be waited for");
        assert!(status.success(), "the peer program failed: {status}");
        printed
    })
}

/// Bytes that look random, from a seed (xorshift).
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.max(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
