//! The server that the tools are tested against.

#![allow(dead_code)] // Each test program uses a part of it.

#[path = "../../../servers/tests/common/peer_programs.rs"]
pub(crate) mod peer_programs;

use std::thread::JoinHandle;

use protocol::Limits;
use reactor::{Address, BackendKind, ListenOptions, Listener, LoopLimits, Reactor, Remote, Stream};

/// An echo server on a thread, stopped when dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    remote: Remote,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let any: Address = "127.0.0.1:0".parse().expect("it is an address");
        let listener = Listener::bind(&any, &ListenOptions::default()).expect("a port is free");
        let address = listener.address().to_string();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let backend = BackendKind::Epoll.open()?;
            let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, ())?;
            let mut cx = reactor.cx();
            Stream::serve(listener, Limits::DEFAULT, &mut cx, |_| servers::echo::session())?;
            sender.send(cx.remote()).expect("the test waits for it");
            reactor.run()
        });
        let remote = receiver.recv().expect("the server starts");
        Self { address, remote, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.remote.post(|cx| cx.stop()).expect("the server is there");
        let thread = self.thread.take().expect("it is joined once");
        thread.join().expect("the server does not panic").expect("the server runs");
    }
}
