//! The readiness of a descriptor, and the interest of its handler.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Six separate facts about a descriptor.
///
/// The loop keeps this word for each source. The kernel adds bits; only an operation that would
/// block removes one (law 1). So `READABLE` and `WRITABLE` mean "worth trying". A closed or failed
/// descriptor has them too, since the next operation tells how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing is known.
    pub const NONE: Self = Self(0);
    /// A read would not block: it returns bytes, the end of the stream or an error.
    pub const READABLE: Self = Self(1);
    /// A write would not block.
    pub const WRITABLE: Self = Self(2);
    /// Urgent data, or the exceptional condition of the kind of descriptor (`EPOLLPRI`). An
    /// interested source is told once for each event, as for an error, since no operation has to
    /// block.
    pub const PRIORITY: Self = Self(4);
    /// The peer will send no more (`EPOLLRDHUP`). Earlier bytes can still be read.
    pub const READ_CLOSED: Self = Self(8);
    /// Both directions are closed (`EPOLLHUP`): written bytes are lost.
    pub const WRITE_CLOSED: Self = Self(16);
    /// The descriptor failed (`EPOLLERR`); the next operation or `SO_ERROR` tells why.
    pub const ERROR: Self = Self(32);

    /// Returns whether all of `other` is included.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether any of `other` is included.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns whether nothing is known.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns this without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in either.
    #[must_use]
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the intersection.
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

/// The readiness for which a handler is called. Errors are always delivered, once. `select(2)`
/// notices them within a second if there is no interest in reading or writing.
///
/// A change costs nothing on the edge-triggered backend: descriptors are registered once for
/// everything, and the interest is a mask in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Interest(Readiness);

impl Interest {
    /// Nothing: a paused source.
    pub const NONE: Self = Self(Readiness::NONE);
    /// Reading.
    pub const READ: Self = Self(Readiness::READABLE);
    /// Writing.
    pub const WRITE: Self = Self(Readiness::WRITABLE);
    /// Urgent data, or the exceptional condition of the kind of descriptor.
    pub const PRIORITY: Self = Self(Readiness::PRIORITY);
    /// The end of the peer's stream, for a source that does not read. Earlier bytes may still be
    /// unread. The fact remains known, so a source that was told removes this interest. `select(2)`
    /// notices it within a second.
    pub const HANG_UP: Self = Self(Readiness::READ_CLOSED);
    /// Reading and writing.
    pub const BOTH: Self = Self(Readiness(Readiness::READABLE.0 | Readiness::WRITABLE.0));

    /// Returns the facts that satisfy this interest.
    pub const fn mask(self) -> Readiness {
        self.0
    }

    /// Returns whether all of `other` is included.
    pub const fn contains(self, other: Self) -> bool {
        self.0.contains(other.0)
    }

    /// Returns whether this interest leads to an operation that finds an end or an error.
    pub(crate) const fn heeds_ends(self) -> bool {
        self.0.intersects(Self::BOTH.0)
    }

    /// Returns whether it is empty.
    pub const fn is_none(self) -> bool {
        self.0.is_empty()
    }

    /// Returns this without `other`.
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
