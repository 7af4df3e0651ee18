//! Frees the capacity that collections no longer need.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

use indexmap::{IndexMap, IndexSet};

/// Capacity up to this many elements is kept.
const ROOM_MIN: usize = 64;

/// Returns the capacity to shrink to, if most of `room` is not used by `count` elements.
pub(crate) fn less_room(count: usize, room: usize) -> Option<usize> {
    (room > ROOM_MIN && count < room / 4).then_some(count * 2)
}

/// A collection that frees most of its unused capacity. It shrinks only when less than a quarter is
/// used, so that on average each element is moved once or twice for it.
pub(crate) trait GiveBack {
    fn give_back(&mut self);
}

impl<T> GiveBack for Vec<T> {
    fn give_back(&mut self) {
        if let Some(room) = less_room(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<T> GiveBack for VecDeque<T> {
    fn give_back(&mut self) {
        if let Some(room) = less_room(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> GiveBack for HashMap<K, V, S> {
    fn give_back(&mut self) {
        if let Some(room) = less_room(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<K, V, S> GiveBack for IndexMap<K, V, S> {
    fn give_back(&mut self) {
        if let Some(room) = less_room(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<T, S> GiveBack for IndexSet<T, S> {
    fn give_back(&mut self) {
        if let Some(room) = less_room(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}
