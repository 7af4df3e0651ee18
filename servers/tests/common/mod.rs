//! What the tests of the servers share: daemons that are stopped whatever happens, and peers.

#![allow(dead_code)] // Each test program uses a part of it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::JoinHandle;

pub(crate) use testkit::PATIENCE;
use testkit::process;

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
        process::memory_bytes(self.id()).expect("it is running")
    }

    /// The processor time it has used, in nanoseconds.
    pub(crate) fn busy(&self) -> u64 {
        process::cpu_nanoseconds(self.id()).expect("it is running")
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

/// Runs a peer program with `input` on its standard input, and returns what it printed.
pub(crate) fn pipe_through(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let output = process::run(command, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the peer program failed: {}: {said}", output.status);
    output.stdout
}
