//! The identity of a registration.

use std::fmt;

/// Names one registration for ever: a slot of the loop's table and the generation of its use.
///
/// It travels through the kernel in the 64 bits that every event carries and is checked in one
/// place when it comes back (law 3): a token whose registration has ended names nothing, however
/// often the slot or the descriptor is used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    slot: u32,
    generation: u32,
}

/// The token that names nothing.
impl Default for Token {
    fn default() -> Self {
        Self::NONE
    }
}

impl Token {
    /// The token of a slot and a generation of it.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// A token that names nothing and never will: its generation is given to no registration.
    pub const NONE: Self = Self::new(u32::MAX, u32::MAX);

    /// The place in the loop's table.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// How many registrations had ended in that slot before this one.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// As the 64 bits that travel through the kernel.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// From the 64 bits that travelled through the kernel.
    pub const fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.slot, self.generation)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_journey_through_the_kernel() {
        for token in [Token::new(0, 0), Token::new(u32::MAX, 1), Token::new(7, u32::MAX)] {
            assert_eq!(Token::from_bits(token.to_bits()), token);
        }
    }
}
