//! Independent programs of datagrams: nc, socat and Python.

use std::fs::{self, File};
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use testkit::{Folder, has_peer, tell};

use crate::common::{Daemon, pipe_through};
use crate::{BACKENDS, ECHO, UPPERCASE, host_and_port};

/// The sizes of datagrams: the smallest, those around the payload of Ethernet, and the largest of
/// UDP over IPv4.
const SIZES: [usize; 5] = [1, 100, 1472, 1473, 65_507];

/// Runs a program that keeps running, gives it the content of a file, reads as many bytes of its
/// output as that has, and ends it. Of a file, a program reads as much at once as it asks for.
fn converse(command: &mut Command, input: &str, output: &[u8]) {
    let file = File::open(input).expect("the test has written it");
    let mut child = command.stdin(file).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut got = vec![0; output.len()];
    let read = child.stdout.take().expect("it is piped").read_exact(&mut got);
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("it can be waited for");
    read.expect("the whole answer comes");
    assert!(got == output, "{command:?}: the answer differs");
}

/// Returns whether this machine has IPv6. If it does not, this says so.
fn has_ipv6() -> bool {
    let has_ipv6 = UdpSocket::bind("[::1]:0").is_ok();
    if !has_ipv6 {
        tell("SKIPPED", "this machine has no IPv6");
    }
    has_ipv6
}

/// Returns `size` bytes that differ from their neighbours.
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|place| (place % 251) as u8).collect()
}

#[test]
fn nc_receives_upper_case_from_the_default_port() {
    if !has_peer("nc") {
        return;
    }
    let folder = Folder::new("nc");
    let input = folder.file("input");
    fs::write(&input, "hello\n").expect("the folder is writable");
    let server = Daemon::start(&[], UPPERCASE, &["--listen", "udp://127.0.0.1:0"]);
    let (host, port) = host_and_port(&server);
    converse(Command::new("nc").args(["-u", host, port]), &input, b"HELLO\n");
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
fn nc_gets_datagrams_of_all_sizes_back_on_every_backend() {
    if !has_peer("nc") {
        return;
    }
    let folder = Folder::new("nc");
    let input = folder.file("input");
    for backend in BACKENDS {
        let args = ["--listen", "udp://127.0.0.1:0", "--backend", backend];
        let server = Daemon::start(&[], ECHO, &args);
        let (host, port) = host_and_port(&server);
        // It reads 16 KiB at once, and sends them as a datagram.
        let mut datagrams = 0;
        for size in SIZES {
            fs::write(&input, bytes(size)).expect("the folder is writable");
            converse(Command::new("nc").args(["-u", host, port]), &input, &bytes(size));
            datagrams += size.div_ceil(16_384) as u64;
        }
        let counters = server.counters();
        assert_eq!(counters["datagrams_sent"], datagrams, "{backend}");
        assert_eq!(server.stop().0, Some(0), "{backend}");
    }
}

#[test]
fn socat_gets_datagrams_of_all_sizes_back_over_udp_udp6_and_unix_on_every_backend() {
    if !has_peer("socat") {
        return;
    }
    let has_ipv6 = has_ipv6();
    for backend in BACKENDS {
        let folder = Folder::new("socat");
        let (path, input) = (folder.file("server"), folder.file("input"));
        let unix = format!("unix-dgram:{path}");
        let v6 = if has_ipv6 { "udp://[::1]:0" } else { "udp://127.0.0.2:0" };
        let args = ["--listen", "udp://127.0.0.1:0", "--listen", v6, "--listen", &unix];
        let more = ["--unix-mode", "600", "--backend", backend];
        let server = Daemon::start(&[], ECHO, &[&args[..], &more].concat());
        let mode = fs::metadata(&path).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let target = |number: usize| server.addresses[number].replace("udp://", "");
        let mut targets = vec![format!("UDP:{}", target(0)), format!("UNIX-SENDTO:{path}")];
        targets.extend(has_ipv6.then(|| format!("UDP6:{}", target(1))));
        let mut count = 0;
        for target in targets {
            // A Unix socket without a name would get no answer. socat, which is killed, leaves it.
            let own = |count: u64| match target.starts_with("UNIX") {
                true => format!("{target},bind={}", folder.file(&count.to_string())),
                false => target.clone(),
            };
            for size in SIZES {
                fs::write(&input, bytes(size)).expect("the folder is writable");
                let mut socat = Command::new("socat");
                // One datagram, and time for the answer.
                socat.args(["-b", "65536", "-t", "60", "-", &own(count)]);
                converse(&mut socat, &input, &bytes(size));
                count += 1;
            }
            // At the end of its input, it sends an empty datagram. An answer of no bytes is not
            // printed, but counted here.
            let empty = format!("{},shut-null", own(count));
            pipe_through(Command::new("socat").args(["-t", "0.2", "-", &empty]), b"");
            count += 1;
            testkit::wait_until("the empty datagram", || {
                server.counters()["datagrams_received"] == count
            });
        }
        let counters = server.counters();
        assert_eq!(counters["datagrams_sent"] + counters["datagrams_undelivered"], count);
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!fs::exists(&path).expect("it can be asked"), "the file was left behind");
    }
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
    let has_ipv6 = has_ipv6();
    for backend in BACKENDS {
        let folder = Folder::new(backend);
        let path = folder.file("server");
        let unix = format!("unix-dgram:{path}");
        let v6 = if has_ipv6 { "udp://[::1]:0" } else { "udp://127.0.0.2:0" };
        let args = ["--listen", "udp://0.0.0.0:0", "--listen", &unix, "--listen", v6];
        let server = Daemon::start(&[], ECHO, &[&args[..], &["--backend", backend]].concat());
        let (_, port) = host_and_port(&server);
        let (one, two) = (format!("127.0.0.1:{port}"), format!("127.0.0.9:{port}"));
        let (own, three) = (folder.file("client"), server.addresses[2].replace("udp://", ""));
        let targets = [("udp", &one), ("udp", &two), ("unix", &path), ("udp", &three)];
        for (kind, target) in targets {
            let mut python = Command::new("python3");
            let printed = pipe_through(python.args(["-c", PYTHON, kind, target, &own]), b"");
            assert_eq!(printed, b"1611\n", "{backend}, {kind} at {target}");
        }
        let counters = server.counters();
        assert_eq!(counters["datagrams_received"], 4 * 1611);
        assert_eq!(counters["datagrams_sent"], 4 * 1611);
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}
