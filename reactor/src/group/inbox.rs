//! The connections that wait for a loop to take them.

use std::collections::VecDeque;
use std::io;
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
    }

    /// Adds a batch of connections and wakes the loop once. If the loop takes none any more, they stay
    /// in the batch.
    pub(crate) fn add(&self, batch: &mut Vec<Accepted>) {
        let mut state = self.lock();
        let Some(taker) = state.taker.clone() else { return };
        if taker.wake().is_ok() {
            state.untaken.extend(batch.drain(..));
        }
    }

    fn next(&self) -> Option<Accepted> {
        self.lock().untaken.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.lock().untaken.is_empty()
    }

    /// Closes the inbox. Returns the connections that were not taken.
    fn close(&self) -> VecDeque<Accepted> {
        let mut state = self.lock();
        state.taker = None;
        std::mem::take(&mut state.untaken)
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
        if let Err(error) = (self.accept)(accepted, &mut cx.outside()) {
            self.drops.note(&self.address, peer, &error, cx);
        }
        // After it is open: no connection is left out meanwhile.
        self.seat.take();
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
        if self.inbox.is_empty() {
            cx.end(Reason::Finished);
        } else {
            // The next batch is taken in the next turn, after the other sources.
            cx.core.to_notify.push_back(cx.me);
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_, A>) {
        self.seat.close();
        let left = self.inbox.close().len();
        if left > 0 {
            warn!("{}: {left} connections end that were not taken: {reason}", self.address);
        }
    }

    fn name(&self) -> &'static str {
        "reactor::Member"
    }
}
