//! Tests the program `against_redis` on little work, and the loop with canned replies.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use benches::benchmark::{self, Test};
use benches::process::Running;
use benches::{measure, neighbour};
use common::{Report, UnderWay};
use testkit::{PATIENCE, has_peer, tell};

static NEVER: AtomicBool = AtomicBool::new(false);

fn has_redis() -> bool {
    ["redis-server", "redis-benchmark"].into_iter().all(has_peer)
}

/// Returns whether half of a core can be occupied. This needs a second core and a privilege.
fn has_half() -> bool {
    let why = match measure::cores().len() {
        0 | 1 => Some("there is one core only".to_owned()),
        _ => neighbour::absent(),
    };
    if let Some(why) = &why {
        tell("SKIPPED", &format!("a server on half a core: {why}"));
    }
    why.is_none()
}

fn command(folder: &Report, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_against_redis"));
    command.arg("--out").arg(&folder.path).args(arguments).stdin(Stdio::null());
    command
}

fn against_redis(folder: &Report, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("it runs")
}

/// Starts one of the servers, as the program does. Returns it and its address.
fn server(name: &str) -> (Running, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_against_redis"));
    command.args(["serve", name, "requests", "-1"]);
    let running = Running::start(command).expect("it starts");
    let address = benchmark::ready(&running, &NEVER).expect("it listens");
    (running, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    stream
}

/// Sends a request and reads the reply. Its length is known, except that a number is a line.
fn answer(stream: &mut TcpStream, test: Test) -> Vec<u8> {
    stream.write_all(&test.request()).expect("it reads");
    if matches!(test, Test::Incr | Test::Lpush) {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("it answers");
            line.push(byte[0]);
        }
        return line;
    }
    let mut reply = vec![0; test.reply().len()];
    stream.read_exact(&mut reply).expect("it answers");
    reply
}

