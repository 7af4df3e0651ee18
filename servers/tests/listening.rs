//! Addresses to listen on: binding, errors, and the end of listeners.

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use common::Daemon;
use testkit::{Folder, has_peer, wait_until};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];
const BACKENDS: [&str; 5] = ["epoll", "epoll-lt", "poll", "select", "uring"];

/// Returns a loopback address and port that no other test uses.
fn own_address() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, high | 128, middle, low], 9527))
}

/// Returns a wrapper that makes `call` fail or take longer.
fn faulty(call: &str, fault: &str) -> [String; 9] {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{fault}"));
    // With -D the child is the server itself, so that signals and the end of the test reach it.
    ["strace", "-D", "-f", "-qq", "-o/dev/null", "-e", &trace, "-e", &inject].map(str::to_owned)
}

fn start_faulty(call: &str, fault: &str, args: &[&str]) -> Daemon {
    let wrapper = faulty(call, fault);
    Daemon::start(&wrapper.each_ref().map(String::as_str), ECHO, args)
}

/// Runs a server that cannot start. Returns its exit code and its output.
fn fail(wrapper: &[String], args: &[&str]) -> (Option<i32>, String) {
    // A server that starts nevertheless is ended after a minute.
    let output = Command::new("timeout")
        .arg("60")
        .args(wrapper)
        .arg(ECHO)
        .args(args)
        .env_remove("RUST_LOG")
        .env_remove("REACTOR_BACKEND")
        .output()
        .expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn exchange(client: &mut TcpStream) {
    client.write_all(b"x").expect("it takes bytes");
    client.read_exact(&mut [0]).expect("it answers");
}

#[test]
fn ipv6_listeners_accept_ipv4_only_with_dual_stack() {
    // No connection of another test has that port.
    let port = testkit::free_port();
    let alone = Daemon::start(&[], ECHO, &["--listen", &format!("[::]:{port}")]);
    let both = Daemon::start(&[], ECHO, &["--listen", "[::]:0", "--dual-stack"]);
    let over_ipv4 = |server: &Daemon| {
        let address: SocketAddr = server.addresses[0].parse().expect("it is an address");
        TcpStream::connect((IpAddr::from([127, 0, 0, 1]), address.port()))
    };
    assert!(over_ipv4(&alone).is_err());
    exchange(&mut over_ipv4(&both).expect("it takes IPv4 too"));
    // The same port of IPv4 is free for another server.
    let beside = format!("0.0.0.0:{port}");
    assert_eq!(Daemon::start(&[], ECHO, &["--listen", &beside]).stop().0, Some(0));
}

#[test]
fn a_repeated_address_is_bound_once_with_a_warning() {
    let address = own_address().to_string();
    let again = format!("--listen=tcp://{address}");
    let server = Daemon::start(&[], ECHO, &["--listen", &address, &again, &again]);
    let sentence = format!("{address} is given more than once: the server listens on it once");
    assert!(server.start_log.contains(&sentence), "{}", server.start_log);
    exchange(&mut server.connect());
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("no longer listening on").count(), 1, "{log}");
}

#[test]
fn overlapping_addresses_of_one_server_are_reported() {
    let mut address = own_address();
    address.set_port(9528);
    let all = format!("--listen=0.0.0.0:{}", address.port());
    let (code, output) = fail(&[], &["--listen", &address.to_string(), &all]);
    assert_eq!(code, Some(1), "{output}");
    let sentence = format!("it overlaps with {address}, on which this server already listens");
    assert!(output.contains(&sentence) && output.lines().count() == 1, "{output}");
    let (folder, link) = (Folder::new("own"), Folder::new("link"));
    let link = link.path().join("folder");
    std::os::unix::fs::symlink(folder.path(), &link).expect("the folder is writable");
    let one = format!("--listen=unix:{}/x", folder.path().display());
    let other = format!("--listen=unix:{}/x", link.display());
    let (code, output) = fail(&[], &[&one, &other]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("this process already listens there"), "{output}");
}

