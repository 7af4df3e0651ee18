//! What the wheel keeps of each timer at hand.

use std::num::NonZeroU32;

/// Where a timer is: its bucket in the lowest bits, then what kind it is of, and above that a count
/// of the times it was put into a bucket, which tells its reference from those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

impl Place {
    pub(super) const BUCKET: u32 = (1 << 10) - 1;
    pub(super) const PERIODIC: u32 = 1 << 10;
    /// It stands for a source itself.
    pub(super) const OWN: u32 = 1 << 11;
    /// It has another name than that of its place: see [`Moved`](super::moved::Moved).
    pub(super) const MOVED: u32 = 1 << 12;
    pub(super) const COUNT: u32 = 1 << 13;
    /// There is no armed timer.
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

    /// What kind of timer it is of.
    pub(super) fn kind(self) -> u32 {
        self.0 & (Self::PERIODIC | Self::OWN | Self::MOVED)
    }

    pub(super) fn with_bucket(self, bucket: u32) -> Self {
        Self(self.0 & !Self::BUCKET | bucket)
    }

    /// Of no timer: the count alone goes on.
    pub(super) fn freed(self) -> Self {
        Self(self.0 & !(Self::COUNT - 1) | Self::NOWHERE)
    }

    /// Another one, in a bucket. After 2^19 the count begins again.
    pub(super) fn next(self, bucket: u32) -> Self {
        Self(self.with_bucket(bucket).0.wrapping_add(Self::COUNT))
    }

    pub(super) fn is_first(self) -> bool {
        self.0 < Self::COUNT
    }
}

/// What arming, moving and cancelling touch of a timer: four share a cache line, and a page as many
/// as can be, since among a million finding the page takes as long as fetching the line.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// In nanoseconds; it may be past the bucket, never before it.
    pub(super) deadline: u64,
    pub(super) generation: NonZeroU32,
    pub(super) place: Place,
}
