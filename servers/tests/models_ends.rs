//! Each model of the textbook (`--model`) with peers that are not ours, Unix sockets, pieces of messages,
//! and ends that are not in order.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use common::{Daemon, PATIENCE, pipe_through};
use testkit::{Folder, process, wait_until};

const UPPERCASE: &str = env!("CARGO_BIN_EXE_uppercase");

const PREFORK: [&str; 4] = ["--model", "prefork", "--workers", "3"];

/// Every model.
const ALL: [&[&str]; 7] = [
    &["--model", "iterative"],
    &["--model", "fork"],
    &PREFORK,
    &["--model", "thread"],
    &["--model", "pool", "--pool-max", "8"],
    &["--model", "reactor"],
    &["--model", "reactors", "--threads", "2"],
];

fn start(model: &[&str], args: &[&str]) -> Daemon {
    Daemon::start(&[], UPPERCASE, &[model, &["--listen", "127.0.0.1:0"], args].concat())
}

fn exchange(client: &mut TcpStream, message: &[u8]) {
    client.write_all(message).expect("it takes bytes");
    let mut answer = vec![0; message.len()];
    client.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, message.to_ascii_uppercase());
}

#[test]
fn single_bytes_and_pipelined_messages_are_answered_in_order() {
    for model in ALL {
        let server = start(model, &[]);
        let mut client = server.connect();
        (0..=u8::MAX).for_each(|byte| exchange(&mut client, &[byte]));
        let many: Vec<u8> =
            (0..1000).flat_map(|it| format!("message {it}\n").into_bytes()).collect();
        exchange(&mut client, &many);
        assert_eq!(server.stop().0, Some(0), "{model:?}");
    }
}

#[test]
fn a_client_that_takes_nothing_is_closed() {
    for model in ALL {
        let server = start(model, &["--idle-timeout", "300ms"]);
        let mut client = server.connect();
        let piece = vec![b'x'; 64 << 10];
        let error = (0..10_000).find_map(|_| client.write_all(&piece).err());
        let kind = error.expect("it is closed before it has taken everything").kind();
        assert_ne!(kind, std::io::ErrorKind::WouldBlock, "{model:?}");
        exchange(&mut server.connect(), b"the next one");
        assert_eq!(server.stop().0, Some(0), "{model:?}");
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    for model in ALL {
        let mut server = start(model, &["--idle-timeout", "off"]);
        let mut client = server.connect();
        exchange(&mut client, b"hello");
        // Output that is not taken keeps the connection open.
        client.set_write_timeout(Some(Duration::from_millis(300))).expect("timeouts can be set");
        let piece = vec![b'x'; 64 << 10];
        while client.write_all(&piece).is_ok() {}
        server.signal("TERM");
        wait_until("the first signal", || server.log().contains("stopping"));
        server.signal("TERM");
        assert_eq!(server.wait().0, Some(0), "{model:?}");
        drop(client);
    }
}

#[test]
fn workers_end_with_the_first_process() {
    let mut server = start(&PREFORK, &[]);
    exchange(&mut server.connect(), b"first");
    let workers = process::children(server.id());
    server.signal("KILL");
    assert_eq!(server.wait().0, None);
    for worker in workers {
        wait_until("the worker has ended", || {
            // Where no process reaps orphans, it stays as a zombie.
            let status = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap_or_default();
            status.is_empty() || status.contains(") Z ")
        });
    }
}

#[test]
fn unix_sockets_are_served_and_their_files_are_removed_by_the_first_process_alone() {
    for model in ALL {
        let folder = Folder::new("models");
        let path = folder.path().join("socket");
        let address = format!("unix:{}", path.display());
        let server = Daemon::start(&[], UPPERCASE, &[model, &["--listen", &address]].concat());
        for _ in 0..3 {
            let mut client = UnixStream::connect(&path).expect("the file is there");
            client.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
            client.write_all(b"local").expect("it takes bytes");
            let mut answer = [0; 5];
            client.read_exact(&mut answer).expect("it answers");
            assert_eq!(&answer, b"LOCAL", "{model:?}");
        }
        assert_eq!(server.stop().0, Some(0), "{model:?}");
        assert!(!path.exists(), "{model:?}");
    }
}

#[test]
fn socat_and_nc_are_served() {
    if !testkit::has_peer("socat") || !testkit::has_peer("nc") {
        return;
    }
    for model in ALL {
        let server = start(model, &[]);
        let (host, port) = server.host_and_port();
        let target = format!("TCP:{host}:{port}");
        let mut socat = Command::new("socat");
        let answer = pipe_through(socat.args(["-t", "30", "-", &target]), b"from socat\n");
        assert_eq!(answer, b"FROM SOCAT\n", "{model:?}");
        let mut nc = Command::new("nc");
        let answer = pipe_through(nc.args(["-N", host, port]), b"from nc\n");
        assert_eq!(answer, b"FROM NC\n", "{model:?}");
        assert_eq!(server.stop().0, Some(0), "{model:?}");
    }
}

/// The limit of processes (`ulimit -u`) allows one child. It does not hold for root, so the server has a
/// user of its own.
#[test]
fn a_client_for_which_no_process_can_be_started_is_dropped_and_the_next_is_served() {
    if !process::is_of_root() {
        testkit::skip("only root can give the server a user of its own");
        return;
    }
    let folder = Folder::new("models-fork-limit");
    let program = folder.file("uppercase");
    process::copy_program(UPPERCASE, &program);
    let user = format!("--reuid={}", 100_000 + std::process::id());
    let wrapper = ["setpriv", "--clear-groups", &user, "prlimit", "--nproc=2"];
    let server = Daemon::start(&wrapper, &program, &["--model", "fork", "--listen", "127.0.0.1:0"]);
    let mut first = server.connect();
    exchange(&mut first, b"first");
    for _ in 0..3 {
        let mut second = server.connect();
        assert_eq!(second.read(&mut [0; 8]).unwrap_or(0), 0, "there is no process for it");
    }
    exchange(&mut first, b"again");
    let line = "no process can be started beside 1 others";
    // A thread of its own writes the log.
    wait_until("the line about it", || server.log().contains(line));
    let log = server.log();
    assert_eq!(log.matches(line).count(), 1, "{log}");
    drop(first);
    wait_until("a process for the next", || {
        let mut next = server.connect();
        next.write_all(b"next").is_ok() && next.read_exact(&mut [0; 4]).is_ok()
    });
    assert_eq!(server.stop().0, Some(0));
}
