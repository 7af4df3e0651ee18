//! `python3-websockets` and `ws` of Node.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use protocol::websocket::{CloseCode, Kind, Message, Sender, Service};
use protocol::{Context, Flow, Reason};
use reactor::BackendKind;
use testkit::{has_peer, skip};

use crate::client::{App, run};
use crate::echo::{Server, options};

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

/// Says all messages, and expects them back.
struct Talk {
    messages: Vec<Vec<u8>>,
    heard: usize,
    problem: Option<String>,
}

impl Talk {
    fn new() -> Self {
        let sizes = [0, 1, 3, 63, 64, 125, 126, 127, 1000, 65_535, 65_536, 300_000];
        let mut messages = Vec::new();
        for size in sizes {
            messages.push("ä".repeat(size / 2).into_bytes());
            messages.push(protocol::Random::new(size as u64).bytes(size));
        }
        for number in 0..40 {
            messages.push(format!("{{\"event\": \"trade\", \"number\": {number}}}").into_bytes());
        }
        Self { messages, heard: 0, problem: None }
    }

    fn close(&mut self, problem: Option<String>, sender: &mut Sender<'_>) {
        self.problem = problem;
        sender.close(CloseCode::NORMAL, "enough");
    }
}

impl Service<App> for Talk {
    fn open(&mut self, sender: &mut Sender<'_>, _: &mut Context<'_, App>) -> Flow {
        for message in &self.messages {
            match std::str::from_utf8(message) {
                Ok(text) => sender.text(text),
                Err(_) => sender.binary(message),
            }
        }
        Flow::Continue
    }

    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        _: &mut Context<'_, App>,
    ) -> Flow {
        let expected = &self.messages[self.heard];
        let is_text = std::str::from_utf8(expected).is_ok();
        self.heard += 1;
        if message.bytes() != expected || (message.kind() == Kind::Text) != is_text {
            self.close(Some(format!("message {} is another", self.heard)), sender);
        } else if self.heard == self.messages.len() {
            self.close(None, sender);
        }
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        let is_complete = self.heard == self.messages.len() && reason.is_orderly();
        let problem = self.problem.take();
        context.app.text = match problem {
            None if is_complete => "ok".to_owned(),
            problem => format!("{problem:?} {} messages, {reason}", self.heard),
        };
        context.app.has_ended = true;
    }
}

/// A peer that listens. It is killed on drop.
struct Listening {
    child: Child,
    address: String,
}

impl Listening {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the peer starts");
        let mut port = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut port).expect("it is text");
        Self { child, address: format!("127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Both fail only when it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn clients_talk_to_a_server_of_python() {
    if !has_python() {
        return;
    }
    for settings in [
        "null",
        "{}",
        "{\"server_no_context_takeover\": true, \"client_no_context_takeover\": true}",
        "{\"server_max_window_bits\": 10, \"client_max_window_bits\": 9}",
    ] {
        let mut python = Command::new(PYTHON);
        let python = python.args(["-c", include_str!("scripts/server.py"), settings]);
        let peer = Listening::start(python);
        for backend in BackendKind::ALL {
            let app = run(backend, &peer.address, "/", Talk::new(), options());
            assert_eq!(app.text, "ok", "{settings}");
        }
    }
}

#[test]
fn clients_talk_to_a_server_of_node() {
    if !has_node() {
        return;
    }
    for settings in [
        "null",
        "{\"threshold\": 0}",
        "{\"threshold\": 0, \"serverNoContextTakeover\": true, \"clientNoContextTakeover\": true}",
        "{\"threshold\": 0, \"serverMaxWindowBits\": 10, \"clientMaxWindowBits\": 9}",
    ] {
        let mut node = Command::new("node");
        let script = include_str!("scripts/server.js");
        let node = node.env("NODE_PATH", NODE_PATH).args(["-e", script, "script", settings]);
        let peer = Listening::start(node);
        for backend in BackendKind::ALL {
            let app = run(backend, &peer.address, "/", Talk::new(), options());
            assert_eq!(app.text, "ok", "{settings}");
        }
    }
}
