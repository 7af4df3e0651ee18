//! The answers of the cache, found by a hash, in the order of their last use, in bounded memory.

use slab::Slab;

use super::kept::Kept;

/// Stands for no place.
const NONE: u32 = u32::MAX;
/// What an allocation takes besides its bytes, in bytes, rounded up.
const ALLOCATION: usize = 16;

/// Answers.
#[derive(Debug)]
pub(super) struct Table {
    slots: Slab<Slot>,
    /// The first answer of each chain. The lower bits of a hash choose the chain. There are at least as
    /// many as there are slots, and their number is a power of two.
    chains: Vec<u32>,
    /// The answer that was used last.
    newest: u32,
    /// The answer that was not used for the longest time.
    oldest: u32,
    /// The memory of the bytes of the answers.
    bytes: usize,
    size_max: usize,
}

#[derive(Debug)]
struct Slot {
    kept: Kept,
    hash: u64,
    /// The next answer of its chain.
    next: u32,
    newer: u32,
    older: u32,
}

impl Table {
    /// Returns a table that takes `size_max` bytes at most.
    pub(super) fn new(size_max: usize) -> Self {
        let (slots, chains) = (Slab::new(), Vec::new());
        Self { slots, chains, newest: NONE, oldest: NONE, bytes: 0, size_max }
    }

    /// Returns the number of answers.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the memory that the table takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes + self.slots.capacity() * size_of::<Slot>() + size_of_val(&*self.chains)
    }

    /// Returns where the answer is that has this hash and `is_it`.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&Kept) -> bool) -> Option<u32> {
        let mut place = *self.chains.get(self.chain(hash))?;
        while place != NONE {
            let slot = &self.slots[place as usize];
            if slot.hash == hash && is_it(&slot.kept) {
                return Some(place);
            }
            place = slot.next;
        }
        None
    }

    /// Returns the answer at a place.
    pub(super) fn get(&self, place: u32) -> &Kept {
        &self.slots[place as usize].kept
    }

    /// Returns the answer at a place.
    pub(super) fn get_mut(&mut self, place: u32) -> &mut Kept {
        &mut self.slots[place as usize].kept
    }

    /// Notes that an answer is used.
    pub(super) fn touch(&mut self, place: u32) {
        if self.newest != place {
            self.unlink(place);
            self.link(place);
        }
    }

    /// Adds an answer whose key is not there. Others that were not used for a long time make room for it.
    /// One that takes an eighth of the table or more is left out.
    pub(super) fn insert(&mut self, hash: u64, kept: Kept) {
        let bytes = kept.size() + ALLOCATION;
        if bytes >= self.size_max / 8 {
            return;
        }
        self.make_room(bytes);
        let has_slot = self.slots.len() < self.slots.capacity();
        if !has_slot || self.size() + bytes > self.size_max {
            return;
        }
        self.bytes += bytes;
        let slot = Slot { kept, hash, next: NONE, newer: NONE, older: NONE };
        let place = self.slots.insert(slot) as u32;
        self.chain_up(place);
        self.link(place);
    }

    /// Removes an answer.
    pub(super) fn remove(&mut self, place: u32) {
        self.unlink(place);
        let Slot { kept, hash, next, .. } = self.slots.remove(place as usize);
        self.bytes -= kept.size() + ALLOCATION;
        let chain = self.chain(hash);
        let mut before = self.chains[chain];
        if before == place {
            self.chains[chain] = next;
            return;
        }
        while self.slots[before as usize].next != place {
            before = self.slots[before as usize].next;
        }
        self.slots[before as usize].next = next;
    }

    /// Returns the chain of a hash.
    fn chain(&self, hash: u64) -> usize {
        hash as usize & self.chains.len().wrapping_sub(1)
    }

    /// Puts an answer at the front of its chain.
    fn chain_up(&mut self, place: u32) {
        let chain = self.chain(self.slots[place as usize].hash);
        self.slots[place as usize].next = std::mem::replace(&mut self.chains[chain], place);
    }

    /// Removes answers until there is room for one with so many bytes, and grows the table if that is
    /// possible.
    fn make_room(&mut self, bytes: usize) {
        if self.slots.len() == self.slots.capacity() {
            // The table grows by an eighth, so little of it is unused.
            let more = (self.slots.len() / 8).max(16);
            let chains = (self.slots.len() + more).next_power_of_two();
            let step = more * size_of::<Slot>()
                + chains.saturating_sub(self.chains.len()) * size_of::<u32>();
            if self.size() + step + bytes <= self.size_max {
                self.grow(more, chains);
            } else if self.oldest != NONE {
                self.remove(self.oldest);
            }
        }
        while self.size() + bytes > self.size_max && self.oldest != NONE {
            self.remove(self.oldest);
        }
    }

    /// Makes room for `more` slots, and so many chains.
    fn grow(&mut self, more: usize, chains: usize) {
        self.slots.reserve_exact(more);
        if chains > self.chains.len() {
            self.chains = vec![NONE; chains];
            let places: Vec<u32> = self.slots.iter().map(|(place, _)| place as u32).collect();
            places.into_iter().for_each(|place| self.chain_up(place));
        }
    }

    /// Makes an answer the one that was used last.
    fn link(&mut self, place: u32) {
        let older = std::mem::replace(&mut self.newest, place);
        let slot = &mut self.slots[place as usize];
        (slot.newer, slot.older) = (NONE, older);
        match older {
            NONE => self.oldest = place,
            _ => self.slots[older as usize].newer = place,
        }
    }

    /// Takes an answer out of the order.
    fn unlink(&mut self, place: u32) {
        let Slot { newer, older, .. } = self.slots[place as usize];
        match newer {
            NONE => self.newest = older,
            _ => self.slots[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            _ => self.slots[older as usize].newer = newer,
        }
    }
}
