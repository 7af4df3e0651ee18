//! Tests the servers with independent programs: nc and socat.

mod common;

use std::process::Command;

use common::{Daemon, pipe_through};
use testkit::{Folder, Random, has_peer, tell};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const UPPERCASE: &str = env!("CARGO_BIN_EXE_uppercase");
const BACKENDS: [&str; 5] = ["epoll", "epoll-lt", "poll", "select", "uring"];

#[test]
fn nc_receives_upper_case() {
    if !has_peer("nc") {
        return;
    }
    let server = Daemon::start(&[], UPPERCASE, &["--listen", "127.0.0.1:0"]);
    let (host, port) = server.host_and_port();
    let printed = pipe_through(Command::new("nc").args(["-N", host, port]), b"hello\n");
    assert_eq!(printed, b"HELLO\n");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_hundred_megabytes_come_back_identical_on_every_backend() {
    if !has_peer("nc") {
        return;
    }
    let sent = Random::new(7).bytes(100 << 20);
    for backend in BACKENDS {
        let folder = Folder::new(backend);
        let path = folder.file("socket");
        let unix = format!("unix:{path}");
        let args = ["--listen", "127.0.0.1:0", "--listen", &unix, "--backend", backend];
        let server = Daemon::start(&[], ECHO, &args);
        let (host, port) = server.host_and_port();
        let over_tcp = pipe_through(Command::new("nc").args(["-N", host, port]), &sent);
        assert!(over_tcp == sent, "{backend}: {} bytes over TCP differ", over_tcp.len());
        let over_unix = pipe_through(Command::new("nc").args(["-N", "-U", &path]), &sent);
        assert!(over_unix == sent, "{backend}: {} bytes over Unix differ", over_unix.len());
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!std::path::Path::new(&path).exists(), "{backend}: the socket file was left");
    }
}

#[test]
fn socat_reaches_servers_at_abstract_names_on_every_backend() {
    if !has_peer("socat") {
        return;
    }
    let name = format!("servers-test-{}", std::process::id());
    let (streams, datagrams) = (format!("unix:@{name}"), format!("unix-dgram:@{name}-d"));
    for backend in BACKENDS {
        // The names are free again at once, though the server before was killed.
        let args = ["--listen", &streams, "--listen", &datagrams, "--backend", backend];
        let server = Daemon::start(&[], UPPERCASE, &args);
        let peer = format!("ABSTRACT-CONNECT:{name}");
        let printed = pipe_through(Command::new("socat").args(["-t60", "-", &peer]), b"hello\n");
        assert_eq!(printed, b"HELLO\n", "{backend}");
        let peer = format!("ABSTRACT-SENDTO:{name}-d,bind={name}-c");
        let mut socat = Command::new("socat");
        let printed = pipe_through(socat.args(["-t1", "-", &peer]), b"datagram");
        assert_eq!(printed, b"DATAGRAM", "{backend}");
        drop(server);
    }
}

#[test]
fn socat_connects_over_ipv6_and_unix_sockets() {
    if !has_peer("socat") {
        return;
    }
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        tell("SKIPPED", "this machine has no IPv6");
        return;
    }
    let folder = Folder::new("socat");
    let path = folder.file("socket");
    let unix = format!("unix:{path}");
    let args = ["--listen", "tcp://[::1]:0", "--listen", &unix, "--unix-mode", "600"];
    let server = Daemon::start(&[], UPPERCASE, &args);
    for target in [format!("TCP6:{}", server.addresses[0]), format!("UNIX-CONNECT:{path}")] {
        let printed = pipe_through(Command::new("socat").args(["-t10", "-", &target]), b"abc\n");
        assert_eq!(printed, b"ABC\n", "through {target}");
    }
    let metadata = std::fs::metadata(&path).expect("the socket file is there");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
    assert_eq!(server.stop().0, Some(0));
}
