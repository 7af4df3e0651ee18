//! The identity of a registration and of a timer.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::time::wheel::TimerTag;

/// Names one registration within its loop: a slot of the loop's table and the generation of its
/// use.
///
/// It passes through the kernel in the 64 bits of every event, and is checked in one place when it
/// comes back (law 3). A tag whose registration has ended names nothing, however often the slot or
/// the descriptor is reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    slot: u32,
    generation: u32,
}

impl Tag {
    /// Returns the tag of a slot and a generation.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// A tag that never names anything: no registration gets its generation.
    pub const NONE: Self = Self::new(u32::MAX, u32::MAX);

    /// Returns the index in the loop's table.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// Returns how many registrations of that slot ended before this one.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Returns the 64 bits for the kernel.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// Returns the tag for the 64 bits from the kernel.
    pub const fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.slot, self.generation)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The number of a loop within the process. It distinguishes names of different loops. Names print
/// and hash without it, so that output is the same in every run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Home(u32);

impl Home {
    /// The number of no loop.
    const NONE: Self = Self(0);

    /// Returns the number of a new loop.
    pub(crate) fn new() -> io::Result<Self> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        Self::after(&LAST)
    }

    /// Returns the number after `last`, if there is one: a number that is reused would name two
    /// loops.
    fn after(last: &AtomicU32) -> io::Result<Self> {
        let next = |number: u32| number.checked_add(1);
        match last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(last) => Ok(Self(last + 1)),
            Err(_) => {
                Err(io::Error::other("this process has made 2^32 loops, and cannot name more"))
            }
        }
    }
}

impl Hash for Home {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

/// Names one registration of one loop for ever. When that registration has ended, and in any other
/// loop, it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    tag: Tag,
    home: Home,
}

impl Token {
    /// A token that never names anything.
    pub const NONE: Self = Self { tag: Tag::NONE, home: Home::NONE };

    pub(crate) const fn new(tag: Tag, home: Home) -> Self {
        Self { tag, home }
    }

    /// Returns the name of the registration within its loop.
    pub const fn tag(self) -> Tag {
        self.tag
    }

    /// Returns the token as a number, for code that knows no tokens.
    pub(crate) fn to_bits(self) -> u128 {
        u128::from(self.home.0) << 64 | u128::from(self.tag.to_bits())
    }

    /// Returns the token for a number of [`to_bits`](Self::to_bits).
    pub(crate) fn from_bits(bits: u128) -> Self {
        Self { tag: Tag::from_bits(bits as u64), home: Home((bits >> 64) as u32) }
    }

    /// Returns its name in the loop `home`. In any loop but its own, it names nothing.
    #[inline]
    pub(crate) fn tag_in(self, home: Home) -> Tag {
        if self.home == home { self.tag } else { Tag::NONE }
    }
}

/// Returns the token that names nothing.
impl Default for Token {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.tag, f)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.tag, f)
    }
}

/// Names one armed timer of one loop for ever. When that timer has fired or was cancelled, and in
/// any other loop, it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId {
    timer: TimerTag,
    home: Home,
}

/// It is small, since programs keep one for each operation that may time out.
const _: () = assert!(size_of::<Option<TimerId>>() == 12);

impl TimerId {
    pub(crate) const fn new(timer: TimerTag, home: Home) -> Self {
        Self { timer, home }
    }

    /// Returns its name in the loop `home`. In any loop but its own, it names nothing.
    #[inline]
    pub(crate) fn timer_in(self, home: Home) -> Option<TimerTag> {
        (self.home == home).then_some(self.timer)
    }
}

impl fmt::Debug for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.timer, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_journey_through_the_kernel() {
        for tag in [Tag::new(0, 0), Tag::new(u32::MAX, 1), Tag::new(7, u32::MAX)] {
            assert_eq!(Tag::from_bits(tag.to_bits()), tag);
        }
    }

    #[test]
    fn a_token_survives_being_a_number() {
        for home in [Home::NONE, Home(1), Home(u32::MAX)] {
            let token = Token::new(Tag::new(u32::MAX - 1, 3), home);
            assert_eq!(Token::from_bits(token.to_bits()), token);
        }
    }

    #[test]
    fn no_two_loops_get_one_number() {
        let last = AtomicU32::new(u32::MAX - 1);
        assert!(Home::after(&last).is_ok_and(|home| home == Home(u32::MAX)));
        for _ in 0..2 {
            assert!(Home::after(&last).is_err());
        }
    }
}
