//! A table whose items keep their indices, and which frees the memory of removed items.

use super::room::GiveBack;

/// Items at numbered places, in blocks of `SIZE` places.
///
/// An item keeps its place until it is removed. A block without items owns no memory and may be
/// used again; blocks with a free place are filled first. Nothing is ever moved, so neither growing
/// nor shrinking takes long.
#[derive(Debug)]
pub(crate) struct Places<T, const SIZE: usize> {
    blocks: Vec<Block<T>>,
    /// Blocks that had a free place when they were added here.
    open: Vec<usize>,
    /// Blocks that had no items when they were added here.
    vacant: Vec<usize>,
    len: usize,
}

#[derive(Debug)]
struct Block<T> {
    /// Empty while the block has no item.
    places: Vec<Place<T>>,
    taken: usize,
    /// The first of the free places, each of which holds the number of the next.
    free: u32,
    is_open: bool,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free { next: u32 },
}

/// Marks the end of a list of free places.
const NONE: u32 = u32::MAX;

impl<T> Block<T> {
    const fn new() -> Self {
        Self { places: Vec::new(), taken: 0, free: NONE, is_open: false }
    }

    /// Returns whether the block has an item and a free place.
    fn has_room(&self, size: usize) -> bool {
        (1..size).contains(&self.taken)
    }

    fn insert(&mut self, item: T, size: usize) -> usize {
        self.taken += 1;
        if self.free == NONE {
            if self.places.is_empty() {
                self.places.reserve_exact(size);
            }
            self.places.push(Place::Taken(item));
            return self.places.len() - 1;
        }
        let place = self.free as usize;
        if let Place::Free { next } = std::mem::replace(&mut self.places[place], Place::Taken(item))
        {
            self.free = next;
        }
        place
    }

    fn remove(&mut self, place: usize) -> Option<T> {
        let found = self.places.get_mut(place)?;
        if let Place::Free { .. } = found {
            return None;
        }
        let Place::Taken(item) = std::mem::replace(found, Place::Free { next: self.free }) else {
            return None;
        };
        self.free = place as u32;
        self.taken -= 1;
        if self.taken == 0 {
            self.places = Vec::new();
            self.free = NONE;
        }
        Some(item)
    }
}

