//! A new program that the old one has started, and how far it is.

use std::cell::RefCell;
use std::process::Child;
use std::rc::Rc;
use std::time::Instant;

use log::warn;
use reactor::{LoopCx, Sender, Token};

use super::channel::Channel;
use super::order::Report;
use super::sockets::Given;
use super::together::Together;

/// A new program.
pub(super) struct Attempt {
    pub(super) child: Child,
    /// When it has to have answered, or the loops, whichever is waited for.
    pub(super) until: Instant,
    /// The socket on which it connects.
    pub(super) door: Token,
    /// The connection to it.
    pub(super) successor: Option<Token>,
    pub(super) channel: Rc<RefCell<Channel>>,
    /// Where the loops answer, and the source of it.
    pub(super) reports: Sender<Report>,
    pub(super) listening: Token,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// It is to connect.
    Starting,
    /// It has connected. So many loops are to say which sockets they have.
    Gathering { left: usize, sockets: Vec<Given> },
    /// It has the sockets, and is to say that it is ready.
    Offered,
    /// So many loops are to end their sockets: first that which accepts for the others.
    Releasing { left: usize, is_acceptor: bool },
    /// It accepts connections, and gets those of this one. So many loops have others left.
    HandingOver { left: usize, departed: usize, stayed: usize },
    /// It gets the connections of this one and the state that they share, and begins after that.
    Together(Together),
}

impl Attempt {
    /// Returns whether the new program is responsible.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.stage, Stage::HandingOver { .. })
    }

    /// Returns whether loops have ended sockets.
    pub(super) fn has_released(&self) -> bool {
        match self.stage {
            Stage::Releasing { .. } | Stage::HandingOver { .. } | Stage::Together(_) => true,
            Stage::Starting | Stage::Gathering { .. } | Stage::Offered => false,
        }
    }

    /// Returns whether the new program has nothing to answer.
    pub(super) fn owes_nothing(&self) -> bool {
        self.has_begun() && self.channel.borrow().away.is_empty()
    }

    /// Sends what is in the channel.
    pub(super) fn flush<B>(&self, cx: &mut LoopCx<'_, B>) {
        self.successor.into_iter().for_each(|successor| cx.wake(successor));
    }

    /// Ends the new program. It may run and not be the one that is expected, and must not accept
    /// beside this one.
    pub(super) fn end_child(&mut self) {
        let child = &mut self.child;
        if let Err(error) = child.kill().and_then(|()| child.wait().map(drop)) {
            warn!("process {} cannot be ended: {error}", child.id());
        }
    }
}
