//! The name of a timer, and a timer that fires.

use std::fmt;
use std::num::NonZeroU32;

/// Names one armed timer of one wheel for ever. A timer that fired or was cancelled is never taken
/// for a later one. In another wheel, the name is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TimerTag {
    pub(super) index: u32,
    /// Never 0, so that an `Option` is not larger.
    pub(super) generation: NonZeroU32,
}

/// Every source keeps one.
const _: () = assert!(size_of::<Option<TimerTag>>() == 8);

impl fmt::Debug for TimerTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.index, self.generation)
    }
}

/// The payload of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// The tag of its source, as bits.
    pub(crate) owner: u64,
    /// The key that the owner gave it.
    pub(crate) key: u64,
}

/// A timer that is due and has not fired. Until it fires, it can be cancelled and moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Collected {
    pub(super) deadline: u64,
    /// Its place.
    pub(super) tag: TimerTag,
}

/// A timer that fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The timer. A one-shot timer has been removed.
    pub(crate) id: TimerTag,
    /// Its payload.
    pub(crate) payload: Payload,
    /// Its deadline in nanoseconds; of several periods, the first one.
    pub(crate) deadline: u64,
    /// How many periods have passed since it fired last: 1 for a one-shot timer.
    pub(crate) ticks: u64,
}
