//! The table of sources: the state of each registration.

use std::os::fd::{AsFd, OwnedFd};

use slab::Slab;

use crate::planted::{self, Planted};
use crate::reactor::trim::KEPT;
use crate::source::registration::{ExhaustedBy, Mode, Sharing};
use crate::time::wheel::TimerTag;
use crate::{Interest, Priority, Readiness, Registration, Role, Tag, kernel};

/// Whether a source may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Live,
    /// It has ended and waits to be reaped. It gets no more calls until then.
    Ending,
}

/// What a handler's own calls need of its source. It is lent to the handler for the time of a call
/// ([`Lent`]), so that none of them has to look the source up.
pub(crate) struct Own {
    /// Law 2: the loop owns the descriptor. Sources of timers alone have none.
    pub(crate) fd: Option<OwnedFd>,
    /// Law 1: the sticky readiness word.
    pub(crate) ready: Readiness,
    pub(crate) interest: Interest,
    /// The interest that a level-triggered backend was last told.
    pub(crate) armed: Interest,
    pub(crate) exhausted_by: ExhaustedBy,
    pub(crate) mode: Mode,
    /// The backend watches it. Regular files are not watched: they are always ready.
    pub(crate) polled: bool,
    /// A read has returned the end of the stream, so the loop does not wait for input.
    pub(crate) ended: bool,
    /// It is not a socket, as a failed `send` has shown.
    pub(crate) not_socket: bool,
    /// It has unsent output, so its end resets the connection.
    pub(crate) is_unsent: bool,
    /// Urgent data arrived since the last read that would have blocked. Reads stop at its mark, so
    /// a short read proves nothing.
    pub(crate) urgent: bool,
    /// The last operation would have blocked, and poll(2) denied that.
    pub(crate) disputed: bool,
}

/// It is swapped at the start and at the end of each call.
const _: () = assert!(size_of::<Own>() == 16);

impl Own {
    /// What stands in the table while the handler has the rest: nothing is known, nothing is
    /// wanted.
    pub(crate) const NOTHING: Self = Self {
        fd: None,
        ready: Readiness::NONE,
        interest: Interest::NONE,
        armed: Interest::NONE,
        exhausted_by: ExhaustedBy::WouldBlock,
        mode: Mode::Unknown,
        polled: false,
        ended: false,
        not_socket: false,
        is_unsent: false,
        urgent: false,
        disputed: false,
    };

    /// Returns whether an operation is known to block: the backend watches for its readiness, and
    /// has not reported it. The attempt would cost a system call, and two with edge triggering.
    #[inline]
    pub(crate) fn is_exhausted(&self, interest: Interest, is_edge_triggered: bool) -> bool {
        !self.ready.intersects(interest.mask())
            && self.polled
            && !interest.is_none()
            && (is_edge_triggered || self.armed.contains(interest))
    }

    /// Returns whether a read of zero bytes means the end. A message of zero bytes does not.
    pub(crate) fn is_stream(&self) -> bool {
        let Some(fd) = &self.fd else { return true };
        self.exhausted_by == ExhaustedBy::ShortRead || !kernel::sends_messages(fd.as_fd())
    }

    /// Returns whether a level-triggered backend watches for another interest than it should.
    pub(crate) fn differs(&self) -> bool {
        if planted::is(Planted::InterestKept) && self.armed.contains(self.wanted())
            || planted::is(Planted::InterestUntold) && self.wanted().contains(self.armed)
        {
            return false;
        }
        self.polled && self.wanted() != self.armed
    }

    /// Returns the interest for a level-triggered backend. It excludes reading when the stream has
    /// ended, which would be reported for ever.
    pub(crate) fn wanted(&self) -> Interest {
        if self.ended { self.interest.without(Interest::READ) } else { self.interest }
    }
}

/// The part of a source that is lent to the handler that is being called. It is empty between
/// calls.
pub(crate) struct Lent {
    /// The source that is being called.
    pub(crate) tag: Tag,
    pub(crate) own: Own,
    /// Whether the source has not ended during the call.
    pub(crate) is_live: bool,
    /// Whether an operation has succeeded.
    pub(crate) is_active: bool,
    /// The readiness that was told with this call and is told only once.
    pub(crate) once: Readiness,
}

impl Lent {
    /// Returns an empty loan.
    pub(crate) const NOTHING: Self = Self {
        tag: Tag::NONE,
        own: Own::NOTHING,
        is_live: false,
        is_active: false,
        once: Readiness::NONE,
    };

