//! The times at which keys expire.

use std::collections::BTreeSet;

/// The number of times in one block.
const BLOCK: usize = 64;
/// Marks a key without expiry.
const NEVER: u64 = u64::MAX;

/// The expiry times of keys, by their places. They are kept apart from the keys, as most have none.
/// Times are in milliseconds since 1970. A block without times owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    blocks: Vec<Option<Box<Block>>>,
    /// The same times in order, the earliest first.
    queue: BTreeSet<(u64, u32)>,
}

#[derive(Debug)]
struct Block {
    times: [u64; BLOCK],
    /// How many of the entries are times.
    count: usize,
}

/// About what one time costs in both, in bytes.
pub(crate) const EXPIRY_SIZE: usize = 40;

impl Expiry {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<u64> {
        let block = self.blocks.get(slot as usize / BLOCK)?.as_ref()?;
        Some(block.times[slot as usize % BLOCK]).filter(|at| *at != NEVER)
    }

    /// Sets the expiry of a key.
    pub(crate) fn set(&mut self, slot: u32, at: u64) {
        // The last millisecond means no expiry.
        let at = at.min(NEVER - 1);
        self.remove(slot);
        let number = slot as usize / BLOCK;
        if self.blocks.len() <= number {
            self.blocks.resize_with(number + 1, || None);
        }
        let empty = || Box::new(Block { times: [NEVER; BLOCK], count: 0 });
        let block = self.blocks[number].get_or_insert_with(empty);
        block.times[slot as usize % BLOCK] = at;
        block.count += 1;
        self.queue.insert((at, slot));
    }

    /// Removes the expiry of a key. Returns whether it had one.
    pub(crate) fn remove(&mut self, slot: u32) -> bool {
        let Some(at) = self.get(slot) else { return false };
        self.queue.remove(&(at, slot));
        let number = slot as usize / BLOCK;
        if let Some(block) = &mut self.blocks[number] {
            block.times[slot as usize % BLOCK] = NEVER;
            block.count -= 1;
            if block.count == 0 {
                self.blocks[number] = None;
            }
        }
        if self.queue.is_empty() {
            self.blocks = Vec::new();
        }
        true
    }

    /// Returns a key that has expired at `now`.
    pub(crate) fn due(&self, now: u64) -> Option<u32> {
        let (at, slot) = self.queue.first()?;
        (*at <= now).then_some(*slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_stored_and_removed_and_free_their_memory() {
        let mut expiry = Expiry::default();
        for slot in [1000, 0, 63, 64, 500] {
            expiry.set(slot, u64::from(slot) + 10);
            expiry.set(slot, u64::from(slot) + 5);
        }
        expiry.set(7, u64::MAX);
        assert_eq!((expiry.len(), expiry.get(64), expiry.get(65)), (6, Some(69), None));
        assert_eq!((expiry.due(4), expiry.due(5), expiry.due(100)), (None, Some(0), Some(0)));
        for slot in [0, 63, 64, 500, 1000, 7] {
            assert!(expiry.remove(slot) && !expiry.remove(slot));
        }
        assert_eq!((expiry.len(), expiry.blocks.capacity()), (0, 0));
    }
}
