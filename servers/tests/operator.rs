//! What an operator sees of a server: errors, signals, limits, logs.

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// Runs a server that cannot start. Returns its exit code and its output.
fn fail(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(ECHO)
        .args(args)
        .env_remove("RUST_LOG")
        .env_remove("REACTOR_BACKEND")
        .output()
        .expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_address_in_use_is_reported_in_one_sentence() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = other.local_addr().expect("it has an address").to_string();
    let (code, output) = fail(&["--listen", &address]);
    assert_eq!(code, Some(1), "{output}");
    let sentence = format!("cannot listen on {address}: another socket has that port");
    assert!(output.contains(&sentence) && output.lines().count() == 1, "{output}");
}

#[test]
fn wrong_arguments_are_refused_with_a_hint() {
    for (args, hint) in [
        (["--backend", "kqueue"], "there are epoll, epoll-lt, poll, select, uring"),
        (["--idle-timeout", "0s"], "expected a positive time"),
        (["--idle-timeout", "1h30"], "such as 500ms, 60s, 5m, 1h30m or 1d"),
        (["--max-connections", "0"], "at least 1"),
    ] {
        let (code, output) = fail(&args);
        assert_eq!(code, Some(2), "{args:?}: {output}");
        assert!(output.contains(hint), "{args:?}: {output}");
    }
}

#[test]
fn a_malformed_address_is_a_wrong_argument() {
    for (address, hint) in [
        ("127.0.0.1:65536", "port numbers go from 0 to 65535"),
        ("127.0.0.1:-1", "a port or the name of a service must follow"),
        ("nonsense", "a port must follow"),
        ("[::1", "an IP address must come before the port"),
        ("127.0.0.300:80", "an IP address must come before the port"),
        ("unix:", "path"),
        ("unix:@", "an abstract name must follow \"unix:@\""),
        ("", "a port must follow"),
    ] {
        let (code, output) = fail(&["--listen", address]);
        assert_eq!(code, Some(2), "{address}: {output}");
        let sentence = format!("{address:?} is not an address: ");
        assert!(output.contains(&sentence) && output.contains(hint), "{address}: {output}");
        assert!(!Path::new("@name").exists(), "a file was made");
    }
}

#[test]
fn an_unknown_name_is_reported_in_one_sentence() {
    // `.invalid` never resolves (RFC 6761).
    let (code, output) = fail(&["--listen", "no-such-host.invalid:80"]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("cannot listen on no-such-host.invalid:80: unknown name"), "{output}");
    assert_eq!(output.lines().count(), 1, "{output}");
}

#[test]
fn an_address_of_another_machine_is_refused() {
    // 192.0.2.0/24 is reserved for documentation (RFC 5737), so no machine has such an address.
    let (code, output) = fail(&["--listen", "192.0.2.1:0"]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("this machine does not have that address"), "{output}");
}

#[test]
fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
    let path = std::env::temp_dir().join(format!("reactor-{}-stale.sock", std::process::id()));
    let address = format!("unix:{}", path.display());
    drop(UnixListener::bind(&path).expect("the path is free"));
    let server = Daemon::start(&[], ECHO, &["--listen", &address]);
    let (code, output) = fail(&["--listen", &address]);
    assert_eq!(code, Some(1), "{output}");
    let sentence = format!("process {} listens there", server.id());
    assert!(output.contains(&sentence), "{output}");
    assert_eq!(server.stop().0, Some(0));
    assert!(!path.exists(), "the socket file was left");
}

#[test]
fn a_file_that_is_not_a_socket_is_kept() {
    let path = std::env::temp_dir().join(format!("reactor-{}-precious", std::process::id()));
    std::fs::write(&path, "precious").expect("the folder is writable");
    let (code, output) = fail(&["--listen", &format!("unix:{}", path.display())]);
    assert_eq!(code, Some(1), "{output}");
    assert_eq!(std::fs::read_to_string(&path).expect("it is still there"), "precious");
    std::fs::remove_file(&path).expect("it can be removed");
}

#[test]
fn stopping_lets_transfers_finish_and_accepts_no_connections() {
    let server = Daemon::start(&[], ECHO, &LISTEN);
    let mut client = server.connect();
    let mut reply = [0; 5];
    client.write_all(b"first").expect("it takes bytes");
    client.read_exact(&mut reply).expect("it answers");
    server.signal("TERM");
    let start = Instant::now();
    while std::net::TcpStream::connect(&server.addresses[0]).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it still accepts");
        // A transfer that is silent for half a second counts as over.
        client.write_all(b"still").expect("it takes bytes");
        client.read_exact(&mut reply).expect("it answers");
    }
    client.write_all(b"final").expect("it still takes bytes");
    client.read_exact(&mut reply).expect("it still answers");
    assert_eq!(&reply, b"final");
    drop(client);
    let mut server = server;
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn silent_connections_end_at_the_idle_limit_and_sigusr1_logs_counters() {
    let args = [LISTEN[0], LISTEN[1], "--idle-timeout", "200ms"];
    let server = Daemon::start(&[], ECHO, &args);
    let mut client = server.connect();
    let start = Instant::now();
    assert_eq!(client.read(&mut [0]).expect("it is closed in order"), 0);
    assert!(start.elapsed() >= Duration::from_millis(190), "closed early");
    server.signal("USR1");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("closed_timed_out=1"), "{log}");
}

#[test]
fn connections_over_the_limit_wait() {
    let args = [LISTEN[0], LISTEN[1], "--max-connections", "1"];
    let server = Daemon::start(&[], ECHO, &args);
    let mut first = server.connect();
    first.write_all(b"1").expect("it takes bytes");
    first.read_exact(&mut [0]).expect("the first is served");
    let mut second = server.connect();
    second.write_all(b"2").expect("the kernel takes bytes");
    let waiting = second.try_clone().expect("it can be cloned");
    waiting.set_read_timeout(Some(Duration::from_millis(100))).expect("timeouts can be set");
    assert!(second.read(&mut [0]).is_err(), "the second was served beside the first");
    second.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    drop(first);
    second.read_exact(&mut [0]).expect("the second is served after the first");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn peers_that_reset_or_trickle_leave_no_connections() {
    let server = Daemon::start(&[], ECHO, &LISTEN);
    for _ in 0..100 {
        let mut client = server.connect();
        // Closing with unread data resets the connection.
        client.write_all(&[7; 1000]).expect("it takes bytes");
        client.peek(&mut [0]).expect("it answers");
    }
    let mut trickle = server.connect();
    for byte in 0..=255 {
        let mut reply = [0];
        trickle.write_all(&[byte]).expect("it takes a byte");
        trickle.read_exact(&mut reply).expect("it answers");
        assert_eq!(reply, [byte]);
    }
    drop(trickle);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("stopped: connections=0 waiting=0 refused=0 "), "{log}");
}
