//! Our reactor, with its own services and drivers and its default limits, including the idle
//! timeout.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::codecs::{Bytes, Lines};
use protocol::{Context, Conversation, Flow, Limits, Reply, Service, Session};
use reactor::{
    Accept, Address, BackendKind, ConnectOptions, Connector, Cx, DatagramOptions, DatagramSocket,
    Datagrams, Expired, Group, GroupListener, GroupOptions, Handler, Interest, ListenOptions,
    Listener, LoopCx, LoopLimits, Member, Reactor, Reason, Registration, Role, Stream, TimerId,
};
use servers::Loopback;

use super::announce;
use crate::computation;
use crate::load::accept::UNDER_WAY;
use crate::net;
use crate::scene::{self, Chain, Runs};
use crate::timing::{self, Phases, Timers};

/// Serves echo for ever.
///
/// # Errors
/// Fails if the loop cannot run.
pub fn echo(kind: BackendKind) -> io::Result<()> {
    serve(kind, servers::echo::session)
}

/// Serves echo with a computation for each message, for ever.
///
/// # Errors
/// Fails if the loop cannot run.
pub fn bound(kind: BackendKind, steps: usize) -> io::Result<()> {
    computation::set_steps(steps);
    serve(kind, || Loopback::new(|bytes| computation::compute_for(bytes.len())))
}

/// Returns the backend on io_uring.
///
/// # Errors
/// Fails if this version of the reactor has none.
pub fn uring() -> io::Result<BackendKind> {
    "uring".parse().map_err(io::Error::other)
}

/// Returns the reason if the backend on io_uring cannot be used.
pub fn no_uring() -> Option<String> {
    let opened = uring().and_then(|kind| Ok((kind.name(), kind.open()?.name())));
    match opened {
        Ok((wanted, opened)) if wanted == opened => None,
        // A backend that the kernel refuses may be replaced by another.
        Ok((_, opened)) => Some(format!("the reactor uses {opened} instead")),
        Err(error) => Some(error.to_string()),
    }
}

/// Serves lines in upper case for ever.
///
/// # Errors
/// Fails if the loop cannot run.
pub fn lines(kind: BackendKind) -> io::Result<()> {
    serve(kind, || Conversation::new(Lines::default(), Shout))
}

struct Shout;

impl<A> Service<Lines, A> for Shout {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        line.make_ascii_uppercase();
        reply.send(line);
        Flow::Continue
    }
}

fn listen() -> io::Result<Listener> {
    let any: Address = "127.0.0.1:0".parse().map_err(io::Error::other)?;
    Listener::bind(&any, &ListenOptions::default())
}

/// Serves sessions for ever.
///
/// # Errors
/// Fails if the loop cannot run.
pub(super) fn serve<S: Session + 'static>(
    kind: BackendKind,
    mut make: impl FnMut() -> S + 'static,
) -> io::Result<()> {
    let listener = listen()?;
    let address = listener.address().to_string();
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, ())?;
    // Turned off as in a release build: the auditor makes further system calls.
    reactor.set_audit(false);
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), move |_| make())?;
    announce(&address)?;
    reactor.run()
}

/// Serves echo for ever on a group of `count` loops.
///
/// # Errors
/// Fails if one of the loops cannot run.
pub fn scale(count: usize) -> io::Result<()> {
    let threads = NonZeroUsize::new(count).ok_or(io::ErrorKind::InvalidInput)?;
    let any: Address = "127.0.0.1:0".parse().map_err(io::Error::other)?;
    let listener =
        GroupListener::bind(&any, &ListenOptions::default(), Accept::default(), threads)?;
    let address = listener.address().map(ToString::to_string);
    let options = GroupOptions { threads, ..GroupOptions::default() };
    let limits = Limits::DEFAULT.shared().map_err(io::Error::other)?;
    let make = move |member: &Member<()>| {
        let mut reactor = Reactor::new(())?;
        reactor.set_audit(false);
        let limits = Arc::clone(&limits);
        member.accept(0, &mut reactor.cx(), move |accepted, cx| {
            let stream = Stream::new(servers::echo::session(), Arc::clone(&limits));
            stream.register(accepted, cx).map(drop)
        })?;
        Ok(reactor)
    };
    let group = Group::start(options, vec![listener], make, |()| ())?;
    announce(&address.unwrap_or_default())?;
    group.join().check()
}

/// Serves echo of datagrams for ever.
///
/// # Errors
/// Fails if the loop cannot run.
pub fn udp(kind: BackendKind) -> io::Result<()> {
    let any: Address = "udp://127.0.0.1:0".parse().map_err(io::Error::other)?;
    let options = DatagramOptions {
        receive_buffer: Some(net::DATAGRAM_BUFFER),
        ..DatagramOptions::default()
    };
    let socket = DatagramSocket::bind(&any, &options)?;
    let Address::Udp(address) = *socket.address() else {
        return Err(io::Error::other("the socket has an address of another kind"));
    };
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, ())?;
    reactor.set_audit(false);
    let service = servers::echo::session();
    Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())?;
    announce(&address.to_string())?;
    reactor.run()
}

/// A connection that this side makes. The next one follows when the server has ended it.
struct Dialled {
    server: Address,
}

