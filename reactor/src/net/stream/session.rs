//! For a handler that has a connection within it: its session, and its end.

use protocol::Session;
use protocol::link::{Layer, Link};

use super::{Stream, count_handshake, reach_others};
use crate::{Cx, LoopCx, Reason};

impl<S, L: Layer + 'static> Stream<S, L> {
    /// Returns the session.
    pub(crate) fn session(&self) -> &S {
        self.link.session()
    }

    /// Returns the session. What changes takes effect when the session is called next.
    pub(crate) fn session_mut(&mut self) -> &mut S {
        self.link.session_mut()
    }

    /// Returns the session of a connection that was not registered.
    pub(crate) fn into_session(self) -> S {
        self.link.into_session()
    }

    /// Returns whether the session has ended the connection.
    pub(crate) fn is_over(&self) -> bool {
        self.link.is_ending()
    }

    /// Ends the source if the session has ended the connection. Output that was not sent is lost,
    /// and nothing waits for the peer to end its stream too.
    pub(crate) fn end_if_over<A>(&mut self, cx: &mut Cx<'_, A>) {
        if self.link.is_ending() {
            cx.set_unsent(self.link.unsent_kept() > 0 || self.link.is_incomplete());
            cx.end(self.link.take_reason().into());
        }
    }

    /// Tells the session that the connection is closed, and returns both.
    pub(crate) fn into_closed<A>(mut self, reason: Reason, cx: &mut LoopCx<'_, A>) -> (S, Reason)
    where
        S: Session<A>,
    {
        let reason = tell_closed(&mut self.link, reason, cx);
        (self.link.into_session(), reason)
    }
}

/// Tells a session that its connection is closed. Returns the reason.
pub(super) fn tell_closed<A, S: Session<A>, L: Layer>(
    link: &mut Link<S, L>,
    reason: Reason,
    cx: &mut LoopCx<'_, A>,
) -> Reason {
    if link.is_in_handshake() {
        count_handshake(false, cx.core);
    }
    let mut scratch = cx.core.shared.take(cx.core.now);
    let (moment, me, reason) = (cx.moment(), cx.me().into(), reason.into());
    link.closed(&reason, &mut scratch, moment, me, cx.app);
    if scratch.effects_mut().take_asked() {
        reach_others(scratch.effects_mut(), cx);
    }
    cx.core.shared.scratch = Some(scratch);
    reason.into()
}
