//! Pseudo-random numbers that can be repeated.

/// A sequence of pseudo-random numbers, which is the same for the same seed, so that a failure can
/// be repeated. It is the xorshift of Marsaglia, 2003, with 64 bits. It is not suitable for
/// secrets. The caller chooses a seed that cannot be guessed where that matters.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns the start of the sequence of `seed`. Any seed is good; neighbouring seeds differ at
    /// once.
    pub fn new(seed: u64) -> Self {
        // The state must not be zero.
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..16 {
            random.number();
        }
        random
    }

    /// Returns the next number, which is never zero.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below `bound`; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns an index below `length`.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Returns true once in `count` times on average.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Returns an element of `all`.
    ///
    /// # Panics
    /// When `all` is empty.
    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.index(all.len())]
    }

    /// Returns `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_the_same_again_and_its_neighbour_does_not() {
        let first = |seed| Random::new(seed).bytes(1001);
        assert_eq!(first(7), first(7));
        let alike = (0..=7).filter(|seed| first(*seed)[..8] == first(seed + 1)[..8]).count();
        assert_eq!((alike, first(7).len()), (0, 1001));
    }

    #[test]
    fn every_place_comes_about_as_often() {
        let (mut random, mut counts) = (Random::new(1), [0; 7]);
        (0..7000).for_each(|_| counts[random.index(7)] += 1);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!((random.below(0), random.below(1)), (0, 0));
    }
}
