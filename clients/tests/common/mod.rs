//! The server that the tools are tested against.

#![allow(dead_code)] // Each test program uses a part of it.

pub(crate) mod followers;
pub(crate) mod kv;
pub(crate) mod liar;
pub(crate) mod store;
pub(crate) mod tools;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::link::Link;
use protocol::resp;
use protocol::tls::TlsServer;
use protocol::{Conversation, Limits, Session};
use reactor::{
    Accepted, Address, BackendKind, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Remote,
    Stream,
};
use servers::Application;

/// The idle limit of clients: longer than any test on any machine.
const IDLE: Duration = Duration::from_secs(600);

/// A server on a thread. It stops on drop.
pub(crate) struct Server<A: 'static = ()> {
    pub(crate) address: String,
    remote: Remote<A>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    /// Starts an echo server.
    pub(crate) fn start() -> Self {
        Self::serve("127.0.0.1:0", (), servers::echo::session)
    }
}

impl Server<store::Store> {
    /// Starts a small RESP server.
    pub(crate) fn start_store(address: &str) -> Self {
        Self::serve(address, store::Store::new(), || {
            Conversation::new(resp::Server::default(), store::Commands)
        })
    }
}

impl Server<liar::Liar> {
    /// Starts a server that says it is a sentinel and a master, and is neither.
    pub(crate) fn start_liar(liar: liar::Liar) -> Self {
        Self::serve("127.0.0.1:0", liar, || {
            Conversation::new(resp::Server::default(), liar::Commands::default())
        })
    }
}

impl<A: Send + 'static> Server<A> {
    fn serve<S: Session<A> + 'static>(
        address: &str,
        app: A,
        session: impl Fn() -> S + Send + 'static,
    ) -> Self {
        Self::run(address, None, move || {
            let session = Rc::new(move |_peer| session());
            let (limits, loop_limits) = (Limits::DEFAULT, LoopLimits::DEFAULT);
            let (state, datagrams) = (app, None);
            Ok(Application {
                state,
                limits,
                loop_limits,
                descriptors: 0,
                own_connections: 0,
                shared: None,
                legacy: None,
                session,
                datagrams,
                start: |_| Ok(()),
                reload: None,
            })
        })
    }
}

impl<A: 'static> Server<A> {
    /// Runs an application, which is built on the thread that runs it. Its connections may be encrypted.
    fn run<S: Session<A> + 'static>(
        address: &str,
        tls: Option<TlsServer>,
        build: impl FnOnce() -> io::Result<Application<A, S>> + Send + 'static,
    ) -> Self {
        let any: Address = address.parse().expect("it is an address");
        let listener = Listener::bind(&any, &ListenOptions::default()).expect("a port is free");
        let address = listener.address().to_string();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let Application { state, limits, loop_limits, session, start, .. } = build()?;
            let backend = BackendKind::Epoll.open()?;
            let loop_limits = LoopLimits { idle_timeout: Some(IDLE), ..loop_limits };
            let mut reactor = Reactor::with_backend(backend, loop_limits, state)?;
            let mut cx = reactor.cx();
            start(&mut cx)?;
            let limits = limits.shared()?;
            listener.register(&mut cx, move |accepted: Accepted, cx: &mut LoopCx<'_, A>| {
                let layer = tls.as_ref().map(TlsServer::layer).transpose()?;
                let link = Link::with_layer(session(accepted.peer()), layer, Arc::clone(&limits));
                Stream::over(link).register(accepted, cx).map(drop)
            })?;
            sender.send(cx.remote()).expect("the test waits for it");
            reactor.run()
        });
        let remote = receiver.recv().expect("the server starts");
        Self { address, remote, thread: Some(thread) }
    }
}

impl<A: 'static> Drop for Server<A> {
    fn drop(&mut self) {
        self.remote.post(|cx| cx.stop()).expect("the server is there");
        let thread = self.thread.take().expect("it is joined once");
        thread.join().expect("the server does not panic").expect("the server runs");
    }
}
