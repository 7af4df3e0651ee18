//! The table of sources: what the loop knows of each registration.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use slab::Slab;

use crate::trim::KEPT;
use crate::wheel::TimerTag;
use crate::{Interest, Readiness, Tag, sys};

/// What a source is to the loop as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One peer's connection: counted, limited in idle time, waited for when draining.
    Connection,
    /// Accepts connections.
    Listener,
    /// Anything else: timers, signals, descriptors of the embedder's own.
    Other,
}

/// How a source is registered: what it wants, and what the loop may assume of its descriptor.
///
/// ```
/// use reactor::{Interest, Registration};
///
/// let registration = Registration::new(Interest::READ);
/// # let _ = registration;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    pub(crate) interest: Interest,
    pub(crate) role: Role,
    pub(crate) idle: Idle,
    pub(crate) mode: Mode,
    pub(crate) drains: Drains,
    pub(crate) sharing: Sharing,
    /// What is assumed of the descriptor before the first report.
    pub(crate) assumed: Readiness,
}

/// How long a source may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// As long as its role may.
    ByRole,
    /// For ever.
    Exempt,
    /// As long as this.
    Limit(Duration),
}

/// What is known of the descriptor's blocking mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing: it is looked at, and made non-blocking.
    Unknown,
    /// Its maker made it non-blocking.
    Nonblocking,
    /// It stays blocking, since other processes share it.
    Blocking,
}

/// Whether others may have copies of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// They may: closing it does not have to be its end.
    Possible,
    /// It was made here and was lent to nobody.
    Excluded,
}

/// What proves that a descriptor has been drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drains {
    /// Only an operation that would block.
    WouldBlock,
    /// A short read too. True of TCP unless urgent data, an end or an error is about, which the
    /// kernel reports beforehand; not of Unix sockets, whose reads stop where descriptors were
    /// passed, nor of most other things.
    ShortRead,
}

impl Registration {
    /// A source that wants `interest`, of whose descriptor nothing is assumed but that writing is
    /// worth trying.
    pub const fn new(interest: Interest) -> Self {
        Self {
            interest,
            role: Role::Other,
            idle: Idle::ByRole,
            mode: Mode::Unknown,
            drains: Drains::WouldBlock,
            sharing: Sharing::Possible,
            assumed: Readiness::WRITABLE,
        }
    }

    /// Sets what the source is to the loop as a whole.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets how long the source may be silent, instead of what its role has by default; `None`
    /// exempts it. Zero is refused when the source is registered.
    #[must_use]
    pub const fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.idle = match limit {
            Some(limit) => Idle::Limit(limit),
            None => Idle::Exempt,
        };
        self
    }

    /// Leaves the descriptor in blocking mode, because its open file description is shared with
    /// other processes that rely on it, as standard input and output are. Every operation then
    /// asks first with `poll(2)`, and writes are cut to what a pipe takes without blocking.
    #[must_use]
    pub const fn keep_blocking(mut self) -> Self {
        self.mode = Mode::Blocking;
        self
    }

    /// The descriptor is known to be non-blocking: saves two system calls.
    #[must_use]
    pub const fn known_nonblocking(mut self) -> Self {
        self.mode = Mode::Nonblocking;
        self
    }

    /// A read that does not fill its buffer proves that the descriptor was drained, which saves the
    /// read that would block. That is so of TCP (where urgent data, an end or an error is about, the
    /// kernel says so beforehand, and the loop looks twice), of pipes, and of Unix stream sockets
    /// whose peer passes no descriptors; not of terminals, and not of datagrams.
    #[must_use]
    pub const fn short_read_drains(mut self) -> Self {
        self.drains = Drains::ShortRead;
        self
    }

    /// One of a connection, whose descriptor is lent to nobody who could copy it.
    pub(crate) const fn stream(is_tcp: bool, sharing: Sharing) -> Self {
        let plain = Self::new(Interest::BOTH).role(Role::Connection).known_nonblocking();
        let plain = if is_tcp { plain.short_read_drains() } else { plain };
        Self { sharing, ..plain }
    }

    /// The descriptor is a socket that is still connecting: nothing is worth trying yet.
    #[must_use]
    pub(crate) const fn connecting(mut self) -> Self {
        self.assumed = Readiness::NONE;
        self
    }
}

/// Whether a source may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Live,
    /// It has ended and waits to be reaped: nothing is delivered to it any more.
    Doomed,
}

/// What the loop knows of one registration: a cache line, and all that an event has to touch. The
/// handler is kept apart (law 4).
#[repr(align(64))]
pub(crate) struct Source {
    /// Of the slot: what tells this registration from those before and after (law 3).
    generation: u32,
    /// Law 2: the loop owns the descriptor. Sources of timers alone have none.
    pub(crate) fd: Option<OwnedFd>,
    /// Law 1: the sticky readiness word.
    pub(crate) ready: Readiness,
    pub(crate) interest: Interest,
    /// What a level-triggered backend was last told.
    pub(crate) armed: Interest,
    pub(crate) phase: Phase,
    pub(crate) role: Role,
    pub(crate) drains: Drains,
    pub(crate) mode: Mode,
    pub(crate) sharing: Sharing,
    /// In the run queue.
    pub(crate) queued: bool,
    /// To be run whatever the readiness.
    pub(crate) woken: bool,
    /// In the list of what a level-triggered backend has to be told.
    pub(crate) dirty: bool,
    /// Known to the backend. Regular files are not: they are always ready.
    pub(crate) polled: bool,
    /// A read has returned the end of the stream, so reading is not worth waiting for.
    pub(crate) ended: bool,
    /// Not a socket, as a failed `send` has shown.
    pub(crate) not_socket: bool,
    /// Ending it now would cut short what is said to the peer, so that resets the connection.
    pub(crate) is_unsent: bool,
    /// Urgent data came since the last read that would have blocked: reading stops at its mark, so
    /// a short read proves nothing.
    pub(crate) urgent: bool,
    /// The last operation would have blocked, and poll(2) said that it would not.
    pub(crate) doubtful: bool,
    /// The timer behind `deadline` and `idle`.
    pub(crate) timer: Option<TimerTag>,
    /// How many other timers it has armed that have not fired: some may have been cancelled.
    pub(crate) timers: u32,
    /// In nanoseconds of loop time; `NEVER` when there is none.
    pub(crate) deadline: u64,
    /// Nanoseconds of silence allowed; `NEVER` when exempt.
    pub(crate) idle: u64,
    /// When something last happened, on the clock of what counts against peers.
    pub(crate) last_active: u64,
}

