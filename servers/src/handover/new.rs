//! The side of the new program.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use reactor::{
    Credentials, Cx, Handler, Interest, LoopCx, Reason, Registration, Sender, Token,
    receive_descriptors,
};

use super::VARIABLE;
use super::old::Handover;
use super::order::{Arrival, Order, Restored, line};
use super::sockets::Given;
use super::wire::{Frame, Incoming, VERSION};

/// How much longer than the old program the new one waits, so that it is the old one that gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The program that this one replaces.
pub(crate) struct Predecessor {
    stream: UnixStream,
    incoming: Incoming,
    /// How long it may take for each answer.
    timeout: Duration,
}

/// What a program has of the one that it replaces before it serves.
#[derive(Default)]
pub(crate) struct Inheritance {
    /// What the application leaves; `None` if no program is replaced.
    pub(crate) legacy: Option<Vec<u8>>,
    pub(crate) sockets: Vec<Given>,
}

impl Predecessor {
    /// Connects to the program that has started this one to be replaced by it, if one has. Returns it
    /// with what it leaves. It gives this program `timeout` for each answer.
    ///
    /// # Errors
    /// When the other program does not answer, or is another server or version.
    pub(crate) fn find(server: &str, timeout: Duration) -> io::Result<Option<(Self, Inheritance)>> {
        let Ok(name) = std::env::var(VARIABLE) else { return Ok(None) };
        let explained = |error: io::Error| {
            let text = format!("cannot take over from the program at {VARIABLE}={name}: {error}");
            io::Error::new(error.kind(), text)
        };
        let timeout = timeout.saturating_add(PATIENCE);
        let found = Self::connect(&name, timeout).and_then(|mut it| {
            let inheritance = it.inheritance(server)?;
            Ok((it, inheritance))
        });
        found.map(Some).map_err(explained)
    }

    fn connect(name: &str, timeout: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        let (peer, own) = (Credentials::of_peer(&stream)?, nix::unistd::geteuid().as_raw());
        if peer.uid != own {
            let text = format!("it is a program of the user {}, and this is {own}", peer.uid);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { stream, incoming: Incoming::new(), timeout })
    }

    /// Waits for the next frame.
    fn next(&mut self) -> io::Result<(Frame, Option<OwnedFd>)> {
        loop {
            if let Some(frame) = self.incoming.next()? {
                return Ok(frame);
            }
            let stream = &self.stream;
            let came = self.incoming.receive(|room| match receive_descriptors(stream, room, 1) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
                result => result.map(Some),
            });
            match came {
                Ok(Some(false)) => {
                    let text = "it has ended the connection";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let text = format!("it has not answered within {:?}", self.timeout);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                result => result?,
            };
        }
    }

    /// Receives what there is before this program serves.
    fn inheritance(&mut self, name: &str) -> io::Result<Inheritance> {
        match self.next()?.0 {
            Frame::Hello { version: VERSION, server } if server == name => {}
            Frame::Hello { version, server } => {
                let text = format!(
                    "it is {server} with version {version} of handing over, and this is {name} with \
                     version {VERSION}"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            frame => return Err(unexpected(&frame)),
        }
        let (mut legacy, mut sockets) = (None, Vec::new());
        loop {
            match self.next()? {
                (Frame::Legacy { bytes }, _) => legacy = Some(bytes),
                (Frame::Socket(traits), Some(descriptor)) => {
                    sockets.push(Given { traits, descriptor });
                }
                (Frame::AllSockets, _) => return Ok(Inheritance { legacy, sockets }),
                (Frame::Socket(_), None) => {
                    let text = "a socket was lost: this process may open too few descriptors";
                    return Err(io::Error::other(text));
                }
                (frame, _) => return Err(unexpected(&frame)),
            }
        }
    }

    /// Says that this program could serve, and waits until the old one accepts nothing more. From
    /// then on, this program is responsible.
    ///
    /// # Errors
    /// When the old program has given up.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.say(&Frame::Ready)?;
        match self.next()?.0 {
            Frame::Begin => {
                info!("this program takes over from the one that started it");
                Ok(())
            }
            frame => Err(unexpected(&frame)),
        }
    }

    /// As [`wait`](Self::wait), for connections that share a state: receives all of them into `home`
    /// before this program is responsible.
    ///
    /// # Errors
    /// When the old program has given up, or something cannot be taken over.
    pub(crate) fn wait_for(&mut self, home: &mut impl Home) -> io::Result<()> {
        self.say(&Frame::Ready)?;
        let mut refused = 0;
        loop {
            match self.next()? {
                (Frame::Piece { is_last, bytes }, _) => home.restore_piece(&bytes, is_last)?,
                (Frame::Connection { id, state }, descriptor) => {
                    let descriptor = descriptor.ok_or_else(lost)?;
                    match home.restore_connection(&state, descriptor) {
                        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                            refused += 1;
                            warn!("a connection is not taken over: {error}");
                            self.say(&Frame::Refused { id })?;
                        }
                        result => result?,
                    }
                }
                (Frame::AllConnections, _) => break,
                (frame, _) => return Err(unexpected(&frame)),
            }
        }
        let taken = home.check()?;
        self.say(&Frame::Loaded)?;
        match self.next()?.0 {
            Frame::Begin => {
                home.settle();
                info!("this program takes over from the one that started it");
                info!("taken over: {taken} connections, {refused} are closed");
                Ok(())
            }
            frame => Err(unexpected(&frame)),
        }
    }

