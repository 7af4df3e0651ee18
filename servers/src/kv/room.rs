//! Giving back the room of what is gone.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

use indexmap::{IndexMap, IndexSet};

/// Down to here, room for elements is kept.
const ROOM_MIN: usize = 64;

/// How much room is to be left, of `room` for `count` elements, if most of it is free.
pub(crate) fn less_room(count: usize, room: usize) -> Option<usize> {
    (room > ROOM_MIN && count < room / 4).then_some(count * 2)
}

/// A collection that gives back the room of elements that are gone, once it is most of it: so each
/// element is moved only once or twice for it.
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