impl<T, const SIZE: usize> Places<T, SIZE> {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new(), open: Vec::new(), vacant: Vec::new(), len: 0 }
    }

    /// Returns the number of items.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns one more than the highest place that may be in use.
    pub(crate) fn end(&self) -> usize {
        self.blocks.len() * SIZE
    }

    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        match self.blocks.get(place / SIZE)?.places.get(place % SIZE)? {
            Place::Taken(item) => Some(item),
            Place::Free { .. } => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        match self.blocks.get_mut(place / SIZE)?.places.get_mut(place % SIZE)? {
            Place::Taken(item) => Some(item),
            Place::Free { .. } => None,
        }
    }

    /// Puts an item into a free place. Returns its number.
    pub(crate) fn insert(&mut self, item: T) -> usize {
        let number = self.block_with_room();
        self.len += 1;
        number * SIZE + self.blocks[number].insert(item, SIZE)
    }

    /// Puts an item into a place that is not before any other item, as [`insert`](Self::insert) may
    /// have done. The places in between are free.
    pub(crate) fn insert_at(&mut self, place: usize, item: T) {
        let number = place / SIZE;
        while self.blocks.len() <= number {
            self.vacant.push(self.blocks.len());
            self.blocks.push(Block::new());
        }
        let block = &mut self.blocks[number];
        if block.places.is_empty() {
            block.places.reserve_exact(SIZE);
        }
        while block.places.len() < place % SIZE {
            let free = block.places.len() as u32;
            block.places.push(Place::Free { next: block.free });
            block.free = free;
        }
        block.places.push(Place::Taken(item));
        block.taken += 1;
        self.len += 1;
        if !block.is_open {
            block.is_open = true;
            self.open.push(number);
        }
    }

    fn block_with_room(&mut self) -> usize {
        while let Some(number) = self.open.last().copied() {
            match self.blocks.get_mut(number) {
                Some(block) if block.has_room(SIZE) => return number,
                Some(block) => block.is_open = false,
                None => {}
            }
            self.open.pop();
        }
        let is_vacant = |number: &usize| self.blocks.get(*number).is_some_and(|it| it.taken == 0);
        let number = loop {
            match self.vacant.pop() {
                Some(number) if is_vacant(&number) => break number,
                Some(_) => {}
                None => {
                    self.blocks.push(Block::new());
                    break self.blocks.len() - 1;
                }
            }
        };
        self.blocks[number].is_open = true;
        self.open.push(number);
        number
    }

    /// Removes the item at a place. Returns it, if there was one.
    pub(crate) fn remove(&mut self, place: usize) -> Option<T> {
        let number = place / SIZE;
        let block = self.blocks.get_mut(number)?;
        let item = block.remove(place % SIZE)?;
        self.len -= 1;
        if block.taken == 0 {
            self.vacate(number);
        } else if !block.is_open {
            block.is_open = true;
            self.open.push(number);
        }
        Some(item)
    }

    /// Frees a block that has lost its last item.
    fn vacate(&mut self, number: usize) {
        if self.len == 0 {
            *self = Self::new();
            return;
        }
        self.vacant.push(number);
        while self.blocks.pop_if(|block| block.taken == 0).is_some() {}
        self.blocks.give_back();
    }

    /// Returns the items at a range of places, with their numbers.
    pub(crate) fn range(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, &T)> {
        let first = (from / SIZE).min(self.blocks.len());
        let blocks = self.blocks[first..].iter().zip(first..);
        let blocks = blocks.take_while(move |(_, number)| number * SIZE < to);
        let all = blocks.flat_map(|(block, number)| block.places.iter().zip(number * SIZE..));
        all.filter_map(move |(place, number)| match place {
            Place::Taken(item) if (from..to).contains(&number) => Some((number, item)),
            _ => None,
        })
    }

    /// Returns all items with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.range(0, usize::MAX)
    }

    /// Returns the place after the next `count` places from `from` on, counting only places that
    /// have been used, in blocks that have items. Returns [`end`](Self::end) if no item follows.
    pub(crate) fn skip(&self, from: usize, mut count: usize) -> usize {
        let mut at = from;
        while let Some(block) = self.blocks.get(at / SIZE) {
            let start = at / SIZE * SIZE;
            let used = if block.taken == 0 { &[][..] } else { &block.places[..] };
            let left = used.get(at - start..).unwrap_or_default();
            if left.iter().any(|place| matches!(place, Place::Taken(_))) {
                if count == 0 {
                    return at;
                }
                let step = count.min(left.len());
                at += step;
                count -= step;
            } else {
                at = start + SIZE;
            }
        }
        self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Four = Places<usize, 4>;

    fn with(count: usize) -> Four {
        let mut places = Four::new();
        for number in 0..count {
            assert_eq!(places.insert(number), number);
        }
        places
    }

    fn rooms(places: &Four) -> usize {
        places.blocks.iter().map(|block| block.places.capacity()).sum()
    }

    #[test]
    fn items_keep_their_places_and_free_places_are_filled_first() {
        let mut places = with(10);
        for gone in [3, 5, 8] {
            assert_eq!(places.remove(gone), Some(gone));
            assert_eq!(places.remove(gone), None);
        }
        assert_eq!(places.iter().map(|(at, it)| (at, *it)).filter(|(a, b)| a == b).count(), 7);
        let mut taken: Vec<usize> = (10..15).map(|number| places.insert(number)).collect();
        taken.sort_unstable();
        assert_eq!(taken, [3, 5, 8, 10, 11]);
        assert_eq!(places.len(), 12);
        assert!(places.get(11).is_some() && places.get(12).is_none());
    }

    #[test]
    fn items_are_put_into_the_places_that_they_had() {
        let mut places = Four::new();
        for place in [1, 2, 4, 13] {
            places.insert_at(place, place);
        }
        let all: Vec<usize> = places.iter().map(|(at, it)| at * 100 + it).collect();
        assert_eq!((all, places.len()), (vec![101, 202, 404, 1313], 4));
        let mut taken: Vec<usize> = (0..12).map(|number| places.insert(number)).collect();
        taken.sort_unstable();
        assert_eq!(taken, [0, 3, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15]);
        assert_eq!(places.remove(13), Some(13));
    }

    #[test]
    fn blocks_without_items_own_no_memory() {
        let mut places = with(1000);
        assert_eq!(rooms(&places), 1000);
        for number in (0..1000).filter(|number| number % 100 != 50) {
            places.remove(number);
        }
        assert_eq!((places.len(), rooms(&places)), (10, 40));
        assert_eq!(places.end(), 952, "vacant blocks at the end are removed");
        // Blocks with items are filled first, then vacant ones.
        let taken: Vec<usize> = (0..30).map(|number| places.insert(number)).collect();
        assert!(taken.iter().all(|place| place % 100 / 4 == 12), "{taken:?}");
        for number in 0..900 {
            places.insert(number);
        }
        assert_eq!((places.len(), places.end()), (940, 952));
        let all: Vec<usize> = places.iter().map(|(at, _)| at).collect();
        for at in all {
            places.remove(at);
        }
        assert_eq!((places.len(), places.end(), rooms(&places)), (0, 0, 0));
        assert_eq!(places.open.capacity() + places.vacant.capacity() + places.blocks.capacity(), 0);
    }

    #[test]
    fn vacant_blocks_are_skipped_at_once() {
        let mut places = with(100);
        for number in 10..90 {
            places.remove(number);
        }
        assert_eq!(places.skip(0, 8), 8);
        assert_eq!(places.skip(8, 4), 88, "places without items are passed");
        assert_eq!(places.skip(12, 3), 91);
        assert_eq!(places.skip(12, 100), 100);
        assert_eq!(places.skip(500, 1), 100);
        let mut few = with(1);
        assert_eq!(few.skip(0, 1), few.end(), "places that were never used are not visited");
        few.remove(0);
        assert_eq!(few.skip(0, 1), few.end());
        let found: Vec<usize> = places.range(9, 92).map(|(at, _)| at).collect();
        assert_eq!(found, [9, 90, 91]);
        assert_eq!(places.range(500, usize::MAX).count(), 0);
    }
}