    fn say(&mut self, frame: &Frame) -> io::Result<()> {
        self.stream.write_all(&frame.encode()?)
    }

    /// Passes the connections of the old program on to `loops`, in turn. The loop of `cx` talks to it.
    /// `handover` is told when all have come: until then, this program cannot be replaced itself.
    ///
    /// # Errors
    /// When the kernel refuses to watch the socket.
    pub(crate) fn replace<B: 'static>(
        self,
        loops: Vec<Sender<Order>>,
        handover: &Rc<Handover<B>>,
        cx: &mut LoopCx<'_, B>,
    ) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let (reply, replies) = line()?;
        let answers = Rc::new(RefCell::new(Answers::new(loops)));
        let heir = Heir {
            next: 0,
            reply,
            incoming: self.incoming,
            answers: Rc::clone(&answers),
            handover: Rc::clone(handover),
        };
        let token = cx.register(self.stream.into(), Registration::new(Interest::BOTH), heir)?;
        handover.arrivals_begin();
        // Frames may have arrived with `Begin`.
        cx.wake(token);
        let settle = move |restored: Option<Restored>, cx: &mut LoopCx<'_, B>| {
            if let Some(restored) = restored {
                answers.borrow_mut().settle(restored);
                cx.wake(token);
            }
        };
        replies.register(cx, settle).map(drop)
    }
}

/// Where connections that share a state are restored, before the loop serves them.
pub(crate) trait Home {
    /// Restores the next piece of the state.
    ///
    /// # Errors
    /// When it cannot be understood, or comes after the last.
    fn restore_piece(&mut self, piece: &[u8], is_last: bool) -> io::Result<()>;

    /// Restores a connection.
    ///
    /// # Errors
    /// `InvalidData` when its state cannot be understood: the others can go on. Any other error is
    /// one of this process.
    fn restore_connection(&mut self, state: &[u8], descriptor: OwnedFd) -> io::Result<()>;

    /// Checks that all pieces of the state came. Returns how many connections there are.
    ///
    /// # Errors
    /// When one is missing.
    fn check(&self) -> io::Result<usize>;

    /// Notes that this program is responsible for all of it.
    fn settle(&mut self);
}

fn lost() -> io::Error {
    io::Error::other("its descriptor was lost: this process may open too few")
}

