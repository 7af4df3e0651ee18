//! The state of the chunkserver.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use log::{info, warn};
use protocol::mfs::{
    ChunkDamaged, ChunkId, ErrorOccurred, List, Message, Space, Status, append_all,
};
use protocol::{ConnectionId, Effects};
use reactor::{Client, Folding, Location};

use super::background::Background;
use super::chain::{ChainId, Chains};
use super::disk::{Chunk, Trouble};
use super::exchange::{Request, Shared, ToMaster};
use super::replica::Replicas;
use super::store::Store;

/// How many packets of read data are kept to be used again: 4 MiB.
const SPARE_MAX: usize = 64;
/// How many lost chunks the master is told at once. Peers that ask for many are not worth more.
const LOST_MAX: usize = 1000;

/// What the chunkserver has done since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) reads: u64,
    pub(super) read_bytes: u64,
    pub(super) writes: u64,
    pub(super) written_bytes: u64,
    pub(super) forwarded: u64,
    pub(super) replicated: u64,
    pub(super) orders: u64,
    pub(super) refused: u64,
    pub(super) damaged: u64,
    pub(super) connections: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, read_bytes, writes, written_bytes, forwarded, .. } = self;
        write!(f, "reads={reads} read_bytes={read_bytes} writes={writes} ")?;
        write!(f, "written_bytes={written_bytes} forwarded={forwarded} ")?;
        let Self { replicated, orders, refused, damaged, connections, .. } = self;
        write!(f, "replicated={replicated} orders={orders} refused={refused} ")?;
        write!(f, "damaged={damaged} registrations={connections}")
    }
}

/// How far the registration with the master is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    /// There is no connection.
    None,
    /// Chunks are being told.
    UnderWay,
    /// All were told.
    Done,
}

/// A connection to another chunkserver that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    /// The next one of a chain.
    Successor(ChainId),
    /// The source of a replica.
    Source(ChunkId),
}

/// The state of the loop.
pub(super) struct Chunkserver {
    /// There is one from the start of the loop on.
    pub(super) client: Option<Client<Chunkserver, ToMaster>>,
    pub(super) master: Location,
    pub(super) shared: Shared,
    pub(super) labels: u32,
    /// The folder of what the master has said.
    pub(super) data: PathBuf,
    /// The id of the metadata that the chunks belong to, if they do.
    pub(super) meta_id: Option<u64>,
    pub(super) registration: Registration,
    pub(super) store: Store,
    pub(super) background: Background,
    pub(super) chains: Chains,
    pub(super) replicas: Replicas,
    /// The source that opens connections, and those that it has to open.
    pub(super) dialer: Option<ConnectionId>,
    pub(super) dials: VecDeque<Dial>,
    /// Chunks that cannot be read.
    pub(super) damaged: HashSet<ChunkId>,
    /// Chunks that were asked for and are not there.
    pub(super) lost: HashSet<ChunkId>,
    /// Chunks that have come since the registration has begun.
    pub(super) found: Vec<ChunkId>,
    /// The space that the master knows.
    pub(super) told: Option<Space>,
    /// How many packets had come at the last sign of life, and for how many of them none has come since.
    pub(super) packets: u64,
    pub(super) silent_pulses: u32,
    pub(super) counts: Counts,
    spare: Vec<Arc<[u8]>>,
    log: Folding,
    /// Why the program cannot go on.
    pub(super) failure: Option<io::Error>,
}

impl Chunkserver {
    pub(super) fn new(master: Location, shared: Shared, data: PathBuf, store: Store) -> Self {
        Self {
            client: None,
            master,
            shared,
            labels: 0,
            data,
            meta_id: None,
            registration: Registration::None,
            store,
            background: Background::default(),
            chains: Chains::default(),
            replicas: Replicas::default(),
            dialer: None,
            dials: VecDeque::new(),
            damaged: HashSet::new(),
            lost: HashSet::new(),
            found: Vec::new(),
            told: None,
            packets: 0,
            silent_pulses: 0,
            counts: Counts::default(),
            spare: Vec::new(),
            log: Folding::default(),
            failure: None,
        }
    }

    /// Sends a message to the master, if it knows the chunks.
    pub(super) fn tell<'a>(&self, message: &impl Message<'a>) {
        let connection = self.shared.lock().connection;
        self.tell_on(connection, message.packet());
    }

    /// Sends a packet to the master, if the connection is still this one.
    pub(super) fn tell_on(&self, connection: u64, packet: Arc<[u8]>) {
        if let (Some(client), Registration::Done) = (&self.client, self.registration) {
            let request = Request { connection, packet, is_acknowledged: false };
            // A connection that ends needs no more packets.
            let _ = client.call(request, |_, _| {});
        }
    }

    /// Notes what has gone wrong with a chunk. Returns the status for the peer.
    pub(super) fn note(&mut self, chunk: &Chunk, trouble: &Trouble) -> Status {
        let Trouble::Damaged(status, why) = trouble else { return trouble.status() };
        if chunk.mark_damaged() {
            warn!("chunk {} in {}: {why}", chunk.id, chunk.folder.path().display());
            self.counts.damaged += 1;
            self.store.note_error(chunk);
            self.damaged.insert(chunk.id);
            self.tell_damaged([chunk.id]);
            self.tell(&ErrorOccurred);
        }
        *status
    }

    /// Tells the master of damaged chunks.
    pub(super) fn tell_damaged(&self, chunks: impl IntoIterator<Item = ChunkId>) {
        let bytes = append_all(chunks);
        if let Some(chunks) = List::new(&bytes).filter(|it| !it.is_empty()) {
            self.tell(&ChunkDamaged { chunks });
        }
    }

    /// Returns a chunk that a peer or the master asks for. The master is told if it is not there.
    pub(super) fn find(&mut self, id: ChunkId) -> Result<Arc<Chunk>, Status> {
        self.store.get(id).ok_or_else(|| {
            let is_lost = self.store.is_scanned() && !self.store.has(id);
            if is_lost && self.lost.len() < LOST_MAX {
                self.lost.insert(id);
            }
            Status::NOCHUNK
        })
    }

    /// Forgets a chunk that is gone.
    pub(super) fn forget(&mut self, id: ChunkId) {
        self.store.forget(id);
        self.damaged.remove(&id);
    }

    /// Asks for a connection to another chunkserver.
    pub(super) fn dial(&mut self, dial: Dial, effects: &mut Effects) {
        self.dials.push_back(dial);
        if let Some(dialer) = self.dialer {
            effects.wake(dialer);
        }
    }

    /// Takes packets that can be used again, `count` at most.
    pub(super) fn take_spare(&mut self, count: usize) -> Vec<Arc<[u8]>> {
        let from = self.spare.len().saturating_sub(count);
        self.spare.split_off(from)
    }

    /// Keeps packets that can be used again.
    pub(super) fn keep_spare(&mut self, packets: impl IntoIterator<Item = Arc<[u8]>>) {
        let room = SPARE_MAX - self.spare.len().min(SPARE_MAX);
        self.spare.extend(packets.into_iter().take(room));
    }

    /// Logs why a connection is closed, with a limit for crowds.
    pub(super) fn refuse(&mut self, peer: impl fmt::Display, why: impl fmt::Display, now: Instant) {
        self.counts.refused += 1;
        if let Some(folded) = self.log.admit(now) {
            info!("{peer}: {why}: closed{folded}");
        }
    }
}
