//! `load` as a user runs it, against an echo server in the same process.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::Server;
use reactor::raise_descriptor_limit;

/// The default size of a message in bytes.
const SIZE: usize = 64;

fn command(address: &str, args: &[&str], seconds: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.arg(address).args(["--duration", seconds]).args(args).env_remove("REACTOR_BACKEND");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn load(address: &str, args: &[&str]) -> Output {
    command(address, args, "1").output().expect("it runs")
}

#[test]
fn every_reply_of_a_correct_server_is_verified() {
    let server = Server::start();
    for args in [
        ["--connections", "20", "--idle", "20", "--depth", "8", "--size", "100"],
        ["--connections", "2", "--idle", "0", "--depth", "2", "--size", "300000"],
        // More than the connection can hold in both directions.
        ["--connections", "1", "--idle", "0", "--depth", "3", "--size", "20000000"],
    ] {
        let output = load(&server.address, &args);
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{report}");
        assert!(
            report.contains("every byte verified") && report.contains("errors       0"),
            "{report}"
        );
        assert!(!report.contains("messages     0 "), "{report}");
    }
}

#[test]
fn a_wrong_reply_is_an_error() {
    let server = Server::start();
    let output = load(&server.address, &["--expect", "uppercase"]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("the reply differs"), "{report}");
}

#[test]
fn a_missing_server_is_an_error() {
    let address = testkit::refusing_address().to_string();
    let output = load(&address, &["--connections", "2"]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("nothing listens there"), "{report}");
}

#[test]
fn ten_thousand_active_connections_beside_idle_ones_are_verified() {
    // The tests run in parallel and share the descriptors.
    let limit = raise_descriptor_limit(16_000).expect("it can be raised");
    let room = (limit as usize).saturating_sub(1000);
    let (active, idle) = if room >= 15_000 { (10_000, 5000) } else { (room * 2 / 3, room / 3) };
    if active < 10_000 {
        testkit::tell("SCALED DOWN", &format!("{active} connections of 10000: ulimit -Hn"));
    }
    let server = Server::start();
    let (active, idle) = (active.to_string(), idle.to_string());
    let output = load(&server.address, &["--connections", &active, "--idle", &idle]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(
        report.contains("every byte verified") && report.contains("errors       0"),
        "{report}"
    );
    eprintln!("{report}");
}

/// Starts a server that calls `serve` for each connection, on a thread that ends with the process.
/// Returns its address.
fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Answers messages of [`SIZE`] bytes until `answers` returns None, and closes.
fn exchange(mut stream: TcpStream, mut answers: impl FnMut([u8; SIZE]) -> Option<[u8; SIZE]>) {
    let mut message = [0; SIZE];
    while stream.read_exact(&mut message).is_ok() {
        let Some(answer) = answers(message) else { return };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Keeps a connection open and silent until the process ends.
fn hold() -> ! {
    loop {
        std::thread::park();
    }
}

/// Runs a load of a second that has to fail. Returns its output.
fn fails(address: &str, connections: &str) -> String {
    let output = load(address, &["--connections", connections]);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(!report.contains("every byte verified") && report.contains("\nFAILED "), "{report}");
    report
}

/// Returns the median latency of a report, in microseconds.
fn median(report: &str) -> u64 {
    let (_, rest) = report.split_once("p50 ").expect("it is in every report");
    rest.split(' ').next().and_then(|word| word.parse().ok()).expect("it is a number")
}

#[test]
fn unserved_connections_are_reported_and_count_in_the_latencies() {
    let served = Arc::new(AtomicUsize::new(0));
    let address = server(move |stream| {
        if served.fetch_add(1, Ordering::Relaxed) >= 10 {
            hold();
        }
        exchange(stream, Some);
    });
    let report = fails(&address, "200");
    assert!(
        report.contains("connections  200\n") && report.contains("unanswered   190, "),
        "{report}"
    );
    assert!(report.contains("errors       0\n"), "{report}");
    // Of 20 slots of the load, 19 were stuck for the whole second and longer.
    assert!(median(&report) > 500_000, "{report}");
}

#[test]
fn a_server_that_hangs_has_no_good_figures() {
    let left = Arc::new(AtomicUsize::new(2000));
    let address = server(move |stream| {
        exchange(stream, |message| {
            let one_less = |left: usize| left.checked_sub(1);
            match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
                Ok(_) => Some(message),
                Err(_) => hold(),
            }
        });
    });
    let report = fails(&address, "20");
    assert!(report.contains("unanswered   20, the oldest for "), "{report}");
    assert!(report.contains("FAILED       replies are missing"), "{report}");
    // Two thousand messages are answered quickly. Silence follows.
    assert!(median(&report) > 500_000, "{report}");
}

#[test]
fn a_server_that_closes_is_an_error_and_messages_in_flight_are_counted() {
    let address = server(|stream| {
        let mut left = 100;
        exchange(stream, |message| {
            left -= 1;
            (left > 0).then_some(message)
        });
    });
    let report = fails(&address, "20");
    assert!(
        report.contains("errors       20, the first: ") && report.contains("unanswered   20"),
        "{report}"
    );
    // Earlier replies are reported. Nothing is measured until all connections are open, so some of
    // the hundred are not counted.
    assert!(
        report.contains("messages     ") && report.contains(" answered correctly\n"),
        "{report}"
    );
}

#[test]
fn one_wrong_byte_among_many_correct_replies_is_found() {
    let address = server(|stream| {
        let mut left = 1000;
        exchange(stream, |mut message| {
            left -= 1;
            message[SIZE - 1] ^= u8::from(left == 0);
            Some(message)
        });
    });
    let report = fails(&address, "1");
    assert!(
        report.contains("errors       1, ") && report.contains("the reply differs"),
        "{report}"
    );
}

#[test]
fn an_extra_reply_is_found() {
    let address = server(|mut stream| {
        let mut message = [0; SIZE];
        stream.read_exact(&mut message).expect("it says something");
        stream.write_all(&[message, message].concat()).expect("it reads");
        hold();
    });
    assert!(fails(&address, "1").contains("the reply differs"));
}

#[test]
fn a_server_that_never_accepts_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    // From now on the kernel accepts the minimum number of connections.
    let least = nix::sys::socket::Backlog::new(0).expect("it is a length");
    nix::sys::socket::listen(&listener, least).expect("it listens again");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the backlog has no end");
    }
    let report = fails(&address.to_string(), "3");
    assert!(report.contains("connections  0\n") && report.contains("errors       3, "), "{report}");
}

#[test]
fn late_replies_are_verified_and_count_with_their_latency() {
    const DELAY: Duration = Duration::from_secs(3);
    let address = server(|stream| {
        exchange(stream, |message| {
            std::thread::sleep(DELAY);
            Some(message)
        });
    });
    let output = load(&address, &["--connections", "5"]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(report.contains(" and 5 after it, every byte verified"), "{report}");
    assert!(median(&report) >= 2_990_000, "{report}");
}

#[test]
fn an_interrupted_load_waits_for_the_last_replies() {
    const DELAY: Duration = Duration::from_secs(4);
    let (sender, receiver) = std::sync::mpsc::channel();
    let address = server(move |stream| {
        exchange(stream, |message| {
            sender.send(()).expect("the test waits for it");
            std::thread::sleep(DELAY);
            Some(message)
        });
    });
    let child = command(&address, &["--connections", "1"], "3").spawn().expect("it runs");
    receiver.recv().expect("it says something");
    testkit::process::signal(child.id(), "INT");
    let output = child.wait_with_output().expect("it ends");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(report.contains(" and 1 after it, every byte verified"), "{report}");
}

#[test]
fn the_help_explains_the_exit_codes() {
    let output = load("--help", &[]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("Exit codes: 0 when every message was answered"), "{report}");
}

#[test]
fn wrong_arguments_and_limits_are_reported_first() {
    for (args, code, hint) in [
        (["--size", "0"], 2, "--size"),
        (["--depth", "0"], 2, "--depth"),
        (["--connections", "none"], 2, "--connections"),
        (["--idle", "99999999"], 1, "ulimit -n"),
    ] {
        let output = load("127.0.0.1:9", &args);
        let report = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{report}");
        assert!(report.contains(hint), "{report}");
    }
}
