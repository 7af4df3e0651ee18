//! The models of the textbook: each passes the same tests.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::Daemon;
use testkit::{process, wait_until};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const UPPERCASE: &str = env!("CARGO_BIN_EXE_uppercase");

/// Each model, with room for three connections where it has room for several.
const MODELS: [&[&str]; 7] = [
    &["--model", "iterative"],
    &["--model", "fork", "--max-connections", "3"],
    &["--model", "prefork", "--workers", "3"],
    &["--model", "thread", "--max-connections", "3"],
    &["--model", "pool", "--pool-max", "3", "--max-connections", "3"],
    &["--model", "reactor", "--max-connections", "3"],
    &["--model", "reactors", "--threads", "2", "--max-connections", "3"],
];

fn start(program: &str, model: &[&str], more: &[&str]) -> Daemon {
    let args = [model, more, &["--listen", "127.0.0.1:0"]].concat();
    Daemon::start(&[], program, &args)
}

fn exchange(client: &mut TcpStream, message: &[u8], answer: &[u8]) {
    client.write_all(message).expect("it takes bytes");
    let mut received = vec![0; answer.len()];
    client.read_exact(&mut received).expect("it answers");
    assert_eq!(received, answer);
}

fn ends(client: &mut TcpStream) {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(rest, b""),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn every_byte_comes_back_before_the_end_of_the_stream() {
    for model in MODELS {
        let server = start(ECHO, model, &[]);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
        for _ in 0..2 {
            let mut client = server.connect();
            let mut writing = client.try_clone().expect("a descriptor is free");
            let to_send = sent.clone();
            let writer = std::thread::spawn(move || {
                writing.write_all(&to_send).expect("it takes bytes");
                writing.shutdown(Shutdown::Write).expect("it is open");
            });
            let mut received = Vec::new();
            client.read_to_end(&mut received).expect("it ends in order");
            writer.join().expect("it does not panic");
            assert!(received == sent, "{model:?}: {} bytes came back", received.len());
        }
        assert_eq!(server.stop().0, Some(0), "{model:?}");
    }
}

#[test]
fn many_short_connections_leave_no_process_and_no_descriptor_behind() {
    for model in MODELS {
        let server = start(UPPERCASE, model, &[]);
        let descriptors =
            || std::fs::read_dir(format!("/proc/{}/fd", server.id())).map_or(0, Iterator::count);
        exchange(&mut server.connect(), b"first", b"FIRST");
        let is_forking = model.contains(&"fork");
        wait_until("it has ended", || !is_forking || process::children(server.id()).is_empty());
        let before = descriptors();
        for _ in 0..100 {
            exchange(&mut server.connect(), b"split", b"SPLIT");
        }
        wait_until("children are reaped", || {
            !is_forking || process::children(server.id()).is_empty()
        });
        // Workers may still have been starting before, with two descriptors each.
        wait_until("descriptors are closed", || descriptors() < before + 10);
        assert_eq!(server.stop().0, Some(0), "{model:?}");
    }
}

#[test]
fn a_silent_client_is_closed_in_every_model() {
    for model in MODELS {
        let server = start(ECHO, model, &["--idle-timeout", "300ms"]);
        let mut client = server.connect();
        exchange(&mut client, b"hello", b"hello");
        ends(&mut client);
        exchange(&mut server.connect(), b"next", b"next");
        assert_eq!(server.stop().0, Some(0), "{model:?}");
    }
}

#[test]
fn a_connection_above_the_limit_waits_until_another_ends() {
    for model in MODELS {
        let server = start(ECHO, model, &[]);
        let room = if model.contains(&"iterative") { 1 } else { 3 };
        let mut clients: Vec<TcpStream> = (0..room).map(|_| server.connect()).collect();
        for client in &mut clients {
            exchange(client, b"in", b"in");
        }
        let mut late = server.connect();
        late.write_all(b"late").expect("the kernel takes it");
        late.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
        assert!(late.read(&mut [0; 4]).is_err(), "{model:?}: there was room");
        late.set_read_timeout(Some(testkit::PATIENCE)).expect("it can be set");
        drop(clients.pop());
        exchange(&mut late, b"", b"late");
        assert_eq!(server.stop().0, Some(0), "{model:?}");
    }
}

#[test]
fn a_stop_ends_silent_connections_and_every_child() {
    for model in MODELS {
        let server = start(ECHO, model, &[]);
        let mut client = server.connect();
        exchange(&mut client, b"hello", b"hello");
        let children = process::children(server.id());
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{model:?}: {log}");
        ends(&mut client);
        assert!(children.into_iter().all(|child| !process::runs(child)), "{model:?}");
    }
}

#[test]
fn a_killed_child_costs_its_own_connection_and_is_replaced() {
    for model in [MODELS[1], MODELS[2]] {
        let server = start(ECHO, model, &[]);
        let mut client = server.connect();
        exchange(&mut client, b"hello", b"hello");
        let children = process::children(server.id());
        assert!(!children.is_empty(), "{model:?}");
        children.iter().for_each(|child| process::signal(*child, "KILL"));
        ends(&mut client);
        exchange(&mut server.connect(), b"again", b"again");
        wait_until("the killed are reaped", || {
            let now = process::children(server.id());
            children.iter().all(|child| !now.contains(child))
        });
        assert_eq!(server.stop().0, Some(0), "{model:?}");
    }
}
