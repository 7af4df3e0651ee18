//! Connections that another process hands over, or takes over.

use std::io;
use std::sync::Arc;

use protocol::link::{Layer, Link};
use protocol::{Limits, SavedState, Session, State, StateError};

use super::Stream;
use crate::{Accepted, Cx, Interest, Left, Reason, Registration, Token, kernel};

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
        // The backend would receive what is lost if this process ended before it is certain to go on.
        let registration =
            Registration::frozen_stream(connection.peer.is_some(), connection.sharing);
        let token = Self::over(link).register_fd(connection.fd, registration, cx)?;
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use protocol::codecs::Lines;
    use protocol::{Context, Conversation, Flow, NotSaved, Reply, Service};

    use super::*;
    use crate::source::registration::Mode;
    use crate::{BackendKind, Departure, LoopCx, LoopLimits, Reactor};

    /// A service that answers nothing.
    struct Silent;

    impl Service<Lines, ()> for Silent {
        fn call(
            &mut self,
            _: &mut [u8],
            _: &mut Reply<'_, Lines>,
            _: &mut Context<'_, ()>,
        ) -> Flow {
            Flow::Continue
        }

        fn save(&self, _: &(), _: &mut State) -> Result<(), NotSaved> {
            Ok(())
        }

        fn restore(&mut self, _: &mut (), _: &mut SavedState<'_>) -> Result<(), StateError> {
            Ok(())
        }
    }

    fn silent() -> Conversation<Lines, Silent> {
        Conversation::new(Lines::default(), Silent)
    }

    fn on_a_ring() -> Reactor<()> {
        let backend = BackendKind::Uring.open().expect("it is available");
        Reactor::with_backend(backend, LoopLimits::DEFAULT, ()).expect("the reactor opens")
    }

    fn is_moved(reactor: &mut Reactor<()>, token: Token) -> bool {
        let tag = token.tag_in(reactor.core.home);
        reactor.core.sources.get_mut(tag).expect("it is live").own.mode == Mode::Completed
    }

    #[test]
    fn a_ring_moves_a_connection_again_once_it_is_thawed() {
        if !BackendKind::available().contains(&BackendKind::Uring) {
            eprintln!("SKIPPED: io_uring is refused here");
            return;
        }
        let (mut old, mut new) = (on_a_ring(), on_a_ring());
        let (own, _peer) = UnixStream::pair().expect("a pair opens");
        let own = Accepted::from_fd(OwnedFd::from(own)).expect("it is connected");
        let token = Stream::new(silent(), Limits::DEFAULT).register(own, &mut old.cx());
        let token = token.expect("it registers");
        assert!(is_moved(&mut old, token));
        let away = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&away);
        let receive = move |departure, _: &mut LoopCx<'_, ()>| {
            if let Departure::Connection { descriptor, state, .. } = departure {
                told.borrow_mut().push((descriptor, state));
            }
        };
        old.cx().hand_over(1, receive).expect("it hands over");
        let turn = |reactor: &mut Reactor<()>| {
            reactor.run_once(Some(std::time::Duration::from_millis(1))).expect("it turns");
        };
        (0..10).for_each(|_| turn(&mut old));
        assert!(!is_moved(&mut old, token), "it is frozen, and nothing of it is received");
        let (descriptor, state) = away.borrow_mut().pop().expect("one is away");
        let connection = Accepted::from_fd(descriptor).expect("it is connected");
        let limits = Limits::DEFAULT;
        let restored = Stream::restore(connection, silent(), limits, &state, &mut new.cx());
        let restored = restored.expect("it is restored");
        assert!(!is_moved(&mut new, restored));
        new.cx().thaw(restored);
        turn(&mut new);
        assert!(is_moved(&mut new, restored));
        old.cx().stays(token);
        turn(&mut old);
        assert!(is_moved(&mut old, token));
    }
}
