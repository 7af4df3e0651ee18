//! Lookups under way and waiting. Equal questions share one lookup.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use crate::Waker;
use crate::net::resolver::error::ResolveError;
use crate::net::resolver::query::Query;
use crate::net::resolver::resolved::Resolved;

pub(crate) type Answer = Result<Arc<Resolved>, ResolveError>;

/// A source that waits for an answer.
pub(crate) struct Waiter {
    pub(crate) id: u64,
    pub(crate) answers: Sender<Answer>,
    pub(crate) waker: Waker,
}

impl Waiter {
    /// Hands the answer over, and wakes the source. It has no effect if the source or its loop has
    /// ended.
    pub(crate) fn answer(self, answer: Answer) {
        if self.answers.send(answer).is_ok() {
            // If its loop is gone, so is the source.
            let _ = self.waker.wake();
        }
    }
}

/// One lookup, and the sources that wait for it.
#[derive(Default)]
struct Flight {
    is_started: bool,
    waiters: Vec<Waiter>,
}

/// The lookups of a resolver. It has no threads and no time.
#[derive(Default)]
pub(crate) struct Flights {
    by_query: HashMap<Query, Flight>,
    /// The questions that nothing looks up yet, in order.
    queue: VecDeque<Query>,
    /// How many sources wait for an answer.
    waiting: usize,
}

/// What became of a source that wants an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// It waits for a lookup that was asked for before.
    Another,
    /// It waits for a lookup that has to be started.
    First,
    /// Too many wait already.
    Full,
}

impl Flights {
    /// Adds a source that waits for the answer to `query`, if fewer than `waiting_max` do. If they
    /// are too many, it is dropped.
    pub(crate) fn join(&mut self, query: &Query, waiter: Waiter, waiting_max: usize) -> Joined {
        if self.waiting >= waiting_max {
            return Joined::Full;
        }
        self.waiting += 1;
        if let Some(flight) = self.by_query.get_mut(query) {
            flight.waiters.push(waiter);
            return Joined::Another;
        }
        let flight = Flight { is_started: false, waiters: vec![waiter] };
        self.by_query.insert(query.clone(), flight);
        self.queue.push_back(query.clone());
        Joined::First
    }

    /// Removes a source that does not wait any more. A lookup that no source waits for is not
    /// started.
    pub(crate) fn leave(&mut self, query: &Query, id: u64) {
        let Some(flight) = self.by_query.get_mut(query) else { return };
        let before = flight.waiters.len();
        flight.waiters.retain(|waiter| waiter.id != id);
        self.waiting -= before - flight.waiters.len();
        if flight.waiters.is_empty() && !flight.is_started {
            self.by_query.remove(query);
            self.queue.retain(|queued| queued != query);
        }
    }

    /// Returns the next question to look up, which counts as started.
    pub(crate) fn start_next(&mut self) -> Option<Query> {
        let query = self.queue.pop_front()?;
        if let Some(flight) = self.by_query.get_mut(&query) {
            flight.is_started = true;
        }
        Some(query)
    }

    /// Ends a lookup, and returns the sources that wait for it.
    pub(crate) fn finish(&mut self, query: &Query) -> Vec<Waiter> {
        let waiters = self.by_query.remove(query).unwrap_or_default().waiters;
        self.waiting -= waiters.len();
        waiters
    }

    /// Returns how many lookups wait to be started.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }
}
