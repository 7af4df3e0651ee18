//! The connections that wait for a loop to take them.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::warn;

use crate::group::seat::Seat;
use crate::net::acceptor::Accepted;
use crate::net::taking::{Drops, Room, room_of_loop};
use crate::{Address, Cx, Handler, LoopCx, Reason, Waker};

/// The connections of one listener that were handed over to one loop.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Whether there is a taker. It changes with the state.
    is_open: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    untaken: VecDeque<Accepted>,
    /// Wakes the source that takes them; `None` before there is one, and after it has ended.
    taker: Option<Waker>,
}

impl Inbox {
    /// Returns the state, also after a thread panicked: it is consistent between operations.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the inbox, whose connections the source of `taker` takes.
    pub(crate) fn open(&self, taker: Waker) {
        self.lock().taker = Some(taker);
        self.is_open.store(true, Ordering::Release);
    }

    /// Returns whether a source takes the connections.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Adds a batch of connections and wakes the loop once. If the loop takes none any more, they stay
    /// in the batch, and the inbox is closed.
    pub(crate) fn add(&self, batch: &mut Vec<Accepted>) {
        let mut state = self.lock();
        let Some(taker) = state.taker.clone() else { return };
        if taker.wake().is_ok() {
            state.untaken.extend(batch.drain(..));
        } else {
            self.end(&mut state);
        }
    }

    fn next(&self) -> Option<Accepted> {
        self.lock().untaken.pop_front()
    }

    /// Returns the connections that wait. The inbox stays open.
    pub(crate) fn take_all(&self) -> VecDeque<Accepted> {
        std::mem::take(&mut self.lock().untaken)
    }

    /// Closes the inbox if no connection waits, and returns whether it did. What the acceptor adds after
    /// that goes to another loop.
    fn close_if_empty(&self) -> bool {
        let mut state = self.lock();
        let is_empty = state.untaken.is_empty();
        if is_empty {
            self.end(&mut state);
        }
        is_empty
    }

    /// Closes the inbox. Returns the connections that were not taken.
    fn close(&self) -> VecDeque<Accepted> {
        let mut state = self.lock();
        self.end(&mut state);
        std::mem::take(&mut state.untaken)
    }

    fn end(&self, state: &mut State) {
        state.taker = None;
        self.is_open.store(false, Ordering::Release);
    }
}

/// The source that takes the connections of an inbox on its loop.
pub(crate) struct Taker<F> {
    accept: F,
    address: Address,
    inbox: Arc<Inbox>,
    seat: Arc<Seat>,
    drops: Drops,
}

impl<F> Taker<F> {
    pub(crate) fn new(accept: F, address: Address, inbox: Arc<Inbox>, seat: Arc<Seat>) -> Self {
        Self { accept, address, inbox, seat, drops: Drops::default() }
    }

    /// Takes a connection, if one waits.
    fn take_one<A>(&mut self, cx: &mut Cx<'_, A>) -> Option<()>
    where
        F: FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()>,
    {
        let accepted = self.inbox.next()?;
        let peer = accepted.peer;
        cx.core.counters.taken += 1;
        // The connection counts as untaken until it is taken, and must not count as open as well.
        let seat = cx.core.seat.take();
        if let Err(error) = (self.accept)(accepted, &mut cx.outside()) {
            self.drops.note(&self.address, peer, &error, cx);
        }
        cx.core.seat = seat;
        self.seat.take(cx.connections());
        Some(())
    }
}

impl<A, F> Handler<A> for Taker<F>
where
    F: FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()>,
{
    /// Takes as many connections as a listener accepts in a turn (P9), within the limits of the loop.
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        for _ in 0..cx.limits().accepts_per_turn {
            if room_of_loop(cx) != Room::Free {
                // It is woken when a source, or a handshake, ends.
                let me = cx.me;
                if !cx.core.starved.contains(&me) {
                    cx.core.starved.push(me);
                }
                return Ok(());
            }
            if self.take_one(cx).is_none() {
                return Ok(());
            }
        }
        let me = cx.me();
        cx.wake(me);
        Ok(())
    }

    /// Takes what is left, beyond the limit of connections: they are accepted already.
    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        for _ in 0..cx.limits().accepts_per_turn {
            if self.take_one(cx).is_none() {
                break;
            }
        }
        if self.inbox.close_if_empty() {
            cx.end(Reason::Finished);
        } else {
            // The next batch is taken in the next turn, after the other sources.
            cx.core.to_notify.push_back(cx.me);
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_, A>) {
        let left = self.inbox.close().len();
        self.seat.give_up(left);
        if left > 0 {
            warn!("{}: {left} connections end that were not taken: {reason}", self.address);
        }
    }

    fn name(&self) -> &'static str {
        "reactor::Member"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::Reactor;

    /// Takes nothing.
    struct Idle;

    impl Handler<()> for Idle {
        fn ready(&mut self, _cx: &mut Cx<'_, ()>) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_inbox_closes_only_when_nothing_waits_and_then_refuses() -> io::Result<()> {
        let mut reactor = Reactor::new(())?;
        let token = reactor.cx().spawn(Idle)?;
        let inbox = Inbox::default();
        let (one, other) = UnixStream::pair()?;
        let mut batch = vec![Accepted::from_fd(one.into())?];
        inbox.add(&mut batch);
        assert_eq!((inbox.is_open(), batch.len()), (false, 1), "it is not open yet");
        inbox.open(reactor.cx().waker_of(token));
        inbox.add(&mut batch);
        assert_eq!(batch.len(), 0);
        assert!(!inbox.close_if_empty(), "a connection waits");
        assert!(inbox.next().is_some());
        assert!(inbox.close_if_empty() && !inbox.is_open());
        batch.push(Accepted::from_fd(other.into())?);
        inbox.add(&mut batch);
        assert_eq!(batch.len(), 1, "another loop gets it");
        Ok(())
    }
}
