//! Requests about chunks. They are answered when chunkservers have done what has to be done, and when no
//! other client writes to the chunk.

use std::sync::Arc;
use std::time::Instant;

use log::debug;
use protocol::ConnectionId;
use protocol::mfs::{
    Answer, ChunkHasChanged, ChunkId, Holder, LengthHasChanged, List, Message, Numbered, ReadChunk,
    ReadChunkAnswer, Request, Status, TruncateFile, TruncateFileAnswer, WriteChunk,
    WriteChunkAnswer, WriteChunkEnd, append_all,
};

use super::locks::{Locked, Place};
use super::unix_seconds;
use crate::mfs::master::app::Master;
use crate::mfs::master::chunks::{Located, Outcome};

/// How many chunks are locked at most.
const LOCKS_MAX: usize = 100_000;
/// The flag of [`WriteChunk`]: an earlier write to the chunk has failed.
const CONTINUES: u8 = 2;
/// The flag of [`TruncateFile`]: the client has the file open for writing.
const IS_OPEN: u8 = 1;
/// The flag of [`TruncateFile`]: the client appends. The file gets so many bytes more, and the client writes
/// to where it has ended.
const APPENDS: u8 = 8;
/// The form of the answers about chunks.
const FORM: u8 = 2;

/// Which request of which client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) connection: ConnectionId,
    pub(super) session: u32,
    pub(super) number: u32,
}

/// A request that may have to wait for a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mfs::master) enum Waiting {
    /// It reads one.
    Read(Asked, ReadChunk),
    /// It writes to one.
    Write(Asked, WriteChunk),
    /// It changes the length of a file: the inode and the length.
    Truncate(Asked, u32, u64),
}

impl Waiting {
    const fn asked(&self) -> Asked {
        match self {
            Self::Read(asked, _) | Self::Write(asked, _) | Self::Truncate(asked, ..) => *asked,
        }
    }
}

fn encode<'a, R: Request>(asked: Asked, answer: Result<R::Answer<'a>, Status>) -> Arc<[u8]> {
    let message = answer.map_or_else(Answer::Status, Answer::Done);
    Numbered { number: asked.number, message }.packet()
}

impl Master {
    /// Begins a request that may have to wait. A session with too many of them has to try again.
    pub(super) fn begin(&mut self, waiting: Waiting, now: Instant) {
        let asked = waiting.asked();
        let waiting_max = self.options.requests_max;
        let Some(session) = self.clients.sessions.get_mut(asked.session) else { return };
        session.waiting += 1;
        if session.waiting > waiting_max {
            return self.refuse(&waiting, Status::EAGAIN);
        }
        self.go_on(waiting, now);
    }

    /// Checks a truncation, and begins it.
    pub(super) fn begin_truncation(&mut self, asked: Asked, it: &TruncateFile<'_>, now: Instant) {
        let is_open = it.flags & IS_OPEN != 0;
        let length = match self.tree.attributes(it.inode) {
            Ok(attributes) if it.flags & APPENDS != 0 => {
                attributes.length.saturating_add(it.length)
            }
            _ => it.length,
        };
        match self.tree.plan_truncation(&it.credentials, it.inode, is_open, length) {
            Ok(_) => self.begin(Waiting::Truncate(asked, it.inode, length), now),
            Err(status) => {
                let packet = encode::<TruncateFile<'_>>(asked, Err(status));
                self.clients.mail(asked.connection, packet);
                self.wake(asked.connection);
            }
        }
    }

    /// Goes on with a request, if nothing is in its way. Those of a session that has ended are dropped: they
    /// must not lock anything.
    fn go_on(&mut self, waiting: Waiting, now: Instant) {
        if self.clients.sessions.get(waiting.asked().session).is_none() {
            return;
        }
        match waiting {
            Waiting::Read(asked, it) => self.read(asked, it),
            Waiting::Write(asked, it) => self.write(asked, it, now),
            Waiting::Truncate(asked, inode, length) => {
                self.truncate_file(asked, inode, length, now)
            }
        }
    }

    /// Goes on with what has waited for a chunk, in its order.
    fn go_on_with(&mut self, waiting: impl IntoIterator<Item = Waiting>) {
        let now = Instant::now();
        for waiting in waiting {
            self.go_on(waiting, now);
        }
    }

    /// Answers a request that has been begun.
    fn answer(&mut self, asked: Asked, packet: Arc<[u8]>) {
        if let Some(session) = self.clients.sessions.get_mut(asked.session) {
            session.waiting = session.waiting.saturating_sub(1);
        }
        self.clients.mail(asked.connection, packet);
        self.wake(asked.connection);
    }

    /// Answers a request with why it was not done.
    fn refuse(&mut self, waiting: &Waiting, status: Status) {
        let asked = waiting.asked();
        let packet = match waiting {
            Waiting::Read(..) => encode::<ReadChunk>(asked, Err(status)),
            Waiting::Write(..) => encode::<WriteChunk>(asked, Err(status)),
            Waiting::Truncate(..) => encode::<TruncateFile<'_>>(asked, Err(status)),
        };
        self.answer(asked, packet);
    }

