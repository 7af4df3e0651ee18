//! The lingering close: what ends a connection without losing what was just said to it (P26).

use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::time::Duration;

use protocol::Scratch;

use super::Stream;
use super::stage::Stage;
use crate::{Cx, Interest, Readiness, Reason, sys};

/// The end of a connection: why it ends, and what is still put up with. Once the peer has been sent
/// everything, and told that there is no more, what it still sends is thrown away until it ends too:
/// closing with input unread would reset the connection, and lose what the peer has not read yet.
pub(crate) struct Linger {
    reason: Reason,
    /// How many more bytes are thrown away at most.
    left: usize,
    /// How many nanoseconds the loop had lost when the peer's time began.
    lost: u64,
}

impl Linger {
    /// An end for `reason`, at which up to `bytes_max` are thrown away.
    pub(crate) fn new(reason: Reason, bytes_max: usize) -> Self {
        Self { reason, left: bytes_max, lost: 0 }
    }

    /// Ends the sending side, and gives the peer `patience` to end its own.
    pub(crate) fn begin<A>(&mut self, patience: Duration, cx: &mut Cx<'_, A>) -> io::Result<()> {
        shut_down(cx)?;
        self.wait(patience, cx);
        cx.set_interest(Interest::READ);
        Ok(())
    }

    /// Gives the peer `patience` from now on.
    pub(crate) fn wait<A>(&mut self, patience: Duration, cx: &mut Cx<'_, A>) {
        self.lost = cx.core.patience.lost();
        cx.set_timeout(Some(patience));
    }

    /// Gives the peer what the loop itself has lost of its time. Returns whether there is any.
    pub(crate) fn make_up<A>(&mut self, cx: &mut Cx<'_, A>) -> bool {
        let lost = cx.core.patience.lost() - self.lost;
        if lost > 0 {
            self.wait(Duration::from_nanos(lost), cx);
        }
        lost > 0
    }

    /// Why the connection ends. To be asked once.
    pub(crate) fn take_reason(&mut self) -> Reason {
        mem::replace(&mut self.reason, Reason::Finished)
    }

    /// Throws away what there is, about `budget` bytes of it.
    pub(crate) fn discard<A>(&mut self, room: &mut [u8], mut budget: usize, cx: &mut Cx<'_, A>) {
        while budget > 0 && cx.readiness().intersects(Readiness::READABLE) {
            let count = match cx.read(room) {
                Ok(None) => break,
                Ok(Some(count)) => count,
                // Everything was said; how the peer goes away makes no difference any more.
                Err(_) => 0,
            };
            if count == 0 || count > self.left {
                let reason = self.take_reason();
                return cx.end(reason);
            }
            self.left -= count;
            budget = budget.saturating_sub(count);
        }
    }
}

impl<S> Stream<S> {
    /// Sends what is left to be sent, and nothing more.
    pub(super) fn close<A>(&mut self, reason: Reason, scratch: &mut Scratch, cx: &mut Cx<'_, A>) {
        scratch.input.clear();
        let mut linger = Linger::new(reason, self.limits.linger_bytes_max);
        if !scratch.output.is_empty() {
            // In place of a deadline of the session, which means nothing any more.
            linger.wait(self.limits.linger, cx);
        }
        self.stage = Stage::Closing;
        self.ending = Some(Box::new(linger));
    }

    /// Why the session is done. To be asked once.
    pub(super) fn take_reason(&mut self) -> Reason {
        self.ending.as_mut().map_or(Reason::Finished, |ending| ending.take_reason())
    }

    /// Whether the peer has taken something of what was sent to it since that was looked at last:
    /// then it is not silent, and all of its time begins anew.
    pub(super) fn is_taken<A>(&mut self, cx: &mut Cx<'_, A>) -> bool {
        let now = cx.unacknowledged();
        let before = std::mem::replace(&mut self.unacknowledged, now);
        let is_taken = (now > 0 || self.leftover.has_output()) && now != before;
        if is_taken {
            cx.touch();
            if let Some(linger) = &mut self.ending {
                linger.wait(self.limits.linger, cx);
            }
        }
        is_taken
    }

    /// Whether a peer of a closing connection gets more time: it has taken something, or the loop
    /// itself lost some of its time.
    pub(super) fn outlasts<A>(&mut self, cx: &mut Cx<'_, A>) -> bool {
        if self.ending.is_none() {
            return false;
        }
        self.is_taken(cx) || self.ending.as_mut().is_some_and(|linger| linger.make_up(cx))
    }
}

impl<A> Cx<'_, A> {
    /// Begins the idle limit of this source anew.
    fn touch(&mut self) {
        let charged = self.core.charged;
        if let Some(source) = self.core.sources.get_mut(self.me) {
            source.last_active = charged;
        }
    }

    /// How many bytes the peer of the own socket has not acknowledged (`SIOCOUTQ`, `tcp(7)`): zero
    /// where that is not known. Of a Unix socket it is the memory that these bytes take.
    pub(crate) fn unacknowledged(&self) -> u32 {
        let fd = self.core.sources.get(self.me).and_then(|source| source.fd.as_ref());
        fd.and_then(|fd| sys::unacknowledged(fd.as_fd()).ok()).unwrap_or(0)
    }
}

/// Tells the peer that nothing more is sent.
pub(crate) fn shut_down<A>(cx: &mut Cx<'_, A>) -> io::Result<()> {
    match cx.shutdown_write() {
        // Both sides have ended theirs already.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result.inspect_err(|_| cx.failed = Some("shutdown")),
    }
}