impl Dialled {
    fn dial<P>(self, cx: &mut Cx<'_, io::Result<()>, P>) -> io::Result<()> {
        let registration = Registration::new(Interest::READ).role(Role::Connection);
        let connector = Connector::new(&self.server, &ConnectOptions::DEFAULT);
        connector.register(registration, self, cx)?;
        Ok(())
    }
}

impl Handler<io::Result<()>> for Dialled {
    fn ready(&mut self, cx: &mut Cx<'_, io::Result<()>>) -> io::Result<()> {
        match cx.read(&mut [0])? {
            None => Ok(()),
            Some(0) => {
                cx.end(Reason::PeerClosed);
                Ok(())
            }
            Some(_) => Err(io::Error::other("the server sent something")),
        }
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, io::Result<()>>) {
        let next = match reason {
            Reason::PeerClosed => self.dial(cx),
            reason => Err(io::Error::other(reason.to_string())),
        };
        if next.is_err() {
            *cx.app = next;
            cx.stop();
        }
    }
}

/// Makes connections for ever.
///
/// # Errors
/// Fails if a connection fails.
pub fn dial(kind: BackendKind, server: SocketAddr) -> io::Result<()> {
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, Ok(()))?;
    reactor.set_audit(false);
    for _ in 0..UNDER_WAY {
        Dialled { server: server.into() }.dial(&mut reactor.cx())?;
    }
    reactor.run()?;
    std::mem::replace(&mut reactor.app, Ok(()))
}

/// The reading end of a pair.
struct Link {
    pair: usize,
}

impl Handler<Chain> for Link {
    fn ready(&mut self, cx: &mut Cx<'_, Chain>) -> io::Result<()> {
        let mut buffer = [0; scene::READ_SIZE];
        // Bytes that did not fit into the buffer are read in the next call (law 1).
        match cx.read(&mut buffer)? {
            Some(0) => {
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
            Some(count) => cx.app.received(self.pair, count)?,
            None => {}
        }
        Ok(())
    }
}

/// A reactor that watches a chain of pairs.
///
/// # Errors
/// Fails if a system call fails: each pair takes two descriptors.
pub fn chain(kind: BackendKind, count: usize) -> io::Result<Reactor<Chain>> {
    let (readers, chain) = scene::pairs(count)?;
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, chain)?;
    reactor.set_audit(false);
    for (pair, reader) in readers.into_iter().enumerate() {
        let registration =
            Registration::new(Interest::READ).known_nonblocking().short_read_exhausts();
        reactor.cx().register(reader, registration, Link { pair })?;
    }
    Ok(reactor)
}

/// Passes bytes along a chain of pairs.
///
/// # Errors
/// Fails if a system call fails.
pub fn dispatch(kind: BackendKind, count: usize) -> io::Result<()> {
    let mut reactor = chain(kind, count)?;
    let mut runs = Runs::new();
    while runs.start(&mut reactor.app)? {
        reactor.run_until(Chain::is_done)?;
        runs.end(&reactor.app);
    }
    Ok(())
}

/// The timers of a source, which stores their names.
struct OurTimers<'a, 'b> {
    cx: &'a mut Cx<'b>,
    names: Vec<Option<TimerId>>,
}

impl Timers for OurTimers<'_, '_> {
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        self.names[place] = Some(self.cx.set_timer(delay, None, place as u64));
        Ok(())
    }

    fn rearm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        let timer = self.names[place].ok_or_else(missing)?;
        self.cx.move_timer(timer, delay);
        Ok(())
    }

    fn cancel(&mut self, place: usize) -> io::Result<()> {
        let timer = self.names[place].take().ok_or_else(missing)?;
        self.cx.cancel_timer(timer);
        Ok(())
    }
}

/// A source that owns all timers, and counts those that fire.
struct Owner {
    count: usize,
    fired: usize,
}

impl Handler for Owner {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let names = vec![None; self.count];
        timing::measure(&mut OurTimers { cx, names }, self.count)?;
        let (now, mut random) = (Instant::now(), testkit::Random::new(1));
        // Timers are relative to the time of the loop, which is a while ago by now.
        let late = now.saturating_duration_since(cx.now());
        for key in 0..self.count {
            cx.set_timer(late + timing::short(&mut random), None, key as u64);
        }
        timing::sleep_until_due(now);
        Ok(())
    }

    fn timer(&mut self, _timer: Expired, cx: &mut Cx<'_>) -> io::Result<()> {
        self.fired += 1;
        if self.fired == self.count {
            cx.stop();
        }
        Ok(())
    }
}

fn missing() -> io::Error {
    io::Error::other("a timer is missing")
}

/// Arms, moves, cancels and fires timers.
///
/// # Errors
/// Fails if the loop cannot run.
pub fn timers(kind: BackendKind, count: usize) -> io::Result<()> {
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, ())?;
    reactor.set_audit(false);
    let mut cx = reactor.cx();
    let owner = cx.spawn(Owner { count, fired: 0 })?;
    cx.wake(owner);
    reactor.run_once(None)?;
    let mut phases = Phases::new(count);
    reactor.run()?;
    phases.end("expire_ns");
    Ok(())
}
