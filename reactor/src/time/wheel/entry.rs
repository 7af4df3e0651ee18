//! The part of a timer that operations on the wheel touch.

use std::num::NonZeroU32;

/// The state of a timer: its bucket in the lowest bits, then its kind, and above that a count of
/// the times that it was put into a bucket. The count distinguishes its current reference from
/// stale ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

impl Place {
    pub(super) const BUCKET: u32 = (1 << 10) - 1;
    pub(super) const PERIODIC: u32 = 1 << 10;
    /// It is a timer of a source itself.
    pub(super) const OWN: u32 = 1 << 11;
    /// Its name is not that of its place: see [`Moved`](super::moved::Moved).
    pub(super) const MOVED: u32 = 1 << 12;
    pub(super) const COUNT: u32 = 1 << 13;
    /// No timer is armed.
    pub(super) const NOWHERE: u32 = Self::BUCKET;
    /// The timer is due and has not fired yet.
    pub(super) const COLLECTED: u32 = Self::BUCKET - 1;

    pub(super) fn bucket(self) -> u32 {
        self.0 & Self::BUCKET
    }

    pub(super) fn is_periodic(self) -> bool {
        self.0 & Self::PERIODIC != 0
    }

    pub(super) fn is_own(self) -> bool {
        self.0 & Self::OWN != 0
    }

    pub(super) fn is_moved(self) -> bool {
        self.0 & Self::MOVED != 0
    }

    /// Returns the kind of the timer.
    pub(super) fn kind(self) -> u32 {
        self.0 & (Self::PERIODIC | Self::OWN | Self::MOVED)
    }

    pub(super) fn with_bucket(self, bucket: u32) -> Self {
        Self(self.0 & !Self::BUCKET | bucket)
    }

    /// Returns the state without a timer, which keeps the count alone.
    pub(super) fn freed(self) -> Self {
        Self(self.0 & !(Self::COUNT - 1) | Self::NOWHERE)
    }

    /// Returns the next state, in a bucket. After 2^19 the count starts again.
    pub(super) fn next(self, bucket: u32) -> Self {
        Self(self.with_bucket(bucket).0.wrapping_add(Self::COUNT))
    }

    pub(super) fn is_first(self) -> bool {
        self.0 < Self::COUNT
    }
}

/// The part of a timer that arming, moving and cancelling touch. Four share a cache line. A page
/// has as many as possible: with a million timers, finding the page takes as long as fetching the
/// line.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The deadline in nanoseconds. It may be after its bucket, and never before it.
    pub(super) deadline: u64,
    pub(super) generation: NonZeroU32,
    pub(super) place: Place,
}