#[test]
fn a_name_binds_all_its_addresses() {
    let server = Daemon::start(&[], ECHO, &["--listen", "localhost:0"]);
    let address: SocketAddr = server.addresses[0].parse().expect("it is an address");
    assert!(address.ip().is_loopback());
    exchange(&mut server.connect());
    let missing = server.start_log.matches("localhost:0: cannot listen on").count();
    let (code, log) = server.stop();
    let name: reactor::Location = "localhost:0".parse().expect("it is a name");
    let all = name.addresses().expect("every machine has that name").len();
    assert_eq!(log.matches("no longer listening on").count() + missing, all, "{log}");
    assert_eq!(code, Some(0));
}

#[test]
fn each_listening_error_is_reported_with_its_cause() {
    if !has_peer("strace") {
        return;
    }
    let folder = Folder::new("listening");
    let unix = format!("unix:{}", folder.path().join("x.sock").display());
    for (call, error, address, sentence) in [
        ("socket", "EMFILE", "127.0.0.1:0", "has reached its limit of descriptors (ulimit -n)"),
        ("socket", "ENFILE", "127.0.0.1:0", "(sysctl fs.file-max)"),
        ("socket", "ENOBUFS", &unix, "the kernel has no memory left for it"),
        ("socket", "EAFNOSUPPORT", "[::1]:0", "this machine does not support IPv6"),
        ("setsockopt", "EPERM", "127.0.0.1:1023", "a policy of this system forbids it"),
        ("setsockopt", "EPERM", "[::1]:0", "a policy of this system forbids it"),
        ("bind", "EACCES", "127.0.0.1:1", "need root or CAP_NET_BIND_SERVICE"),
        ("bind", "EACCES", "127.0.0.1:8080", "a policy of this system forbids it"),
        ("bind", "EPERM", "127.0.0.1:1", "a policy of this system forbids it"),
        ("bind", "EADDRNOTAVAIL", "127.0.0.1:0", "this machine does not have that address"),
        ("bind", "EACCES", &unix, "this user may not create files in"),
        ("bind", "EROFS", &unix, "is read-only"),
        ("bind", "ENOSPC", &unix, "is full"),
        ("bind", "EPERM", &unix, "does not support sockets"),
        ("listen", "EADDRINUSE", "127.0.0.1:0", "another socket has that port"),
        ("listen", "ENOBUFS", &unix, "the kernel has no memory left for it"),
        ("epoll_create1", "EMFILE", &unix, "cannot start the loop: epoll_create1: "),
        ("epoll_create1", "EMFILE", &unix, "(ulimit -n)"),
        ("eventfd2", "ENFILE", &unix, "cannot start the loop: eventfd: "),
    ] {
        let wrapper = faulty(call, &format!("error={error}"));
        let (code, output) = fail(&wrapper, &["--listen", address]);
        assert_eq!(code, Some(1), "{call} {error}: {output}");
        assert!(
            output.contains(sentence) && output.lines().count() == 1,
            "{call} {error}: {output}"
        );
    }
    let left = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(left, 0, "files were left");
}

#[test]
fn repeated_accept_errors_do_not_keep_a_server_busy() {
    if !has_peer("strace") {
        return;
    }
    for backend in BACKENDS {
        for error in ["EPERM", "ECONNABORTED"] {
            let args = [LISTEN[0], LISTEN[1], "--backend", backend];
            let server = start_faulty("accept4", &format!("error={error}"), &args);
            let client = server.connect();
            // Ten pauses take a few seconds, so the second log line about them is due.
            std::thread::sleep(std::time::Duration::from_secs(3));
            let (code, log) = server.stop();
            drop(client);
            assert_eq!(code, Some(0), "{backend}: {log}");
            let pauses = log.matches("accepting pauses").count();
            assert!((1..=2).contains(&pauses), "{backend} {error}: {log}");
            let reads = figure(&log, " reads=");
            assert!(reads < 1000, "{backend} {error}: tried {reads} times");
        }
    }
}

/// Returns a figure from the last line of counters.
fn figure(log: &str, name: &str) -> u64 {
    let text = log.rsplit(name).next().and_then(|rest| rest.split(' ').next());
    text.and_then(|text| text.parse().ok()).expect("it stands there")
}

