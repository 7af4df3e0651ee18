//! What takes the connections of a listening socket, and whether it has room.

use std::io;
use std::net::SocketAddr;

use log::warn;

use crate::net::acceptor::{Accepted, peer_name};
use crate::reactor::backoff::Folding;
use crate::{Address, Cx, LoopCx, Token};

/// What takes the connections of a listening socket.
pub(crate) trait Takes<A> {
    /// Returns whether there is room for another connection. By default, the limits of this loop
    /// decide.
    fn room(&self, cx: &LoopCx<'_, A>) -> Room {
        room_of_loop(cx)
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// Why it does not. The connection is closed then.
    fn take(&mut self, accepted: Accepted, cx: &mut LoopCx<'_, A>) -> io::Result<()>;

    /// Ends a batch of connections.
    fn end_batch(&mut self) {}

    /// Makes sure that `listener` is woken when there is room. By default, the loop does that.
    fn await_room(&mut self, _listener: Token, _shortage: Shortage, _cx: &mut LoopCx<'_, A>) {}
}

/// What a listener lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// There is no room for another connection.
    Room,
    /// The system has run out of something, such as descriptors.
    System,
}

impl<A, F> Takes<A> for F
where
    F: FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()>,
{
    fn take(&mut self, accepted: Accepted, cx: &mut LoopCx<'_, A>) -> io::Result<()> {
        self(accepted, cx)
    }
}

/// Whether another connection may be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// There are this many connections, which is the limit.
    Full(usize),
    /// This many handshakes go on, which is the limit.
    Handshakes(usize),
}

/// Returns whether a loop may take another connection.
pub(crate) fn room_of_loop<A, P>(cx: &Cx<'_, A, P>) -> Room {
    if cx.connections() >= cx.limits().connections_max {
        Room::Full(cx.connections())
    } else if cx.core.handshakes >= cx.limits().handshakes_max {
        Room::Handshakes(cx.core.handshakes)
    } else {
        Room::Free
    }
}

/// Counts connections that were dropped, and logs some of them.
#[derive(Default)]
pub(crate) struct Drops(Folding);

impl Drops {
    /// Records that the function that accepts connections has returned an error.
    pub(crate) fn note<A>(
        &mut self,
        address: &Address,
        peer: Option<SocketAddr>,
        error: &io::Error,
        cx: &mut Cx<'_, A>,
    ) {
        cx.core.counters.refused += 1;
        if let Some(folded) = self.0.admit(cx.now()) {
            let peer = peer_name(peer);
            warn!("{address}: the connection from {peer} was dropped: {error}{folded}");
        }
    }
}
