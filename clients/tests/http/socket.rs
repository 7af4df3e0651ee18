//! A server of WebSocket that echoes, and does what some words say.

use std::sync::{Arc, mpsc};

use protocol::websocket::{CloseCode, Deflate, Message, Options, Sender, Service, server};
use protocol::{Context, Flow, Limits, http};
use reactor::{ListenOptions, Listener, LoopCx, Reactor, Remote, Stream};

/// One connection.
struct Echo;

impl Echo {
    /// Does what a text says. Returns `None` for one that is to be echoed.
    fn obey(&self, text: &str, sender: &mut Sender<'_>, context: &mut Context<'_>) -> Option<Flow> {
        let mut words = text.splitn(3, ' ');
        let (word, number) = (words.next()?, words.next().and_then(|it| it.parse::<u16>().ok()));
        match (word, number) {
            ("close", Some(number)) => {
                sender.close(CloseCode::new(number)?, words.next().unwrap_or_default());
                Some(Flow::Close)
            }
            // Ends the connection without a close frame.
            ("vanish", _) => {
                context.effects.close(context.me);
                Some(Flow::Continue)
            }
            ("ping", _) => {
                sender.ping(b"are you there?");
                Some(Flow::Continue)
            }
            ("count", Some(number)) => {
                (1..=number).for_each(|it| sender.text(&it.to_string()));
                Some(Flow::Continue)
            }
            ("noise", _) => {
                sender.binary(b"\x00\x01\xff");
                Some(Flow::Continue)
            }
            ("protocol", _) => {
                let chosen = sender.subprotocol().unwrap_or("none").to_owned();
                sender.text(&format!("{chosen} {}", sender.is_compressed()));
                Some(Flow::Continue)
            }
            _ => None,
        }
    }
}

impl Service for Echo {
    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        context: &mut Context<'_>,
    ) -> Flow {
        match message {
            Message::Text(text) => {
                if let Some(flow) = self.obey(text, sender, context) {
                    return flow;
                }
                sender.text(text);
            }
            Message::Binary(bytes) => sender.binary(bytes),
        }
        Flow::Continue
    }

    fn pong(&mut self, payload: &[u8], sender: &mut Sender<'_>, _: &mut Context<'_>) -> Flow {
        sender.text(&format!("pong {}", String::from_utf8_lossy(payload)));
        Flow::Continue
    }
}

/// A running server. It stops on drop.
pub(crate) struct Socket {
    address: String,
    remote: Remote,
}

impl Socket {
    pub(crate) fn start() -> Self {
        let options = Options {
            message_size_max: 32 << 20,
            subprotocols: vec!["v2".to_owned(), "v1".to_owned()],
            deflate: Some(Deflate::default()),
            ping_interval: None,
            ..Options::default()
        };
        let options = options.shared().expect("no limit is zero");
        serve(move || (Arc::clone(&options), Echo))
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/echo?x=1", self.address)
    }
}

/// Starts a server on a thread. `make` returns the options and the service of a connection.
fn serve<S: Service + 'static>(make: impl Fn() -> (Arc<Options>, S) + Send + 'static) -> Socket {
    let (started, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reactor = Reactor::new(()).expect("the loop starts");
        let any = "127.0.0.1:0".parse().expect("it is an address");
        let listener = Listener::bind(&any, &ListenOptions::DEFAULT).expect("a port is free");
        let address = listener.address().to_string();
        let http = http::Options::default().shared().expect("no limit is zero");
        let limits = Limits { message_size_max: 33 << 20, output_max: 64 << 20, ..Limits::DEFAULT };
        let session = move |_| {
            let (options, service) = make();
            server(options, Arc::clone(&http), |_| service)
        };
        Stream::serve(listener, limits, &mut reactor.cx(), session).expect("it listens");
        let socket = Socket { address, remote: reactor.cx().remote() };
        started.send(socket).expect("the test waits");
        reactor.run().expect("the loop runs");
    });
    receiver.recv().expect("the server starts")
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A loop that has ended needs no stop.
        let _ = self.remote.post(|cx: &mut LoopCx<'_, ()>| cx.stop());
    }
}
