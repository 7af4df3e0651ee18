//! Restarts that no client notices: a new program takes over the sockets and the connections, or the
//! old one goes on as if nothing had been (P11).

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::PATIENCE;
use common::chain::{Chain, OnDrop, ask, converse, install, visit};
use testkit::{Folder, process, wait_until};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const UPPERCASE: &str = env!("CARGO_BIN_EXE_uppercase");
/// One loop, and several that get their connections in each way.
const LOOPS: [&[&str]; 4] = [
    &[],
    &["--threads", "3", "--accept", "handover"],
    &["--threads", "3", "--accept", "reuseport"],
    &["--threads", "3", "--accept", "shared"],
];

#[test]
fn conversations_and_sockets_go_on_through_several_programs() {
    for backend in ["epoll", "epoll-lt", "poll", "select", "uring"] {
        let folder = Folder::new("handover");
        let (path, datagrams) = (folder.file("s"), folder.file("d"));
        let (unix, dgram) = (format!("unix:{path}"), format!("unix-dgram:{datagrams}"));
        let mut args = vec!["--listen", "127.0.0.1:0", "--listen", "udp://127.0.0.1:0"];
        args.extend(["--listen", &unix, "--listen", &dgram, "--backend", backend]);
        let mut chain = Chain::start(UPPERCASE, &args);
        let udp = chain.daemon.addresses[1].strip_prefix("udp://").expect("it is UDP").to_owned();
        let mut tcp = chain.daemon.connect();
        let mut local = UnixStream::connect(&path).expect("it accepts");
        local.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let client = UdpSocket::bind("127.0.0.1:0").expect("it binds");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client.connect(udp).expect("it connects");
        for round in 0..3 {
            let (text, expected) = (format!("round {round}"), format!("ROUND {round}"));
            ask(&mut tcp, text.as_bytes(), expected.as_bytes());
            ask(&mut local, text.as_bytes(), expected.as_bytes());
            chain.restart();
            ask(&mut tcp, text.as_bytes(), expected.as_bytes());
            ask(&mut local, text.as_bytes(), expected.as_bytes());
            client.send(text.as_bytes()).expect("it is sent");
            let mut answer = [0; 32];
            let length = client.recv(&mut answer).expect("it is answered");
            assert_eq!(&answer[..length], expected.as_bytes());
            let mut new = chain.daemon.connect();
            ask(&mut new, b"new", b"NEW");
            assert!(Path::new(&path).exists() && Path::new(&datagrams).exists());
        }
        tcp.shutdown(Shutdown::Write).expect("it can be ended");
        assert_eq!(tcp.read(&mut [0]).expect("it ends in order"), 0);
        drop(local);
        process::signal(chain.process, "TERM");
        wait_until("the end of the last program", || !process::runs(chain.process));
        assert!(!Path::new(&path).exists() && !Path::new(&datagrams).exists(), "no file is left");
        assert!(!chain.daemon.log().contains("WARN"), "{}", chain.daemon.log());
    }
}

#[test]
fn output_that_the_client_has_not_read_goes_along() {
    const SIZE: usize = 96 << 20;
    let mut chain = Chain::start(ECHO, &["--listen", "127.0.0.1:0"]);
    let stream = chain.daemon.connect();
    let mut writing = stream.try_clone().expect("a handle");
    let byte = |place: usize| (place % 251) as u8;
    let writer = thread::spawn(move || {
        let bytes: Vec<u8> = (0..SIZE).map(byte).collect();
        writing.write_all(&bytes).expect("the server takes bytes");
        writing.shutdown(Shutdown::Write).expect("it can be ended");
    });
    // The buffers of the system are full, and so are the marks of the server.
    thread::sleep(Duration::from_millis(300));
    chain.restart();
    let mut received = Vec::new();
    (&stream).take(SIZE as u64 / 2).read_to_end(&mut received).expect("it is read");
    chain.restart();
    (&stream).read_to_end(&mut received).expect("it ends in order");
    writer.join().expect("it does not panic");
    let log = chain.daemon.log();
    assert_eq!(log.matches("handed over: 1 connections").count(), 2, "{log}");
    assert_eq!(received.len(), SIZE);
    assert!(received.iter().enumerate().all(|(place, it)| *it == byte(place)), "other bytes");
}

