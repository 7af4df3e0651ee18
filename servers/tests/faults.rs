//! Runs the servers under faults that strace injects into their system calls.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use common::Daemon;
use testkit::{Random, has_peer};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");

/// Sends `length` bytes and checks that the same bytes come back.
fn round_trip(server: &Daemon, length: usize, seed: u64) {
    let mut client = server.connect();
    let sent = Random::new(seed).bytes(length);
    let mut writer: TcpStream = client.try_clone().expect("it can be cloned");
    std::thread::scope(|scope| {
        let sent = &sent;
        scope.spawn(move || {
            writer.write_all(sent).expect("it takes bytes");
            writer.shutdown(Shutdown::Write).expect("half of it closes");
        });
        let mut back = Vec::new();
        client.read_to_end(&mut back).expect("it answers");
        assert!(back == *sent, "{} of {length} bytes came back, or different ones", back.len());
    });
}

/// Runs the server with one fault, and checks that every connection is served completely.
fn survive(calls: &str, fault: &str) {
    let inject = format!("inject={calls}:{fault}");
    // Faults are injected into traced calls only.
    let trace = format!("trace={calls}");
    // With -D the child is the server itself, so that signals and the end of the test reach it.
    let wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let mut server = Daemon::start(&wrapper, ECHO, &["--listen", "127.0.0.1:0"]);
    for seed in 1..=6 {
        round_trip(&server, 300_000, seed);
    }
    assert!(server.is_alive(), "{inject}: the server died");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{inject}: {log}");
}

#[test]
fn interrupted_and_blocked_calls_lose_no_bytes() {
    if !has_peer("strace") {
        return;
    }
    for (calls, faults) in [
        ("accept4", ["error=EINTR:when=1+3", "error=EAGAIN:when=1"]),
        ("accept4", ["error=EAGAIN:when=1+3", "error=EINTR:when=1"]),
        ("accept4", ["error=ECONNABORTED:when=1+3", "error=EMFILE:when=1+3"]),
        ("accept4", ["error=ENOBUFS:when=2+3", "error=EMFILE:when=1"]),
        // The first reads are those of the program's own start.
        ("read", ["error=EINTR:when=20+3", "error=EAGAIN:when=20+3"]),
        ("sendto", ["error=EINTR:when=1+3", "error=EAGAIN:when=1+3"]),
        ("sendmsg", ["error=EINTR:when=1+3", "error=EAGAIN:when=1+3"]),
        ("epoll_pwait,epoll_pwait2", ["error=EINTR:when=1+3", "error=EINTR:when=1"]),
        ("epoll_pwait,epoll_pwait2", ["error=ENOMEM:when=1+3", "error=ENOMEM:when=1"]),
    ] {
        for fault in faults {
            survive(calls, fault);
        }
    }
}

#[test]
fn a_failing_wait_is_reported_with_the_call_and_a_hint() {
    if !has_peer("prlimit") {
        return;
    }
    let args = ["--listen", "127.0.0.1:0", "--backend", "poll"];
    let mut server = Daemon::start(&[], ECHO, &args);
    let clients: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    clients.iter().for_each(|mut client| client.write_all(b"x").expect("it takes bytes"));
    clients.iter().for_each(|mut client| client.read_exact(&mut [0]).expect("it answers"));
    // Fewer than it watches already.
    let limit = ["--pid", &server.id().to_string(), "--nofile=10:10"].map(str::to_owned);
    let status = Command::new("prlimit").args(limit).status().expect("prlimit runs");
    assert!(status.success());
    // Wakes the server if it waits.
    (&clients[0]).write_all(b"x").expect("it takes bytes");
    let (code, log) = server.wait();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("ppoll failed: Invalid argument"), "{log}");
    assert!(log.contains("prlimit --nofile"), "{log}");
}
