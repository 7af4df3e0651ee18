//! The side that clients talk to, and `mfscli`.

mod contents;
mod locks;
mod names;
mod registration;
mod session;
mod sessions;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use log::info;
use protocol::ConnectionId;
use protocol::mfs::{
    ChunkId, ExportFlags, Kind, List, Session as SessionEntry, Status, Text, append_all,
};

use super::app::Master;
use contents::Waiting;
use locks::Locks;
use sessions::Sessions;

pub(super) use session::ClientSession;

/// The directory that is exported.
const EXPORTED: &[u8] = b"/";
/// How many chunks that are free are deleted at once.
const DELETED_AT_ONCE: usize = 1000;

/// What every session may do: root stays root, and all others what they are.
const EXPORT: ExportFlags = ExportFlags {
    flags: 0,
    umask: 0,
    root_uid: 0,
    root_gid: 0,
    all_uid: NOBODY,
    all_gid: NOBODY,
    goal_min: 1,
    goal_max: 9,
    trash_time_min: 0,
    trash_time_max: u32::MAX,
    disabled: 0,
};
/// The user and group that stand for others where users are mapped, which they are not here.
const NOBODY: u32 = 999;

/// What the master knows of its clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    sessions: Sessions,
    locks: Locks<Waiting>,
    /// What waits to be sent on connections that have registered.
    mailboxes: HashMap<ConnectionId, Vec<Arc<[u8]>>>,
    /// Chunks that have a version which was made since the start of this process.
    own_versions: HashSet<ChunkId>,
    /// Chunks that are no longer part of a file, and are still to be deleted.
    freed: VecDeque<ChunkId>,
}

impl Clients {
    /// Returns how many sessions there are.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Puts a packet into the mailbox of a connection, which has to be woken then. One that is gone gets
    /// nothing.
    fn mail(&mut self, connection: ConnectionId, packet: Arc<[u8]>) {
        if let Some(mailbox) = self.mailboxes.get_mut(&connection) {
            mailbox.push(packet);
        }
    }

    /// Takes what waits to be sent on a connection.
    fn take_mail(&mut self, connection: ConnectionId) -> Vec<Arc<[u8]>> {
        self.mailboxes.get_mut(&connection).map(std::mem::take).unwrap_or_default()
    }

    fn count(&mut self, session: u32, kind: Kind, now: Instant) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.count(kind, now);
        }
    }
}

impl Master {
    /// Keeps the places of the sessions that had files open when the tree was saved.
    pub(super) fn restore_sessions(&mut self, now: Instant) {
        for session in self.tree.sessions() {
            self.clients.sessions.keep_place(session, now);
        }
    }

    /// Tells the changes of the tree to metaloggers, and notes which chunks are free.
    pub(super) fn publish(&mut self) {
        let lines = self.tree.take_lines();
        if !lines.is_empty() {
            self.log_changes(&lines);
        }
        for freed in self.tree.take_freed() {
            self.clients.own_versions.remove(&freed);
            self.clients.freed.push_back(freed);
        }
    }

    /// Deletes some of the free chunks. Copies of chunkservers that are not connected are deleted when those
    /// come back.
    fn delete_freed(&mut self) {
        let count = self.clients.freed.len().min(DELETED_AT_ONCE);
        let some: Vec<ChunkId> = self.clients.freed.drain(..count).collect();
        for chunk in some {
            self.delete(chunk, |_, _| {});
        }
    }

    /// Does what is due each second for clients.
    pub(super) fn check_clients(&mut self, now: Instant) {
        for session in self.clients.sessions.expired(self.options.session_kept_for, now) {
            info!("session {session} has had no connection for too long: it ends");
            self.end_session(session);
        }
        for (place, session) in self.clients.locks.expired(now) {
            info!("chunk {} of inode {} was locked for too long", place.1, place.0);
            self.give_up(place, session);
        }
        self.delete_freed();
        self.delete_strays();
        self.publish();
    }

    /// Ends a session: what it has open or locked is free.
    fn end_session(&mut self, session: u32) {
        self.clients.sessions.remove(session);
        let opened: Vec<u32> = self.tree.opened_by(session).collect();
        for inode in opened {
            // It is in the list.
            let _ = self.tree.release(unix_seconds(), session, inode);
        }
        for place in self.clients.locks.of(session) {
            self.give_up(place, session);
        }
        self.publish();
    }

    /// Notes that a session opens a file.
    fn opens(&mut self, session: u32, time: u32, inode: u32) -> Result<(), Status> {
        self.tree.acquire(time, session, inode)?;
        if let Some(session) = self.clients.sessions.get_mut(session) {
            session.opened.insert(inode);
        }
        Ok(())
    }

    /// Notes which files a client has open. One that was opened since the list before may have been opened
    /// while this list was on its way, so it stays open until the next one.
    fn keeps_open(&mut self, session: u32, time: u32, inodes: List<'_, u32>) {
        let listed: HashSet<u32> = inodes.iter().collect();
        let known = self.clients.sessions.get_mut(session);
        let opened = known.map(|it| std::mem::take(&mut it.opened)).unwrap_or_default();
        let closed: Vec<u32> = self
            .tree
            .opened_by(session)
            .filter(|inode| !listed.contains(inode) && !opened.contains(inode))
            .collect();
        for inode in closed {
            // It is in the list.
            let _ = self.tree.release(time, session, inode);
        }
        for inode in listed {
            // A file that is gone cannot be open.
            let _ = self.tree.acquire(time, session, inode);
        }
    }

    /// Returns the sessions as `mfscli` lists them.
    pub(super) fn list_sessions(&self, now: Instant) -> Vec<u8> {
        let kept_for = self.options.session_kept_for;
        append_all(self.clients.sessions.in_order().into_iter().map(|(number, session)| {
            SessionEntry {
                session: number,
                ip: session.ip,
                version: session.version,
                open_files: self.tree.opened_by(number).count() as u32,
                sockets: u8::try_from(session.connections.len()).unwrap_or(u8::MAX),
                expires: Sessions::expires(session, kept_for, now),
                info: Text(&session.info),
                path: Text(EXPORTED),
                flags: EXPORT,
                current: session.current,
                last: session.last,
            }
        }))
    }
}

/// Returns the time in seconds since 1970.
pub(super) fn unix_seconds() -> u32 {
    // The protocol has 32 bits.
    (unix_micros() / 1_000_000) as u32
}

/// Returns the time in microseconds since 1970.
fn unix_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