/// A source costs one cache miss.
const _: () = assert!(size_of::<Source>() == 64);

/// A time that does not come.
pub(crate) const NEVER: u64 = u64::MAX;

/// The generation that no registration gets: its slot is used up.
const RETIRED: u32 = u32::MAX;

impl Source {
    /// A source that is registered as `registration` says, at time `now`.
    pub(crate) fn new(
        fd: Option<OwnedFd>,
        registration: &Registration,
        idle: u64,
        now: u64,
    ) -> Self {
        let assumed = if fd.is_some() { registration.assumed } else { Readiness::NONE };
        Self {
            generation: RETIRED,
            fd,
            ready: assumed,
            interest: registration.interest,
            armed: registration.interest,
            phase: Phase::Live,
            role: registration.role,
            drains: registration.drains,
            mode: registration.mode,
            sharing: registration.sharing,
            queued: false,
            woken: false,
            dirty: false,
            polled: false,
            ended: false,
            not_socket: false,
            is_unsent: false,
            urgent: false,
            doubtful: false,
            timer: None,
            timers: 0,
            deadline: NEVER,
            idle,
            last_active: now,
        }
    }

    /// What stands in a slot that is not used again.
    fn tombstone() -> Self {
        let nothing = Registration::new(Interest::NONE);
        Self { phase: Phase::Doomed, ..Self::new(None, &nothing, NEVER, 0) }
    }

    /// Whether this is the registration that a tag names.
    fn is(&self, tag: Tag) -> bool {
        self.generation == tag.generation() && tag.generation() != RETIRED
    }

    /// Whether there is something to call the handler for. Errors are in everybody's interest.
    pub(crate) fn is_runnable(&self) -> bool {
        self.phase == Phase::Live
            && (self.woken || self.ready.intersects(self.interest.mask() | Readiness::ERROR))
    }

    /// Whether an operation is known to block: the backend watches for what it takes, and has not
    /// reported it. Asking the kernel all the same would cost a call, and two on an edge.
    pub(crate) fn is_drained(&self, interest: Interest, is_edge_triggered: bool) -> bool {
        let watched = self.polled && (is_edge_triggered || self.armed.contains(interest));
        watched && !interest.is_none() && !self.ready.intersects(interest.mask())
    }

    /// Whether reading nothing means that there is an end: of messages, one may be empty.
    pub(crate) fn is_stream(&self) -> bool {
        let Some(fd) = &self.fd else { return true };
        self.drains == Drains::ShortRead || !sys::sends_messages(fd.as_fd())
    }

    /// What a level-triggered backend should watch for: not for reading once the stream has
    /// ended, which would be reported for ever.
    pub(crate) fn wanted(&self) -> Interest {
        if self.ended { self.interest.without(Interest::READ) } else { self.interest }
    }

    /// When it has been silent for too long, on the clock of what counts against peers.
    pub(crate) fn silent_at(&self) -> u64 {
        self.last_active.saturating_add(self.idle)
    }

    /// When the source's own timer should fire, in nanoseconds of loop time, of which the loop has
    /// lost so many.
    pub(crate) fn expires_at(&self, lost: u64) -> u64 {
        self.deadline.min(self.silent_at().saturating_add(lost))
    }
}

/// The sources by tag. A slot that becomes free gets a new generation before it is used again,
/// and is given up when it has no generation left (law 3).
pub(crate) struct Sources {
    slots: Slab<Source>,
    /// The generation of each slot's use, now or next.
    generations: Vec<u32>,
    /// The generation of slots not used before: past all whose memory was given back.
    floor: u32,
    /// None has ended since memory could not be given back.
    is_pinned: bool,
}

impl Sources {
    /// A table that need not move before it holds `count` sources: moving takes time, and leaves
    /// holes that nothing else fits. Memory that has not been used yet costs nothing.
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

    /// The source of a tag, if its registration still stands. Here and in `get_mut` tags are
    /// checked, and nowhere else.
    pub(crate) fn get(&self, tag: Tag) -> Option<&Source> {
        self.slots.get(tag.slot() as usize).filter(|source| source.is(tag))
    }

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

    /// The tags of all sources.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        self.slots
            .iter()
            .filter(|(_, source)| source.generation != RETIRED)
            .map(|(slot, source)| Tag::new(slot as u32, source.generation))
            .collect()
    }

    /// Whether there are far more slots than sources, and some of them may be given back.
    pub(crate) fn has_room(&self) -> bool {
        let slots = self.generations.len();
        slots >= 2 * KEPT && self.slots.len() < slots / 4 && !self.is_pinned
    }

    /// Gives back the slots behind the last source, if there are far more than needed. Sources stay
    /// where they are, since they are named by their slots; those who come get the lowest. Returns how
    /// many slots there are now.
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

    /// How many sources there is room for.
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
