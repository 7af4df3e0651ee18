//! Runs every example as a program, and uses it as its documentation says.
//!
//! `cargo test` builds the examples. `cargo test --test examples` alone does not, so that
//! `cargo build --examples` has to come before it.

#[path = "../common/mod.rs"]
mod common;
mod market;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::kv::Kv;
use testkit::PATIENCE;

/// A running example. It is killed on drop.
struct Example {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Example {
    fn start(name: &str, args: &[&str]) -> Self {
        let tests = std::env::current_exe().expect("the path of this program is known");
        let profile = tests.ancestors().nth(2).expect("tests are two folders below their profile");
        let path = profile.join("examples").join(name);
        assert!(path.exists(), "{path:?} is missing: build it with cargo build --examples");
        let mut child = Command::new(path)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        Self { child, output }
    }

    /// Returns the rest of the next line of its output that begins with `start`.
    fn line(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            let count = self.output.read_line(&mut line).expect("it prints text");
            assert!(count > 0, "the example ended without a line {start:?}");
            if let Some(rest) = line.trim_end().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Both fail only when it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn rate_limiter_counts_over_several_daemons_and_stops_nothing_without_its_store() {
    let kv = Kv::start(None);
    let mut daemons: Vec<(Example, BufReader<TcpStream>)> = (0..2)
        .map(|_| {
            let args = ["127.0.0.1:0", &kv.address(), "3"];
            let mut example = Example::start("rate_limiter", &args);
            let address = example.line("listening on ");
            example.line("connected to Redis");
            let peer = TcpStream::connect(address).expect("it listens");
            peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
            (example, BufReader::new(peer))
        })
        .collect();
    let ask = |peer: &mut BufReader<TcpStream>, caller: &str| {
        peer.get_mut().write_all(format!("{caller}\n").as_bytes()).expect("it is sent");
        let mut answer = String::new();
        peer.read_line(&mut answer).expect("it answers");
        answer.trim_end().to_owned()
    };
    let mut answers: Vec<String> = Vec::new();
    // A window may end meanwhile, and the count begins again.
    while !answers.iter().any(|answer| answer == "deny 4") {
        assert!(answers.len() < 20, "{answers:?}");
        let number = answers.len() % 2;
        answers.push(ask(&mut daemons[number].1, "anna"));
    }
    assert!(answers.contains(&"allow 3".to_owned()), "{answers:?}");
    assert!(ask(&mut daemons[0].1, "bert").starts_with("allow "));
    drop(kv);
    for (example, peer) in &mut daemons {
        example.line("lost Redis");
        assert_eq!(ask(peer, "anna"), "allow unknown");
    }
}

#[test]
fn binance_survives_gaps_silence_and_the_end_of_the_day() {
    let counts = Arc::new(market::Counts::default());
    let url = format!("ws://{}/ws", market::start(&counts));
    let mut args = vec!["--url", &url, "--silence", "1500", "--pause-max", "50"];
    // More than fit in one request.
    let others: Vec<String> = (0..448).map(|it| format!("other{it}@depth")).collect();
    args.extend(["btcusdt@depth", "ethusdt@aggTrade"]);
    args.extend(others.iter().map(String::as_str));
    let mut example = Example::start("binance", &args);
    for expected in [
        "connected",
        "subscribed to 200 streams",
        "depthUpdate BTCUSDT 1 to 3",
        "aggTrade ETHUSDT 1 to 1",
        "gap depthUpdate BTCUSDT",
        "gap aggTrade ETHUSDT",
        "the server closes: 1000 24 hours are over",
        "next attempt in",
        "connected",
        "subscribed to 200 streams",
        // What was missed between the connections.
        "gap depthUpdate BTCUSDT",
        "silent",
        "next attempt in",
        "connected",
        "subscribed to 200 streams",
        "the server is about to stop",
        "next attempt in",
        "connected",
        "subscribed to 200 streams",
        "subscribed to 200 streams",
        "subscribed to 50 streams",
        "depthUpdate BTCUSDT",
    ] {
        example.line(expected);
    }
    // It answers pings for as long as it runs.
    while counts.pongs.load(Ordering::Relaxed) < 3 {
        example.line("depthUpdate BTCUSDT");
    }
    assert_eq!(counts.refused.load(Ordering::Relaxed), 0, "it keeps to the limit of messages");
}

#[test]
fn every_example_has_a_test() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    for entry in std::fs::read_dir(folder).expect("the examples are there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_stem().and_then(|it| it.to_str()).expect("it is text");
        assert!(include_str!("main.rs").contains(&format!("(\"{name}\", ")), "{name}");
    }
}