    /// Takes the part for the handler out of a live source. [`Core::take_back`] puts it back.
    ///
    /// [`Core::take_back`]: crate::reactor::core::Core::take_back
    #[inline]
    pub(crate) fn begin(&mut self, tag: Tag, source: &mut Source) {
        std::mem::swap(&mut self.own, &mut source.own);
        (self.tag, self.is_live, self.once) = (tag, true, Readiness::NONE);
    }
}

/// The state of one registration: a cache line, with everything that an event touches. The handler
/// is stored separately (law 4).
#[repr(align(64))]
pub(crate) struct Source {
    /// The generation of the slot, which distinguishes this registration from others (law 3).
    generation: u32,
    /// The part that its handler has during a call.
    pub(crate) own: Own,
    pub(crate) phase: Phase,
    pub(crate) role: Role,
    pub(crate) sharing: Sharing,
    pub(crate) priority: Priority,
    /// It is in the run queue.
    pub(crate) queued: bool,
    /// It runs whatever its readiness.
    pub(crate) woken: bool,
    /// It is in the list of changes for a level-triggered backend.
    pub(crate) dirty: bool,
    /// The timer behind `deadline` and `idle`.
    pub(crate) timer: Option<TimerTag>,
    /// How many other timers it has armed that have not fired. Some may have been cancelled.
    pub(crate) timers: u32,
    /// The deadline in nanoseconds of loop time; `NEVER` if there is none.
    pub(crate) deadline: u64,
    /// The idle limit in nanoseconds; `NEVER` if exempt.
    pub(crate) idle: u64,
    /// The time of the last activity, on the clock that counts against peers. It is before the start
    /// of the loop, and so below zero, if another process has handed the connection over.
    pub(crate) last_active: i64,
}

/// A source costs one cache miss.
const _: () = assert!(size_of::<Source>() == 64);

/// A time that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// A generation that no registration gets. It marks a slot that is used up.
const RETIRED: u32 = u32::MAX;

impl Source {
    /// Returns a source for `registration`, at time `now`.
    pub(crate) fn new(
        fd: Option<OwnedFd>,
        registration: &Registration,
        idle: u64,
        now: u64,
    ) -> Self {
        let assumed = if fd.is_some() { registration.assumed } else { Readiness::NONE };
        let own = Own {
            fd,
            ready: assumed,
            interest: registration.interest,
            armed: registration.interest,
            exhausted_by: registration.exhausted_by,
            mode: registration.mode,
            ..Own::NOTHING
        };
        Self {
            generation: RETIRED,
            own,
            phase: Phase::Live,
            role: registration.role,
            sharing: registration.sharing,
            priority: registration.priority,
            queued: false,
            woken: false,
            dirty: false,
            timer: None,
            timers: 0,
            deadline: NEVER,
            idle,
            last_active: now.cast_signed(),
        }
    }

    /// Returns the content of a slot that is not used again.
    fn tombstone() -> Self {
        let nothing = Registration::new(Interest::NONE);
        Self { phase: Phase::Ending, ..Self::new(None, &nothing, NEVER, 0) }
    }

    /// Returns whether this is the registration that a tag names.
    #[inline]
    fn is(&self, tag: Tag) -> bool {
        let is_same =
            self.generation == tag.generation() || planted::is(Planted::GenerationIgnored);
        is_same && tag.generation() != RETIRED
    }

    /// Returns whether there is a reason to call the handler.
    #[inline]
    pub(crate) fn is_runnable(&self) -> bool {
        self.phase == Phase::Live && (self.woken || !self.news().is_empty())
    }

    /// Returns the readiness to tell the handler. Every source is told errors.
    #[inline]
    pub(crate) fn news(&self) -> Readiness {
        self.own.ready.and(self.own.interest.mask() | Readiness::ERROR)
    }

    /// Returns when the idle limit passes, on the clock that counts against peers.
    pub(crate) fn silent_at(&self) -> u64 {
        match self.idle {
            NEVER => NEVER,
            idle => self.last_active.saturating_add_unsigned(idle).max(0).cast_unsigned(),
        }
    }

    /// Returns when the timer of the source itself should fire, in nanoseconds of loop time. `lost`
    /// is the time that the loop has lost.
    pub(crate) fn expires_at(&self, lost: u64) -> u64 {
        self.deadline.min(self.silent_at().saturating_add(lost))
    }
}

/// The sources by tag. A free slot gets a new generation before it is used again. A slot without
/// further generations is abandoned (law 3).
pub(crate) struct Sources {
    slots: Slab<Source>,
    /// The current or next generation of each slot.
    generations: Vec<u32>,
    /// The generation of new slots: higher than that of any slot whose memory was given back.
    floor: u32,
    /// No source has ended since memory could not be given back.
    is_pinned: bool,
}

