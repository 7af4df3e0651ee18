//! The sources by which the old program talks to the new one: the socket on which that connects, and
//! the connection.

use std::cell::RefCell;
use std::io;
use std::os::unix::net::UnixListener;
use std::rc::Rc;

use log::warn;
use reactor::{Cx, Handler, Interest, LoopCx, Reason, Registration, Token};

use super::channel::Channel;
use super::old::Handover;
use super::wire::{Frame, Incoming};

/// The socket on which the new program connects. It does not count as a listener, so a server at its
/// limit of connections can be replaced.
pub(super) struct Door<B: 'static> {
    listener: UnixListener,
    handover: Rc<Handover<B>>,
}

impl<B: 'static> Door<B> {
    /// Waits for a new program at `listener`.
    ///
    /// # Errors
    /// When the kernel refuses to watch the socket.
    pub(super) fn open(
        listener: UnixListener,
        handover: &Rc<Handover<B>>,
        cx: &mut LoopCx<'_, B>,
    ) -> io::Result<Token> {
        listener.set_nonblocking(true)?;
        let descriptor = listener.try_clone()?.into();
        let door = Self { listener, handover: Rc::clone(handover) };
        cx.register(descriptor, Registration::new(Interest::READ), door)
    }
}

impl<B: 'static> Handler<B> for Door<B> {
    fn ready(&mut self, cx: &mut Cx<'_, B>) -> io::Result<()> {
        let listener = &self.listener;
        while let Some((stream, _)) =
            cx.try_io("accept", Interest::READ, |_| listener.accept().map(Some))?
        {
            if let Err(error) = self.handover.meet(stream, &mut cx.outside()) {
                warn!("a program that wants to take over is refused: {error}");
            }
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        "servers::Handover"
    }
}

/// The connection to the new program.
pub(super) struct Successor<B: 'static> {
    handover: Rc<Handover<B>>,
    incoming: Incoming,
    channel: Rc<RefCell<Channel>>,
}

impl<B: 'static> Successor<B> {
    pub(super) fn new(handover: Rc<Handover<B>>, channel: Rc<RefCell<Channel>>) -> Self {
        Self { handover, incoming: Incoming::new(), channel }
    }

    /// Handles all frames that have arrived.
    fn handle(&mut self, cx: &mut Cx<'_, B>) -> io::Result<()> {
        while let Some((frame, _)) = self.incoming.next()? {
            self.handover.note_answer(&cx.outside());
            match frame {
                Frame::Ready => self.handover.release(&mut cx.outside())?,
                Frame::Taken { id } => self.handover.answer(&self.channel, id, true),
                Frame::Refused { id } => self.handover.answer(&self.channel, id, false),
                Frame::Loaded => self.handover.loaded()?,
                frame => {
                    let text = format!("it has sent {} at the wrong time", frame.name());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
        }
        Ok(())
    }
}

impl<B: 'static> Handler<B> for Successor<B> {
    fn ready(&mut self, cx: &mut Cx<'_, B>) -> io::Result<()> {
        loop {
            self.handle(cx)?;
            match self.incoming.receive(|room| cx.receive_descriptors(room, 0))? {
                Some(true) => {}
                Some(false) => {
                    cx.end(Reason::PeerClosed);
                    return Ok(());
                }
                None => break,
            }
        }
        let sent = self.channel.borrow_mut().send(cx);
        // If the new program has ended, what it said before still counts.
        if sent.is_err() {
            while let Some(true) = self.incoming.receive(|room| cx.receive_descriptors(room, 0))? {
                self.handle(cx)?;
            }
        }
        let (is_sent, count) = sent?;
        cx.set_interest(if is_sent { Interest::READ } else { Interest::BOTH });
        if count > 0 {
            // It reads, which may be all that it does for long.
            self.handover.note_answer(&cx.outside());
        }
        match is_sent {
            true if self.channel.borrow().is_done => cx.end(Reason::Finished),
            true => self.handover.all_sent(&mut cx.outside())?,
            false => {}
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, B>) {
        match reason {
            Reason::Finished => self.handover.finish(cx),
            _ if self.handover.has_begun() && self.handover.is_stopping(cx) => {
                self.handover.abandon();
            }
            reason => self.handover.fail(&reason, cx),
        }
    }

    fn name(&self) -> &'static str {
        "servers::Handover"
    }
}
