//! Bodies whose every byte follows from a number.

use testkit::Random;

/// The bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Content {
    key: u64,
    pub(in super::super) size: u64,
}

impl Content {
    /// Returns the body of the response to the request of a number.
    pub(in super::super) fn of_response(number: u64) -> Self {
        Self::new(2 * number)
    }

    /// Returns the body of the request of a number.
    pub(in super::super) fn of_request(number: u64) -> Self {
        Self::new(2 * number + 1)
    }

    /// Returns the body of a seed. Most are short; some are larger than the buffers of a connection.
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let size = match random.below(40) {
            0 => 0,
            1..34 => random.below(2_000),
            34..39 => random.below(20_000),
            _ => random.below(100_000),
        };
        Self { key: random.number(), size }
    }

    /// Returns a body of this size.
    pub(in super::super) fn sized(seed: u64, size: u64) -> Self {
        Self { key: Random::new(seed).number(), size }
    }

    fn byte(&self, at: u64) -> u8 {
        let mixed = (self.key ^ (at >> 3)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> (at % 8 * 8)) as u8
    }

    /// Returns `count` bytes from `at` on, or those that there are.
    pub(in super::super) fn bytes(&self, at: u64, count: u64) -> Vec<u8> {
        (at..self.size.min(at.saturating_add(count))).map(|at| self.byte(at)).collect()
    }

    /// Returns how many bytes a chunk has that begins at `at`.
    pub(in super::super) fn portion(&self, at: u64) -> u64 {
        1 + 20 * u64::from(self.byte(at))
    }

    /// Checks bytes that begin at `at`.
    ///
    /// # Panics
    /// Panics if they are not those of this body.
    pub(in super::super) fn check(&self, at: u64, bytes: &[u8], name: &dyn std::fmt::Display) {
        let end = at + bytes.len() as u64;
        assert!(end <= self.size, "{name}: {end} bytes, of {}", self.size);
        for (byte, at) in bytes.iter().zip(at..) {
            assert_eq!(*byte, self.byte(at), "{name}: byte {at} of {} is wrong", self.size);
        }
    }
}
