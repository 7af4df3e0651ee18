//! The servers under a service manager: a small one in this test, and the tools of systemd.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::PATIENCE;
use testkit::{Folder, has_peer, process, wait_until};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const UPPERCASE: &str = env!("CARGO_BIN_EXE_uppercase");
const KV: &str = env!("CARGO_BIN_EXE_kv");

/// Passes standard input and output on as the first two descriptors of a service (`sd_listen_fds(3)`).
const PASS: &str = "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=stream:datagrams; \
                    exec \"$0\" \"$@\" 3<&0 4<&1 </dev/null >/dev/null";

/// A service manager: the socket on which it is told the state of its service.
struct Manager {
    folder: Folder,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = Folder::new("service-manager");
        let socket = UnixDatagram::bind(folder.file("notify")).expect("it binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { folder, socket }
    }

    /// Starts a service.
    fn start(&self, command: &mut Command) -> Service {
        let child = command
            .env("NOTIFY_SOCKET", self.folder.file("notify"))
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        Service { main: child.id(), child }
    }

    /// Returns what it is told next, line by line.
    fn told(&self) -> Vec<String> {
        let mut buffer = [0; 512];
        let length = self.socket.recv(&mut buffer).expect("it is told something");
        let text = String::from_utf8_lossy(&buffer[..length]);
        text.lines().map(str::to_owned).collect()
    }

    /// Returns the main process of a service that says that it is ready.
    fn ready(&self) -> u32 {
        let told = self.told();
        assert_eq!(told[0], "READY=1", "{told:?}");
        let process = told[1].strip_prefix("MAINPID=").and_then(|it| it.parse().ok());
        process.expect("it says its process")
    }
}

/// A service. Its main process is killed on drop.
struct Service {
    child: Child,
    main: u32,
}

impl Service {
    fn log_line(&mut self, part: &str) -> String {
        let log = self.child.stderr.as_mut().expect("its log is piped");
        let mut lines = BufReader::with_capacity(1, log).lines();
        let found = lines.find_map(|line| line.ok().filter(|it| it.contains(part)));
        found.unwrap_or_else(|| panic!("no line of the log has {part:?}"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if process::runs(self.main) {
            process::signal(self.main, "KILL");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(stream: &mut TcpStream, bytes: &[u8], expected: &[u8]) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(bytes).expect("it takes bytes");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, expected);
}

#[test]
fn passed_sockets_are_served_and_the_state_is_told() {
    let manager = Manager::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("it binds");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("it binds");
    let (stream_at, datagrams_at) =
        (listener.local_addr().expect("an address"), datagrams.local_addr().expect("an address"));
    // A client that comes before the service.
    let mut early = TcpStream::connect(stream_at).expect("the socket listens");
    let mut command = Command::new("sh");
    command.args(["-c", PASS, UPPERCASE]);
    command.stdin(OwnedFd::from(listener)).stdout(OwnedFd::from(datagrams));
    let mut service = manager.start(&mut command);
    drop(command);
    assert_eq!(manager.ready(), service.main);
    let line = service.log_line("listening on 127.0.0.1");
    assert!(!line.contains(":9527"), "the default address is listened on: {line}");
    ask(&mut early, b"early", b"EARLY");
    let client = UdpSocket::bind("127.0.0.1:0").expect("it binds");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.send_to(b"datagram", datagrams_at).expect("it is sent");
    let mut answer = [0; 16];
    assert_eq!(client.recv(&mut answer).expect("it is answered"), 8);
    assert_eq!(&answer[..8], b"DATAGRAM");

    // A new program takes over, and is the main one then.
    process::signal(service.main, "USR2");
    assert!(manager.told()[0].starts_with("RELOADING=1"));
    let old = std::mem::replace(&mut service.main, manager.ready());
    assert_ne!(service.main, old);
    ask(&mut early, b"still", b"STILL");
    ask(&mut TcpStream::connect(stream_at).expect("it listens"), b"new", b"NEW");
    wait_until("the end of the old program", || !process::runs(old));
    process::signal(service.main, "TERM");
    let told = manager.told();
    assert_eq!(told[0], "STOPPING=1", "{told:?}");
    wait_until("the end of the new program", || !process::runs(service.main));
}

#[test]
fn signs_of_life_come_from_every_loop() {
    for threads in ["1", "3"] {
        let manager = Manager::new();
        let mut command = Command::new(ECHO);
        command.args(["--listen", "127.0.0.1:0", "--threads", threads]);
        command.env("WATCHDOG_USEC", "40000");
        let service = manager.start(&mut command);
        assert_eq!(manager.ready(), service.main);
        for _ in 0..5 {
            assert_eq!(manager.told(), ["WATCHDOG=1"], "with {threads} threads");
        }
        process::signal(service.main, "STOP");
        manager.socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        while manager.socket.recv(&mut [0; 64]).is_ok() {}
        process::signal(service.main, "CONT");
        manager.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert_eq!(manager.told(), ["WATCHDOG=1"], "after a pause");
    }
}

/// Stops one thread of another process until its standard input ends (`ptrace(2)`).
const STOP_THREAD: &str = r#"
import ctypes, os, sys
thread, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, thread, None, None) != 0:
        sys.exit("ptrace: " + os.strerror(ctypes.get_errno()))
os.waitpid(thread, WALL)
print("stopped", flush=True)
sys.stdin.read()
"#;

#[test]
fn one_loop_that_is_blocked_is_enough_for_no_sign_of_life() {
    if !has_peer("python3") {
        return;
    }
    let manager = Manager::new();
    let mut command = Command::new(ECHO);
    command.args(["--listen", "127.0.0.1:0", "--threads", "3"]);
    command.env("WATCHDOG_USEC", "40000");
    let service = manager.start(&mut command);
    assert_eq!(manager.ready(), service.main);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.main)).expect("it runs");
    let mut loops: Vec<_> = tasks
        .map(|task| task.expect("it is read").path())
        .filter(|task| {
            let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
            name.starts_with("loop")
        })
        .collect();
    assert_eq!(loops.len(), 3, "{loops:?}");
    loops.sort();
    for task in loops {
        let thread = task.file_name().expect("a number");
        let mut tracer = Command::new("python3")
            .args(["-c", STOP_THREAD])
            .arg(thread)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut said = [0; 8];
        let output = tracer.stdout.as_mut().expect("it is piped");
        output.read_exact(&mut said).expect("the thread is stopped");
        assert_eq!(&said, b"stopped\n");
        // Some signs may have been given before, and one may follow answers that came before.
        manager.socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let signs = (0..50).take_while(|_| manager.socket.recv(&mut [0; 64]).is_ok()).count();
        assert!(signs < 50, "a loop is blocked, and there are signs of life");
        drop(tracer.stdin.take());
        assert!(tracer.wait().expect("it is waited for").success());
        manager.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert_eq!(manager.told(), ["WATCHDOG=1"], "the thread goes on");
    }
}

