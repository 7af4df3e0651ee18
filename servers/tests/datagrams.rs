//! Tests the servers over datagrams with independent programs: nc, socat and Python.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::{Daemon, pipe_through};
use testkit::{Folder, has_peer, tell};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const UPPERCASE: &str = env!("CARGO_BIN_EXE_uppercase");
const BACKENDS: [&str; 4] = ["epoll", "epoll-lt", "poll", "select"];

/// Returns the host and the port of the first address of a server of UDP.
fn host_and_port(server: &Daemon) -> (&str, &str) {
    let (host, port) = server.host_and_port();
    (host.strip_prefix("udp://").expect("it is an address of UDP"), port)
}

/// Runs a program that keeps running, sends it `input`, reads as many bytes of its output as
/// `output` has, and ends it.
fn converse(command: &mut Command, input: &[u8], output: &[u8]) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it reads");
    let mut got = vec![0; output.len()];
    let read = child.stdout.take().expect("it is piped").read_exact(&mut got);
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("it can be waited for");
    read.expect("the whole answer comes");
    assert_eq!(got, output);
}

#[test]
fn nc_receives_upper_case_from_the_default_port() {
    if !has_peer("nc") {
        return;
    }
    let server = Daemon::start(&[], UPPERCASE, &["--listen", "udp://127.0.0.1:0"]);
    let (host, port) = host_and_port(&server);
    converse(Command::new("nc").args(["-u", host, port]), b"hello\n", b"HELLO\n");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    let help = Command::new(UPPERCASE).arg("--help").output().expect("it runs");
    let help = String::from_utf8(help.stdout).expect("it is text");
    assert!(help.contains("udp://127.0.0.1, has port 8000"), "{help}");
    // An address of this test alone, so that another run does not have the port.
    let octets = std::process::id().to_ne_bytes();
    let own = format!("127.{}.{}.{}", octets[0] | 2, octets[1], octets[2] | 1);
    let server = Daemon::start(&[], UPPERCASE, &["--listen", &format!("udp://{own}")]);
    assert_eq!(host_and_port(&server), (&*own, "8000"));
}

#[test]
fn socat_receives_upper_case_over_udp_udp6_and_unix_datagrams() {
    if !has_peer("socat") {
        return;
    }
    let folder = Folder::new("socat");
    let path = folder.file("server");
    let (unix, own) = (format!("unix-dgram:{path}"), folder.file("client"));
    let has_ipv6 = UdpSocket::bind("[::1]:0").is_ok();
    if !has_ipv6 {
        tell("SKIPPED", "this machine has no IPv6");
    }
    let v6 = if has_ipv6 { "udp://[::1]:0" } else { "udp://127.0.0.2:0" };
    let args = ["--listen", "udp://127.0.0.1:0", "--listen", v6, "--listen", &unix];
    let server = Daemon::start(&[], UPPERCASE, &[&args[..], &["--unix-mode", "600"]].concat());
    let mode = fs::metadata(&path).expect("the file is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let target = |number: usize| server.addresses[number].replace("udp://", "");
    let mut targets = vec![format!("UDP:{}", target(0)), format!("UNIX-SENDTO:{path},bind={own}")];
    targets.extend(has_ipv6.then(|| format!("UDP6:{}", target(1))));
    for target in targets {
        converse(Command::new("socat").args(["-", &target]), b"abc\n", b"ABC\n");
    }
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!fs::exists(&path).expect("it can be asked"), "the file was left behind");
}

/// Sends datagrams of many sizes, in bursts and one at a time, checks each answer, and prints how
/// many came back. Its arguments are the kind of socket, the server, and its own address.
const PYTHON: &str = r#"
import os, socket, sys
kind, server, own = sys.argv[1:]
if kind == "unix":
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(own)
    largest = 150000
else:
    host, port = server.rsplit(":", 1)
    host = host.strip("[]")
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    server = (host, int(port))
    largest = 65507
s.settimeout(60)
s.connect(server)
count = 0
for size in [0, 1, 2, 100, 1472, 1473, 8192, 65507, largest, 0, 1]:
    sent = os.urandom(size)
    s.send(sent)
    back = s.recv(300000)
    assert back == sent, (size, len(back))
    count += 1
for burst in range(200):
    sent = [os.urandom(burst) for _ in range(8)]
    for one in sent:
        s.send(one)
    for one in sent:
        assert s.recv(300000) == one, burst
        count += 1
print(count)
"#;

