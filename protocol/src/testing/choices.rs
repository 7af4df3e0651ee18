//! Numbers that bytes choose.

/// Numbers that are chosen by bytes: those of a fuzzer, which learns which of them matter, or those
/// of a seed ([`Random::bytes`](crate::Random::bytes)). So a play of events can be driven by both.
///
/// ```
/// use protocol::testing::Choices;
///
/// let mut choices = Choices::new([255, 0, b'a', b'b']);
/// assert_eq!((choices.below(10), choices.below(10)), (9, 0));
/// assert_eq!(choices.bytes(5), b"ab");
/// assert!(choices.is_over() && choices.below(10) == 0);
/// ```
#[derive(Clone, Debug)]
pub struct Choices {
    bytes: Vec<u8>,
    place: usize,
}

impl Choices {
    /// Returns the choices of `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), place: 0 }
    }

    fn byte(&mut self) -> usize {
        let byte = self.bytes.get(self.place).copied().unwrap_or(0);
        self.place += 1;
        usize::from(byte)
    }

    /// Returns a number below `bound`, which is 65,536 at most: zero when all bytes were used.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound <= 256 {
            return (self.byte() * bound) >> 8;
        }
        let number = 256 * self.byte() + self.byte();
        (number * bound) >> 16
    }

    /// Returns the next `count` bytes as they are: fewer when there are no more.
    pub fn bytes(&mut self, count: usize) -> &[u8] {
        let start = self.place.min(self.bytes.len());
        let end = start.saturating_add(count).min(self.bytes.len());
        self.place = self.place.saturating_add(count);
        &self.bytes[start..end]
    }

    /// Leaves out the bytes that were not used: every further number is zero.
    pub fn finish(&mut self) {
        self.bytes.truncate(self.place);
    }

    /// Returns how many bytes were asked for, those after the last included.
    pub fn asked(&self) -> usize {
        self.place
    }

    /// Returns whether all bytes were used.
    pub fn is_over(&self) -> bool {
        self.place >= self.bytes.len()
    }
}
