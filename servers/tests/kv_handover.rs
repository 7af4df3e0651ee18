//! Restarts of kv that no client notices: the keys and all connections go to the new program
//! together, or the old one goes on as if nothing had been (P11).

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::PATIENCE;
use common::chain::{Chain, OnDrop, ask, install};
use testkit::{Folder, process, wait_until};

const KV: &str = env!("CARGO_BIN_EXE_kv");

fn start() -> Chain {
    Chain::start(KV, &["--listen", "127.0.0.1:0"])
}

/// Asks with lines, and checks the answer.
fn say(stream: &mut (impl Read + Write), lines: &str, answer: &str) {
    let (lines, answer) = (lines.replace('\n', "\r\n"), answer.replace('\n', "\r\n"));
    stream.write_all(lines.as_bytes()).expect("the server takes bytes");
    let mut bytes = vec![0; answer.len()];
    stream.read_exact(&mut bytes).unwrap_or_else(|error| panic!("{lines:?}: {error}"));
    assert_eq!(String::from_utf8_lossy(&bytes), answer, "{lines:?}");
}

#[test]
fn keys_and_a_client_go_on_through_several_programs() {
    for backend in ["epoll", "epoll-lt", "poll", "select", "uring"] {
        let mut chain = Chain::start(KV, &["--listen", "127.0.0.1:0", "--backend", backend]);
        let mut client = chain.daemon.connect();
        say(&mut client, "set a 1\nrpush list x y\nselect 3\nset b 2\n", "+OK\n:2\n+OK\n+OK\n");
        for round in 2..5 {
            chain.restart();
            say(&mut client, "get b\n", "$1\n2\n");
            let mut new = chain.daemon.connect();
            say(&mut new, "incr a\nllen list\n", &format!(":{round}\n:2\n"));
        }
        let log = chain.daemon.log();
        assert_eq!(log.matches("handed over: 3 keys in ").count(), 3, "{log}");
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    }
}

/// What a client says before a restart and is answered, what another client says after it, what the
/// first says then, and what it is answered.
const STATES: [[&str; 5]; 13] = [
    ["multi\nset a 1\n", "+OK\n+QUEUED\n", "get a\n", "exec\n", "*1\n+OK\n"],
    ["watch a\nmulti\nget a\n", "+OK\n+OK\n+QUEUED\n", "ping\n", "exec\n", "*1\n$-1\n"],
    ["watch a\nmulti\nget a\n", "+OK\n+OK\n+QUEUED\n", "set a 2\n", "exec\n", "*-1\n"],
    ["multi\nno such\n", "+OK\n", "ping\n", "discard\n", "-ERR"],
    ["blpop list 0\n", "", "rpush list x\n", "", "*2\n$4\nlist\n$1\nx\n"],
    ["blpop list 1\n", "", "ping\n", "", "*-1\n"],
    ["blpop list 0\nping\n", "", "rpush list x\n", "", "*2\n$4\nlist\n$1\nx\n+PONG\n"],
    [
        "subscribe c\n",
        "*3\n$9\nsubscribe\n$1\nc\n:1\n",
        "publish c hi\n",
        "",
        "*3\n$7\nmessage\n$1\nc\n$2\nhi\n",
    ],
    [
        "psubscribe c*\n",
        "*3\n$10\npsubscribe\n$2\nc*\n:1\n",
        "publish cd hi\n",
        "",
        "*4\n$8\npmessage\n$2\nc*\n$2\ncd\n$2\nhi\n",
    ],
    ["select 5\nset own 1\n", "+OK\n+OK\n", "get own\n", "get own\n", "$1\n1\n"],
    ["client setname me\n", "+OK\n", "ping\n", "client getname\n", "$2\nme\n"],
    ["client reply off\n", "", "ping\n", "get a\nclient reply on\n", "+OK\n"],
    ["set part", "", "ping\n", "ial 3\nget partial\n", "+OK\n$1\n3\n"],
];