#[test]
fn python_gets_datagrams_of_all_sizes_back_on_every_backend() {
    if !has_peer("python3") {
        return;
    }
    for backend in BACKENDS {
        let folder = Folder::new(backend);
        let path = folder.file("server");
        let unix = format!("unix-dgram:{path}");
        let args = ["--listen", "udp://0.0.0.0:0", "--listen", &unix, "--backend", backend];
        let server = Daemon::start(&[], ECHO, &args);
        let (_, port) = host_and_port(&server);
        let (one, two) = (format!("127.0.0.1:{port}"), format!("127.0.0.9:{port}"));
        let own = folder.file("client");
        for (kind, target) in [("udp", &one), ("udp", &two), ("unix", &path)] {
            let mut python = Command::new("python3");
            let printed = pipe_through(python.args(["-c", PYTHON, kind, target, &own]), b"");
            assert_eq!(printed, b"1611\n", "{backend}, {kind} at {target}");
        }
        let counters = server.counters();
        assert_eq!(counters["datagrams_received"], 3 * 1611);
        assert_eq!(counters["datagrams_sent"], 3 * 1611);
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}

/// How many datagrams the test of many senders sends, unless `DATAGRAMS` says otherwise.
const DATAGRAMS: u64 = 200_000;
/// How many senders there are.
const SENDERS: usize = 1000;

#[test]
fn no_datagram_of_a_thousand_senders_is_lost_that_the_kernel_does_not_count() {
    let asked = std::env::var("DATAGRAMS").ok().map(|text| text.parse::<u64>());
    let count = asked.transpose().expect("DATAGRAMS is a number").unwrap_or(DATAGRAMS);
    let server = Daemon::start(&[], ECHO, &["--listen", "udp://127.0.0.1:0"]);
    let (host, port) = host_and_port(&server);
    let target = (host, port.parse::<u16>().expect("it is a port"));
    let senders: Vec<UdpSocket> =
        (0..SENDERS).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port is free")).collect();
    for sender in &senders {
        sender.connect(target).expect("it is there");
        sender.set_nonblocking(true).expect("modes can be set");
    }
    let (mut sent, mut answered) = (0, 0);
    let collect = |sender: &UdpSocket, answered: &mut u64| {
        let mut buffer = [0; 16];
        while let Ok(length) = sender.recv(&mut buffer) {
            assert_eq!(length, 8, "an answer has another length");
            *answered += 1;
        }
    };
    while sent < count {
        let sender = &senders[sent as usize % SENDERS];
        // The kernel may have no room for a moment.
        if sender.send(&sent.to_ne_bytes()).is_ok() {
            sent += 1;
        }
        collect(&senders[(sent as usize + SENDERS / 2) % SENDERS], &mut answered);
    }
    let mut last = (0, 0);
    testkit::wait_until("the server to have received everything", || {
        senders.iter().for_each(|sender| collect(sender, &mut answered));
        let counters = server.counters();
        last = (counters["datagrams_received"], counters["datagrams_missed"]);
        last.0 + last.1 >= sent
    });
    let (received, missed) = last;
    assert_eq!(received + missed, sent);
    testkit::wait_until("all answers", || {
        senders.iter().for_each(|sender| collect(sender, &mut answered));
        answered == received
    });
    let counters = server.counters();
    assert_eq!((counters["datagrams_sent"], counters["datagrams_unsent"]), (received, 0));
    tell(
        "MEASURED",
        &format!("{sent} datagrams, {received} received, {missed} dropped by the kernel"),
    );
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_server_stops_while_datagrams_keep_coming() {
    for backend in BACKENDS {
        let args = ["--listen", "udp://127.0.0.1:0", "--backend", backend];
        let mut server = Daemon::start(&[], ECHO, &args);
        let (host, port) = host_and_port(&server);
        let target = (host.to_owned(), port.parse::<u16>().expect("it is a port"));
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let flood = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
            scope.spawn(|| {
                let flood = flood;
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    // Once the server is gone, this is refused.
                    let _ = flood.send_to(b"more", (&*target.0, target.1));
                }
            });
            testkit::wait_until("datagrams", || server.counters()["datagrams_received"] > 1000);
            server.signal("TERM");
            let (code, log) = server.wait();
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(code, Some(0), "{backend}: {log}");
        });
    }
}

#[test]
fn a_server_without_datagrams_and_a_taken_port_are_explained() {
    let explained = |program: &str, address: &str| {
        let output = Command::new(program).args(["--listen", address]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{address}");
        String::from_utf8(output.stderr).expect("it is text")
    };
    let error = explained(env!("CARGO_BIN_EXE_kv"), "udp://127.0.0.1:7");
    assert!(error.contains("this server takes no datagrams"), "{error}");
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("udp://{}", taken.local_addr().expect("it is bound"));
    let error = explained(ECHO, &address);
    assert!(error.contains("another socket has that port"), "{error}");
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
            let length = client.recv(&mut back).expect("it is answered");
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
    for backend in ["epoll", "select"] {
        for error in ["EINTR", "EAGAIN", "ECONNREFUSED", "EHOSTUNREACH", "ENOBUFS", "ENOMEM"] {
            survive("recvmmsg", &format!("error={error}:when=1+3"), backend);
            survive("sendmmsg", &format!("error={error}:when=1+3"), backend);
        }
        // The kernel cannot divide what is sent together.
        survive("sendmmsg", "error=EIO:when=2", backend);
        survive("sendmmsg", "error=EINVAL:when=2", backend);
    }
}
