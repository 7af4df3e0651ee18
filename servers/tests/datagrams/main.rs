//! Tests the servers over datagrams.

#[path = "../common/mod.rs"]
mod common;

mod counts;
mod input;
mod peers;

use std::net::UdpSocket;

use common::Daemon;
use testkit::{Folder, has_peer, receive_udp};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const UPPERCASE: &str = env!("CARGO_BIN_EXE_uppercase");
const BACKENDS: [&str; 5] = ["epoll", "epoll-lt", "poll", "select", "uring"];

/// Returns the host and the port of the first address of a server of UDP.
fn host_and_port(server: &Daemon) -> (&str, &str) {
    let (host, port) = server.host_and_port();
    (host.strip_prefix("udp://").expect("it is an address of UDP"), port)
}

#[test]
fn a_server_stops_while_datagrams_keep_coming() {
    for backend in BACKENDS {
        let args = ["--listen", "udp://127.0.0.1:0", "--backend", backend];
        let mut server = Daemon::start(&[], ECHO, &args);
        let (host, port) = host_and_port(&server);
        let flood = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        flood.connect((host, port.parse().expect("it is a port"))).expect("it is there");
        std::thread::scope(|scope| {
            // Once the server is gone, this is refused.
            scope.spawn(|| while flood.send(b"more").is_ok() {});
            testkit::wait_until("datagrams", || server.counters()["datagrams_received"] > 1000);
            server.signal("TERM");
            let (code, log) = server.wait();
            assert_eq!(code, Some(0), "{backend}: {log}");
        });
    }
}

#[test]
fn the_file_is_removed_after_each_signal_to_stop() {
    for backend in BACKENDS {
        for signal in ["TERM", "INT", "HUP"] {
            let folder = Folder::new("signals");
            let path = folder.file("server");
            let args = ["--listen", &format!("unix-dgram:{path}"), "--backend", backend];
            let mut server = Daemon::start(&[], ECHO, &args);
            assert!(std::fs::exists(&path).expect("it can be asked"));
            if signal == "HUP" && reactor::Signal::HANGUP.is_ignored() {
                // It stays ignored, as under nohup.
                server.signal("TERM");
            } else {
                server.signal(signal);
            }
            let (code, log) = server.wait();
            assert_eq!(code, Some(0), "{backend}, SIG{signal}: {log}");
            let left = std::fs::read_dir(folder.path()).expect("it can be read").count();
            assert_eq!(left, 0, "{backend}, SIG{signal}: a file was left behind");
        }
    }
}

/// Runs the server with one fault, and checks that every datagram is answered.
fn survive(calls: &str, fault: &str, backend: &str) {
    let inject = format!("inject={calls}:{fault}");
    // Faults are injected into traced calls only.
    let trace = format!("trace={calls}");
    // With -D the child is the server itself, so that signals and the end of the test reach it.
    let wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let args = ["--listen", "udp://127.0.0.1:0", "--backend", backend];
    let mut server = Daemon::start(&wrapper, ECHO, &args);
    let (host, port) = host_and_port(&server);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    client.connect((host, port.parse().expect("it is a port"))).expect("it is there");
    client.set_read_timeout(Some(testkit::PATIENCE)).expect("timeouts can be set");
    for number in 0..60_u8 {
        // One, then two of the same length, and so on.
        let count = number % 3 + 1;
        for part in 0..count {
            client.send(&[number, part]).expect("it is sent");
        }
        for part in 0..count {
            let mut back = [0; 9];
            let (length, _) = receive_udp(&client, &mut back).expect("it is answered");
            assert_eq!((length, back[0], back[1]), (2, number, part), "{inject} with {backend}");
        }
    }
    assert!(server.is_alive(), "{inject}: the server died");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{inject}: {log}");
}

#[test]
fn failed_calls_lose_no_datagrams() {
    if !has_peer("strace") {
        return;
    }
    for backend in BACKENDS {
        for error in ["EINTR", "EAGAIN", "ECONNREFUSED", "EHOSTUNREACH", "ENOBUFS", "ENOMEM"] {
            survive("recvmmsg", &format!("error={error}:when=1+3"), backend);
            survive("sendmmsg,sendmsg", &format!("error={error}:when=1+3"), backend);
        }
        // The kernel cannot divide what is sent together.
        survive("sendmmsg", "error=EIO:when=2", backend);
        survive("sendmmsg", "error=EINVAL:when=2", backend);
    }
}