#[test]
fn kv_is_measured_on_another_backend_too() {
    if !has_redis() {
        return;
    }
    let folder = Report::new("other-backend");
    let arguments = ["--quick", "--rounds", "1", "--only", "PING", "--backend", "poll"];
    let output = against_redis(&folder, &arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let summary = folder.read("summary.csv");
    let rows = |name: &str| summary.matches(&format!(",{name},server_ns,")).count();
    assert!(rows("kv") > 0 && rows("kv-poll") == rows("kv"), "{summary}");
    let (_running, address) = server("kv-poll");
    assert_eq!(answer(&mut connect(address), Test::Ping), Test::Ping.reply());
}

#[test]
fn every_server_has_all_figures_and_a_page() {
    if !has_redis() {
        return;
    }
    let has_half = has_half();
    let (folder, book) = (Report::new("against-redis"), Report::new("against-redis-book"));
    let mut arguments = vec!["--quick", "--rounds", "1"];
    if has_half {
        arguments.extend(["--record", book.path.to_str().expect("it is text")]);
    }
    let output = against_redis(&folder, &arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("NOT MEASURED"), "{said}");
    for expected in ["kernel ", "commit ", "pinning ", "redis        Redis server v=", "/ redis"] {
        assert!(said.contains(expected), "no {expected} in {said}");
    }
    let summary = folder.read("summary.csv");
    let figures = ["server_ns", "per_second", "client_ns", "server_busy", "client_busy", "p99_us"];
    for subject in ["redis", "kv", "canned"] {
        for metric in figures {
            let of_it = format!(",{subject},{metric},");
            let found: Vec<&str> =
                summary.lines().filter_map(|line| Some(line.split_once(&of_it)?.1)).collect();
            // Six tests, with and without pipelining, on a whole core and on half of one.
            let cores = if has_half { 2 } else { 1 };
            assert_eq!(found.len(), 12 * cores, "{subject} {metric} in {summary}");
            let is_positive = |rest: &&str| {
                rest.split(',')
                    .next()
                    .and_then(|it| it.parse().ok())
                    .is_some_and(|it: f64| it > 0.0)
            };
            assert!(found.iter().all(is_positive), "{subject} {metric} in {summary}");
        }
    }
    let memory = summary.lines().filter(|line| line.contains(",bytes,"));
    assert_eq!(memory.count(), 2, "{summary}");
    // Other work on this machine is not a failure of the test.
    let page = if !has_half {
        assert!(said.contains("NOT TRIED: a server on half a core"), "{said}");
        folder.read("kv-speed.md")
    } else if output.status.success() {
        book.read("kv-speed.md")
    } else {
        assert!(said.contains("NOT RECORDED: others had"), "{said}");
        assert!(!book.path.exists(), "{said}");
        folder.read("kv-speed.md")
    };
    for expected in ["# kv beside Redis\n", "## requests", "## memory", "\ncommand ", "LRANGE_100,"]
    {
        assert!(page.contains(expected), "no {expected} in {page}");
    }
    assert_eq!(page.contains("## half a core"), has_half, "{page}");
}

#[test]
fn canned_replies_do_not_depend_on_how_requests_are_split() {
    let (_running, address) = server("canned");
    for test in Test::ALL {
        let mut stream = connect(address);
        let (first, requests) = (test.request(), test.request().repeat(40));
        // The first request arrives whole, as that of redis-benchmark.
        assert_eq!(answer(&mut stream, test).len(), test.reply().len(), "{test:?}");
        for part in requests.chunks(first.len() * 2 / 3) {
            stream.write_all(part).expect("it reads");
        }
        let expected = test.reply().repeat(40);
        let mut replies = vec![0; expected.len()];
        stream.read_exact(&mut replies).expect("it answers");
        assert_eq!(replies, expected, "{test:?}");
        // There are no further replies.
        stream.shutdown(std::net::Shutdown::Write).expect("it is connected");
        assert_eq!(stream.read(&mut [0]).expect("it ends"), 0, "{test:?}");
    }
}

#[test]
fn a_late_reader_gets_all_canned_replies() {
    let (_running, address) = server("canned");
    let mut stream = connect(address);
    let mut writer = stream.try_clone().expect("it is a socket");
    // 18 MB of replies, more than sockets hold.
    const COUNT: usize = 20_000;
    let sender = thread::spawn(move || {
        let requests = Test::Lrange100.request().repeat(COUNT);
        writer.write_all(&requests).expect("it reads");
        writer.shutdown(std::net::Shutdown::Write).expect("it is connected");
    });
    let mut size = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer).expect("it answers") {
            0 => break,
            count => size += count,
        }
    }
    sender.join().expect("it has sent all");
    assert_eq!(size, COUNT * Test::Lrange100.reply().len());
}

#[test]
fn requests_of_no_test_are_not_answered() {
    let (_running, address) = server("canned");
    let mut stream = connect(address);
    stream.write_all(b"*1\r\n$4\r\nQUIT\r\n").expect("it reads");
    assert_eq!(stream.read(&mut [0]).expect("it ends"), 0);
}

#[test]
fn canned_replies_equal_those_of_kv_and_redis() {
    let servers = if has_redis() { &["kv", "redis"][..] } else { &["kv"] };
    for name in servers {
        for test in Test::ALL {
            // Each test has its own server, which only has the keys that the test needs.
            let (_running, address) = server(name);
            let mut stream = connect(address);
            if let Some((first, count)) = test.needs() {
                (0..count).for_each(|_| drop(answer(&mut stream, first)));
            }
            let (reply, canned) = (answer(&mut stream, test), test.reply());
            match test {
                Test::Incr | Test::Lpush => assert_eq!(reply[0], canned[0], "{name} {test:?}"),
                _ => assert_eq!(reply, canned, "{name} {test:?}"),
            }
        }
    }
}

#[test]
fn requests_equal_those_of_redis_benchmark() {
    if !has_redis() {
        return;
    }
    // The server closes connections that send other requests, which redis-benchmark reports as an
    // error.
    let (_running, address) = server("canned");
    let output = Command::new("redis-benchmark")
        .args(["--csv", "-n", "300", "-P", "3", "-p", &address.port().to_string()])
        .args(["-t", "ping_mbulk,set,get,incr,lpush,lrange_100"])
        .stdin(Stdio::null())
        .output()
        .expect("it is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for name in ["PING_MBULK", "SET", "GET", "INCR", "LPUSH", "LRANGE_100"] {
        assert!(said.contains(&format!("\n\"{name}")), "no {name} in {said}");
    }
}