    /// Adds a request to those that wait for a locked chunk.
    fn wait(&mut self, place: Place, waiting: Waiting) {
        if let Some(waiting) = self.clients.locks.wait(place, waiting) {
            self.refuse(&waiting, Status::EAGAIN);
        }
    }

    fn read(&mut self, asked: Asked, it: ReadChunk) {
        let place = (it.inode, it.index);
        let answer = match self.tree.chunk_at(it.inode, it.index) {
            Err(status) => Err(status),
            Ok((length, None)) => Ok((length, None)),
            Ok(_) if !self.clients.locks.may_read(place, asked.session) => {
                return self.wait(place, Waiting::Read(asked, it));
            }
            Ok((length, Some(chunk))) => match self.locate(chunk) {
                Some(located) if !located.places.is_empty() => Ok((length, Some(located))),
                _ => Err(Status::CSNOTPRESENT),
            },
        };
        let packet = match answer {
            Ok((length, located)) => {
                let servers = located.as_ref().map(servers).unwrap_or_default();
                let (chunk, version) = located.map_or((ChunkId(0), 0), |it| (it.chunk, it.version));
                let servers = List::new(&servers).unwrap_or_default();
                let answer = ReadChunkAnswer { form: FORM, length, chunk, version, servers };
                encode::<ReadChunk>(asked, Ok(answer))
            }
            Err(status) => encode::<ReadChunk>(asked, Err(status)),
        };
        self.answer(asked, packet);
    }

    fn write(&mut self, asked: Asked, it: WriteChunk, now: Instant) {
        let (place, waiting) = ((it.inode, it.index), Waiting::Write(asked, it));
        let chunk = match self.tree.chunk_at(it.inode, it.index) {
            Ok((_, chunk)) => chunk,
            Err(status) => return self.refuse(&waiting, status),
        };
        if self.clients.locks.len() >= LOCKS_MAX {
            return self.refuse(&waiting, Status::EAGAIN);
        }
        if self.clients.locks.lock(place, asked.session, now) == Locked::No {
            return self.wait(place, waiting);
        }
        match chunk {
            None => {
                if let Err(status) = self.tree.check_new_chunk(it.inode, it.index) {
                    self.give_up(place, asked.session);
                    return self.refuse(&waiting, status);
                }
                self.clients.locks.occupy(place);
                self.create(move |outcome, master| {
                    let outcome = outcome.and_then(|it| master.take_chunk(place, it));
                    master.changed(asked, place, outcome);
                });
            }
            Some(chunk) if it.flags & CONTINUES != 0 || self.needs_version(chunk) => {
                self.clients.locks.occupy(place);
                self.raise_version(chunk, move |outcome, master| {
                    let outcome = outcome.inspect(|it| master.notes_version(it.chunk));
                    master.changed(asked, place, outcome);
                });
            }
            Some(chunk) => {
                let located = self.locate(chunk).filter(|it| !it.places.is_empty());
                match located.ok_or(Status::CSNOTPRESENT) {
                    Ok(located) => self.answer_write(asked, place, &located),
                    Err(status) => {
                        self.give_up(place, asked.session);
                        self.refuse(&waiting, status);
                    }
                }
            }
        }
    }

    /// Returns whether a chunk needs another version before it is written to. A copy that is not there now
    /// has the present version, and would count again when its chunkserver comes back, although it lacks
    /// what was written meanwhile. What was not there when this process was started is not known.
    fn needs_version(&self, chunk: ChunkId) -> bool {
        !self.clients.own_versions.contains(&chunk) || self.lacks_copies(chunk)
    }

    /// Notes that a chunk has a version which this process has made.
    fn notes_version(&mut self, chunk: ChunkId) {
        if self.tree.chunk(chunk).is_some() {
            self.clients.own_versions.insert(chunk);
        }
    }

    /// Makes a chunk that was created a part of its file. If the file is gone meanwhile, the chunk is
    /// deleted again.
    fn take_chunk(&mut self, (inode, index): Place, located: Located) -> Outcome {
        let added = self.tree.add_chunk(unix_seconds(), inode, index, located.chunk);
        match added {
            Ok(()) => {
                self.notes_version(located.chunk);
                Ok(located)
            }
            Err(status) => {
                self.delete(located.chunk, |_, _| {});
                Err(status)
            }
        }
    }

    /// Goes on after chunkservers have changed a chunk for a write.
    fn changed(&mut self, asked: Asked, place: Place, outcome: Outcome) {
        let waiting = self.clients.locks.release(place, Instant::now());
        let is_gone = self.clients.sessions.get(asked.session).is_none();
        match outcome {
            Ok(located) if !is_gone => self.answer_write(asked, place, &located),
            Ok(_) => self.give_up(place, asked.session),
            Err(status) => {
                debug!("chunk {} of inode {}: {status}", place.1, place.0);
                self.give_up(place, asked.session);
                let (inode, index) = place;
                let it = WriteChunk { inode, index, ..WriteChunk::default() };
                self.refuse(&Waiting::Write(asked, it), status);
            }
        }
        self.go_on_with(waiting);
        self.publish();
    }

