//! Helpers for the tests of the servers: daemons that always end with their test, and peer
//! programs.

#![allow(dead_code)] // Each test program uses a part of it.

pub(crate) mod chain;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub(crate) use testkit::PATIENCE;
use testkit::process;

/// A server under test. It is killed on drop.
pub(crate) struct Daemon {
    child: Child,
    /// The thread that reads the log, so that the server never waits for a reader.
    reading: Option<JoinHandle<()>>,
    /// The log since the server started to listen.
    log: Arc<Mutex<String>>,
    /// The addresses that it listens on, as logged.
    pub(crate) addresses: Vec<String>,
    /// The log before that.
    pub(crate) start_log: String,
}

impl Daemon {
    /// Starts `program` with `args`, under `wrapper` if there is one. Waits until it listens on all
    /// addresses that it was given, or on one by default.
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

    /// Returns a connection to its first address.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addresses[0]).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeouts can be set");
        stream
    }

    /// Returns the host and port of its first address.
    pub(crate) fn host_and_port(&self) -> (&str, &str) {
        self.addresses[0].rsplit_once(':').expect("it is a TCP address")
    }

    /// Sends it a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        process::signal(self.child.id(), name);
    }

    /// Returns whether it is still running.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// Stops it with SIGTERM. Returns its exit code and the rest of its log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end. Returns its exit code and the rest of its log.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let reading = self.reading.take().expect("it is waited for once");
        reading.join().expect("the log is text");
        (self.child.wait().expect("it can be waited for").code(), self.log())
    }

    /// Returns the log since it started to listen.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log is text").clone()
    }

    /// Returns the counters of its loop, which it logs on SIGUSR1.
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

    /// Returns its process ID.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the private memory of the process, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        process::memory_bytes(self.id()).expect("it is running")
    }
}

/// Reads a log to its end. Stores whole lines only.
fn keep(mut log: BufReader<ChildStderr>, lines: &Mutex<String>) {
    let mut line = String::new();
    while log.read_line(&mut line).expect("the log is text") > 0 {
        lines.lock().expect("no thread panics while it holds the lock").push_str(&line);
        line.clear();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already, as intended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a peer program with `input` on its standard input. Returns its output.
pub(crate) fn pipe_through(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let output = process::run(command, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the peer program failed: {}: {errors}", output.status);
    output.stdout
}
