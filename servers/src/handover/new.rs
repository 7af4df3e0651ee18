//! The side of the new program.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use protocol::Session;
use reactor::{
    Accepted, Credentials, Cx, Handler, Interest, LoopCx, Reason, Registration, receive_descriptors,
};

use super::VARIABLE;
use super::wire::{Frame, Incoming, Traits, VERSION};
use crate::inherited::Claims;
use crate::listening::Listening;

/// How long the old program may take for each answer. It answers at once unless its loop is blocked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A socket of the old program, or of one that goes on.
pub(crate) struct Given {
    pub(crate) traits: Traits,
    pub(crate) descriptor: OwnedFd,
}

/// The program that this one replaces.
pub(crate) struct Predecessor {
    stream: UnixStream,
    incoming: Incoming,
}

impl Predecessor {
    /// Connects to the program that has started this one to be replaced by it, if one has. Returns it
    /// with its sockets.
    ///
    /// # Errors
    /// When the other program does not answer, or is another server or version.
    pub(crate) fn find(server: &str) -> io::Result<Option<(Self, Vec<Given>)>> {
        let Ok(name) = std::env::var(VARIABLE) else { return Ok(None) };
        let explained = |error: io::Error| {
            let text = format!("cannot take over from the program at {VARIABLE}={name}: {error}");
            io::Error::new(error.kind(), text)
        };
        let found = Self::connect(&name).and_then(|mut it| {
            let sockets = it.sockets(server)?;
            Ok((it, sockets))
        });
        found.map(Some).map_err(explained)
    }

    fn connect(name: &str) -> io::Result<Self> {
        let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        let (peer, own) = (Credentials::of_peer(&stream)?, nix::unistd::geteuid().as_raw());
        if peer.uid != own {
            let text = format!("it is a program of the user {}, and this is {own}", peer.uid);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { stream, incoming: Incoming::new() })
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
                    let text = format!("it has not answered within {ANSWER_TIMEOUT:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                result => result?,
            };
        }
    }

    /// Receives the sockets.
    fn sockets(&mut self, name: &str) -> io::Result<Vec<Given>> {
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
        let mut sockets = Vec::new();
        loop {
            match self.next()? {
                (Frame::Socket(traits), Some(descriptor)) => {
                    sockets.push(Given { traits, descriptor });
                }
                (Frame::AllSockets, _) => return Ok(sockets),
                (Frame::Socket(_), None) => {
                    let text = "a socket was lost: this process may open too few descriptors";
                    return Err(io::Error::other(text));
                }
                (frame, _) => return Err(unexpected(&frame)),
            }
        }
    }

    /// Says that this program could serve, and waits until the old one accepts nothing more. From
    /// then on, this program is responsible. The loop `cx` then goes on with the connections.
    ///
    /// # Errors
    /// When the old program has given up.
    pub(crate) fn replace<A, S>(
        mut self,
        listening: Rc<Listening<A, S>>,
        claims: Claims,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<()>
    where
        A: 'static,
        S: Session<A> + 'static,
    {
        self.stream.write_all(&Frame::Ready.encode()?)?;
        match self.next()? {
            (Frame::Begin, _) => info!("this program takes over from the one that started it"),
            (frame, _) => return Err(unexpected(&frame)),
        }
        claims.settle();
        self.stream.set_nonblocking(true)?;
        let heir = Heir {
            listening,
            incoming: self.incoming,
            answers: VecDeque::new(),
            taken: 0,
            refused: 0,
        };
        // Frames may have arrived with `Begin`.
        let token = cx.register(self.stream.into(), Registration::new(Interest::BOTH), heir)?;
        cx.wake(token);
        Ok(())
    }
}

fn unexpected(frame: &Frame) -> io::Error {
    let text = format!("it has sent {frame:?} at the wrong time");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Goes on with the connections of the old program.
struct Heir<A: 'static, S> {
    listening: Rc<Listening<A, S>>,
    incoming: Incoming,
    /// What has not been sent.
    answers: VecDeque<u8>,
    taken: usize,
    refused: usize,
}

impl<A: 'static, S: Session<A> + 'static> Heir<A, S> {
    /// Goes on with a connection. Returns the answer.
    fn take(
        &mut self,
        id: u64,
        state: &[u8],
        descriptor: Option<OwnedFd>,
        cx: &mut Cx<'_, A>,
    ) -> Frame {
        let lost = || io::Error::other("its descriptor was lost: this process may open too few");
        let taken = descriptor
            .ok_or_else(lost)
            .and_then(Accepted::from_fd)
            .and_then(|accepted| self.listening.restore(accepted, state, &mut cx.outside()));
        match taken {
            Ok(_) => {
                self.taken += 1;
                Frame::Taken { id }
            }
            Err(error) => {
                // The old program goes on with it.
                self.refused += 1;
                warn!("a connection was not taken over: {error}");
                Frame::Refused { id }
            }
        }
    }

    /// Handles all frames that have arrived.
    fn handle(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        while let Some((frame, descriptor)) = self.incoming.next()? {
            match frame {
                Frame::Connection { id, state } => {
                    let answer = self.take(id, &state, descriptor, cx).encode()?;
                    self.answers.extend(answer);
                }
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

impl<A: 'static, S: Session<A> + 'static> Handler<A> for Heir<A, S> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
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
        while let (bytes @ [_, ..], _) = self.answers.as_slices() {
            match cx.write(&[io::IoSlice::new(bytes)])? {
                Some(count) => _ = self.answers.drain(..count),
                None => break,
            }
        }
        let waits = !self.answers.is_empty();
        cx.set_interest(if waits { Interest::BOTH } else { Interest::READ });
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_, A>) {
        let Self { taken, refused, .. } = *self;
        match reason {
            Reason::Finished => {
                info!("taken over: {taken} connections, {refused} stay with the old")
            }
            _ => warn!("the old program is gone: {reason}; {taken} connections were taken over"),
        }
    }

    fn name(&self) -> &'static str {
        "servers::Handover"
    }
}
