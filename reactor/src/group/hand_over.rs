//! The acceptor's side of handing connections over.

use std::io;
use std::sync::Arc;

use crate::group::Balance;
use crate::group::inbox::Inbox;
use crate::group::seat::{Seat, Waiting};
use crate::group::watch::OpenListener;
use crate::net::acceptor::Accepted;
use crate::net::taking::{Room, Shortage, Takes};
use crate::{LoopCx, Token};

/// A loop to hand connections over to.
pub(crate) struct Place {
    pub(crate) seat: Arc<Seat>,
    pub(crate) inbox: Arc<Inbox>,
    /// The connections of the present batch.
    batch: Vec<Accepted>,
}

impl Place {
    pub(crate) fn new(seat: Arc<Seat>, inbox: Arc<Inbox>) -> Self {
        Self { seat, inbox, batch: Vec::new() }
    }

    /// Returns whether the loop takes connections of this listener and has room for another one.
    fn has_room(&self) -> bool {
        self.inbox.is_open() && self.seat.has_room()
    }
}

/// Hands the connections of a listener over to the loops of a group. Those of one batch that are for
/// one loop are handed over together, and wake it once.
pub(crate) struct HandOver {
    places: Vec<Place>,
    balance: Balance,
    /// The place after the last that got a connection: where the search begins.
    next: usize,
    waiting: Arc<Waiting>,
    _open: OpenListener,
}

impl HandOver {
    pub(crate) fn new(
        places: Vec<Place>,
        balance: Balance,
        waiting: Arc<Waiting>,
        open: OpenListener,
    ) -> Self {
        Self { places, balance, next: 0, waiting, _open: open }
    }

    /// Returns whether a loop has room for another connection.
    fn has_room(&self) -> bool {
        self.places.iter().any(Place::has_room)
    }

    /// Returns the place for the next connection; `None` if no loop takes any.
    fn choose(&mut self) -> Option<usize> {
        let count = self.places.len();
        let load = |place: &usize| self.places[*place].seat.load();
        let turned = || (0..count).map(|step| (self.next + step) % count);
        let mut free = turned().filter(|place| self.places[*place].has_room());
        let chosen = match self.balance {
            Balance::RoundRobin => free.next(),
            // Of equal ones, it is the first, so they take turns.
            Balance::LeastConnections => free.min_by_key(load),
        };
        // A loop may have filled up since there was room: by connections that it makes itself.
        let chosen = chosen.or_else(|| {
            turned().filter(|place| self.places[*place].inbox.is_open()).min_by_key(load)
        })?;
        self.next = (chosen + 1) % count;
        Some(chosen)
    }

    /// Chooses a loop for a connection.
    fn assign(&mut self, accepted: Accepted) -> io::Result<()> {
        let Some(chosen) = self.choose() else {
            return Err(io::Error::other("no loop takes connections any more"));
        };
        let place = &mut self.places[chosen];
        place.seat.hand_over();
        place.batch.push(accepted);
        Ok(())
    }
}

impl<A> Takes<A> for HandOver {
    fn room(&self, _cx: &LoopCx<'_, A>) -> Room {
        if self.has_room() {
            return Room::Free;
        }
        Room::Full(self.places.iter().map(|place| place.seat.load()).sum())
    }

    fn take(&mut self, accepted: Accepted, _cx: &mut LoopCx<'_, A>) -> io::Result<()> {
        self.assign(accepted)
    }

    fn end_batch(&mut self) {
        // What a loop that has just ended does not take goes to the others: each round finds at least
        // one inbox closed.
        for _ in 0..=self.places.len() {
            let mut refused = Vec::new();
            for place in self.places.iter_mut().filter(|place| !place.batch.is_empty()) {
                place.inbox.add(&mut place.batch);
                if !place.batch.is_empty() {
                    place.seat.give_up(place.batch.len());
                    refused.append(&mut place.batch);
                }
            }
            if refused.is_empty() {
                return;
            }
            for accepted in refused {
                // Without any loop, the connection ends here.
                let _ = self.assign(accepted);
            }
        }
    }

    fn await_room(&mut self, listener: Token, shortage: Shortage, cx: &mut LoopCx<'_, A>) {
        self.waiting.begin();
        // There may be room since the last look. The end of any connection announces a descriptor.
        if shortage == Shortage::Room && self.has_room() {
            cx.wake(listener);
        }
    }
}