#[test]
fn every_state_of_a_client_goes_along() {
    for [before, answer, other, after, expected] in STATES {
        let mut chain = start();
        let mut client = chain.daemon.connect();
        // The first of two answers to a command that does not exist is of many words.
        if before.contains("no such") {
            client.write_all(before.replace('\n', "\r\n").as_bytes()).expect("it is written");
            let mut answer = vec![0; 5];
            client.read_exact(&mut answer).expect("it is answered");
        } else {
            say(&mut client, before, answer);
        }
        // The rest of a line is on its way as well.
        thread::sleep(Duration::from_millis(20));
        chain.restart();
        let mut second = chain.daemon.connect();
        second.write_all(other.replace('\n', "\r\n").as_bytes()).expect("it is written");
        assert!(second.read(&mut [0; 64]).expect("it is answered") > 0, "{before:?}");
        say(&mut client, after, expected);
    }
}

#[test]
fn a_large_state_of_a_client_and_long_strings_go_along() {
    const SIZE: usize = 20 << 20;
    let mut chain = start();
    let mut client = chain.daemon.connect();
    let value = "x".repeat(SIZE);
    say(&mut client, &format!("*3\n$3\nSET\n$1\na\n${SIZE}\n{value}\n"), "+OK\n");
    // So much is unsent at the restart that it takes several frames.
    client.write_all(b"get a\r\nget a\r\nping\r\n").expect("it is written");
    let mut half = chain.daemon.connect();
    half.write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nb\r\n${SIZE}\r\n").as_bytes()).expect("it is");
    half.write_all(&value.as_bytes()[..SIZE / 2]).expect("it is written");
    thread::sleep(Duration::from_millis(300));
    chain.restart();
    let one = format!("${SIZE}\n{value}\n");
    say(&mut client, "", &format!("{one}{one}+PONG\n"));
    say(&mut half, &format!("{}\nget b\n", &value[SIZE / 2..]), &format!("+OK\n{one}"));
    let log = chain.daemon.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// Sets keys of 50,000 bytes, which take a while to be moved.
fn fill(client: &mut TcpStream, count: usize) {
    for key in 0..count {
        say(client, &format!("set key:{key} {}\n", "v".repeat(50_000)), "+OK\n");
    }
}

/// Clients that reset their connections while all stand still do not keep the server from being
/// replaced, and a wait does not end early by the time that the keys take.
#[test]
fn clients_that_reset_and_clients_that_wait_stand_still_too() {
    const WAIT: Duration = Duration::from_secs(4);
    let mut chain = start();
    fill(&mut chain.daemon.connect(), 2000);
    let mut waits = chain.daemon.connect();
    waits.write_all(b"blpop nothing 4\r\n").expect("it is written");
    let began = Instant::now();
    let leaving: Vec<_> = (0..60).map(|_| chain.daemon.connect()).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for client in leaving {
                thread::sleep(Duration::from_millis(15));
                let now = Some(Duration::ZERO);
                socket2::SockRef::from(&client).set_linger(now).expect("an option");
            }
        });
        chain.restart();
    });
    say(&mut waits, "", "*-1\n");
    assert!(began.elapsed() >= WAIT, "it ends after {:?}", began.elapsed());
    say(&mut waits, "dbsize\n", ":2000\n");
}

/// A program that takes over as far as `END` allows. `until` reads until frames have begun so often.
const TAKES: &str = r#"#!/usr/bin/env python3
import os, socket, struct, time
stream = socket.socket(socket.AF_UNIX)
stream.connect("\0" + os.environ["MYEVENT_HANDOVER"])
received = b""
def until(kind):
    global received
    while True:
        while len(received) >= 5:
            found, length = struct.unpack("<BI", received[:5])
            if len(received) < 5 + length: break
            received = received[5 + length:]
            if found == kind: return
        more = stream.recv(65536)
        if not more: os._exit(9)
        received += more
until(3)
stream.sendall(b"\x04\0\0\0\0")
END
"#;

