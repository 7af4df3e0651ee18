//! Which keys end when.

use std::collections::{BTreeSet, HashMap};

/// The times at which keys end, beside the keys themselves, as most have none. Times are in
/// milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    times: HashMap<u32, u64>,
    /// The same, the next one first.
    queue: BTreeSet<(u64, u32)>,
}

/// About what one time costs in the two tables, in bytes.
pub(crate) const EXPIRY_SIZE: usize = 56;

impl Expiry {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<u64> {
        if self.times.is_empty() {
            return None;
        }
        self.times.get(&slot).copied()
    }

    pub(crate) fn set(&mut self, slot: u32, at: u64) {
        if let Some(old) = self.times.insert(slot, at) {
            self.queue.remove(&(old, slot));
        }
        self.queue.insert((at, slot));
    }

    /// Takes the time of a key away; returns whether it had one.
    pub(crate) fn remove(&mut self, slot: u32) -> bool {
        if self.times.is_empty() {
            return false;
        }
        let old = self.times.remove(&slot);
        old.is_some_and(|at| self.queue.remove(&(at, slot)))
    }

    /// A key whose time has come.
    pub(crate) fn due(&self, now: u64) -> Option<u32> {
        let (at, slot) = self.queue.first()?;
        (*at <= now).then_some(*slot)
    }
}
