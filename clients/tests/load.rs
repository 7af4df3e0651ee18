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

/// Bytes of a message, if nothing else is asked for.
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
fn every_answer_of_a_right_server_is_verified() {
    let server = Server::start();
    for args in [
        ["--connections", "20", "--idle", "20", "--depth", "8", "--size", "100"],
        ["--connections", "2", "--idle", "0", "--depth", "2", "--size", "300000"],
        // More than all that may be on its way without being read.
        ["--connections", "1", "--idle", "0", "--depth", "3", "--size", "20000000"],
    ] {
        let output = load(&server.address, &args);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("every byte verified") && said.contains("errors       0"), "{said}");
        assert!(!said.contains("messages     0 "), "{said}");
    }
}

#[test]
fn a_wrong_answer_is_an_error() {
    let server = Server::start();
    let output = load(&server.address, &["--expect", "uppercase"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the answer differs"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = free.local_addr().expect("it has an address").to_string();
    drop(free);
    let output = load(&address, &["--connections", "2"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing listens there"), "{said}");
}

#[test]
fn ten_thousand_active_connections_beside_idle_ones_are_verified() {
    // The tests run side by side, and share the descriptors.
    let limit = raise_descriptor_limit(16_000).expect("it can be raised");
    let room = (limit as usize).saturating_sub(1000);
    let (active, idle) = if room >= 15_000 { (10_000, 5000) } else { (room * 2 / 3, room / 3) };
    if active < 10_000 {
        testkit::tell("SCALED DOWN", &format!("{active} connections of 10000: ulimit -Hn"));
    }
    let server = Server::start();
    let (active, idle) = (active.to_string(), idle.to_string());
    let output = load(&server.address, &["--connections", &active, "--idle", &idle]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("every byte verified") && said.contains("errors       0"), "{said}");
    eprintln!("{said}");
}

/// A server of `serve` for each connection, on a thread of its own that ends with the process.
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

/// Answers messages of [`SIZE`] bytes while `answers` makes one of each, and then goes.
fn exchange(mut stream: TcpStream, mut answers: impl FnMut([u8; SIZE]) -> Option<[u8; SIZE]>) {
    let mut message = [0; SIZE];
    while stream.read_exact(&mut message).is_ok() {
        let Some(answer) = answers(message) else { return };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Holds a connection without a word until the process ends.
fn hold() -> ! {
    loop {
        std::thread::park();
    }
}

/// A load of a second that has to fail. Returns what it says.
fn fails(address: &str, connections: &str) -> String {
    let output = load(address, &["--connections", connections]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("every byte verified") && said.contains("\nFAILED "), "{said}");
    said
}

/// The median latency of a report, in microseconds.
fn median(said: &str) -> u64 {
    let (_, rest) = said.split_once("p50 ").expect("it is in every report");
    rest.split(' ').next().and_then(|word| word.parse().ok()).expect("it is a number")
}

#[test]
fn connections_that_are_never_served_are_told_by_number_and_count_into_the_latencies() {
    let served = Arc::new(AtomicUsize::new(0));
    let address = server(move |stream| {
        if served.fetch_add(1, Ordering::Relaxed) >= 10 {
            hold();
        }
        exchange(stream, Some);
    });
    let said = fails(&address, "200");
    assert!(said.contains("connections  200\n") && said.contains("unanswered   190, "), "{said}");
    assert!(said.contains("errors       0\n"), "{said}");
    // Of a place in the load, 19 of 20 were stuck for the whole second and longer.
    assert!(median(&said) > 500_000, "{said}");
}

#[test]
fn a_server_that_stops_in_the_middle_has_no_good_figures() {
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
    let said = fails(&address, "20");
    assert!(said.contains("unanswered   20, the oldest for "), "{said}");
    assert!(said.contains("FAILED       answers are missing"), "{said}");
    // Two thousand messages are soon answered; what comes after them is silence.
    assert!(median(&said) > 500_000, "{said}");
}

#[test]
fn a_server_that_goes_in_the_middle_is_an_error_and_what_was_under_way_is_counted() {
    let address = server(|stream| {
        let mut left = 100;
        exchange(stream, |message| {
            left -= 1;
            (left > 0).then_some(message)
        });
    });
    let said = fails(&address, "20");
    assert!(
        said.contains("errors       20, the first: ") && said.contains("unanswered   20"),
        "{said}"
    );
    // What was answered before is told: nothing is measured until all connections stand, and
    // meanwhile some of the hundred go by.
    assert!(said.contains("messages     ") && said.contains(" answered rightly\n"), "{said}");
}

#[test]
fn one_wrong_byte_among_many_right_answers_is_found() {
    let address = server(|stream| {
        let mut left = 1000;
        exchange(stream, |mut message| {
            left -= 1;
            message[SIZE - 1] ^= u8::from(left == 0);
            Some(message)
        });
    });
    let said = fails(&address, "1");
    assert!(said.contains("errors       1, ") && said.contains("the answer differs"), "{said}");
}

#[test]
fn an_answer_that_nobody_has_asked_for_is_found() {
    let address = server(|mut stream| {
        let mut message = [0; SIZE];
        stream.read_exact(&mut message).expect("it says something");
        stream.write_all(&[message, message].concat()).expect("it reads");
        hold();
    });
    assert!(fails(&address, "1").contains("the answer differs"));
}

#[test]
fn a_server_that_never_accepts_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    // From now on the kernel takes no more than it must.
    let least = nix::sys::socket::Backlog::new(0).expect("it is a length");
    nix::sys::socket::listen(&listener, least).expect("it listens again");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the backlog has no end");
    }
    let said = fails(&address.to_string(), "3");
    assert!(said.contains("connections  0\n") && said.contains("errors       3, "), "{said}");
}

#[test]
fn answers_that_come_after_the_time_are_verified_and_count_with_how_long_they_took() {
    const DELAY: Duration = Duration::from_secs(3);
    let address = server(|stream| {
        exchange(stream, |message| {
            std::thread::sleep(DELAY);
            Some(message)
        });
    });
    let output = load(&address, &["--connections", "5"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(" and 5 after it, every byte verified"), "{said}");
    assert!(median(&said) >= 2_990_000, "{said}");
}

#[test]
fn an_interrupted_load_waits_for_the_last_answers() {
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
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(" and 1 after it, every byte verified"), "{said}");
}

#[test]
fn the_help_says_what_the_exit_codes_mean() {
    let output = load("--help", &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Exit codes: 0 when every message was answered"), "{said}");
}

#[test]
fn wrong_arguments_and_limits_are_said_before_anything_is_done() {
    for (args, code, hint) in [
        (["--size", "0"], 2, "--size"),
        (["--depth", "0"], 2, "--depth"),
        (["--connections", "none"], 2, "--connections"),
        (["--idle", "99999999"], 1, "ulimit -n"),
    ] {
        let output = load("127.0.0.1:9", &args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(hint), "{said}");
    }
}
