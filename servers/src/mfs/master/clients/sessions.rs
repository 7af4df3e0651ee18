//! The sessions of clients. A session outlives its connections for a while.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use log::info;
use protocol::ConnectionId;
use protocol::mfs::{Ip, Kind, SESSION_COUNTERS, SessionCounters, Version};

/// How long counters are counted until they are those of the last hour.
const HOUR: Duration = Duration::from_secs(3600);
/// How long the place of a session is kept that was there before this process was started: several times as
/// long as its client takes to open another session and to list what it has open.
const PLACE_KEPT_FOR: Duration = Duration::from_secs(300);
/// The longest mount point that is kept, in bytes: `PATH_MAX` of Linux.
pub(super) const INFO_MAX: usize = 4096;

/// What the counters of a session count, in their order.
const COUNTED: [&[Kind]; SESSION_COUNTERS] = [
    &[Kind::STATFS],
    &[Kind::GETATTR],
    &[Kind::SETATTR],
    &[Kind::LOOKUP],
    &[Kind::MKDIR],
    &[Kind::RMDIR],
    &[Kind::SYMLINK],
    &[Kind::READLINK],
    &[Kind::MKNOD, Kind::CREATE_FILE],
    &[Kind::UNLINK],
    &[Kind::RENAME],
    &[Kind::LINK],
    &[Kind::READDIR],
    &[Kind::OPEN],
    &[Kind::READ_CHUNK],
    &[Kind::WRITE_CHUNK],
];

/// A session.
#[derive(Clone, Debug)]
pub(in crate::mfs::master) struct Session {
    pub(super) ip: Ip,
    pub(super) version: Version,
    /// What the client says about itself: its mount point.
    pub(super) info: Vec<u8>,
    pub(super) connections: HashSet<ConnectionId>,
    /// Since when it has no connection.
    idle_since: Option<Instant>,
    /// How long it is kept without one, whatever the others are.
    kept_max: Duration,
    /// How many requests wait for chunkservers or for other clients.
    pub(super) waiting: usize,
    /// Files that were opened since the client has listed what it has open.
    pub(super) opened: HashSet<u32>,
    pub(super) current: SessionCounters,
    pub(super) last: SessionCounters,
    counted_since: Instant,
}

impl Session {
    fn new(ip: Ip, version: Version, info: &[u8], now: Instant) -> Self {
        Self {
            ip,
            version,
            info: info[..info.len().min(INFO_MAX)].to_vec(),
            connections: HashSet::new(),
            idle_since: Some(now),
            kept_max: Duration::MAX,
            waiting: 0,
            opened: HashSet::new(),
            current: SessionCounters::default(),
            last: SessionCounters::default(),
            counted_since: now,
        }
    }

    /// Counts a request, if its type is one that is counted.
    pub(super) fn count(&mut self, kind: Kind, now: Instant) {
        let Some(place) = COUNTED.iter().position(|kinds| kinds.contains(&kind)) else { return };
        let counted = now.saturating_duration_since(self.counted_since);
        if counted >= HOUR {
            let current = std::mem::take(&mut self.current);
            self.last = if counted < 2 * HOUR { current } else { SessionCounters::default() };
            self.counted_since = now;
        }
        if let Some(counter) = self.current.0.get_mut(place) {
            *counter = counter.saturating_add(1);
        }
    }
}

/// All sessions, by their numbers.
#[derive(Debug, Default)]
pub(in crate::mfs::master) struct Sessions {
    known: HashMap<u32, Session>,
}

