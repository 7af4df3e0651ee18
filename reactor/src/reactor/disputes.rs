//! Operations that would block although `poll(2)` denies it.

use std::time::{Duration, Instant};

use crate::reactor::core::Core;
use crate::{Readiness, Tag};

/// The pause before such an operation is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(1);

impl<A> Core<A> {
    /// Records that an operation would block again although poll(2) still denies it. The loop
    /// believes it for a while, so that it does not spin, and then tries again.
    pub(crate) fn dispute(&mut self, tag: Tag, mask: Readiness) {
        self.disputed.push((tag, mask));
    }

    /// Tries disputed operations again.
    #[inline]
    pub(crate) fn retry_disputed(&mut self) {
        while let Some((tag, mask)) = self.disputed.pop() {
            self.update(tag, |source| source.own.ready |= mask);
        }
    }

    /// Returns whether a source will be tried again without an event.
    pub(crate) fn is_disputed(&self, tag: Tag) -> bool {
        self.disputed.iter().any(|(disputed, _)| *disputed == tag)
    }

    /// Returns when disputed operations are tried again, if there are any.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        (!self.disputed.is_empty()).then(|| self.now + RETRY)
    }
}
