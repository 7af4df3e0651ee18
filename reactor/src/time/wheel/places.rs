//! The free places, approximately the lowest first.

/// A set of numbers. They are taken in ascending runs of up to 64, the lowest run first. So timers
/// that are armed one after the other are adjacent, whatever the order in which earlier timers were
/// cancelled. A list of free places would return them in that order, each from another cache line.
///
/// It has a bit for each number, and above each 64 bits one bit for whether any of them is set.
pub(super) struct Places {
    /// The last level is one word.
    levels: Vec<Vec<u64>>,
    /// The run that numbers are being taken from. It is no longer in the set.
    run: u64,
    /// The number of its lowest bit.
    first: u32,
}

impl Places {
    /// The size of a run.
    pub(super) const RUN: usize = 64;

    /// Returns the empty set, without heap memory.
    pub(super) const fn new() -> Self {
        Self { levels: Vec::new(), run: 0, first: 0 }
    }

    /// Makes room for numbers below `count`.
    #[inline]
    pub(super) fn reach(&mut self, count: usize) {
        while self.levels.is_empty() || count > 1 << (6 * self.levels.len()) {
            let any = self.levels.last().is_some_and(|top| top[0] != 0);
            self.levels.push(vec![u64::from(any)]);
        }
    }

    /// Adds a number, for which [`reach`](Self::reach) has made room.
    #[inline]
    pub(super) fn insert(&mut self, number: u32) {
        let mut number = number as usize;
        for words in &mut self.levels {
            let place = number / 64;
            if place >= words.len() {
                words.resize(place + 1, 0);
            }
            let before = words[place];
            words[place] = before | 1 << (number % 64);
            if before != 0 {
                return;
            }
            number = place;
        }
    }

    /// Puts back the rest of the run that numbers are being taken from, so that the lowest numbers
    /// come next.
    pub(super) fn put_back(&mut self) {
        while self.run != 0 {
            let number = self.first + self.run.trailing_zeros();
            self.run &= self.run - 1;
            self.insert(number);
        }
    }

    /// Returns whether all numbers from `from`, the first of a run, up to `to` are in the set,
    /// except for those of the run that numbers are being taken from.
    pub(super) fn has_all(&self, from: usize, to: usize) -> bool {
        (from / Self::RUN..to.div_ceil(Self::RUN)).all(|run| {
            let missing = (run * Self::RUN + Self::RUN).saturating_sub(to);
            self.run(run) == u64::MAX >> missing
        })
    }

    /// Removes all numbers from `count` on, and frees their memory.
    pub(super) fn cut(&mut self, count: usize) {
        self.put_back();
        let mut left = count;
        for words in &mut self.levels {
            // The last level is one word.
            words.truncate(left.div_ceil(64).max(1));
            words.shrink_to_fit();
            let mut is_partial = false;
            if let Some(last) = words.get_mut(left / 64) {
                *last &= !(u64::MAX << (left % 64));
                is_partial = *last != 0;
            }
            left = left / 64 + usize::from(is_partial);
        }
    }

    /// Returns the numbers of a run that are in the set, the lowest bit first. The run that numbers
    /// are being taken from is not in the set.
    pub(super) fn run(&self, run: usize) -> u64 {
        self.levels.first().and_then(|words| words.get(run)).copied().unwrap_or(0)
    }

    /// Removes a number.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<u32> {
        if self.run == 0 {
            self.next_run()?;
        }
        let number = self.first + self.run.trailing_zeros();
        self.run &= self.run - 1;
        Some(number)
    }

    /// Removes the lowest word that is not empty.
    fn next_run(&mut self) -> Option<()> {
        if self.levels.last()?[0] == 0 {
            return None;
        }
        let mut place = 0;
        for words in self.levels[1..].iter().rev() {
            place = place * 64 + words[place].trailing_zeros() as usize;
        }
        self.first = place as u32 * 64;
        self.run = std::mem::take(&mut self.levels[0][place]);
        for words in &mut self.levels[1..] {
            let word = &mut words[place / 64];
            *word &= !(1 << (place % 64));
            if *word != 0 {
                break;
            }
            place /= 64;
        }
        Some(())
    }

    /// Returns its size on the heap, in words.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.levels.capacity() + self.levels.iter().map(Vec::capacity).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_put_in_comes_out_once_and_in_order() {
        let (mut places, mut model) = (Places::new(), BTreeSet::new());
        let mut random = testkit::Random::new(1);
        let mut count = 0;
        for step in 0..200_000_u64 {
            if step.is_multiple_of(3) {
                count += 1;
                places.reach(count);
            }
            let number = random.below(count as u64) as u32;
            if random.below(16) < 9 {
                if model.insert(number) {
                    places.insert(number);
                }
            } else {
                match places.pop() {
                    Some(number) => assert!(model.remove(&number), "{number} was not in"),
                    None => assert!(model.is_empty()),
                }
            }
        }
        assert!(model.len() > 1000);
        let run = places.run.count_ones() as usize;
        let left: Vec<_> = std::iter::from_fn(|| places.pop()).collect();
        assert!(left[..run].is_sorted() && left[run..].is_sorted());
        assert_eq!(left.into_iter().collect::<BTreeSet<_>>(), model);
    }
}
