//! The orders of one chunkserver: those that wait, and those that are under way.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use protocol::Reply;
use protocol::codecs::Packet;
use protocol::mfs::Status;

use super::order::{Answered, Key, Order};
use crate::mfs::master::app::Master;

/// After how long an order is given again that the chunkserver has not done.
const AGAIN: Duration = Duration::from_millis(100);

/// Is called with what became of an order.
pub(super) type Done = Box<dyn FnOnce(Status, &mut Master)>;

/// An order, and what is called when it is done.
pub(super) struct Given {
    order: Order,
    pub(super) done: Done,
    /// When it was given first, if it was.
    since: Option<Instant>,
}

/// The orders of one chunkserver.
#[derive(Default)]
pub(super) struct Orders {
    waiting: VecDeque<Given>,
    under_way: HashMap<Key, Given>,
    /// Those that are given again at a time. They are in the order of their times.
    again: VecDeque<(Instant, Given)>,
    /// How many were under way at once at most.
    pub(super) under_way_most: usize,
}

/// What an answer belongs to.
pub(super) enum Found {
    /// The order, which is done.
    Done(Given),
    /// One that is given again later.
    Again,
    /// None: it was answered before, or never given.
    Nothing,
}

impl Orders {
    /// Adds an order to those that wait.
    pub(super) fn add(&mut self, order: Order, done: Done) {
        self.waiting.push_back(Given { order, done, since: None });
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.under_way.len() + self.again.len()
    }

    /// Gives orders until `under_way_max` are under way. Returns how many were given, and after how long
    /// there are more.
    ///
    /// One whose answer could not be told from that of another waits for the other.
    pub(super) fn give(
        &mut self,
        under_way_max: usize,
        now: Instant,
        reply: &mut Reply<'_, Packet>,
    ) -> (u64, Option<Duration>) {
        while self.again.front().is_some_and(|(due, _)| *due <= now) {
            self.waiting.extend(self.again.pop_front().map(|(_, given)| given));
        }
        let (mut count, mut skipped) = (0, VecDeque::new());
        while self.under_way.len() < under_way_max {
            let Some(mut given) = self.waiting.pop_front() else { break };
            let key = given.order.key();
            if self.under_way.contains_key(&key) {
                skipped.push_back(given);
                continue;
            }
            given.since.get_or_insert(now);
            given.order.send(reply);
            self.under_way.insert(key, given);
            count += 1;
        }
        if !skipped.is_empty() {
            skipped.append(&mut self.waiting);
            self.waiting = skipped;
        }
        self.under_way_most = self.under_way_most.max(self.under_way.len());
        let due = self.again.front().map(|(due, _)| due.saturating_duration_since(now));
        (count, due)
    }

    /// Finds the order of an answer.
    pub(super) fn answered(&mut self, answer: Answered, now: Instant) -> Found {
        match self.under_way.remove(&answer.key) {
            Some(given) if answer.status == Status::NOTDONE => {
                self.again.push_back((now + AGAIN, given));
                Found::Again
            }
            Some(given) => Found::Done(given),
            None => Found::Nothing,
        }
    }

    /// Returns an order that was given longer than `limit` ago.
    pub(super) fn late(&self, limit: Duration, now: Instant) -> Option<Order> {
        let given = self.under_way.values().chain(self.again.iter().map(|(_, given)| given));
        let is_late = |it: &&Given| {
            it.since.is_some_and(|since| now.saturating_duration_since(since) > limit)
        };
        given.into_iter().find(is_late).map(|given| given.order)
    }

    /// Takes all orders: none of them will be answered.
    pub(super) fn take(&mut self) -> Vec<Given> {
        let again = self.again.drain(..).map(|(_, given)| given);
        let given = self.under_way.drain().map(|(_, given)| given).chain(again);
        given.chain(self.waiting.drain(..)).collect()
    }
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, under_way) = (self.waiting.len(), self.under_way.len());
        write!(f, "{waiting} waiting, {under_way} under way, {} again", self.again.len())
    }
}
