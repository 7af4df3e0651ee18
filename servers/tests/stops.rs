//! Servers that are stopped and continued: a job on a terminal, a debugger, a frozen machine.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::Daemon;

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const BACKENDS: [&str; 4] = ["epoll", "epoll-lt", "poll", "select"];
const PEERS: usize = 20;

/// A server that closes who is silent for as long as `idle`, and peers with which it has exchanged
/// a message.
fn serve(backend: &str, idle: &str) -> (Daemon, Vec<TcpStream>) {
    let args = ["--listen", "127.0.0.1:0", "--idle-timeout", idle, "--backend", backend];
    let server = Daemon::start(&[], ECHO, &args);
    let mut peers: Vec<TcpStream> = (0..PEERS).map(|_| server.connect()).collect();
    peers.iter_mut().for_each(exchange);
    (server, peers)
}

fn say(peer: &mut TcpStream) {
    peer.write_all(b"hello").expect("it takes bytes");
}

fn hear(peer: &mut TcpStream) {
    let mut answer = [0; 5];
    peer.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"hello");
}

fn exchange(peer: &mut TcpStream) {
    say(peer);
    hear(peer);
}

#[test]
fn a_server_answers_what_was_said_while_it_was_stopped() {
    for backend in BACKENDS {
        let (server, mut peers) = serve(backend, "1s");
        server.signal("STOP");
        peers.iter_mut().for_each(say);
        // Longer than the idle limit.
        std::thread::sleep(Duration::from_millis(1500));
        server.signal("CONT");
        peers.iter_mut().for_each(hear);
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{backend}: {log}");
    }
}

#[test]
fn a_server_that_was_stopped_closes_nobody_for_the_silence_of_that_time() {
    for backend in BACKENDS {
        let (server, mut peers) = serve(backend, "2s");
        server.signal("STOP");
        std::thread::sleep(Duration::from_millis(2500));
        server.signal("CONT");
        // It has looked at its clock since, and the peers still have almost all of their time.
        std::thread::sleep(Duration::from_millis(300));
        peers.iter_mut().for_each(exchange);
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{backend}: {log}");
    }
}

#[test]
fn silence_still_ends_connections_of_a_server_that_was_stopped() {
    for backend in BACKENDS {
        let (server, mut peers) = serve(backend, "300ms");
        server.signal("STOP");
        std::thread::sleep(Duration::from_millis(500));
        server.signal("CONT");
        for peer in &mut peers {
            assert_eq!(peer.read(&mut [0]).expect("it ends in order"), 0, "{backend}");
        }
    }
}