fn unexpected(frame: &Frame) -> io::Error {
    let text = format!("it has sent {} at the wrong time", frame.name());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// What the old program is answered about its connections.
struct Answers {
    loops: Vec<Sender<Order>>,
    unsent: VecDeque<u8>,
    /// How many bytes there were in all, and how many of them were sent.
    appended: u64,
    sent: u64,
    /// Connections that were restored. Each goes on when so many bytes were sent: whatever becomes of
    /// this program, the old one then learns that it was taken.
    frozen: VecDeque<(u64, usize, Token)>,
    /// The old program gets no more answers.
    is_over: bool,
    taken: usize,
    refused: usize,
}

impl Answers {
    fn new(loops: Vec<Sender<Order>>) -> Self {
        let (unsent, frozen) = (VecDeque::new(), VecDeque::new());
        let (appended, sent, is_over, taken, refused) = (0, 0, false, 0, 0);
        Self { loops, unsent, appended, sent, frozen, is_over, taken, refused }
    }

    fn settle(&mut self, Restored { id, place, result }: Restored) {
        let (answer, token) = match result {
            Ok(token) => {
                self.taken += 1;
                (Frame::Taken { id }, Some(token))
            }
            Err(error) => {
                // The old program goes on with it.
                self.refused += 1;
                warn!("a connection was not taken over: {error}");
                (Frame::Refused { id }, None)
            }
        };
        // It has a number, which is not too large.
        let bytes = answer.encode().unwrap_or_default();
        self.appended += bytes.len() as u64;
        self.unsent.extend(bytes);
        self.frozen.extend(token.map(|token| (self.appended, place, token)));
        self.thaw();
    }

    /// Makes the connections go on whose answers were sent.
    fn thaw(&mut self) {
        while let Some(&(end, place, token)) = self.frozen.front()
            && (self.is_over || end <= self.sent)
        {
            self.frozen.pop_front();
            let order = Order::Thaw(token);
            if let Some(Err(error)) = self.loops.get(place).map(|it| it.try_send(order)) {
                warn!("a connection that was taken over does not go on: {error}");
            }
        }
    }

    /// Gives a connection to a loop, which is to answer at `reply`.
    fn pass_on(&mut self, arrival: Arrival, reply: &Sender<Restored>) {
        let (id, place) = (arrival.id, arrival.place);
        let gone = || io::Error::other("there is no loop");
        let order = Order::Restore(arrival, reply.clone());
        let passed = self.loops.get(place).ok_or_else(gone);
        if let Err(error) = passed.and_then(|it| Ok(it.try_send(order)?)) {
            self.settle(Restored { id, place, result: Err(error) });
        }
    }
}

/// Passes the connections of the old program on to the loops of this one.
struct Heir<B: 'static> {
    /// The loop that gets the next connection.
    next: usize,
    /// Where the loops answer.
    reply: Sender<Restored>,
    incoming: Incoming,
    answers: Rc<RefCell<Answers>>,
    /// Of this program.
    handover: Rc<Handover<B>>,
}

impl<B: 'static> Heir<B> {
    /// Passes a connection on to the next loop.
    fn pass_on(&mut self, id: u64, state: Vec<u8>, descriptor: Option<OwnedFd>) {
        let mut answers = self.answers.borrow_mut();
        let place = self.next % answers.loops.len().max(1);
        self.next = place + 1;
        match descriptor {
            Some(descriptor) => {
                answers.pass_on(Arrival { id, place, state, descriptor }, &self.reply);
            }
            None => answers.settle(Restored { id, place, result: Err(lost()) }),
        }
    }

    /// Handles all frames that have arrived.
    fn handle(&mut self, cx: &mut Cx<'_, B>) -> io::Result<()> {
        while let Some((frame, descriptor)) = self.incoming.next()? {
            match frame {
                Frame::Connection { id, state } => self.pass_on(id, state, descriptor),
                Frame::Done => {
                    cx.end(Reason::Finished);
                    return Ok(());
                }
                frame => return Err(unexpected(&frame)),
            }
        }
        Ok(())
    }
}

impl<B: 'static> Handler<B> for Heir<B> {
    fn ready(&mut self, cx: &mut Cx<'_, B>) -> io::Result<()> {
        loop {
            self.handle(cx)?;
            match self.incoming.receive(|room| cx.receive_descriptors(room, 1))? {
                Some(true) => {}
                Some(false) => {
                    cx.end(Reason::PeerClosed);
                    break;
                }
                None => break,
            }
        }
        let mut answers = self.answers.borrow_mut();
        while let (bytes @ [_, ..], _) = answers.unsent.as_slices() {
            let Some(count) = cx.write(&[io::IoSlice::new(bytes)])? else { break };
            answers.unsent.drain(..count);
            answers.sent += count as u64;
        }
        answers.thaw();
        let waits = !answers.unsent.is_empty();
        cx.set_interest(if waits { Interest::BOTH } else { Interest::READ });
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, B>) {
        let mut answers = self.answers.borrow_mut();
        // An old program that goes on has ended this one before it ends the connection.
        answers.is_over = true;
        answers.thaw();
        let Answers { taken, refused, .. } = *answers;
        match reason {
            Reason::Finished => {
                info!("taken over: {taken} connections, {refused} stay with the old");
            }
            _ => warn!("the old program is gone: {reason}; {taken} connections were taken over"),
        }
        drop(answers);
        self.handover.arrivals_end(cx);
    }

    fn name(&self) -> &'static str {
        "servers::Handover"
    }
}
