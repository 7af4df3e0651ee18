//! What the tests of the servers share: daemons that are stopped whatever happens, and peers.

#![allow(dead_code)] // Each test program uses a part of it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub(crate) use testkit::PATIENCE;
use testkit::process;

/// A server under test: started on port 0, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Reads its log, so that it never waits for us to do so.
    reading: Option<JoinHandle<()>>,
    /// What it has logged since it listened.
    log: Arc<Mutex<String>>,
    /// The lines it has logged about what it listens on.
    pub(crate) addresses: Vec<String>,
    /// What it logged until then.
    pub(crate) start_log: String,
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
        let (mut addresses, mut start_log) = (Vec::new(), String::new());
        while addresses.len() < expected {
            let mut line = String::new();
            let read = log.read_line(&mut line).expect("the log is text");
            start_log.push_str(&line);
            assert!(read > 0, "the server ended before it listened: {start_log}");
            if let Some((_, rest)) = line.split_once("listening on ") {
                addresses.push(rest.split(' ').next().unwrap_or_default().to_owned());
            }
        }
        let lines = Arc::new(Mutex::new(String::new()));
        let reading = std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || keep(log, &lines)
        });
        Self { child, reading: Some(reading), log: lines, addresses, start_log }
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
        process::signal(self.child.id(), name);
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
        let reading = self.reading.take().expect("it is waited for once");
        reading.join().expect("the log is text");
        (self.child.wait().expect("it can be waited for").code(), self.log())
    }

    /// What it has logged since it listened.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log is text").clone()
    }

    /// What its loop has counted so far, which it logs when it is told to by SIGUSR1.
    pub(crate) fn counters(&self) -> HashMap<String, u64> {
        let all = || -> Vec<String> {
            self.log().lines().filter(|it| it.contains(" turns=")).map(str::to_owned).collect()
        };
        let before = all().len();
        self.signal("USR1");
        testkit::wait_until("a line of counters", || all().len() > before);
        let line = all().pop().expect("there is one more");
        let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?))).collect()
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The bytes of memory that it has written to itself: a number of pages.
    pub(crate) fn memory(&self) -> u64 {
        process::memory_bytes(self.id()).expect("it is running")
    }
}

/// Reads a log to its end. Only whole lines are ever in what is kept.
fn keep(mut log: BufReader<ChildStderr>, lines: &Mutex<String>) {
    let mut line = String::new();
    while log.read_line(&mut line).expect("the log is text") > 0 {
        lines.lock().expect("nobody panics with it").push_str(&line);
        line.clear();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, which is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a peer program with `input` on its standard input, and returns what it printed.
pub(crate) fn pipe_through(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let output = process::run(command, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the peer program failed: {}: {said}", output.status);
    output.stdout
}
