//! `python3-websockets` and `ws` of Node.

use std::process::Output;

use protocol::websocket::{CloseCode, Kind, Message, Sender, Service};
use protocol::{Context, Flow, Reason};
use reactor::BackendKind;
use testkit::websocket::{Listening, NODE_ECHO, PYTHON_ECHO, node, python};

use crate::client::{App, run};
use crate::echo::{Server, options};

/// Checks that a script has come to its end.
pub(crate) fn check(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim(), "ok", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn clients_of_python_talk_to_a_server() {
    for backend in BackendKind::ALL {
        let server = Server::start(backend);
        let uri = format!("ws://{}/", server.address);
        let Some(mut python) = python(include_str!("scripts/client.py"), &[&uri]) else { return };
        check(&python.output().expect("Python runs"));
    }
}

#[test]
fn clients_of_node_talk_to_a_server() {
    for backend in BackendKind::ALL {
        let server = Server::start(backend);
        let uri = format!("ws://{}/", server.address);
        let Some(mut node) = node(include_str!("scripts/client.js"), &[&uri]) else { return };
        check(&node.output().expect("Node runs"));
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

#[test]
fn clients_talk_to_a_server_of_python() {
    for settings in [
        "null",
        "{}",
        "{\"server_no_context_takeover\": true, \"client_no_context_takeover\": true}",
        "{\"server_max_window_bits\": 10, \"client_max_window_bits\": 9}",
    ] {
        let Some(mut python) = python(PYTHON_ECHO, &[settings]) else { return };
        let peer = Listening::start(&mut python);
        for backend in BackendKind::ALL {
            let app = run(backend, &peer.address, "/", Talk::new(), options());
            assert_eq!(app.text, "ok", "{settings}");
        }
    }
}

#[test]
fn clients_talk_to_a_server_of_node() {
    for settings in [
        "null",
        "{\"threshold\": 0}",
        "{\"threshold\": 0, \"serverNoContextTakeover\": true, \"clientNoContextTakeover\": true}",
        "{\"threshold\": 0, \"serverMaxWindowBits\": 10, \"clientMaxWindowBits\": 9}",
    ] {
        let Some(mut node) = node(NODE_ECHO, &[settings]) else { return };
        let peer = Listening::start(&mut node);
        for backend in BackendKind::ALL {
            let app = run(backend, &peer.address, "/", Talk::new(), options());
            assert_eq!(app.text, "ok", "{settings}");
        }
    }
}
