//! The lingering close: what ends a connection without losing what was just said to it (P26).

use std::io;
use std::mem;
use std::time::Duration;

use crate::{Cx, Interest, Next, Readiness, Reason};

/// The end of a connection: why it ends, and what is still put up with. Once the peer has been sent
/// everything, and told that there is no more, what it still sends is thrown away until it ends too:
/// closing with input unread would reset the connection, and lose what the peer has not read yet.
pub(crate) struct Linger {
    reason: Reason,
    /// How many more bytes are thrown away at most.
    left: usize,
}

impl Linger {
    /// An end for `reason`, at which up to `bytes_max` are thrown away.
    pub(crate) fn new(reason: Reason, bytes_max: usize) -> Self {
        Self { reason, left: bytes_max }
    }

    /// Ends the sending side, and gives the peer `patience` to end its own.
    pub(crate) fn begin<A>(patience: Duration, cx: &mut Cx<'_, A>) -> io::Result<()> {
        shut_down(cx)?;
        cx.set_timeout(patience);
        cx.set_interest(Interest::READ);
        Ok(())
    }

    /// Why the connection ends. To be asked once.
    pub(crate) fn take_reason(&mut self) -> Reason {
        mem::replace(&mut self.reason, Reason::Finished)
    }

    /// Throws away what there is, about `budget` bytes of it.
    pub(crate) fn discard<A>(
        &mut self,
        room: &mut [u8],
        mut budget: usize,
        cx: &mut Cx<'_, A>,
    ) -> Next {
        while budget > 0 && cx.readiness().intersects(Readiness::READABLE) {
            let count = match cx.read(room) {
                Ok(None) => break,
                Ok(Some(count)) => count,
                // Everything was said; how the peer goes away makes no difference any more.
                Err(_) => 0,
            };
            if count == 0 || count > self.left {
                return Next::Close(self.take_reason());
            }
            self.left -= count;
            budget = budget.saturating_sub(count);
        }
        Next::Continue
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
