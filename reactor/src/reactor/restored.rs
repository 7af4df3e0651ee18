//! Connections that this loop has from another process.

use std::collections::{HashMap, VecDeque};

use crate::reactor::core::Core;
use crate::{Reactor, Tag, Token};

/// The connections of another process that are frozen still.
#[derive(Default)]
pub(crate) struct Restored {
    /// When each was active last. The first report of the kernel, that there is room to send, is no
    /// activity.
    frozen: HashMap<Tag, i64>,
    /// Those that are to go on.
    thawing: VecDeque<Tag>,
}

impl Restored {
    #[inline]
    pub(crate) fn has_thawing(&self) -> bool {
        !self.thawing.is_empty()
    }
}

impl<A> Core<A> {
    /// Notes a frozen connection that has been silent for so many nanoseconds.
    pub(crate) fn note_restored(&mut self, tag: Tag, silence: u64) {
        let last_active = self.charged.cast_signed().saturating_sub_unsigned(silence);
        self.restored.frozen.insert(tag, last_active);
    }
}

impl<A: 'static, P> crate::Cx<'_, A, P> {
    /// Makes a connection go on that this loop has from another process
    /// ([`Stream::restore`](crate::Stream::restore)), and that waits for this. A token of another
    /// source has no effect.
    pub fn thaw(&mut self, connection: Token) {
        self.core.restored.thawing.push_back(connection.tag_in(self.core.home));
        self.core.notifier.signal();
        self.core.notifier.set_pending();
    }
}

impl<A: 'static> Reactor<A> {
    /// Makes connections of another process go on that are to be frozen no more, a bounded number in
    /// a turn. Those that this loop hands over already wait for their answer.
    pub(super) fn thaw(&mut self) {
        for _ in 0..self.core.limits.calls_per_turn {
            let Some(tag) = self.core.restored.thawing.pop_front() else { return };
            let Some(last_active) = self.core.restored.frozen.remove(&tag) else { continue };
            // No limit passes by that before the loop has looked at its events.
            let now = self.core.charged.cast_signed();
            self.core.update_limits(tag, |source| {
                source.last_active = last_active.max(now.saturating_sub_unsigned(source.idle));
            });
            if self.core.departures.as_ref().is_none_or(|it| it.leaves_alone(tag)) {
                self.tell(tag, |handler, cx| handler.stays(cx));
            }
        }
        self.core.notifier.set_pending();
    }
}