impl Sources {
    /// Returns a table with room for `count` sources. Moving a table takes time and leaves holes in
    /// memory. Memory that has not been used costs nothing.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self {
            slots: Slab::with_capacity(count),
            generations: Vec::with_capacity(count),
            floor: 0,
            is_pinned: false,
        }
    }

    pub(crate) fn insert(&mut self, mut source: Source) -> Tag {
        let entry = self.slots.vacant_entry();
        let slot = entry.key();
        if slot == self.generations.len() {
            self.generations.push(self.floor);
        }
        source.generation = self.generations[slot];
        let index = u32::try_from(slot).expect("descriptors run out long before 2^32 slots");
        let tag = Tag::new(index, source.generation);
        entry.insert(source);
        tag
    }

    /// Returns the source of a tag, if its registration is still valid. Tags are checked here and
    /// in `get_mut`, and nowhere else.
    #[inline]
    pub(crate) fn get(&self, tag: Tag) -> Option<&Source> {
        self.slots.get(tag.slot() as usize).filter(|source| source.is(tag))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, tag: Tag) -> Option<&mut Source> {
        self.slots.get_mut(tag.slot() as usize).filter(|source| source.is(tag))
    }

    pub(crate) fn remove(&mut self, tag: Tag) -> Option<Source> {
        self.get(tag)?;
        let slot = tag.slot() as usize;
        let next = tag.generation() + 1;
        self.generations[slot] = next;
        self.is_pinned = false;
        if next == RETIRED {
            // Its last generation is used up: a tombstone keeps the slot from being used again.
            let place = self.slots.get_mut(slot)?;
            return Some(std::mem::replace(place, Source::tombstone()));
        }
        self.slots.try_remove(slot)
    }

    /// Returns the tags of all sources.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        self.slots
            .iter()
            .filter(|(_, source)| source.generation != RETIRED)
            .map(|(slot, source)| Tag::new(slot as u32, source.generation))
            .collect()
    }

    /// Returns whether there are far more slots than sources, and some may be given back.
    pub(crate) fn has_room(&self) -> bool {
        let slots = self.generations.len();
        slots >= 2 * KEPT && self.slots.len() < slots / 4 && !self.is_pinned
    }

    /// Frees the slots behind the last source, if there are far more than needed. Sources do not
    /// move, since their slots are their names; new ones get the lowest slots. Returns the number
    /// of slots.
    pub(crate) fn trim(&mut self) -> usize {
        if !self.has_room() {
            return self.generations.len();
        }
        self.is_pinned = true;
        let used = self.slots.iter().next_back().map_or(0, |(slot, _)| slot + 1).max(KEPT);
        let given_back = self.generations.get(used..).unwrap_or_default();
        let floor = given_back.iter().copied().max().unwrap_or(0);
        if given_back.is_empty() || floor > RETIRED / 2 {
            return self.generations.len();
        }
        self.floor = self.floor.max(floor);
        self.generations.truncate(used);
        self.generations.shrink_to_fit();
        self.slots.shrink_to_fit();
        used
    }

    /// Returns for how many sources there is room.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.slots.capacity().max(self.generations.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_nothing_once_its_registration_has_ended() {
        let mut sources = Sources::with_capacity(1);
        let first = sources.insert(Source::tombstone());
        assert!(sources.get(first).is_some());
        assert!(sources.remove(first).is_some());
        let second = sources.insert(Source::tombstone());
        assert_eq!(second.slot(), first.slot());
        assert!(sources.get(first).is_none());
        assert!(sources.get_mut(first).is_none());
        assert!(sources.remove(first).is_none());
        assert!(sources.get(second).is_some());
    }

    #[test]
    fn a_slot_without_generations_left_is_never_used_again() {
        let mut sources = Sources::with_capacity(1);
        let tag = sources.insert(Source::tombstone());
        sources.generations[tag.slot() as usize] = RETIRED - 1;
        sources.get_mut(tag).expect("it is there").generation = RETIRED - 1;
        let last = Tag::new(tag.slot(), RETIRED - 1);
        assert!(sources.remove(last).is_some());
        assert!(sources.get(last).is_none());
        assert!(sources.get(Tag::new(tag.slot(), RETIRED)).is_none());
        assert_ne!(sources.insert(Source::tombstone()).slot(), tag.slot());
        assert_eq!(sources.tags().len(), 1);
    }
}
