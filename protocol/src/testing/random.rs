//! Numbers that look random, and come again.

/// A sequence of numbers that look random and are the same for the same seed, so that a failure
/// can be repeated. It is the xorshift of Marsaglia, 2003, with 64 bits; no secret may come of it.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The beginning of the sequence of a seed. Any seed will do; neighbours differ at once.
    pub fn new(seed: u64) -> Self {
        // The state must not be zero.
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..16 {
            random.number();
        }
        random
    }

    /// Any number but zero.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number from zero to one less than `bound`; zero when that is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// A place among `length`.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True once in `count` times on average.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// One of `all`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.index(all.len())]
    }

    /// So many bytes.
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