    fn answer_write(&mut self, asked: Asked, (inode, index): Place, located: &Located) {
        let (chunk, version) = (located.chunk, located.version);
        let begun = self.tree.begin_write(unix_seconds(), inode, index, chunk);
        let servers = servers(located);
        let servers = List::new(&servers).unwrap_or_default();
        let answer = begun.and_then(|()| {
            let (length, _) = self.tree.chunk_at(inode, index)?;
            Ok(WriteChunkAnswer { form: FORM, length, chunk, version, servers })
        });
        if answer.is_err() {
            self.give_up((inode, index), asked.session);
        }
        self.answer(asked, encode::<WriteChunk>(asked, answer));
    }

    /// Unlocks a chunk, and goes on with what has waited for it.
    pub(super) fn give_up(&mut self, place: Place, session: u32) {
        if let Some(waiting) = self.clients.locks.unlock(place, session) {
            self.go_on_with(waiting);
        }
    }

    /// Ends a write: the file is as long as the client says, if that is longer.
    ///
    /// # Errors
    /// When the chunk is not that of the file any more.
    pub(super) fn end_write(&mut self, session: u32, it: &WriteChunkEnd) -> Result<(), Status> {
        let (place, time) = ((it.inode, it.index), unix_seconds());
        let found = self.tree.chunk_at(it.inode, it.index);
        let result = found.and_then(|(old, chunk)| {
            if chunk != Some(it.chunk) {
                return Err(Status::NOCHUNK);
            }
            let length = self.tree.written(time, it.inode, it.length)?;
            self.tree.end_write(time, it.chunk)?;
            Ok((old, length))
        });
        self.give_up(place, session);
        let (old, length) = result?;
        let version = self.locate(it.chunk).map_or(0, |located| located.version);
        let (inode, index, chunk) = (it.inode, it.index, it.chunk);
        let changed = ChunkHasChanged { inode, index, chunk, version, length, truncates: 0 };
        self.notify(session, inode, &changed);
        if length != old {
            self.notify(session, inode, &LengthHasChanged { inode, length });
        }
        Ok(())
    }

    /// Tells the other sessions that have a file open something about it.
    fn notify<'a, M>(&mut self, session: u32, inode: u32, notice: &M)
    where
        M: Message<'a> + Clone + Default,
    {
        let others: Vec<u32> = self.tree.sessions_of(inode).filter(|it| *it != session).collect();
        if others.is_empty() {
            return;
        }
        let packet = Numbered { number: 0, message: notice.clone() }.packet();
        for other in others {
            let connections = self.clients.sessions.get(other).map(|it| it.connections.clone());
            for connection in connections.into_iter().flatten() {
                self.clients.mail(connection, Arc::clone(&packet));
                self.wake(connection);
            }
        }
    }

    fn truncate_file(&mut self, asked: Asked, inode: u32, length: u64, now: Instant) {
        let root = protocol::mfs::Credentials::ROOT;
        // Whether the client may was checked when the request came.
        let cut = match self.tree.plan_truncation(&root, inode, true, length) {
            Ok((_, Some(cut))) => cut,
            Ok((_, None)) => return self.set_length(asked, inode, length),
            Err(status) => return self.refuse(&Waiting::Truncate(asked, inode, length), status),
        };
        let place = (inode, cut.index);
        let locked = self.clients.locks.lock(place, asked.session, now);
        if locked == Locked::No {
            return self.wait(place, Waiting::Truncate(asked, inode, length));
        }
        self.clients.locks.occupy(place);
        self.truncate(cut.chunk, cut.length, move |outcome, master| {
            let waiting = master.clients.locks.release(place, Instant::now());
            if locked == Locked::Yes {
                master.give_up(place, asked.session);
            }
            match outcome {
                Ok(located) => {
                    master.notes_version(located.chunk);
                    master.set_length(asked, inode, length);
                }
                Err(status) => master.refuse(&Waiting::Truncate(asked, inode, length), status),
            }
            master.go_on_with(waiting);
            master.publish();
        });
    }

    fn set_length(&mut self, asked: Asked, inode: u32, length: u64) {
        let old = self.tree.attributes(inode).map_or(0, |it| it.length);
        let changed = self.tree.set_length(unix_seconds(), inode, length);
        if changed.is_ok() {
            self.notify(asked.session, inode, &LengthHasChanged { inode, length });
        }
        let answer = changed.map(|attributes| TruncateFileAnswer { old_length: old, attributes });
        self.answer(asked, encode::<TruncateFile<'_>>(asked, answer));
    }
}

/// Returns the chunkservers that have a chunk, as a list.
fn servers(located: &Located) -> Vec<u8> {
    append_all(located.places.iter().map(|place| Holder {
        place: place.endpoint,
        version: place.version,
        labels: place.labels,
    }))
}
