//! `load` as a user runs it, against an echo server in the same process.

mod common;

use std::process::{Command, Output};

use common::Server;
use reactor::raise_descriptor_limit;

fn load(address: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load"))
        .arg(address)
        .args(["--duration", "1"])
        .args(args)
        .env_remove("REACTOR_BACKEND")
        .output()
        .expect("it runs")
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
    assert!(said.contains("nobody listens there"), "{said}");
}

#[test]
fn ten_thousand_active_connections_beside_idle_ones_are_verified() {
    // The tests run side by side, and share the descriptors.
    let limit = raise_descriptor_limit(16_000).expect("it can be raised");
    let room = (limit as usize).saturating_sub(1000);
    let (active, idle) = if room >= 15_000 { (10_000, 5000) } else { (room * 2 / 3, room / 3) };
    if active < 10_000 {
        eprintln!("SCALED DOWN: {active} connections instead of 10000: ulimit -Hn is the limit");
    }
    let server = Server::start();
    let (active, idle) = (active.to_string(), idle.to_string());
    let output = load(&server.address, &["--connections", &active, "--idle", &idle]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("every byte verified") && said.contains("errors       0"), "{said}");
    eprintln!("{said}");
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
