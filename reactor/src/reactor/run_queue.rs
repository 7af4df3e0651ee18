//! The sources to run, in order.

use crate::planted::{self, Planted};
use crate::reactor::levels::Levels;
use crate::reactor::trim::Table;
use crate::{Priority, Tag};

/// A queue that is emptied once a turn. It takes fewer instructions than a ring.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    tags: Vec<Tag>,
    /// The first tag that has not been taken.
    next: usize,
    /// How many the last turn has called, if it has left others.
    called: usize,
    /// What orders it by priority, if a source has one.
    levels: Option<Box<Levels>>,
}

impl RunQueue {
    /// Appends a source.
    #[inline]
    pub(crate) fn push(&mut self, tag: Tag) {
        self.tags.push(tag);
    }

    /// Takes the first source.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Tag> {
        let tag = self.tags.get(self.next).copied()?;
        self.next += 1;
        Some(tag)
    }

    /// Returns how many sources wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.tags.len() - self.next
    }

    /// Drops the tags that were taken. To be called once a turn.
    #[inline]
    pub(crate) fn end_turn(&mut self) {
        if self.next < self.tags.len() && !planted::is(Planted::QueueDropped) {
            self.tags.drain(..self.next);
            self.called = self.next;
        } else {
            self.tags.clear();
        }
        self.next = 0;
    }

    /// Puts the sources in the order in which a turn with `budget` calls runs them. `priority` tells
    /// that of a source. To be called before the first is taken.
    #[cold]
    pub(crate) fn arrange(&mut self, budget: usize, priority: impl Fn(Tag) -> Priority) {
        // A turn that has panicked has not ended.
        if self.next > 0 {
            self.end_turn();
        }
        let levels = self.levels.get_or_insert_default();
        levels.arrange(&mut self.tags, std::mem::take(&mut self.called), budget, priority);
    }

    /// Forgets the levels: no source has a priority any more.
    pub(crate) fn forget_levels(&mut self) {
        self.levels = None;
    }
}

impl Table for RunQueue {
    fn room(&self) -> usize {
        let levels = self.levels.as_ref().map_or(0, |levels| levels.room());
        self.tags.capacity().max(levels)
    }

    fn used(&self) -> usize {
        self.tags.len()
    }

    fn shrink(&mut self, room: usize) {
        self.tags.shrink_to(room);
        if let Some(levels) = &mut self.levels {
            levels.shrink(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_keep_their_order_over_turns_that_leave_some() {
        let tag = |slot| Tag::new(slot, 0);
        let mut queue = RunQueue::default();
        (0..3).for_each(|slot| queue.push(tag(slot)));
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.pop(), Some(tag(0)));
        queue.push(tag(3));
        queue.end_turn();
        assert_eq!(queue.len(), 3);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [tag(1), tag(2), tag(3)]);
        assert_eq!(queue.len(), 0);
        queue.end_turn();
        assert_eq!(queue.used(), 0, "what was taken keeps no room");
    }
}
