//! The place of one loop in its group.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::group::entrance::Entrance;
use crate::group::inbox::Taker;
use crate::group::shared::Shared;
use crate::group::watch::OpenListener;
use crate::net::acceptor::Accepted;
use crate::{Cx, Interest, Listener, LoopCx, Registration, Remote, Role, Token};

/// The place of one loop in its [`Group`](crate::Group). The function that makes the loop gets it, and
/// may keep a clone of it in the state of the application.
pub struct Member<A: 'static> {
    index: usize,
    pub(crate) shared: Arc<Shared<A>>,
}

impl<A: 'static> Member<A> {
    pub(crate) fn new(index: usize, shared: &Arc<Shared<A>>) -> Self {
        Self { index, shared: Arc::clone(shared) }
    }

    /// Returns the number of the loop, from 0 on.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns how many loops the group has.
    pub fn count(&self) -> usize {
        self.shared.options.threads.get()
    }

    /// Returns the loops of the group, this one among them, in the order of their numbers. A message
    /// to another loop is a closure that is posted to it ([`Remote::post`], and [`Remote::post_all`]
    /// for many). There are none before all loops are made, and all before any runs.
    pub fn loops(&self) -> &[Remote<A>] {
        self.shared.remotes()
    }

    /// Takes this loop's share of the connections of a listener of the group, which is named by its
    /// place in the list that [`Group::start`](crate::Group::start) got. `accept` is called with each
    /// connection, and usually registers it. If it fails, the connection is closed.
    ///
    /// The limits of [`Listener::register`](crate::Listener::register) hold, however the connections
    /// reach the loop. A loop at a limit gets no others, as far as the way of accepting allows
    /// ([`Accept`](crate::Accept)).
    ///
    /// # Errors
    /// When there is no such listener, when this loop has taken its share already, or as for
    /// [`Cx::register`].
    pub fn accept<P>(
        &self,
        listener: usize,
        cx: &mut Cx<'_, A, P>,
        accept: impl FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()> + 'static,
    ) -> io::Result<Token> {
        let refused = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let Some(entrance) = self.shared.entrances.get(listener) else {
            let count = self.shared.entrances.len();
            return refused(format!("there is no listener {listener}: the group has {count}"));
        };
        let twice = format!("loop {} accepts from listener {listener} already", self.index);
        match entrance {
            Entrance::Direct(listeners) => {
                let Some(own) = listeners[self.index].take() else { return refused(twice) };
                self.accept_from(own, cx, accept)
            }
            Entrance::HandedOver { inboxes, address, .. } => {
                let (free, inbox) = &inboxes[self.index];
                if free.take().is_none() {
                    return refused(twice);
                }
                let seat = &self.shared.seats[self.index];
                let taker =
                    Taker::new(accept, address.clone(), Arc::clone(inbox), Arc::clone(seat));
                let registration = Registration::new(Interest::NONE).role(Role::Listener);
                let token = cx.register_boxed(None, registration, Box::new(taker))?;
                inbox.open(cx.waker_of(token));
                cx.core.seat = Some(Arc::clone(seat));
                cx.core.publish();
                seat.open(cx.limits().connections_max);
                Ok(token)
            }
        }
    }

    /// Accepts connections from a socket that this loop alone has, or that it shares with others
    /// ([`Listener::exclusive`]). It counts as a listener of the group
    /// ([`Group::listeners`](crate::Group::listeners)). A program that has released a listener to
    /// another process, which then failed, takes it back so.
    ///
    /// # Errors
    /// As for [`Cx::register`].
    pub fn accept_from<P>(
        &self,
        listener: Listener,
        cx: &mut Cx<'_, A, P>,
        mut accept: impl FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()> + 'static,
    ) -> io::Result<Token> {
        let open = OpenListener::new(&self.shared.watch);
        listener.register(cx, move |accepted, cx| {
            let _open = &open;
            accept(accepted, cx)
        })
    }

    /// Takes all connections that were handed over to this loop and wait for it, each with the number
    /// of its listener. The limits of the loop do not hold: a program that hands its connections over
    /// to another process leaves none behind.
    pub fn take_untaken<P>(&self, cx: &mut Cx<'_, A, P>) -> Vec<(usize, Accepted)> {
        let mut taken = Vec::new();
        for (listener, entrance) in self.shared.entrances.iter().enumerate() {
            let Entrance::HandedOver { inboxes, .. } = entrance else { continue };
            let untaken = inboxes[self.index].1.take_all();
            self.shared.seats[self.index].give_up(untaken.len());
            taken.extend(untaken.into_iter().map(|accepted| (listener, accepted)));
        }
        cx.core.counters.taken += taken.len() as u64;
        taken
    }

    /// Stops all loops of the group gracefully: [`Group::stop_gracefully`].
    ///
    /// [`Group::stop_gracefully`]: crate::Group::stop_gracefully
    pub fn stop_gracefully(&self, patience: Duration) {
        self.shared.stop_gracefully(patience);
    }

    /// Stops all loops of the group at once: [`Group::stop`](crate::Group::stop).
    pub fn stop(&self) {
        self.shared.stop();
    }
}

impl<A: 'static> Clone for Member<A> {
    fn clone(&self) -> Self {
        Self::new(self.index, &self.shared)
    }
}

impl<A: 'static> fmt::Debug for Member<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("index", &self.index).field("count", &self.count()).finish()
    }
}
