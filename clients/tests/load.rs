//! `load` as a user runs it, against an echo server in the same process.

mod common;

use std::process::{Command, Output};

use common::Server;

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
