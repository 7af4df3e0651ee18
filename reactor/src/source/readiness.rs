//! What the kernel says of a descriptor, and what its handler wants to hear.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Six facts about a descriptor, kept apart because they call for different things.
///
/// The loop keeps one of these for each source and only adds to it what the kernel reports; only an
/// operation that would block takes away (law 1). `READABLE` and `WRITABLE` therefore mean "worth
/// trying": a closed or failed descriptor is worth trying too, since the attempt tells how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing is known.
    pub const NONE: Self = Self(0);
    /// A read would not block: there are bytes, an end of stream or an error to be had.
    pub const READABLE: Self = Self(1);
    /// A write would not block.
    pub const WRITABLE: Self = Self(2);
    /// Urgent data, or the exceptional condition of the descriptor's kind (`EPOLLPRI`). A source that
    /// is interested in it is told once for each event, as of an error: taking it need not ever
    /// block.
    pub const PRIORITY: Self = Self(4);
    /// The peer will send no more (`EPOLLRDHUP`); what it sent before can still be read.
    pub const READ_CLOSED: Self = Self(8);
    /// Both directions are closed (`EPOLLHUP`): what is written goes nowhere.
    pub const WRITE_CLOSED: Self = Self(16);
    /// The descriptor failed (`EPOLLERR`); the next operation or `SO_ERROR` tells why.
    pub const ERROR: Self = Self(32);

    /// Whether all of `other` is in here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in here.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is known.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All of this but what is in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in either.
    #[must_use]
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Readiness {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Readiness, &str); 6] = [
            (Readiness::READABLE, "readable"),
            (Readiness::WRITABLE, "writable"),
            (Readiness::PRIORITY, "priority"),
            (Readiness::READ_CLOSED, "read-closed"),
            (Readiness::WRITE_CLOSED, "write-closed"),
            (Readiness::ERROR, "error"),
        ];
        let known: Vec<&str> =
            NAMES.iter().filter(|(bit, _)| self.contains(*bit)).map(|(_, name)| *name).collect();
        f.write_str(if known.is_empty() { "nothing" } else { "" })?;
        f.write_str(&known.join("|"))
    }
}

/// What a handler wants to be called for. Errors are always delivered, once; `select(2)` notices one
/// within a second where neither reading nor writing is wanted.
///
/// Changing it costs nothing on the edge-triggered backend: the kernel was told everything once,
/// and interest is a mask in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Interest(Readiness);

impl Interest {
    /// To be left alone: a paused source.
    pub const NONE: Self = Self(Readiness::NONE);
    /// Reading.
    pub const READ: Self = Self(Readiness::READABLE);
    /// Writing.
    pub const WRITE: Self = Self(Readiness::WRITABLE);
    /// Urgent data, or the exceptional condition of the descriptor's kind.
    pub const PRIORITY: Self = Self(Readiness::PRIORITY);
    /// The end of the peer's stream, for a source that does not want to read: what the peer sent
    /// before may still be unread. It stays known, so a source that was told takes the interest
    /// away. `select(2)` notices it within a second.
    pub const HANG_UP: Self = Self(Readiness::READ_CLOSED);
    /// Reading and writing.
    pub const BOTH: Self = Self(Readiness(Readiness::READABLE.0 | Readiness::WRITABLE.0));

    /// The facts that satisfy this interest.
    pub const fn mask(self) -> Readiness {
        self.0
    }

    /// Whether all of `other` is wanted.
    pub const fn contains(self, other: Self) -> bool {
        self.0.contains(other.0)
    }

    /// Whether an end or an error would lead to an attempt that finds out about it.
    pub(crate) const fn heeds_ends(self) -> bool {
        self.0.intersects(Self::BOTH.0)
    }

    /// Whether nothing is wanted.
    pub const fn is_none(self) -> bool {
        self.0.is_empty()
    }

    /// All of this but what is in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0.without(other.0))
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_print_by_name() {
        assert_eq!(format!("{:?}", Readiness::NONE), "nothing");
        let both = Readiness::READABLE | Readiness::READ_CLOSED;
        assert_eq!(format!("{both:?}"), "readable|read-closed");
    }

    #[test]
    fn taking_away_leaves_the_rest() {
        let mut known = Readiness::READABLE | Readiness::WRITABLE;
        known = known.without(Readiness::READABLE);
        assert!(known.contains(Readiness::WRITABLE));
        assert!(!known.intersects(Readiness::READABLE));
    }
}