/// A new program fails in each stage. A client with a transaction, one that waits and one that has not
/// read all go on with the old program.
#[test]
fn a_new_program_that_fails_is_not_noticed() {
    let folder = Folder::new("kv-handover-failures");
    let program = folder.file("program");
    process::copy_program(KV, &program);
    let args = ["--listen", "127.0.0.1:0", "--handover-timeout", "2s"];
    let chain = Chain::start(&program, &args);
    let mut filling = chain.daemon.connect();
    fill(&mut filling, 60);
    let mut scripts = vec![
        ("it has ended with exit status: 3", "#!/bin/sh\nexit 3\n".to_owned()),
        ("it has not answered within 2s", "#!/bin/sh\nexec sleep 60\n".to_owned()),
    ];
    if testkit::has_peer("python3") {
        // In the middle of the state, after it, among the connections, and with all of it.
        for end in ["until(10)", "[until(10) for _ in range(20)]", "until(6)", "until(11)"] {
            for (reason, way) in
                [("this one goes on", "os._exit(3)"), ("has not answered", "time.sleep(60)")]
            {
                scripts.push((reason, TAKES.replace("END", &format!("{end}\n{way}"))));
            }
        }
        // One that says that it has everything, and has not.
        scripts.push((
            "at the wrong time",
            TAKES.replace("END", "stream.sendall(b'\\x0c\\0\\0\\0\\0')\ntime.sleep(60)"),
        ));
    }
    for (round, (reason, script)) in scripts.iter().enumerate() {
        eprintln!("{round}: {reason} {}", script.lines().rev().take(2).collect::<String>());
        install(&program, script);
        let [mut open, mut waits, mut behind] = [0; 3].map(|_| chain.daemon.connect());
        say(&mut open, "watch a\nmulti\nget key:1\nset b 1\n", "+OK\n+OK\n+QUEUED\n+QUEUED\n");
        waits.write_all(b"blpop list 0\r\n").expect("it is written");
        for key in 0..60 {
            behind.write_all(format!("get key:{key}\r\n").as_bytes()).expect("it is written");
        }
        let before = chain.daemon.log().matches(reason).count();
        chain.fail();
        let log = chain.daemon.log();
        assert!(log.matches(reason).count() > before, "{log}");
        let value = format!("$50000\n{}\n", "v".repeat(50_000));
        say(&mut open, "exec\n", &format!("*2\n{value}+OK\n"));
        let mut new = chain.daemon.connect();
        say(&mut new, "rpush list x\n", ":1\n");
        say(&mut waits, "", "*2\n$4\nlist\n$1\nx\n");
        say(&mut behind, "ping\n", &format!("{}+PONG\n", value.repeat(60)));
        say(&mut new, "dbsize\n", ":61\n");
        assert!(process::children(chain.process).is_empty(), "{reason}: children are left");
    }
    process::copy_program(KV, &folder.file("good"));
    fs::rename(folder.file("good"), &program).expect("it is replaced");
    let mut chain = chain;
    chain.restart();
    say(&mut filling, "get b\ndbsize\n", "$1\n1\n:61\n");
}

/// Connects, counts and leaves, at most `rate` times a second, until told to stop. Returns how often.
fn visit(address: &str, rate: u32, stops: &AtomicBool) -> u64 {
    let (start, mut count) = (Instant::now(), 0);
    while !stops.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address).expect("nothing is refused");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        ask(&mut stream, b"incr visits\r\n", b":");
        let mut number = Vec::new();
        while !number.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("nothing is reset");
            number.push(byte[0]);
        }
        count += 1;
        let due = start + Duration::from_secs(1) / rate * count as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    count
}

