//! A server on its own thread.

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use protocol::{Limits, Session};
use reactor::{Address, BackendKind, ListenOptions, Listener, LoopLimits, Reactor, Remote, Stream};

/// A server. It stops on drop.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    remote: Remote<()>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    /// Serves each connection with a session from `make`.
    pub(crate) fn start<S>(kind: BackendKind, make: fn() -> S) -> Self
    where
        S: Session + 'static,
    {
        let any: Address = "127.0.0.1:0".parse().expect("it is an address");
        let listener = Listener::bind(&any, &ListenOptions::default()).expect("a port is free");
        let &Address::Tcp(address) = listener.address() else { panic!("it is on TCP") };
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || -> std::io::Result<()> {
            let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, ())?;
            let mut cx = reactor.cx();
            Stream::serve(listener, Limits::DEFAULT, &mut cx, move |_| make())?;
            sender.send(cx.remote()).expect("the bench waits for it");
            reactor.run()
        });
        let remote = receiver.recv().expect("the server starts");
        Self { address, remote, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.remote.post(|cx| cx.stop()).expect("the server is there");
        let thread = self.thread.take().expect("it is taken here only");
        thread.join().expect("the server does not panic").expect("the server runs");
    }
}