#[test]
fn a_server_without_listeners_finishes_its_connections_and_fails() {
    if !has_peer("strace") {
        return;
    }
    for backend in BACKENDS {
        let args = [LISTEN[0], LISTEN[1], "--backend", backend];
        // The error of accepting on a socket that was shut down or closed from outside. A listening
        // socket never causes it.
        let mut server = start_faulty("accept4", "error=EINVAL:when=2+", &args);
        let mut first = server.connect();
        exchange(&mut first);
        wait_until("the end of listening", || TcpStream::connect(&server.addresses[0]).is_err());
        exchange(&mut first);
        drop(first);
        wait_until("its end", || !server.is_alive());
        let (code, log) = server.wait();
        assert_eq!(code, Some(1), "{backend}: {log}");
        assert!(log.contains("the socket no longer listens"), "{backend}: {log}");
        assert!(log.contains("stopped because no listener was left"), "{backend}: {log}");
    }
}

#[test]
fn the_end_of_one_listener_is_logged_and_the_other_continues() {
    if !has_peer("strace") {
        return;
    }
    let args = [LISTEN[0], LISTEN[1], LISTEN[0], LISTEN[1]];
    let mut server = start_faulty("accept4", "error=EINVAL:when=1", &args);
    let _late = server.connect();
    wait_until("the end of listening", || TcpStream::connect(&server.addresses[0]).is_err());
    exchange(&mut TcpStream::connect(&server.addresses[1]).expect("it accepts"));
    assert!(server.is_alive());
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the socket no longer listens"), "{log}");
}

#[test]
fn a_low_descriptor_limit_is_reported_only_for_a_requested_number_of_connections() {
    let script = ["sh", "-c", "ulimit -n 100 && exec \"$0\" \"$@\""];
    let sentence =
        "1000 connections need more than the 100 descriptors that ulimit -n allows: 1064";
    let asked = [LISTEN[0], LISTEN[1], "--max-connections", "1000"];
    for (args, logged) in [(&LISTEN[..], false), (&asked[..], true)] {
        let server = Daemon::start(&script, ECHO, args);
        exchange(&mut server.connect());
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(log.contains(sentence), logged, "{log}");
        assert!(logged || !log.contains("ulimit"), "{log}");
    }
}

#[test]
fn a_failure_to_raise_the_descriptor_limit_stops_no_server() {
    if !has_peer("strace") {
        return;
    }
    let server = start_faulty("prlimit64,setrlimit,getrlimit", "error=EPERM", &LISTEN);
    exchange(&mut server.connect());
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("cannot raise the limit of descriptors"), "{log}");
}

#[test]
fn sighup_stops_a_server_unless_it_was_started_with_nohup() {
    if reactor::Signal::HANGUP.is_ignored() {
        // The server inherits an ignored SIGHUP from these tests.
        testkit::tell("SKIPPED", "the tests run under nohup, and SIGHUP is ignored");
    } else {
        let mut server = Daemon::start(&[], ECHO, &LISTEN);
        exchange(&mut server.connect());
        server.signal("HUP");
        wait_until("its end", || !server.is_alive());
        let (code, log) = server.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("SIGHUP: stopping"), "{log}");
    }

    let mut server = Daemon::start(&["nohup"], ECHO, &LISTEN);
    server.signal("HUP");
    exchange(&mut server.connect());
    assert!(server.is_alive());
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("SIGHUP"), "{log}");
}

#[test]
fn a_signal_during_exit_has_no_effect() {
    if !has_peer("strace") {
        return;
    }
    // Exiting takes half a second. The loop is gone by then.
    let mut server = start_faulty("exit_group", "delay_enter=500000", &LISTEN);
    while server.is_alive() {
        // The process may end before the signal arrives.
        let _ = Command::new("kill").args(["-TERM", &server.id().to_string()]).output();
    }
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn waiting_peers_are_counted() {
    let args = [LISTEN[0], LISTEN[1], "--max-connections", "2"];
    let server = Daemon::start(&[], ECHO, &args);
    let mut clients: Vec<TcpStream> = (0..5).map(|_| server.connect()).collect();
    exchange(&mut clients[0]);
    exchange(&mut clients[1]);
    let counters = server.counters();
    let held = ["connections", "waiting", "refused"].map(|name| counters[name]);
    drop(clients);
    let (code, log) = server.stop();
    assert_eq!((code, held), (Some(0), [2, 3, 0]), "{log}");
    assert!(log.contains("there are 2 connections, which is the limit"), "{log}");
    assert!(log.contains("stopped: connections=0 waiting=0 refused=0 "), "{log}");
}
