//! calloop: a callback loop, level-triggered by default.

use std::cell::RefCell;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{
    Dispatcher, EventLoop, EventSource, Interest, LoopHandle, Mode, Poll, PostAction, Readiness,
    RegistrationToken, Token, TokenFactory,
};

use crate::computation::compute_for;
use crate::net;
use crate::scene::{self, Chain, Runs};
use crate::timing::{self, Phases, Timers};

/// An echoing connection.
struct Connection {
    socket: Generic<TcpStream>,
    buffer: Rc<RefCell<Vec<u8>>>,
    /// Bytes that the socket did not accept. While there are any, nothing is read.
    unsent: Vec<u8>,
}

impl Connection {
    /// Reads once and writes the bytes back. Unread bytes are reported again.
    fn ready(
        unsent: &mut Vec<u8>,
        stream: &TcpStream,
        buffer: &mut [u8],
    ) -> io::Result<PostAction> {
        if !unsent.is_empty() {
            let written = net::write(stream, unsent)?.unwrap_or(0);
            unsent.drain(..written);
        } else if let Some(count) = net::read(stream, buffer)? {
            if count == 0 {
                return Ok(PostAction::Remove);
            }
            compute_for(count);
            let written = net::write(stream, &buffer[..count])?.unwrap_or(0);
            unsent.extend_from_slice(&buffer[written..count]);
        }
        Ok(PostAction::Continue)
    }
}

impl EventSource for Connection {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    fn process_events<F: FnMut((), &mut ())>(
        &mut self,
        readiness: Readiness,
        token: Token,
        _callback: F,
    ) -> io::Result<PostAction> {
        let (unsent, buffer) = (&mut self.unsent, &self.buffer);
        let action = self.socket.process_events(readiness, token, |_, stream| {
            let result = Self::ready(unsent, stream, &mut buffer.borrow_mut());
            // A failed connection ends like a finished one.
            Ok(result.unwrap_or(PostAction::Remove))
        })?;
        let wanted = if self.unsent.is_empty() { Interest::READ } else { Interest::WRITE };
        if action == PostAction::Continue && self.socket.interest.writable != wanted.writable {
            self.socket.interest = wanted;
            return Ok(PostAction::Reregister);
        }
        Ok(action)
    }

    fn register(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.socket.register(poll, factory)
    }

    fn reregister(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.socket.reregister(poll, factory)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.socket.unregister(poll)
    }
}

/// Serves echo for ever.
///
/// # Errors
/// Fails if the loop cannot run.
pub fn echo(listener: TcpListener) -> io::Result<()> {
    let mut event_loop: EventLoop<'_, ()> = EventLoop::try_new()?;
    let handle = event_loop.handle();
    let buffer = Rc::new(RefCell::new(vec![0; net::READ_SIZE]));
    let acceptor = Generic::new(listener, Interest::READ, Mode::Level);
    let accept = move |_, listener: &mut calloop::generic::NoIoDrop<TcpListener>, _: &mut ()| {
        while let Some(fd) = net::accept(&**listener)? {
            let socket = Generic::new(TcpStream::from(fd), Interest::READ, Mode::Level);
            let buffer = Rc::clone(&buffer);
            let connection = Connection { socket, buffer, unsent: Vec::new() };
            handle.insert_source(connection, |(), (), ()| {}).map_err(|it| it.error)?;
        }
        Ok(PostAction::Continue)
    };
    event_loop.handle().insert_source(acceptor, accept).map_err(|it| it.error)?;
    loop {
        event_loop.dispatch(None, &mut ())?;
    }
}

/// Passes bytes along a chain of pairs.
///
/// # Errors
/// Fails if a system call fails.
pub fn dispatch(count: usize) -> io::Result<()> {
    let (readers, mut chain) = scene::pairs(count)?;
    let mut event_loop: EventLoop<'_, Chain> = EventLoop::try_new()?;
    for (pair, reader) in readers.into_iter().enumerate() {
        let source: Generic<OwnedFd> = Generic::new(reader, Interest::READ, Mode::Level);
        let link = move |_, reader: &mut calloop::generic::NoIoDrop<OwnedFd>, chain: &mut Chain| {
            let mut buffer = [0; scene::READ_SIZE];
            if let Some(count) = net::read(&**reader, &mut buffer)? {
                chain.received(pair, count)?;
            }
            Ok(PostAction::Continue)
        };
        event_loop.handle().insert_source(source, link).map_err(|it| it.error)?;
    }
    let mut runs = Runs::new();
    while runs.start(&mut chain)? {
        while !chain.is_done() {
            event_loop.dispatch(None, &mut chain)?;
        }
        runs.end(&chain);
    }
    Ok(())
}

type Callback = fn(Instant, &mut (), &mut usize) -> TimeoutAction;
/// A dispatcher allows its timer to be moved.
type Armed<'a> = (Dispatcher<'a, Timer, usize>, RegistrationToken);

/// Timers, each a separate source.
struct Sources<'a> {
    now: Instant,
    handle: LoopHandle<'a, usize>,
    timers: Vec<Option<Armed<'a>>>,
}

fn fire(_: Instant, (): &mut (), fired: &mut usize) -> TimeoutAction {
    *fired += 1;
    TimeoutAction::Drop
}

impl Timers for Sources<'_> {
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        let timer = Timer::from_deadline(self.now + delay);
        let dispatcher = Dispatcher::new(timer, fire as Callback);
        let token = self.handle.register_dispatcher(dispatcher.clone())?;
        self.timers[place] = Some((dispatcher, token));
        Ok(())
    }

    fn rearm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        if let Some((dispatcher, token)) = &self.timers[place] {
            dispatcher.as_source_mut().set_deadline(self.now + delay);
            self.handle.update(token)?;
        }
        Ok(())
    }

    fn cancel(&mut self, place: usize) -> io::Result<()> {
        if let Some((_, token)) = self.timers[place].take() {
            self.handle.remove(token);
        }
        Ok(())
    }
}

/// Arms, moves, cancels and fires timers.
///
/// # Errors
/// Fails if the loop cannot run.
pub fn timers(count: usize) -> io::Result<()> {
    let mut event_loop: EventLoop<'_, usize> = EventLoop::try_new()?;
    let handle = event_loop.handle();
    let timers = (0..count).map(|_| None).collect();
    let now = Instant::now();
    timing::measure(&mut Sources { now, handle: handle.clone(), timers }, count)?;

    let (now, mut random) = (Instant::now(), testkit::Random::new(1));
    for _ in 0..count {
        let timer = Timer::from_deadline(now + timing::short(&mut random));
        handle.insert_source(timer, fire).map_err(|it| it.error)?;
    }
    timing::sleep_until_due(now);
    let mut phases = Phases::new(count);
    let mut fired = 0;
    while fired < count {
        event_loop.dispatch(None, &mut fired)?;
    }
    phases.end("expire_ns");
    Ok(())
}