impl Sessions {
    pub(super) fn get(&self, number: u32) -> Option<&Session> {
        self.known.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Session> {
        self.known.get_mut(&number)
    }

    /// Returns all sessions with their numbers, in their order.
    pub(super) fn in_order(&self) -> Vec<(u32, &Session)> {
        let mut all: Vec<_> = self.known.iter().map(|(number, it)| (*number, it)).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }

    pub(in crate::mfs::master) fn len(&self) -> usize {
        self.known.len()
    }

    /// Opens a session. `number` is random: a client of an earlier master must not get that of another.
    /// Returns false if the number is taken or none.
    pub(super) fn open(
        &mut self,
        number: u32,
        (ip, version): (Ip, Version),
        info: &[u8],
        now: Instant,
    ) -> bool {
        if number == 0 || self.known.contains_key(&number) {
            return false;
        }
        self.known.insert(number, Session::new(ip, version, info, now));
        true
    }

    /// Keeps the place of a session that had files open before this process was started.
    pub(super) fn keep_place(&mut self, number: u32, now: Instant) {
        let session = Session::new(Ip(0), Version::OURS, b"(before the start)", now);
        self.known.insert(number, Session { kept_max: PLACE_KEPT_FOR, ..session });
    }

    /// Gives a session another connection.
    pub(super) fn attach(&mut self, number: u32, connection: ConnectionId) {
        if let Some(session) = self.known.get_mut(&number) {
            session.connections.insert(connection);
            session.idle_since = None;
        }
    }

    /// Takes a connection from a session, which stays for a while.
    pub(super) fn detach(&mut self, number: u32, connection: ConnectionId, now: Instant) {
        if let Some(session) = self.known.get_mut(&number)
            && session.connections.remove(&connection)
            && session.connections.is_empty()
        {
            session.idle_since = Some(now);
        }
    }

    /// Ends a session.
    pub(super) fn remove(&mut self, number: u32) -> Option<Session> {
        self.known.remove(&number)
    }

    /// Returns after how many seconds a session without a connection ends.
    pub(super) fn expires(session: &Session, kept_for: Duration, now: Instant) -> u32 {
        let kept_for = kept_for.min(session.kept_max);
        let left = session
            .idle_since
            .map(|since| kept_for.saturating_sub(now.saturating_duration_since(since)));
        left.map_or(0, |left| u32::try_from(left.as_secs()).unwrap_or(u32::MAX))
    }

    /// Returns the sessions that have had no connection for so long.
    pub(super) fn expired(&self, kept_for: Duration, now: Instant) -> Vec<u32> {
        let is_expired = |session: &Session| {
            let kept_for = kept_for.min(session.kept_max);
            session.idle_since.is_some_and(|since| now.saturating_duration_since(since) >= kept_for)
        };
        let expired = self.known.iter().filter(|(_, session)| is_expired(session));
        expired.map(|(number, _)| *number).collect()
    }

    /// Returns the session that has been without a connection for the longest time.
    pub(super) fn longest_idle(&self) -> Option<u32> {
        let idle = self.known.iter().filter_map(|(number, it)| Some((it.idle_since?, *number)));
        let (_, number) = idle.min()?;
        info!("session {number} is given up: there are too many");
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: (Ip, Version) = (Ip(1), Version::OURS);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_session_stays_for_a_while_without_a_connection() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        assert!(sessions.open(7, ABOUT, b"/mnt", now));
        assert!(!sessions.open(7, ABOUT, b"/mnt", now) && !sessions.open(0, ABOUT, b"", now));
        let [one, two] = [1, 2].map(ConnectionId);
        sessions.attach(7, one);
        sessions.attach(7, two);
        assert_eq!(sessions.expired(DAY, now + 2 * DAY), [0; 0]);
        sessions.detach(7, one, now);
        sessions.detach(7, one, now);
        assert_eq!(sessions.longest_idle(), None);
        sessions.detach(7, two, now + DAY);
        let session = sessions.get(7).expect("it stays");
        assert_eq!(Sessions::expires(session, DAY, now + DAY + DAY / 4), 64_800);
        assert_eq!(sessions.expired(DAY, now + 2 * DAY - HOUR), [0; 0]);
        assert_eq!(sessions.expired(DAY, now + 2 * DAY), [7]);
        assert_eq!(sessions.longest_idle(), Some(7));
        sessions.attach(7, one);
        assert_eq!(sessions.expired(DAY, now + 9 * DAY), [0; 0]);
        sessions.keep_place(8, now);
        assert_eq!(sessions.expired(DAY, now + PLACE_KEPT_FOR / 2), [0; 0]);
        assert_eq!(sessions.expired(DAY, now + PLACE_KEPT_FOR), [8]);
    }

    #[test]
    fn counters_are_those_of_an_hour_and_the_one_before() {
        let now = Instant::now();
        let mut session = Session::new(Ip(1), Version::OURS, &[b'x'; 5000], now);
        assert_eq!(session.info.len(), INFO_MAX);
        session.count(Kind::LOOKUP, now);
        session.count(Kind::LOOKUP, now + HOUR / 2);
        session.count(Kind::NOP, now + HOUR / 2);
        assert_eq!((session.current.0[3], session.last.0[3]), (2, 0));
        session.count(Kind::LOOKUP, now + HOUR);
        assert_eq!((session.current.0[3], session.last.0[3]), (1, 2));
        session.count(Kind::LOOKUP, now + 3 * HOUR);
        assert_eq!((session.current.0[3], session.last.0[3]), (1, 0));
    }
}
