//! Connections that another process hands over, or takes over.

use std::io;
use std::sync::Arc;

use protocol::link::{Layer, Link};
use protocol::{Limits, Session};

use super::Stream;
use crate::{Accepted, Cx, Interest, Token};

impl<S> Stream<S> {
    /// Goes on with a connection that another process has handed over
    /// ([`Cx::hand_over`](crate::Cx::hand_over)). `state` is what it has said of the connection, and
    /// `session` is new. Its first call has the cause
    /// [`Cause::Restored`](protocol::Cause::Restored). Its idle time begins anew.
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
        let now = cx.now();
        let link = Link::restored(session, limits.into(), state, now, cx.app)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let deadline = link.deadline();
        let token = Self::over(link).register(connection, cx)?;
        if let Some(at) = deadline {
            cx.set_timeout_of(token, at.saturating_duration_since(cx.now()));
        }
        Ok(token)
    }
}

impl<S, L: Layer + 'static> Stream<S, L> {
    /// Freezes the connection, and returns its state.
    #[cold]
    pub(super) fn save_link<A>(&mut self, cx: &mut Cx<'_, A>) -> Option<Vec<u8>>
    where
        S: Session<A>,
    {
        let state = self.link.save(cx.app, cx.core.now).ok()?;
        self.freeze_link(cx);
        // The process that takes it over sends what is unsent.
        cx.set_unsent(false);
        Some(state)
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
