//! Priorities of sources: the order of calls in a turn, and the share of each level.

use crate::planted::{self, Planted};
use crate::reactor::core::Core;
use crate::{Cx, Tag, Token};

/// How important a source is compared with the others of its loop. Of the sources that are ready in a
/// turn, those with a higher priority are called first; the same holds for the timers that are due.
///
/// No level starves the others. While more sources are ready than a turn calls
/// ([`LoopLimits::calls_per_turn`](crate::LoopLimits::calls_per_turn)), a quarter of these calls is
/// kept for `Normal` and a sixteenth for `Low`. What a level does not need is for the others. With
/// fewer than 16 calls in a turn, the shares hold over several turns.
///
/// There are three levels, and not a number, so that each share can be named: control before the
/// usual before bulk.
///
/// ```
/// use reactor::{Cx, Handler, Priority, Reactor};
/// use std::io;
///
/// struct Job(&'static str);
///
/// impl Handler<Vec<&'static str>> for Job {
///     fn ready(&mut self, cx: &mut Cx<'_, Vec<&'static str>>) -> io::Result<()> {
///         cx.app.push(self.0);
///         Ok(())
///     }
/// }
///
/// let mut reactor = Reactor::new(Vec::new())?;
/// let mut cx = reactor.cx();
/// for (name, priority) in [("bulk", Priority::Low), ("control", Priority::High)] {
///     let token = cx.spawn(Job(name))?;
///     cx.set_priority(token, priority);
///     cx.wake(token);
/// }
/// reactor.run_once(None)?;
/// assert_eq!(reactor.app, ["control", "bulk"]);
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Before all others: what controls the program, and must not wait for its work.
    High,
    /// The usual.
    #[default]
    Normal,
    /// After all others: what may wait.
    Low,
}

/// The number of levels.
pub(crate) const LEVELS: usize = Priority::ALL.len();
/// A share is counted in these parts of the calls of a turn.
pub(crate) const PARTS: usize = 16;

impl Priority {
    /// All levels, in the order of their calls.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Returns the number of the level, in the order of calls.
    pub(crate) fn level(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }

    /// Returns how many parts of the calls of a turn are kept for the level. The highest comes first,
    /// so what is not kept for others is its own.
    pub(crate) const fn share(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 4,
            Self::Low => 1,
        }
    }
}

impl<A, P> Cx<'_, A, P> {
    /// Sets the priority of a source, this one or another ([`Priority`]), for all calls because of its
    /// readiness, wakes and timers. A source that is queued already may be called once in its old
    /// order. A token of a source that has ended, or of another loop, has no effect. A
    /// `protocol::ConnectionId` names a connection as its token does.
    pub fn set_priority(&mut self, source: impl Into<Token>, priority: Priority) {
        let token: Token = source.into();
        self.core.set_priority(token.tag_in(self.core.home), priority);
    }
}

impl<A> Core<A> {
    fn set_priority(&mut self, tag: Tag, priority: Priority) {
        if let Some(source) = self.sources.get_mut(tag) {
            let before = std::mem::replace(&mut source.priority, priority);
            self.count_priority(before, priority);
        }
    }

    /// Records that a source changes from one priority to another. One that does not exist counts as
    /// one of the usual priority.
    pub(crate) fn count_priority(&mut self, from: Priority, to: Priority) {
        if from == to {
            return;
        }
        self.unequal += usize::from(to != Priority::Normal);
        self.unequal -= usize::from(from != Priority::Normal);
        if self.unequal == 0 {
            self.queue.forget_levels();
        }
        self.note_extras();
    }

    /// Puts the queued sources in the order in which this turn calls them.
    pub(crate) fn arrange(&mut self) {
        if self.unequal > 0 && !planted::is(Planted::PriorityIgnored) {
            let sources = &self.sources;
            let priority = |tag| sources.get(tag).map_or(Priority::Normal, |it| it.priority);
            self.queue.arrange(self.limits.calls_per_turn, priority);
        }
    }

    /// Puts the timers that were collected in the order in which they are fired: first those that are
    /// left over from the last turn, so that none waits for ever, then by the priorities of their
    /// sources, and within each by their deadlines.
    #[cold]
    #[inline(never)]
    pub(crate) fn arrange_due(&mut self, left: usize) {
        if self.unequal > 0 && !planted::is(Planted::PriorityIgnored) {
            let (sources, wheel) = (&self.sources, &self.wheel);
            self.due.make_contiguous()[left..].sort_by_key(|timer| {
                let owner = sources.get(Tag::from_bits(wheel.owner(*timer)));
                owner.map_or(Priority::Normal, |it| it.priority).level()
            });
        }
    }
}