/// Keeps a transaction open on each of `count` connections at every restart, until told to stop: the
/// keys that it watches are its own, so each `EXEC` has to succeed.
fn transact(address: &str, who: usize, count: usize, done: &AtomicU64, stops: &AtomicBool) {
    let mut streams: Vec<_> = (0..count)
        .map(|_| {
            let stream = TcpStream::connect(address).expect("nothing is refused");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream
        })
        .collect();
    for round in 1_u64.. {
        if stops.load(Ordering::Relaxed) {
            return;
        }
        for (place, stream) in streams.iter_mut().enumerate() {
            let key = format!("t:{who}:{place}");
            let lines = format!("watch {key}\nmulti\nincr {key}\nget {key}\n");
            say(stream, &lines, "+OK\n+OK\n+QUEUED\n+QUEUED\n");
        }
        for stream in &mut streams {
            let digits = round.to_string();
            let answer = format!("*2\n:{round}\n${}\n{round}\n", digits.len());
            say(stream, "exec\n", &answer);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// P11: 20 restarts in a row under 2,000 connects a second, or as many as the machine makes, and 200
/// clients with a transaction open, with a subscriber beside them. Nothing is refused or reset, no
/// transaction fails, and no message or count is lost.
#[test]
fn twenty_restarts_under_load_are_not_noticed() {
    const VISITORS: u32 = 4;
    const TALKERS: usize = 4;
    let mut chain = start();
    let address = chain.daemon.addresses[0].clone();
    let (stops, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut listens = chain.daemon.connect();
    let mut idle = chain.daemon.connect();
    say(&mut listens, "subscribe c\n", "*3\n$9\nsubscribe\n$1\nc\n:1\n");
    say(&mut idle, "watch own\nmulti\nincr own\n", "+OK\n+OK\n+QUEUED\n");
    let visits = thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS)
            .map(|_| scope.spawn(|| visit(&address, 2000 / VISITORS, &stops)))
            .collect();
        for who in 0..TALKERS {
            let (address, done, stops) = (&address, &done, &stops);
            scope.spawn(move || transact(address, who, 200 / TALKERS, done, stops));
        }
        // They end also if this thread fails.
        let _stop = OnDrop(|| stops.store(true, Ordering::Relaxed));
        wait_until("all clients", || done.load(Ordering::Relaxed) >= 200);
        for round in 0..20 {
            let before = done.load(Ordering::Relaxed);
            chain.restart();
            let text = format!("m{round}");
            say(&mut chain.daemon.connect(), &format!("publish c {text}\n"), ":1\n");
            let length = text.len();
            say(&mut listens, "", &format!("*3\n$7\nmessage\n$1\nc\n${length}\n{text}\n"));
            wait_until("an answer to each", || done.load(Ordering::Relaxed) >= before + 200);
        }
        drop(_stop);
        visitors.into_iter().map(|it| it.join().expect("nothing was refused")).sum::<u64>()
    });
    say(&mut idle, "exec\n", "*1\n:1\n");
    let digits = visits.to_string();
    say(&mut idle, "get visits\n", &format!("${}\n{visits}\n", digits.len()));
    let done = done.load(Ordering::Relaxed);
    let log = chain.daemon.log();
    println!("20 restarts: {visits} connections that were made, {done} transactions");
    assert!(visits >= 1000, "{visits} connections");
    assert_eq!(chain.successors().len(), 20);
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// The program of Redis keeps its connection.
#[test]
fn redis_cli_goes_on() {
    if !testkit::has_peer("redis-cli") {
        return;
    }
    let mut chain = start();
    let (_, port) = chain.daemon.addresses[0].rsplit_once(':').expect("a port");
    let mut client = Command::new("redis-cli")
        .args(["-p", port, "blpop", "list", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut other = chain.daemon.connect();
    wait_until("a client that waits", || {
        other.write_all(b"client list\r\n").expect("it is written");
        let mut text = [0; 4096];
        let length = other.read(&mut text).expect("it is answered");
        String::from_utf8_lossy(&text[..length]).contains("cmd=blpop")
    });
    chain.restart();
    say(&mut other, "rpush list moved\n", ":1\n");
    let mut answer = String::new();
    client.stdout.take().expect("it is piped").read_to_string(&mut answer).expect("text");
    assert!(client.wait().expect("it ends").success());
    assert_eq!(answer, "list\nmoved\n");
}

/// The new program has a part of the keys, and says nothing more. Which of the two serves is not certain
/// yet, so the old one stops when it has failed, after it has answered what came meanwhile.
#[test]
fn a_signal_to_stop_waits_until_it_is_certain_which_program_serves() {
    if !testkit::has_peer("python3") {
        return;
    }
    let folder = Folder::new("kv-handover-stop");
    let (program, sign) = (folder.file("program"), folder.file("sign"));
    process::copy_program(KV, &program);
    let args = ["--listen", "127.0.0.1:0", "--handover-timeout", "2s"];
    let chain = Chain::start(&program, &args);
    let mut client = chain.daemon.connect();
    say(&mut client, "set a 1\n", "+OK\n");
    let end = format!("until(10)\nopen({sign:?}, 'w').close()\ntime.sleep(60)");
    install(&program, &TAKES.replace("END", &end));
    process::signal(chain.process, "USR2");
    wait_until("a part of the state", || fs::exists(&sign).is_ok_and(|exists| exists));
    process::signal(chain.process, "TERM");
    wait_until("the signal", || chain.daemon.log().contains("stopping when no connection"));
    say(&mut client, "get a\n", "$1\n1\n");
    assert_eq!(client.read(&mut [0; 8]).expect("it ends in order"), 0);
    wait_until("the end", || !process::runs(chain.process));
    let log = chain.daemon.log();
    assert!(log.contains("stopped: ") && log.contains("has not answered within 2s"), "{log}");
}

/// The old program is told to stop in the middle of the state.
#[test]
fn a_signal_to_stop_during_a_restart_stops_both_or_the_old_alone() {
    for round in 0..8 {
        let mut chain = start();
        let mut client = chain.daemon.connect();
        say(&mut client, "set a 1\n", "+OK\n");
        // Every second time, the state is so large that the signal comes while it is sent.
        fill(&mut client, 1000 * (round as usize % 2));
        process::signal(chain.process, "USR2");
        wait_until("a new program", || chain.daemon.log().contains("started process "));
        thread::sleep(Duration::from_millis(round * 20));
        process::signal(chain.process, "TERM");
        let old = chain.process;
        wait_until("the end of the old program", || !process::runs(old));
        match chain.successors().last() {
            Some(new) => {
                chain.process = *new;
                say(&mut client, "get a\n", "$1\n1\n");
            }
            None => assert_eq!(client.read(&mut [0; 8]).expect("it ends in order"), 0),
        }
    }
}

/// The state of TLS cannot be handed over, and the old program must not answer from its copy.
#[test]
fn connections_of_tls_are_closed_in_order() {
    if !testkit::has_peer("openssl") {
        return;
    }
    let files = testkit::authority::Files::new("kv-handover");
    files.write("server", &files.issuer().server(&["localhost"]));
    let (pem, key) = (files.path("server.pem"), files.path("server.key"));
    let mut args = vec!["--listen", "127.0.0.1:0", "--listen", "tls://127.0.0.1:0"];
    args.extend(["--cert", &pem, "--key", &key]);
    let mut chain = Chain::start(KV, &args);
    let encrypted = chain.daemon.addresses[1].strip_prefix("tls://").expect("it is TLS");
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", encrypted])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let (mut to, mut from) = (client.stdin.take().expect("a"), client.stdout.take().expect("b"));
    ask(&mut Both(&mut from, &mut to), b"set a 1\r\n", b"+OK\r\n");
    let mut plain = chain.daemon.connect();
    say(&mut plain, "get a\n", "$1\n1\n");
    chain.restart();
    let mut rest = Vec::new();
    from.read_to_end(&mut rest).expect("it ends");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    drop(to);
    client.wait().expect("it ends");
    say(&mut plain, "get a\n", "$1\n1\n");
    wait_until("a line in the log", || {
        chain.daemon.log().contains("1 connections that could not be handed over are closed")
    });
}

/// The two pipes of a program.
struct Both<'a>(&'a mut ChildStdout, &'a mut ChildStdin);

impl Read for Both<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room)
    }
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}
