//! `python3-websockets` and `ws` of Node.

use std::process::{Command, Output};

use reactor::BackendKind;
use testkit::{has_peer, skip};

use crate::echo::Server;

/// Debian's Python, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";
/// Where Debian installs packages of Node.
const NODE_PATH: &str = "/usr/share/nodejs";

/// Returns whether a program runs to its end without an error.
fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Returns whether Python has the package `websockets`, or reports that it is missing.
fn has_python() -> bool {
    let found = runs(Command::new(PYTHON).args(["-c", "import websockets"]));
    if !found {
        skip("websockets for Python is not installed (apt install python3-websockets)");
    }
    found
}

/// Returns whether Node has the package `ws`, or reports that it is missing.
fn has_node() -> bool {
    if !has_peer("node") {
        return false;
    }
    let mut node = Command::new("node");
    let found = runs(node.env("NODE_PATH", NODE_PATH).args(["-e", "require('ws')"]));
    if !found {
        skip("ws for Node is not installed (apt install node-ws)");
    }
    found
}

fn python(script: &str, argument: &str) -> Output {
    Command::new(PYTHON).args(["-c", script, argument]).output().expect("Python runs")
}

fn node(script: &str, argument: &str) -> Output {
    let mut node = Command::new("node");
    // The script follows where Node has an argument of its own.
    let node = node.env("NODE_PATH", NODE_PATH).args(["-e", script, "script", argument]);
    node.output().expect("Node runs")
}

fn check(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim(), "ok", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn clients_of_python_talk_to_a_server() {
    if !has_python() {
        return;
    }
    for backend in BackendKind::ALL {
        let server = Server::start(backend);
        let uri = format!("ws://{}/", server.address);
        check(&python(include_str!("scripts/client.py"), &uri));
    }
}

#[test]
fn clients_of_node_talk_to_a_server() {
    if !has_node() {
        return;
    }
    for backend in BackendKind::ALL {
        let server = Server::start(backend);
        let uri = format!("ws://{}/", server.address);
        check(&node(include_str!("scripts/client.js"), &uri));
    }
}
