//! Locks of chunks: one client writes to a chunk at a time, and the requests of others wait for it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a lock lasts at most, as with the real master: a client that does not unlock is gone.
pub(super) const LOCK_TIME: Duration = Duration::from_secs(120);

/// A chunk of a file, which may be a hole still: the inode, and the index in it.
pub(super) type Place = (u32, u32);

/// A chunk that a session has locked.
#[derive(Debug)]
struct Lock<W> {
    session: u32,
    until: Instant,
    /// Chunkservers change the chunk, so it cannot be used by the same session either.
    is_busy: bool,
    waiting: VecDeque<W>,
}

/// What locking has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locked {
    /// The session has it now.
    Yes,
    /// The session had it before, and keeps it for another while.
    Already,
    /// Another one has it, or chunkservers change the chunk.
    No,
}

/// The locks of all chunks, with what waits for them.
#[derive(Debug)]
pub(in crate::mfs::master) struct Locks<W> {
    locks: HashMap<Place, Lock<W>>,
}

impl<W> Default for Locks<W> {
    fn default() -> Self {
        Self { locks: HashMap::new() }
    }
}

impl<W> Locks<W> {
    /// Locks a chunk for a session.
    pub(super) fn lock(&mut self, place: Place, session: u32, now: Instant) -> Locked {
        let until = now + LOCK_TIME;
        match self.locks.get_mut(&place) {
            None => {
                let waiting = VecDeque::new();
                self.locks.insert(place, Lock { session, until, is_busy: false, waiting });
                Locked::Yes
            }
            Some(lock) if lock.session == session && !lock.is_busy => {
                lock.until = until;
                Locked::Already
            }
            Some(_) => Locked::No,
        }
    }

    /// Returns whether a session may read a chunk now.
    pub(super) fn may_read(&self, place: Place, session: u32) -> bool {
        self.locks.get(&place).is_none_or(|lock| lock.session == session && !lock.is_busy)
    }

    /// Adds a request that waits until the chunk may be used. Without a lock it is given back.
    pub(super) fn wait(&mut self, place: Place, waiting: W) -> Option<W> {
        match self.locks.get_mut(&place) {
            Some(lock) => {
                lock.waiting.push_back(waiting);
                None
            }
            None => Some(waiting),
        }
    }

    /// Says that chunkservers begin to change a locked chunk.
    pub(super) fn occupy(&mut self, place: Place) {
        if let Some(lock) = self.locks.get_mut(&place) {
            lock.is_busy = true;
        }
    }

    /// Says that chunkservers have changed a locked chunk. Returns what has waited: some of it may have to
    /// wait again.
    pub(super) fn release(&mut self, place: Place, now: Instant) -> VecDeque<W> {
        match self.locks.get_mut(&place) {
            Some(lock) => {
                lock.is_busy = false;
                lock.until = now + LOCK_TIME;
                std::mem::take(&mut lock.waiting)
            }
            None => VecDeque::new(),
        }
    }

    /// Unlocks a chunk that this session has locked. Returns what has waited for it, or `None` if it had not.
    pub(super) fn unlock(&mut self, place: Place, session: u32) -> Option<VecDeque<W>> {
        let is_its = |lock: &Lock<W>| lock.session == session && !lock.is_busy;
        if self.locks.get(&place).is_some_and(is_its) {
            return self.locks.remove(&place).map(|lock| lock.waiting);
        }
        None
    }

    /// Returns the locks that last no longer, with their sessions.
    pub(super) fn expired(&self, now: Instant) -> Vec<(Place, u32)> {
        let expired = self.locks.iter().filter(|(_, lock)| !lock.is_busy && lock.until <= now);
        expired.map(|(place, lock)| (*place, lock.session)).collect()
    }

    /// Returns the locks of a session.
    pub(super) fn of(&self, session: u32) -> Vec<Place> {
        let own = self.locks.iter().filter(|(_, lock)| lock.session == session);
        own.map(|(place, _)| *place).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.locks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = (5, 0);

    #[test]
    fn one_session_has_a_chunk_and_others_wait_in_order() {
        let (mut locks, now) = (Locks::default(), Instant::now());
        assert_eq!(locks.wait(PLACE, "nothing"), Some("nothing"));
        assert_eq!(locks.lock(PLACE, 1, now), Locked::Yes);
        assert_eq!(locks.lock(PLACE, 1, now), Locked::Already);
        assert_eq!(locks.lock(PLACE, 2, now), Locked::No);
        assert!(locks.may_read(PLACE, 1) && !locks.may_read(PLACE, 2));
        assert_eq!((locks.wait(PLACE, "a"), locks.wait(PLACE, "b")), (None, None));
        assert_eq!(locks.unlock(PLACE, 2), None);
        assert_eq!(locks.unlock(PLACE, 1), Some(["a", "b"].into()));
        assert!(locks.may_read(PLACE, 2));
        assert_eq!((locks.unlock(PLACE, 1), locks.len()), (None, 0));
    }

    #[test]
    fn while_chunkservers_change_a_chunk_its_own_session_waits_too() {
        let (mut locks, now) = (Locks::default(), Instant::now());
        assert_eq!(locks.lock(PLACE, 1, now), Locked::Yes);
        locks.occupy(PLACE);
        assert_eq!(locks.lock(PLACE, 1, now), Locked::No);
        assert!(!locks.may_read(PLACE, 1));
        assert_eq!(locks.unlock(PLACE, 1), None);
        assert_eq!(locks.wait(PLACE, 'a'), None);
        let later = now + 2 * LOCK_TIME;
        assert_eq!(locks.expired(later), []);
        assert_eq!(locks.release(PLACE, later), ['a']);
        assert_eq!(locks.lock(PLACE, 1, later), Locked::Already);
    }

    #[test]
    fn a_lock_lasts_two_minutes_after_its_last_use() {
        let (mut locks, now) = (Locks::<()>::default(), Instant::now());
        assert_eq!(locks.lock(PLACE, 1, now), Locked::Yes);
        assert_eq!(locks.lock(PLACE, 1, now + LOCK_TIME / 2), Locked::Already);
        assert_eq!(locks.expired(now + LOCK_TIME), []);
        assert_eq!(locks.expired(now + LOCK_TIME + LOCK_TIME / 2), [(PLACE, 1)]);
        assert_eq!(locks.of(1), [PLACE]);
        assert_eq!(locks.of(2), []);
    }
}