#[test]
fn all_keys_are_set() {
    let (_running, address) = server("kv");
    benchmark::fill(address, 2500, &NEVER).expect("it sets them");
    let mut stream = connect(address);
    stream.write_all(b"DBSIZE\r\nSTRLEN key:000000002499\r\n").expect("it reads");
    let mut replies = [0; 12];
    stream.read_exact(&mut replies).expect("it answers");
    assert_eq!(&replies, b":2500\r\n:64\r\n");

    let (_running, address) = server("canned");
    let error = benchmark::fill(address, 1, &NEVER);
    assert!(error.is_err(), "a server that sets no keys was accepted");
}

#[test]
fn without_redis_the_error_names_the_package() {
    let folder = Report::new("no-redis");
    let output = command(&folder, &["--quick"]).env("PATH", "").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("redis-server") && said.contains("apt-get install"), "{said}");
}

#[test]
fn invalid_arguments_are_refused() {
    let folder = Report::new("against-redis-refused");
    for (arguments, hint) in [(["--only", "ZADD"], "LRANGE_100"), (["--rounds", "0"], "1..=1000")] {
        let output = against_redis(&folder, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(hint), "{said}");
    }
}

/// Starts a long comparison.
fn under_way(folder: &Report) -> UnderWay {
    UnderWay::start(command(folder, &["--only", "PING", "--rounds", "1000"]))
}

#[test]
fn an_interrupted_run_leaves_a_report_and_no_process() {
    if !has_redis() {
        return;
    }
    let folder = Report::new("against-redis-interrupted");
    let said = under_way(&folder).interrupt();
    assert!(!said.contains("NOT MEASURED"), "{said}");
}

#[test]
fn a_killed_run_leaves_no_process() {
    if !has_redis() {
        return;
    }
    let folder = Report::new("against-redis-killed");
    under_way(&folder).kill();
}

#[test]
fn a_neighbour_occupies_half_of_its_core_until_it_is_dropped() {
    if !has_half() {
        return;
    }
    let core = measure::cores()[0];
    let mut command = Command::new("chrt");
    command.args(["--fifo", "1", env!("CARGO_BIN_EXE_against_redis"), "neighbour"]);
    command.arg(core.to_string());
    let running = Running::start(command).expect("it starts");
    let line = running.line(PATIENCE, &NEVER).expect("it starts").expect("it says so");
    assert_eq!(line, format!("half of core {core} is taken"));
    let (pid, started) = (running.pid(), Instant::now());
    let used = || measure::cpu_nanoseconds(pid).expect("it runs") as f64;
    let before = used();
    thread::sleep(Duration::from_millis(500));
    // Only the kernel has a higher priority. Its timers may be late.
    let share = (used() - before) / started.elapsed().as_nanos() as f64;
    assert!((0.1..0.7).contains(&share), "{share}");
    drop(running);
    assert!(measure::cpu_nanoseconds(pid).is_err(), "it is still there");
}

#[test]
fn without_a_neighbour_the_reason_is_reported_and_nothing_is_recorded() {
    if !has_redis() {
        return;
    }
    // A path that contains Redis and nothing else.
    let folder = Report::new("no-neighbour");
    let path = folder.path.join("bin");
    fs::create_dir_all(&path).expect("it can be made");
    for name in ["redis-server", "redis-benchmark"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").expect("there is a path"))
            .map(|folder| folder.join(name))
            .find(|program| program.exists());
        symlink(found.expect("it is there"), path.join(name)).expect("it can be linked");
    }
    let run = |arguments: &[&str]| {
        let mut command = command(&folder, &["--quick", "--only", "PING", "--rounds", "1"]);
        command.args(arguments).env("PATH", &path).output().expect("it runs")
    };
    let output = run(&[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("NOT TRIED: a server on half a core: "), "{said}");
    assert!(!said.contains("== half a core"), "{said}");
    let book = Report::new("no-neighbour-book");
    let output = run(&["--record", book.path.to_str().expect("it is text")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot record without this"), "{said}");
    assert!(!book.path.exists(), "{said}");
}
