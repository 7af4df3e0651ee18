//! Servers that are stopped and continued: a job on a terminal, a debugger, a frozen machine.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::Daemon;

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const BACKENDS: [&str; 5] = ["epoll", "epoll-lt", "poll", "select", "uring"];
const PEERS: usize = 20;

/// Starts a server with an idle limit of `idle`, and peers that have exchanged a message with it.
fn serve(backend: &str, idle: &str) -> (Daemon, Vec<TcpStream>) {
    let args = ["--listen", "127.0.0.1:0", "--idle-timeout", idle, "--backend", backend];
    let server = Daemon::start(&[], ECHO, &args);
    let mut peers: Vec<TcpStream> = (0..PEERS).map(|_| server.connect()).collect();
    peers.iter_mut().for_each(exchange);
    (server, peers)
}

fn send(peer: &mut TcpStream) {
    peer.write_all(b"hello").expect("it takes bytes");
}

fn receive(peer: &mut TcpStream) {
    let mut answer = [0; 5];
    peer.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"hello");
}

fn exchange(peer: &mut TcpStream) {
    send(peer);
    receive(peer);
}

#[test]
fn a_server_answers_messages_that_arrived_while_it_was_stopped() {
    for backend in BACKENDS {
        let (server, mut peers) = serve(backend, "1s");
        server.signal("STOP");
        peers.iter_mut().for_each(send);
        // Longer than the idle limit.
        std::thread::sleep(Duration::from_millis(1500));
        server.signal("CONT");
        peers.iter_mut().for_each(receive);
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{backend}: {log}");
    }
}

#[test]
fn the_time_of_a_stop_does_not_count_as_silence_of_peers() {
    for backend in BACKENDS {
        let (server, mut peers) = serve(backend, "2s");
        server.signal("STOP");
        std::thread::sleep(Duration::from_millis(2500));
        server.signal("CONT");
        // The server has read its clock since, and the peers still have almost all of their time.
        std::thread::sleep(Duration::from_millis(300));
        peers.iter_mut().for_each(exchange);
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{backend}: {log}");
    }
}

#[test]
fn silence_after_a_stop_still_ends_connections() {
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
