//! A timer, to those who have one.

use std::fmt;
use std::num::NonZeroU32;

/// Names one armed timer of one wheel for ever: one that fired or was cancelled is never taken for a
/// later one. In another wheel it means nothing, or something else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TimerTag {
    pub(super) index: u32,
    /// Never 0, so that an `Option` takes no more.
    pub(super) generation: NonZeroU32,
}

/// Every source keeps one.
const _: () = assert!(size_of::<Option<TimerTag>>() == 8);

impl fmt::Debug for TimerTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.index, self.generation)
    }
}

/// What a timer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// The tag of the source it belongs to, as bits.
    pub(crate) owner: u64,
    /// What the owner calls it.
    pub(crate) key: u64,
}

/// A timer that is due and has not fired yet: until it does, it can be cancelled and moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Collected {
    pub(super) deadline: u64,
    /// Where it is.
    pub(super) tag: TimerTag,
}

/// A timer that fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The timer; a one-shot is gone by now.
    pub(crate) id: TimerTag,
    /// What it carries.
    pub(crate) payload: Payload,
    /// When it was to fire, in nanoseconds; of several periods, the first.
    pub(crate) deadline: u64,
    /// How many periods have become due since it fired last: 1 for a one-shot.
    pub(crate) ticks: u64,
}
