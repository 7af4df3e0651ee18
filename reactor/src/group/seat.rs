//! What an acceptor knows of each loop that it hands connections over to.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::Waker;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex};

/// How many connections a loop has: those that are open, and those that were handed over to it and
/// that it has not taken yet. One number holds both, so a connection that is taken counts once at any
/// time.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// The open ones, in units of [`OPEN`], and the untaken ones. There are never as many of either: each
    /// has a descriptor.
    both: AtomicU64,
}

/// One open connection in a [`Load`].
const OPEN: u64 = 1 << 32;

impl Load {
    /// Records how many connections are open. The thread of the loop alone does that.
    pub(crate) fn set_open(&self, count: usize) {
        self.both.fetch_add(self.change_to(count), Ordering::AcqRel);
    }

    /// Records that a connection is handed over.
    pub(crate) fn hand_over(&self) {
        self.both.fetch_add(1, Ordering::AcqRel);
    }

    /// Records that the loop has taken a connection, and how many are open with it. The thread of the
    /// loop alone does that.
    pub(crate) fn take(&self, open: usize) {
        self.both.fetch_add(self.change_to(open).wrapping_sub(1), Ordering::AcqRel);
    }

    /// Records that this many connections were handed over and will not be taken.
    pub(crate) fn give_up(&self, count: usize) {
        self.both.fetch_sub(count as u64, Ordering::AcqRel);
    }

    /// Returns what to add so that this many connections are open. The sum wraps around.
    fn change_to(&self, open: usize) -> u64 {
        let before = self.both.load(Ordering::Acquire) / OPEN;
        (open as u64).wrapping_sub(before).wrapping_mul(OPEN)
    }

    /// Returns how many connections were handed over and not taken.
    pub(crate) fn untaken(&self) -> usize {
        (self.both.load(Ordering::Acquire) % OPEN) as usize
    }

    /// Returns how many connections there are.
    pub(crate) fn total(&self) -> usize {
        let both = self.both.load(Ordering::Acquire);
        (both / OPEN + both % OPEN) as usize
    }
}

/// Whether the acceptor waits for room. It marks this first and looks for room then; a loop makes room
/// first and looks at the mark then. Both exchange the mark, so the later one sees what the other has
/// written before, and no wake is lost.
#[derive(Debug, Default)]
pub(crate) struct Mark(AtomicBool);

impl Mark {
    /// Records that the acceptor waits.
    pub(crate) fn set(&self) {
        self.0.swap(true, Ordering::AcqRel);
    }

    /// Returns whether the acceptor waited, which it no longer does. The caller has to wake it.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// The listeners of an acceptor, which wait for room together.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    mark: Mark,
    listeners: Mutex<Vec<Waker>>,
}

impl Waiting {
    /// Adds a listener to wake when there is room.
    pub(crate) fn add(&self, listener: Waker) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Records that a listener waits.
    pub(crate) fn begin(&self) {
        self.mark.set();
    }

    /// Wakes the listeners if one of them waits.
    fn end(&self) {
        if self.mark.take() {
            for listener in &*self.listeners.lock().unwrap_or_else(PoisonError::into_inner) {
                // If the loop of the acceptor is gone, nothing waits.
                let _ = listener.wake();
            }
        }
    }
}

/// The place of a loop in the eyes of the acceptor.
#[derive(Debug)]
pub(crate) struct Seat {
    load: Load,
    /// The most connections of the loop: zero until it accepts.
    connections_max: AtomicUsize,
    /// The most connections that it may have untaken.
    untaken_max: usize,
    waiting: Arc<Waiting>,
}

impl Seat {
    /// Returns the seat of a loop that takes no connections yet.
    pub(crate) fn new(untaken_max: usize, waiting: Arc<Waiting>) -> Self {
        Self { load: Load::default(), connections_max: AtomicUsize::new(0), untaken_max, waiting }
    }

    /// Opens the seat: the loop takes up to this many connections.
    pub(crate) fn open(&self, connections_max: usize) {
        self.connections_max.store(connections_max, Ordering::Release);
        self.waiting.end();
    }

    /// Returns whether the loop has room for another connection, and is not behind.
    pub(crate) fn has_room(&self) -> bool {
        self.load.untaken() < self.untaken_max
            && self.load.total() < self.connections_max.load(Ordering::Acquire)
    }

    /// Returns how many connections the loop has.
    pub(crate) fn load(&self) -> usize {
        self.load.total()
    }

    /// Records that a connection is handed over.
    pub(crate) fn hand_over(&self) {
        self.load.hand_over();
    }

    /// Records that the loop has taken a connection, and how many are open with it.
    pub(crate) fn take(&self, open: usize) {
        self.load.take(open);
        self.waiting.end();
    }

    /// Records that this many connections were handed over and will not be taken. The acceptor may wait
    /// for room, and chooses anew.
    pub(crate) fn give_up(&self, count: usize) {
        self.load.give_up(count);
        self.waiting.end();
    }

    /// Records how many connections are open.
    pub(crate) fn set_open(&self, count: usize) {
        self.load.set_open(count);
    }

    /// Wakes the acceptor if it waits for room, or for a descriptor.
    pub(crate) fn announce_room(&self) {
        self.waiting.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_from_the_hand_over_to_its_end() {
        let seat = Seat::new(2, Arc::default());
        assert!(!seat.has_room(), "it takes nothing yet");
        seat.open(3);
        seat.hand_over();
        seat.hand_over();
        assert_eq!(seat.load(), 2);
        assert!(!seat.has_room(), "it is behind");
        seat.take(1);
        assert_eq!(seat.load(), 2, "the connection that was taken counts once");
        assert!(seat.has_room());
        seat.take(2);
        seat.hand_over();
        assert!(!seat.has_room(), "it is full");
        seat.set_open(1);
        assert!(seat.has_room());
        seat.hand_over();
        assert!(!seat.has_room(), "it is full again");
        seat.give_up(2);
        assert_eq!(seat.load(), 1);
        assert!(seat.has_room());
    }

    #[test]
    fn a_mark_is_taken_once() {
        let mark = Mark::default();
        assert!(!mark.take());
        mark.set();
        assert!(mark.take());
        assert!(!mark.take());
    }
}