/// P11: 20 restarts in a row under 2,000 connects a second, or as many as the machine makes, and
/// 1,000 verified streams. Nothing is refused or reset, and every byte is right.
#[test]
fn twenty_restarts_under_load_are_not_noticed() {
    const VISITORS: u32 = 4;
    const TALKERS: usize = 4;
    let mut chain = Chain::start(UPPERCASE, &["--listen", "127.0.0.1:0"]);
    let address = chain.daemon.addresses[0].clone();
    let (stops, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let visits = thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS)
            .map(|_| scope.spawn(|| visit(&address, 2000 / VISITORS, &stops)))
            .collect();
        for _ in 0..TALKERS {
            scope.spawn(|| converse(&address, 1000 / TALKERS, &asked, &stops));
        }
        // They end also if this thread fails.
        let _stop = OnDrop(|| stops.store(true, Ordering::Relaxed));
        wait_until("all streams", || asked.load(Ordering::Relaxed) >= 1000);
        for _ in 0..20 {
            let before = asked.load(Ordering::Relaxed);
            chain.restart();
            wait_until("an answer to each", || asked.load(Ordering::Relaxed) >= before + 1000);
        }
        drop(_stop);
        visitors.into_iter().map(|it| it.join().expect("nothing was refused")).sum::<u64>()
    });
    let asked = asked.load(Ordering::Relaxed);
    let log = chain.daemon.log();
    println!("20 restarts: {visits} connections that were made, {asked} answers on 1,000 streams");
    assert!(visits >= 1000, "{visits} connections");
    assert_eq!(chain.successors().len(), 20);
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// A program that says that it is ready, waits for the first connection, and goes on as `END` says.
const READY: &str = r#"#!/usr/bin/env python3
import os, socket, time
stream = socket.socket(socket.AF_UNIX)
stream.connect("\0" + os.environ["MYEVENT_HANDOVER"])
received = b""
while b"\x03\0\0\0\0" not in received:
    received += stream.recv(65536)
stream.sendall(b"\x04\0\0\0\0")
while b"\x06" not in stream.recv(65536):
    pass
END
"#;

#[test]
fn a_new_program_that_does_not_come_up_is_not_noticed() {
    for loops in LOOPS {
        survive_failures(loops);
    }
}

/// Runs a server with the arguments `loops`, and programs that fail to take over from it.
fn survive_failures(loops: &[&str]) {
    let folder = Folder::new("handover-failures");
    let program = folder.file("program");
    process::copy_program(UPPERCASE, &program);
    let path = folder.file("s");
    let unix = format!("unix:{path}");
    let args = ["--listen", "127.0.0.1:0", "--listen", &unix, "--handover-timeout", "2s"];
    let chain = Chain::start(&program, &[&args[..], loops].concat());
    let mut stream = chain.daemon.connect();
    let mut scripts = vec![
        ("it has ended with exit status: 3", "#!/bin/sh\nexit 3\n".to_owned()),
        ("it has not answered within 2s", "#!/bin/sh\nexec sleep 60\n".to_owned()),
        ("cannot start a new program", "nothing".to_owned()),
        ("it has ended with exit status: 127", "#!/bin/sh\nexec \"$0.there-is-none\"\n".to_owned()),
    ];
    if testkit::has_peer("python3") {
        let [ends, hangs] = ["os._exit(3)", "time.sleep(60)"].map(|it| READY.replace("END", it));
        // The old program may be reading or writing when that ends.
        scripts.push(("peer closed|the peer cut the connection", ends));
        scripts.push(("the new program is ended: it has not answered within 2s", hangs));
    }
    for (reason, script) in scripts {
        eprintln!("{loops:?}: {reason}");
        let count = || {
            let log = chain.daemon.log();
            reason.split('|').map(|one| log.matches(one).count()).sum::<usize>()
        };
        let before = count();
        install(&program, &script);
        ask(&mut stream, b"before", b"BEFORE");
        chain.fail();
        assert_eq!(count(), before + 1, "{}", chain.daemon.log());
        ask(&mut stream, b"after", b"AFTER");
        ask(&mut chain.daemon.connect(), b"new", b"NEW");
        ask(&mut UnixStream::connect(&path).expect("it accepts"), b"new", b"NEW");
        let children = process::children(chain.process);
        assert!(children.is_empty(), "{reason}: {children:?} are left");
    }
}

/// A server that cannot listen again after a failure ends, so that its supervisor learns of it.
#[test]
fn a_server_that_gets_no_socket_back_ends() {
    if !testkit::has_peer("python3") {
        return;
    }
    // Once its sockets are released, the old program may not open any descriptor.
    let end = "import resource\n\
               resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))\n\
               os._exit(3)";
    let script = READY.replace("END", end);
    for loops in LOOPS {
        let folder = Folder::new("handover-no-socket");
        let program = folder.file("program");
        process::copy_program(UPPERCASE, &program);
        let chain = Chain::start(&program, &[&["--listen", "127.0.0.1:0"], loops].concat());
        let mut stream = chain.daemon.connect();
        ask(&mut stream, b"before", b"BEFORE");
        install(&program, &script);
        process::signal(chain.process, "USR2");
        wait_until("the end of the server", || !process::runs(chain.process));
        // The log is read by a thread.
        wait_until("the reason in the log", || {
            chain.daemon.log().contains("stopped because no listener was left")
        });
        let log = chain.daemon.log();
        assert!(log.contains("a socket is no longer listened on"), "{log}");
    }
}

