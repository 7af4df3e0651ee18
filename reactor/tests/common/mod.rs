//! Helpers for tests on real backends.

#![allow(dead_code)] // Each test program uses a part of it.

pub(crate) mod dials;

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use protocol::codecs::Bytes;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service, Session};
use reactor::{
    Address, BackendKind, Cx, Expired, Handler, Interest, ListenOptions, Listener, LoopCx,
    LoopLimits, Reactor, Reason, Registration, Stream, TimerId, Token,
};

pub(crate) use testkit::PATIENCE;

/// Runs `test` with a fresh reactor on each backend.
pub(crate) fn on_every_backend<A: Default + 'static>(
    limits: LoopLimits,
    test: impl Fn(Reactor<A>),
) {
    for kind in BackendKind::ALL {
        eprintln!("on {kind}");
        let backend = kind.open().expect("the backend opens");
        test(Reactor::with_backend(backend, limits, A::default()).expect("the reactor opens"));
    }
}

/// Turns the loop until `done`, or fails.
pub(crate) fn turn_until<A>(
    reactor: &mut Reactor<A>,
    mut done: impl FnMut(&mut Reactor<A>) -> bool,
) {
    let start = Instant::now();
    while !done(reactor) {
        assert!(start.elapsed() < PATIENCE, "gave up: {}", reactor.counters());
        reactor.run_once(Some(Duration::from_millis(5))).expect("it turns");
    }
}

pub(crate) struct Echo;

impl<A> Service<Bytes, A> for Echo {
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        reply.send(bytes);
        Flow::Continue
    }
}

/// Serves sessions of `make` on a free port of the IPv4 loopback. Returns its address.
pub(crate) fn serve<A: 'static, S: Session<A> + 'static>(
    reactor: &mut Reactor<A>,
    limits: Limits,
    make: impl Fn() -> S + 'static,
) -> String {
    let any: Address = "127.0.0.1:0".parse().expect("it is an address");
    let listener = Listener::bind(&any, &ListenOptions::default()).expect("a port is free");
    let address = listener.address().to_string();
    Stream::serve(listener, limits, &mut reactor.cx(), move |_| make()).expect("it listens");
    address
}

pub(crate) fn serve_echo<A: 'static>(reactor: &mut Reactor<A>, limits: Limits) -> String {
    serve(reactor, limits, || Conversation::new(Bytes, Echo))
}

/// Counts its calls, and calls a function with its descriptor.
#[derive(Clone, Default)]
pub(crate) struct Probe {
    pub(crate) runs: Rc<Cell<u32>>,
    pub(crate) closes: Rc<Cell<u32>>,
    pub(crate) reads: Rc<Cell<usize>>,
    pub(crate) reason: Rc<Cell<usize>>,
}

impl Handler<()> for Probe {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.runs.set(self.runs.get() + 1);
        let mut buffer = [0; 100];
        while let Some(count) = cx.read(&mut buffer)? {
            self.reads.set(self.reads.get() + count);
            if count == 0 {
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_>) {
        self.closes.set(self.closes.get() + 1);
        self.reason.set(reason.index());
    }
}

pub(crate) fn probe(reactor: &mut Reactor, interest: Interest) -> (Probe, Token, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair can be made");
    let probe = Probe::default();
    let registration = Registration::new(interest);
    let token = reactor
        .cx()
        .register(OwnedFd::from(ours), registration, probe.clone())
        .expect("it registers");
    (probe, token, theirs)
}

pub(crate) fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("reactor-{}-{name}", std::process::id()))
}

pub(crate) fn epoll<A: 'static>(app: A, limits: LoopLimits) -> Reactor<A> {
    let backend = BackendKind::Epoll.open().expect("epoll opens");
    Reactor::with_backend(backend, limits, app).expect("the reactor opens")
}

/// More than the kernel takes at once.
pub(crate) const MUCH: usize = 12 << 20;

/// Answers any input with this many bytes, and then returns the given flow.
pub(crate) struct Answers(pub(crate) Flow, pub(crate) usize);

impl<A> Service<Bytes, A> for Answers {
    fn call(
        &mut self,
        _bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        reply.send(&vec![1; self.1]);
        self.0
    }
}

/// Arms a timer, and stores its name.
pub(crate) struct Arms(pub(crate) Rc<Cell<Option<TimerId>>>);

impl Handler for Arms {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.0.set(Some(cx.set_timer(Duration::from_secs(1000), None, 1)));
        Ok(())
    }

    fn timer(&mut self, _timer: Expired, _cx: &mut Cx<'_>) -> io::Result<()> {
        unreachable!("it is a thousand seconds away")
    }
}
