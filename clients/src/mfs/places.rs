//! Where the chunks of a file are that is read: the master is asked for a few ahead.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::mfs::{CHUNK_SIZE, ChunkId, Endpoint, ReadChunk, ReadChunkAnswer, Status};

use super::client::Found;
use super::error::Cause;
use super::master::{Master, Ticket};
use super::packets::Fault;

/// How many chunks are read, or asked for ahead, at a time.
const AHEAD: usize = 4;
/// The first pause before the master is asked again. It doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Where a chunk is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Unknown,
    Asked(Ticket),
    /// The master is asked again at this time.
    Later(Instant),
    Hole,
    Known {
        chunk: ChunkId,
        version: u32,
        servers: Vec<Endpoint>,
    },
}

/// A chunk of the file.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) place: Place,
    /// How many bytes of the file it has, and how many of them are still to be read.
    pub(super) size: u32,
    pub(super) left: u32,
    /// The copies that have failed since the master was asked, and why.
    failed: Vec<(Endpoint, Fault)>,
    /// How often it was put off.
    attempts: u32,
    /// When it has got on for the last time.
    moved: Instant,
}

/// The chunks of a file that are being read.
#[derive(Debug)]
pub(super) struct Places {
    inode: u32,
    length: u64,
    patience: Duration,
    /// The index of the first chunk of the window.
    first: u64,
    window: VecDeque<Chunk>,
}

impl Places {
    pub(super) fn new(file: &Found, patience: Duration) -> Result<Self, Cause> {
        let length = file.attributes.length;
        if length.div_ceil(CHUNK_SIZE) > u64::from(u32::MAX) {
            return Err(Cause::Master(format!("a file of {length} bytes cannot be")));
        }
        let window = VecDeque::new();
        Ok(Self { inode: file.inode, length, patience, first: 0, window })
    }

    /// Asks for chunks, and takes the answers. Returns when it is time to ask again.
    pub(super) fn pass(&mut self, master: &mut Master) -> Result<Option<Instant>, Cause> {
        self.slide();
        let (now, mut due) = (Instant::now(), None::<Instant>);
        for (number, chunk) in self.window.iter_mut().enumerate() {
            match chunk.place {
                Place::Later(when) if when > now => {
                    due = Some(due.map_or(when, |due| due.min(when)));
                }
                Place::Unknown | Place::Later(_) => {
                    let index = (self.first + number as u64) as u32;
                    let request = ReadChunk { inode: self.inode, index, flags: 0 };
                    chunk.place = Place::Asked(master.ask(request));
                }
                Place::Asked(ticket) => {
                    if let Some(body) = master.take(ticket) {
                        chunk.answered(body.read(), self.patience)?;
                    }
                }
                Place::Hole | Place::Known { .. } => {}
            }
        }
        Ok(due)
    }

    /// Gives up the chunks that were read, and takes up others.
    fn slide(&mut self) {
        while self.window.front().is_some_and(|chunk| chunk.left == 0) {
            self.window.pop_front();
            self.first += 1;
        }
        while self.window.len() < AHEAD {
            let begin = (self.first + self.window.len() as u64) * CHUNK_SIZE;
            if begin >= self.length {
                return;
            }
            self.window.push_back(Chunk::new((self.length - begin).min(CHUNK_SIZE) as u32));
        }
    }

    /// Returns a chunk by its index, if it is in the window.
    pub(super) fn chunk(&mut self, index: u64) -> Option<&mut Chunk> {
        let place = index.checked_sub(self.first)?;
        self.window.get_mut(usize::try_from(place).ok()?)
    }

    /// Returns whether everything was read.
    pub(super) fn is_done(&self) -> bool {
        let read = self.window.iter().take_while(|chunk| chunk.left == 0).count() as u64;
        (self.first + read) * CHUNK_SIZE >= self.length
    }
}

impl Chunk {
    fn new(size: u32) -> Self {
        Self {
            place: Place::Unknown,
            size,
            left: size,
            failed: Vec::new(),
            attempts: 0,
            moved: Instant::now(),
        }
    }

    fn answered(
        &mut self,
        answer: Result<ReadChunkAnswer<'_>, Cause>,
        patience: Duration,
    ) -> Result<(), Cause> {
        match answer {
            Ok(answer) if answer.chunk == ChunkId(0) => self.place = Place::Hole,
            Ok(answer) if answer.servers.is_empty() => {
                return self.put_off("no chunkserver that is connected has it", patience);
            }
            Ok(ReadChunkAnswer { chunk, version, servers, .. }) => {
                let servers = servers.iter().map(|it| it.place).collect();
                self.failed.clear();
                self.place = Place::Known { chunk, version, servers };
            }
            // A chunkserver may come back.
            Err(Cause::Status(status)) if status.is_passing() || status == Status::CHUNKLOST => {
                return self.put_off(&status.to_string(), patience);
            }
            Err(cause) => return Err(cause),
        }
        Ok(())
    }

    /// Records that so many of its bytes were read.
    pub(super) fn has_moved(&mut self, count: u32) {
        self.left = self.left.saturating_sub(count);
        (self.attempts, self.moved) = (0, Instant::now());
    }

    /// Records that a copy has failed.
    pub(super) fn has_failed(&mut self, server: Endpoint, fault: Fault) {
        self.failed.push((server, fault));
    }

    /// Returns the copies that have not failed.
    pub(super) fn copies(&self) -> impl Iterator<Item = Endpoint> {
        let servers: &[Endpoint] = match &self.place {
            Place::Known { servers, .. } => servers,
            _ => &[],
        };
        let is_good = |server: &Endpoint| self.failed.iter().all(|(failed, _)| failed != server);
        servers.iter().copied().filter(move |server| is_good(server))
    }

    /// Asks the master again after a pause, unless the chunk has not got on for too long.
    pub(super) fn put_off(&mut self, why: &str, patience: Duration) -> Result<(), Cause> {
        if self.moved.elapsed() >= patience {
            let copies = self.failed.iter().map(|(server, fault)| format!("{server}: {fault}"));
            let all: Vec<String> = copies.chain([why.to_owned()]).collect();
            return Err(Cause::Copies(all.join(", ")));
        }
        let pause = (PAUSE * (1 << self.attempts.min(10))).min(PAUSE_MAX);
        self.attempts += 1;
        self.place = Place::Later(Instant::now() + pause);
        Ok(())
    }
}