#[test]
fn a_file_that_another_server_has_put_in_place_is_not_removed() {
    for loops in LOOPS {
        let folder = Folder::new("handover-foreign-file");
        let path = folder.file("s");
        let unix = format!("unix:{path}");
        let args = ["--listen", "127.0.0.1:0", "--listen", &unix];
        let mut chain = Chain::start(UPPERCASE, &[&args[..], loops].concat());
        fs::remove_file(&path).expect("the file is there");
        let other = UnixListener::bind(&path).expect("the path is free");
        chain.restart();
        ask(&mut chain.daemon.connect(), b"new", b"NEW");
        process::signal(chain.process, "TERM");
        wait_until("the end of the last program", || !process::runs(chain.process));
        assert!(Path::new(&path).exists(), "{loops:?}: the file of another server is gone");
        drop(other);
    }
}

#[test]
fn a_program_that_nothing_has_started_cannot_take_over() {
    let output = std::process::Command::new(ECHO)
        .env("MYEVENT_HANDOVER", "myevent-there-is-none")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected = "cannot take over from the program at MYEVENT_HANDOVER=myevent-there-is-none";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_server_at_its_limit_of_connections_is_replaced_and_the_right_port_is_taken() {
    let mut args = vec!["--max-connections", "2", "--listen", "127.0.0.1:0"];
    args.extend(["--listen", "127.0.0.1:0"]);
    let mut chain = Chain::start(ECHO, &args);
    let addresses = chain.daemon.addresses.clone();
    let mut streams = [0, 1].map(|place| {
        let stream = TcpStream::connect(&addresses[place]).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    });
    for _ in 0..2 {
        streams.iter_mut().for_each(|stream| ask(stream, b"before", b"before"));
        chain.restart();
        streams.iter_mut().for_each(|stream| ask(stream, b"after", b"after"));
    }
    drop(streams);
    for address in addresses {
        let mut stream = TcpStream::connect(address).expect("both ports are listened on");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        ask(&mut stream, b"new", b"new");
    }
}

/// Starts a server with clients and replaces it. Returns it, its clients and the new program, which
/// has just begun to take over.
fn taken_over(round: usize) -> (Chain, Vec<TcpStream>, u32) {
    let loops = LOOPS[round % LOOPS.len()];
    let chain = Chain::start(ECHO, &[&["--listen", "127.0.0.1:0"], loops].concat());
    let mut streams: Vec<_> = (0..50).map(|_| chain.daemon.connect()).collect();
    streams.iter_mut().for_each(|stream| ask(stream, b"one", b"one"));
    process::signal(chain.process, "USR2");
    let started = || -> Option<u32> {
        let log = chain.daemon.log();
        let rest = log.split_once("started process ")?.1;
        rest.split(',').next()?.parse().ok()
    };
    wait_until("a new program", || started().is_some());
    let new = started().expect("it was started");
    wait_until("the beginning", || {
        chain.daemon.log().contains("this program takes over from the one that started it")
    });
    (chain, streams, new)
}

/// An operator may tell the old program to stop as soon as the new one serves. The connections that are
/// on their way then go on.
#[test]
fn a_signal_to_stop_during_a_restart_ends_the_old_program_alone() {
    for round in 0..12 {
        let (mut chain, mut streams, new) = taken_over(round);
        process::signal(chain.process, "TERM");
        let old = std::mem::replace(&mut chain.process, new);
        wait_until("the end of the old program", || !process::runs(old));
        assert!(process::runs(new), "{}", chain.daemon.log());
        ask(&mut chain.daemon.connect(), b"new", b"new");
        streams.iter_mut().for_each(|stream| ask(stream, b"two", b"two"));
    }
}

/// Nothing serves any more when the new program was told to stop: the old one does not come back.
#[test]
fn a_signal_to_stop_to_a_program_that_takes_over_ends_both() {
    for round in 0..6 {
        let (chain, mut streams, new) = taken_over(round);
        process::signal(new, "TERM");
        // Where the kernel delivers this signal first, a third program is started, and ended too.
        process::signal(new, "USR2");
        wait_until("the end of both", || !process::runs(chain.process) && !process::runs(new));
        for stream in &mut streams {
            assert_eq!(stream.read(&mut [0; 8]).expect("it ends in order"), 0);
        }
        let log = chain.daemon.log();
        for started in log.split("started process ").skip(1) {
            let number = started.split(',').next().and_then(|number| number.parse().ok());
            let number = number.expect("a number follows");
            wait_until("the end of all", || !process::runs(number));
        }
    }
}
