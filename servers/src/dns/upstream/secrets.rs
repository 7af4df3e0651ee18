//! Random numbers that cannot be guessed.

use std::io;

/// How many bytes are fetched by one call of the system.
const SIZE: usize = 512;

/// Random numbers of the system (`getrandom(2)`), which cannot be guessed from earlier ones.
pub(super) struct Secrets {
    bytes: [u8; SIZE],
    used: usize,
    /// Bits of the last byte that are not used up, below a mark.
    bits: u32,
}

impl Secrets {
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn new() -> io::Result<Self> {
        let mut secrets = Self { bytes: [0; SIZE], used: SIZE, bits: 1 };
        secrets.refill()?;
        Ok(secrets)
    }

    /// Fetches new bytes. Call it before some are needed: at least 256 are there afterwards.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn refill(&mut self) -> io::Result<()> {
        if self.used > SIZE / 2 {
            getrandom::fill(&mut self.bytes[..self.used]).map_err(io::Error::other)?;
            self.used = 0;
        }
        Ok(())
    }

    fn byte(&mut self) -> u8 {
        // `refill` comes first, and promises more than one question needs.
        let byte = std::mem::take(&mut self.bytes[self.used % SIZE]);
        self.used += 1;
        byte
    }

    /// Returns a few bytes.
    pub(super) fn bytes<const SIZE: usize>(&mut self) -> [u8; SIZE] {
        std::array::from_fn(|_| self.byte())
    }

    /// Returns a number of 16 bits.
    pub(super) fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Returns an index below `count`, which is at most 65,536; zero when there is nothing.
    pub(super) fn index(&mut self, count: usize) -> usize {
        (usize::from(self.number()) * count) >> 16
    }

    /// Returns a bit.
    pub(super) fn bit(&mut self) -> bool {
        if self.bits == 1 {
            self.bits = 0x100 | u32::from(self.byte());
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bits_are_spread() {
        let mut secrets = Secrets::new().expect("the system has random numbers");
        let (mut ones, mut seen) = (0, std::collections::HashSet::new());
        for _ in 0..10_000 {
            secrets.refill().expect("the system has random numbers");
            seen.insert(secrets.number());
            ones += u32::from(secrets.bit());
            assert!(secrets.index(3) < 3);
        }
        // Of 10,000 random numbers, some 9,283 differ, with a deviation of about 25.
        assert!((9000..9600).contains(&seen.len()), "{} numbers differ", seen.len());
        assert!((4500..5500).contains(&ones), "{ones} bits are one");
    }
}
