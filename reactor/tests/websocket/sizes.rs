//! Compressed messages of many sizes, with each offer of window bits and of contexts: what sections 12 and 13
//! of Autobahn's suite try, with other programs as peers. A case ends after so many messages or bytes.

use protocol::websocket::{CloseCode, Message, Sender, Service};
use protocol::{Context, Flow, Random, Reason};
use reactor::BackendKind;
use testkit::websocket::{Listening, NODE_ECHO, PYTHON_ECHO, node, python};

use crate::client::{App, run};
use crate::echo::{Server, options};
use crate::peers::check;

/// The most messages and bytes of a case.
const MESSAGES: usize = 1000;
const BYTES: usize = 128 * 1024;
const SIZES: [usize; 10] = [16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072];

#[test]
#[ignore = "it takes a minute"]
fn messages_of_all_sizes_come_back_to_a_client_of_python_whatever_it_offers() {
    let server = Server::start(BackendKind::Epoll);
    let (uri, bytes) = (format!("ws://{}/", server.address), BYTES.to_string());
    let Some(mut python) = python(include_str!("scripts/sizes.py"), &[&uri, &bytes]) else {
        return;
    };
    check(&python.output().expect("Python runs"));
}

/// Sends one message after the other, each when the one before has come back.
struct Asks {
    size: usize,
    left: usize,
    /// A text that goes on and on, of which each message is a part.
    content: String,
    at: usize,
    expected: String,
}

impl Asks {
    fn new(size: usize) -> Self {
        let mut random = Random::new(size as u64);
        let events = (0..4000).map(|number| {
            let price = random.below(1_000_000);
            format!("{{\"event\": \"trade\", \"number\": {number}, \"price\": {price}}}, ")
        });
        let content = events.collect();
        let left = (BYTES / size).clamp(4, MESSAGES);
        Self { size, left, content, at: 0, expected: String::new() }
    }

    fn send(&mut self, sender: &mut Sender<'_>) {
        self.left -= 1;
        let rest = &self.content[self.at..];
        self.expected = rest.chars().chain(self.content.chars()).take(self.size).collect();
        self.at = (self.at + self.size) % self.content.len();
        sender.text(&self.expected);
    }
}

impl Service<App> for Asks {
    fn open(&mut self, sender: &mut Sender<'_>, _: &mut Context<'_, App>) -> Flow {
        self.send(sender);
        Flow::Continue
    }

    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        if message.bytes() != self.expected.as_bytes() {
            sender.close(CloseCode::NORMAL, "another");
        } else if self.left == 0 {
            context.app.text = "ok".to_owned();
            sender.close(CloseCode::NORMAL, "enough");
        } else {
            self.send(sender);
        }
        Flow::Continue
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, App>) {
        context.app.has_ended = true;
    }
}

/// Asks a peer of all sizes.
fn ask_all(peer: &Listening, settings: &str) {
    for size in SIZES {
        let app = run(BackendKind::Epoll, &peer.address, "/", Asks::new(size), options());
        assert_eq!(app.text, "ok", "{size} bytes, {settings}");
    }
}

#[test]
#[ignore = "it takes a minute"]
fn messages_of_all_sizes_come_back_from_a_server_of_python_whatever_it_accepts() {
    for settings in [
        "{}",
        "{\"client_no_context_takeover\": true}",
        "{\"client_max_window_bits\": 9}",
        "{\"client_max_window_bits\": 15}",
        "{\"client_no_context_takeover\": true, \"client_max_window_bits\": 9}",
        "{\"client_no_context_takeover\": true, \"client_max_window_bits\": 15}",
        "{\"server_no_context_takeover\": true, \"server_max_window_bits\": 9}",
    ] {
        let Some(mut python) = python(PYTHON_ECHO, &[settings]) else { return };
        ask_all(&Listening::start(&mut python), settings);
    }
}

#[test]
#[ignore = "it takes a minute"]
fn messages_of_all_sizes_come_back_from_a_server_of_node_whatever_it_accepts() {
    for settings in [
        "{\"threshold\": 0}",
        "{\"threshold\": 0, \"clientNoContextTakeover\": true}",
        "{\"threshold\": 0, \"clientMaxWindowBits\": 9}",
        "{\"threshold\": 0, \"clientNoContextTakeover\": true, \"clientMaxWindowBits\": 9}",
        "{\"threshold\": 0, \"serverNoContextTakeover\": true, \"serverMaxWindowBits\": 9}",
    ] {
        let Some(mut node) = node(NODE_ECHO, &[settings]) else { return };
        ask_all(&Listening::start(&mut node), settings);
    }
}
