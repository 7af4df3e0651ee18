//! Connections that another process hands over, or takes over.

use std::io;
use std::sync::Arc;

use protocol::link::{Layer, Link};
use protocol::{Limits, SavedState, Session, State, StateError};

use super::Stream;
use crate::{Accepted, Cx, Interest, Left, Reason, Token, kernel};

impl<S> Stream<S> {
    /// Restores a connection that another process hands over
    /// ([`Cx::hand_over`](crate::Cx::hand_over)). `state` is what it has said of the connection, and
    /// `session` is new.
    ///
    /// The connection is frozen until [`Cx::thaw`](crate::Cx::thaw) is called with its token, which
    /// is when it is certain that the other process does not go on with it: when the answer that it
    /// was taken is on its way. The first call of the session has the cause
    /// [`Cause::Restored`](protocol::Cause::Restored). The time for which the peer has been silent
    /// goes on. An exemption from the idle limit is for the session to ask for again.
    ///
    /// # Errors
    /// When the state cannot be restored ([`StateError`](protocol::StateError)), the limits cannot
    /// be worked with, or the kernel refuses to watch the socket. The other process goes on with the
    /// connection then.
    pub fn restore<A: 'static, P>(
        connection: Accepted,
        session: S,
        limits: impl Into<Arc<Limits>>,
        state: &[u8],
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Token>
    where
        S: Session<A> + 'static,
    {
        let invalid = |error: StateError| io::Error::new(io::ErrorKind::InvalidData, error);
        let (silence, state) = parts(state).map_err(invalid)?;
        // The loop may not have turned for long.
        let now = kernel::now();
        let mut link =
            Link::restored(session, limits.into(), state, now, cx.app).map_err(invalid)?;
        link.freeze();
        let token = Self::over(link).register(connection, cx)?;
        cx.core.note_restored(token.tag_in(cx.core.home), silence);
        Ok(token)
    }
}

/// Returns the parts of the state of a connection: for how many nanoseconds its peer has been silent,
/// and the state of the link.
fn parts(state: &[u8]) -> Result<(u64, &[u8]), StateError> {
    let mut state = SavedState::new(state);
    let parts = (state.number()?, state.bytes()?);
    state.end()?;
    Ok(parts)
}

impl<S, L: Layer + 'static> Stream<S, L> {
    /// Freezes the connection, and returns its state.
    #[cold]
    pub(super) fn save_link<A>(&mut self, cx: &mut Cx<'_, A>) -> Option<Vec<u8>>
    where
        S: Session<A>,
    {
        if !self.link.may_be_saved() {
            return None;
        }
        match self.take_back(cx) {
            Ok(()) => {}
            // It ends its output, of which the backend has the rest.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => {
                cx.end(Reason::Failed { operation: "leave", error });
                return None;
            }
        }
        let link = self.link.save(cx.app, cx.core.now).ok()?;
        let mut state = State::new();
        state.number(cx.silence());
        state.bytes(&link);
        self.freeze_link(cx);
        // The process that takes it over sends what is unsent.
        cx.set_unsent(false);
        Some(state.into_bytes())
    }

    /// Gives the link the bytes that the backend has of it, and makes it watch the connection from now on.
    fn take_back<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        if let Some(Left { received, unsent }) = cx.leave_completion()? {
            self.link.take_back(&received, &unsent);
        }
        Ok(())
    }

    /// Freezes the connection, unless its session's part has ended.
    #[cold]
    pub(super) fn freeze_link<A>(&mut self, cx: &mut Cx<'_, A>) -> bool {
        let is_frozen = self.link.freeze();
        if is_frozen {
            cx.set_interest(Interest::NONE);
            cx.set_deadline_at(None);
        }
        is_frozen
    }
}
