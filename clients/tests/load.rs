//! `load` as a user runs it, against an echo server in the same process.

mod common;

use std::process::{Command, Output};

use common::Server;
use rustix::process::{Resource, getrlimit, setrlimit};

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

/// Raises the limit of descriptors as far as it goes. Returns what it is then.
fn descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("raising to the maximum is always allowed");
    limit.current.map_or(usize::MAX, |most| most as usize)
}

#[test]
fn ten_thousand_active_connections_beside_idle_ones_are_verified() {
    // The tests run side by side, and share the descriptors.
    let room = descriptors().saturating_sub(1000);
    let (active, idle) = if room >= 15_000 { (10_000, 5000) } else { (room * 2 / 3, room / 3) };
    if active < 10_000 {
        eprintln!("SCALED DOWN: {active} connections instead of 10000: ulimit -Hn is the limit");
    }
    let server = Server::start();
    // It inherits the limit.
    let (active, idle) = (active.to_string(), idle.to_string());
    let output = load(&server.address, &["--connections", &active, "--idle", &idle]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("every byte verified") && said.contains("errors       0"), "{said}");
    eprintln!("{said}");
}
