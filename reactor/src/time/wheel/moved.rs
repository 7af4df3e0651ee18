//! Timers whose place differs from the one in their name.

use std::collections::BTreeMap;

use super::TimerTag;

/// The places of timers that were moved to a lower place, by their names, and their names, by their
/// places. Trees grow and shrink one node at a time, so no timer pays for all others.
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

    /// Returns the place of a timer, by its name.
    pub(super) fn place(&self, name: TimerTag) -> Option<u32> {
        self.places.get(&name).copied()
    }

    /// Returns the name of the timer at a place.
    pub(super) fn name(&self, place: u32) -> Option<TimerTag> {
        self.names.get(&place).copied()
    }

    /// Sets the place of a timer, by its name.
    pub(super) fn insert(&mut self, name: TimerTag, place: u32) {
        self.places.insert(name, place);
        self.names.insert(place, name);
    }

    /// Removes the timer at a place. Returns its name.
    pub(super) fn remove(&mut self, place: u32) -> Option<TimerTag> {
        let name = self.names.remove(&place)?;
        self.places.remove(&name);
        Some(name)
    }
}