#[test]
fn signs_of_life_of_the_program_that_has_taken_over_count() {
    let manager = Manager::new();
    let script = "export WATCHDOG_PID=$$; exec \"$0\" --listen 127.0.0.1:0";
    let mut command = Command::new("sh");
    command.args(["-c", script, ECHO]).env("WATCHDOG_USEC", "40000");
    let mut service = manager.start(&mut command);
    assert_eq!(manager.ready(), service.main);
    process::signal(service.main, "USR2");
    let old = service.main;
    while service.main == old {
        let told = manager.told();
        if told[0] == "READY=1" {
            let process = told[1].strip_prefix("MAINPID=").and_then(|it| it.parse().ok());
            service.main = process.expect("it says its process");
        }
    }
    wait_until("the end of the old program", || !process::runs(old));
    manager.socket.set_nonblocking(true).expect("a mode");
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    manager.socket.set_nonblocking(false).expect("a mode");
    for _ in 0..3 {
        assert_eq!(manager.told(), ["WATCHDOG=1"]);
    }
}

#[test]
fn sockets_that_cannot_be_served_are_refused_with_a_reason() {
    let run = |program: &str, count: &str, stdin: OwnedFd| {
        let script = "export LISTEN_PID=$$ LISTEN_FDS=$1; shift; exec \"$0\" 3<&0 </dev/null";
        let output = Command::new("sh").args(["-c", script, program, count]).stdin(stdin).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").expect("it opens"));
    let datagrams = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").expect("it binds"));
    for (program, count, stdin, expected) in [
        (ECHO, "many", file(), "LISTEN_FDS is \"many\", not a number"),
        (ECHO, "9", datagrams(), "LISTEN_FDS is 9, but"),
        (ECHO, "1", file(), "the service manager's socket \"\""),
        (KV, "1", datagrams(), "this server takes no datagrams"),
    ] {
        let text = run(program, count, stdin);
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn systemd_activates_a_server_by_its_socket() {
    if !has_peer("systemd-socket-activate") {
        return;
    }
    let port = testkit::free_port();
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", &address, "--fdname=stream", UPPERCASE]).stdin(Stdio::null());
    let child = command.stderr(Stdio::null()).spawn().expect("it starts");
    let service = Service { main: child.id(), child };
    let mut stream = None;
    wait_until("the socket of systemd", || {
        stream = TcpStream::connect(&address).ok();
        stream.is_some()
    });
    let mut stream = stream.expect("it listens");
    ask(&mut stream, b"hello", b"HELLO");
    drop(service);
}

#[test]
fn systemd_accepts_the_unit_files() {
    if !has_peer("systemd-analyze") {
        return;
    }
    let folder = Folder::new("units");
    let units = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(units).expect("there are units") {
        let entry = entry.expect("it is read");
        let name = entry.file_name().into_string().expect("it is text");
        let unit = std::fs::read_to_string(entry.path()).expect("it is text");
        // The programs are not installed here.
        let unit = unit.replace("/usr/local/bin/", "/bin/true ");
        assert!(!name.ends_with(".service") || unit.contains("NotifyAccess=all"), "{name}");
        let path = folder.file(&name);
        std::fs::write(&path, unit).expect("it is written");
        paths.push(path);
    }
    assert_eq!(paths.len(), 9);
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&paths)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(&folder.file("")), "{text}");
}
