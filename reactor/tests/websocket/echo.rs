//! A server that echoes, on a loop of its own.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use protocol::websocket::{self, Deflate, Message, Options, Sender, Service};
use protocol::{Context, Flow, Limits, http};
use reactor::{Address, BackendKind, ListenOptions, Listener, LoopLimits, Reactor, Remote, Stream};

/// Answers with what it gets.
#[derive(Debug)]
pub(crate) struct Echo;

impl Service for Echo {
    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        _: &mut Context<'_>,
    ) -> Flow {
        match message {
            Message::Text(text) => sender.text(text),
            Message::Binary(bytes) => sender.binary(bytes),
        }
        Flow::Continue
    }
}

/// Options with all that peers may ask for.
pub(crate) fn options() -> Arc<Options> {
    let deflate = Deflate {
        size_min: 1,
        context_takeover: true,
        peer_context_takeover: true,
        ..Deflate::default()
    };
    let options = Options {
        message_size_max: 32 * 1024 * 1024,
        deflate: Some(deflate),
        subprotocols: vec!["v3".to_owned(), "v2".to_owned(), "v1".to_owned()],
        ..Options::default()
    };
    options.shared().expect("no limit is zero")
}

/// Limits for the large messages of Autobahn.
pub(crate) fn limits() -> Limits {
    Limits { output_max: 64 * 1024 * 1024, ..Limits::DEFAULT }
}

/// A running server. It stops on drop.
pub(crate) struct Server {
    pub(crate) address: String,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(backend: BackendKind) -> Self {
        let (sender, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let backend = backend.open().expect("the backend opens");
            let reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, ());
            let mut reactor = reactor.expect("the reactor opens");
            let any: Address = "127.0.0.1:0".parse().expect("it is an address");
            let listener = Listener::bind(&any, &ListenOptions::default()).expect("a port is free");
            let address = listener.address().to_string();
            let (options, http) = (options(), http::Options::default().shared().expect("they fit"));
            Stream::serve(listener, limits(), &mut reactor.cx(), move |_| {
                websocket::server(Arc::clone(&options), Arc::clone(&http), |_| Echo)
            })
            .expect("it listens");
            sender.send((address, reactor.cx().remote())).expect("the test waits");
            reactor.run().expect("it runs");
        });
        let (address, remote) = started.recv().expect("it starts");
        Self { address, remote, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It fails only when the loop has ended.
        let _ = self.remote.post(|cx| cx.stop());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the loop panicked");
        }
    }
}
