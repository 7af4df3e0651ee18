//! Timers that lie elsewhere than where their names say.

use std::collections::BTreeMap;

use super::TimerTag;

/// Where the timers are that were moved to a lower place, by their names, and how they are called,
/// by their places. Trees grow and shrink a node at a time: no timer pays for all others.
pub(super) struct Moved {
    places: BTreeMap<TimerTag, u32>,
    names: BTreeMap<u32, TimerTag>,
}

impl Moved {
    pub(super) const fn new() -> Self {
        Self { places: BTreeMap::new(), names: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Where the timer of a name is.
    pub(super) fn place(&self, name: TimerTag) -> Option<u32> {
        self.places.get(&name).copied()
    }

    /// How the timer at a place is called.
    pub(super) fn name(&self, place: u32) -> Option<TimerTag> {
        self.names.get(&place).copied()
    }

    /// Notes where the timer of a name is from now on.
    pub(super) fn insert(&mut self, name: TimerTag, place: u32) {
        self.places.insert(name, place);
        self.names.insert(place, name);
    }

    /// Forgets the timer at a place. Returns how it was called.
    pub(super) fn remove(&mut self, place: u32) -> Option<TimerTag> {
        let name = self.names.remove(&place)?;
        self.places.remove(&name);
        Some(name)
    }
}
