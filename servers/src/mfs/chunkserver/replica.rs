//! Replicas: chunks that are copied from other chunkservers. A replica appears when it is complete.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use log::info;
use protocol::codecs::{Packet, PacketMessage, PacketView};
use protocol::mfs::{
    BLOCK_SIZE, CHUNK_BLOCKS, ChunkBlocks, ChunkId, Endpoint, GetChunkBlocks, Kind, Message,
    MessageError, Nop, Read, ReadData, ReadForm, ReadStatus, Replicate, ReplicateAnswer, Status,
    describe,
};
use protocol::{Codec, Flow, Reason, Service};
use reactor::{Job, LoopCx, Offload};

use super::app::{Chunkserver, Dial};
use super::disk::{Building, Chunk, Done, Folder, Trouble};
use super::orders::Ticket;
use super::service::{Called, ToPeer};

/// How many chunks are copied at the same time. The master gives a chunkserver a few.
const REPLICAS_MAX: usize = 64;
/// How many bytes wait for the disk, for each replica.
const QUEUE_MAX: usize = 2 << 20;
/// The key of the timer of signs of life, and its time.
const TICK: (u8, Duration) = (0, Duration::from_secs(1));
/// After how many ticks without a packet the source is given up.
const SILENT_TICKS_MAX: u8 = 5;
/// The size of the type and the length of a packet, in bytes.
const HEADER: usize = 8;

/// A replica that is being made.
struct Replica {
    /// It tells one from a later one of the same chunk.
    number: u64,
    version: u32,
    source: Endpoint,
    folder: Arc<Folder>,
    offload: Offload,
    ticket: Ticket,
}

/// The replicas that are being made.
#[derive(Default)]
pub(super) struct Replicas {
    all: HashMap<ChunkId, Replica>,
    begun: u64,
}

impl Replicas {
    /// Returns the number of the replica of a chunk, and where it is copied from, if it is wanted.
    pub(super) fn target(&self, chunk: ChunkId) -> Option<(u64, Endpoint)> {
        self.all.get(&chunk).map(|it| (it.number, it.source))
    }

    fn get(&self, chunk: ChunkId, number: u64) -> Option<&Replica> {
        self.all.get(&chunk).filter(|it| it.number == number)
    }
}

/// Begins to copy a chunk.
pub(super) fn begin(order: &Replicate, cx: &mut LoopCx<'_, Chunkserver>) {
    let Replicate { chunk, version, source } = *order;
    let app = &mut *cx.app;
    let ticket = Ticket::new(app, move |status| ReplicateAnswer { chunk, version, status });
    if app.store.has(chunk) {
        return ticket.answer(Status::CHUNKEXIST, app);
    }
    if app.replicas.all.len() >= REPLICAS_MAX {
        return ticket.answer(Status::NOTDONE, app);
    }
    let Some(disk) = app.store.roomiest() else {
        return ticket.answer(Status::NOSPACE, app);
    };
    let (folder, offload) = (Arc::clone(&disk.folder), disk.offload.clone());
    app.replicas.begun += 1;
    let number = app.replicas.begun;
    app.replicas.all.insert(chunk, Replica { number, version, source, folder, offload, ticket });
    app.store.reserve(chunk);
    app.dials.push_back(Dial::Source(chunk));
    if let Some(dialer) = cx.app.dialer {
        cx.wake(dialer);
    }
}

impl Chunkserver {
    /// Ends a replica that cannot be made.
    pub(super) fn replica_failed(&mut self, chunk: ChunkId, number: u64, status: Status) {
        if self.replicas.get(chunk, number).is_none() {
            return;
        }
        let Some(replica) = self.replicas.all.remove(&chunk) else { return };
        self.store.release(chunk);
        info!("chunk {chunk} cannot be copied from {}: {status}", replica.source);
        replica.ticket.answer(status, self);
    }

    /// Ends a replica that is complete.
    fn replica_made(&mut self, made: Arc<Chunk>) {
        let chunk = made.id;
        let Some(replica) = self.replicas.all.remove(&chunk) else { return };
        self.store.release(chunk);
        self.store.add(made);
        self.counts.replicated += 1;
        replica.ticket.made(chunk, self);
    }
}

/// What a thread has made.
enum Step {
    Part(Building),
    Whole(Arc<Chunk>),
}

/// What a thread is to do next.
struct Task {
    chunk: ChunkId,
    version: u32,
    folder: Arc<Folder>,
    /// `None` at the beginning.
    building: Option<Building>,
    packets: Vec<Arc<[u8]>>,
    is_last: bool,
}

impl Task {
    fn carry_out(self) -> Done<Step> {
        let Self { chunk, version, folder, building, packets, is_last } = self;
        let refused = |error: std::io::Error| Trouble::refused(&error);
        let mut building = match building {
            Some(building) => building,
            None => Building::begin(folder, chunk, version).map_err(refused)?,
        };
        for packet in packets {
            let Ok(read) = ReadData::parse(&packet[HEADER..]) else { continue };
            if !read.data.is_intact() {
                return Err(Trouble::Refused(Status::CRC));
            }
            building.append(read.data.crc.0, read.data.bytes).map_err(refused)?;
        }
        match is_last {
            true => building.finish().map(Step::Whole).map_err(refused),
            false => Ok(Step::Part(building)),
        }
    }
}

/// The service of the connection to the source of a replica.
pub(super) struct Source {
    chunk: ChunkId,
    /// The number of the replica.
    number: u64,
    /// How many blocks the chunk has, once that is known, and how many have come.
    blocks: Option<u16>,
    received: u16,
    queue: Vec<Arc<[u8]>>,
    queued: usize,
    building: Option<Building>,
    job: Option<Job<Done<Step>>>,
    has_all: bool,
    is_open: bool,
    has_heard: bool,
    silent_ticks: u8,
}

impl Source {
    pub(super) fn new(chunk: ChunkId, number: u64) -> Self {
        Self {
            chunk,
            number,
            blocks: None,
            received: 0,
            queue: Vec::new(),
            queued: 0,
            building: None,
            job: None,
            has_all: false,
            is_open: false,
            has_heard: false,
            silent_ticks: 0,
        }
    }

    /// Takes a packet. The error is a status for the master.
    fn take(
        &mut self,
        kind: Kind,
        body: &[u8],
        reply: &mut ToPeer<'_>,
        context: &mut Called<'_>,
    ) -> Result<Result<(), Status>, MessageError> {
        let version = context.app.replicas.get(self.chunk, self.number).map_or(0, |it| it.version);
        let is_right = |chunk: ChunkId| match chunk == self.chunk {
            true => Ok(()),
            false => Err(Status::WRONGCHUNKID),
        };
        Ok(match (kind, self.blocks) {
            (Kind::NOP, _) => Nop::parse(body).map(|_| Ok(()))?,
            (Kind::CHUNK_BLOCKS, None) => {
                let ChunkBlocks { chunk, blocks, status, .. } = ChunkBlocks::parse(body)?;
                if usize::from(blocks) > CHUNK_BLOCKS {
                    return Ok(Err(Status::WRONGSIZE));
                }
                if let Err(status) = is_right(chunk).and_then(|()| status.done()) {
                    return Ok(Err(status));
                }
                self.blocks = Some(blocks);
                self.has_all = blocks == 0;
                if blocks > 0 {
                    let size = u32::from(blocks) * BLOCK_SIZE as u32;
                    Read { form: ReadForm::Quiet, chunk, version, offset: 0, size }.send(reply);
                }
                Ok(())
            }
            (Kind::READ_DATA, Some(blocks)) if self.received < blocks => {
                let ReadData { chunk, block, offset, data } = ReadData::parse(body)?;
                let is_next =
                    block == self.received && offset == 0 && data.bytes.len() == BLOCK_SIZE;
                if !is_next {
                    return Ok(Err(Status::WRONGOFFSET));
                }
                self.received += 1;
                let message = PacketMessage { kind: kind.0, body };
                let packet = Packet::default().encode_shared(message);
                self.queued += packet.len();
                self.queue.push(packet);
                is_right(chunk)
            }
            (Kind::READ_STATUS, Some(blocks)) => {
                let ReadStatus { chunk, status } = ReadStatus::parse(body)?;
                self.has_all = self.received == blocks;
                let is_whole = if self.has_all { Ok(()) } else { Err(Status::DISCONNECTED) };
                is_right(chunk).and_then(|()| status.done()).and(is_whole)
            }
            _ => {
                let source = self.place(context);
                let why = format!("unexpected: {}", describe(kind, body));
                context.app.refuse(source, why, context.now);
                Err(Status::DISCONNECTED)
            }
        })
    }

    /// Takes what the thread has made, and hands the next packets over.
    fn proceed(&mut self, context: &mut Called<'_>) -> Result<Flow, Status> {
        if let Some(job) = &mut self.job {
            let Some(result) = job.take() else { return Ok(self.flow()) };
            self.job = None;
            match result.map_err(|_| Status::IO)?.map_err(|trouble| trouble.status())? {
                Step::Part(building) => self.building = Some(building),
                Step::Whole(chunk) => {
                    context.app.replica_made(chunk);
                    return Ok(Flow::Close);
                }
            }
        }
        if !self.queue.is_empty() || self.has_all {
            let Some(replica) = context.app.replicas.get(self.chunk, self.number) else {
                return Ok(Flow::Close);
            };
            let task = Task {
                chunk: self.chunk,
                version: replica.version,
                folder: Arc::clone(&replica.folder),
                building: self.building.take(),
                packets: std::mem::take(&mut self.queue),
                is_last: self.has_all,
            };
            self.queued = 0;
            let job = replica.offload.run(context.me, move || task.carry_out());
            self.job = Some(job.map_err(|_| Status::NOTDONE)?);
        }
        Ok(self.flow())
    }

    /// Returns where the source is, for logs.
    fn place(&self, context: &Called<'_>) -> Endpoint {
        let replica = context.app.replicas.get(self.chunk, self.number);
        replica.map_or_else(Endpoint::default, |it| it.source)
    }

    fn flow(&self) -> Flow {
        if self.queued > QUEUE_MAX || self.has_all { Flow::Pause } else { Flow::Continue }
    }

    fn go_on(&mut self, context: &mut Called<'_>) -> Flow {
        self.proceed(context).unwrap_or_else(|status| self.fail(status, context))
    }

    fn fail(&mut self, status: Status, context: &mut Called<'_>) -> Flow {
        context.app.replica_failed(self.chunk, self.number, status);
        Flow::Close
    }
}

impl Service<Packet, Chunkserver> for Source {
    fn open(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        self.is_open = true;
        context.effects.set_timeout(TICK.0, Some(TICK.1));
        let Some(replica) = context.app.replicas.get(self.chunk, self.number) else {
            return Flow::Close;
        };
        GetChunkBlocks { chunk: self.chunk, version: replica.version }.send(reply);
        Flow::Continue
    }

    fn call(
        &mut self,
        packet: PacketView<'_>,
        reply: &mut ToPeer<'_>,
        context: &mut Called<'_>,
    ) -> Flow {
        self.has_heard = true;
        match self.take(Kind(packet.kind), packet.body, reply, context) {
            Ok(Ok(())) => self.go_on(context),
            Ok(Err(status)) => self.fail(status, context),
            Err(error) => {
                let source = self.place(context);
                context.app.refuse(source, error, context.now);
                self.fail(Status::DISCONNECTED, context)
            }
        }
    }

    fn resume(&mut self, _: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        self.go_on(context)
    }

    fn timeout(&mut self, _: u8, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        // While the disk is at work, the source may wait.
        let is_alive = std::mem::take(&mut self.has_heard) || self.job.is_some();
        self.silent_ticks = if is_alive { 0 } else { self.silent_ticks + 1 };
        if self.silent_ticks >= SILENT_TICKS_MAX {
            return self.fail(Status::DISCONNECTED, context);
        }
        if reply.backlog() == 0 {
            Nop::default().send(reply);
        }
        context.effects.set_timeout(TICK.0, Some(TICK.1));
        if self.flow() == Flow::Pause { Flow::Pause } else { Flow::Continue }
    }

    fn closed(&mut self, _: &Reason, context: &mut Called<'_>) {
        let status = if self.is_open { Status::DISCONNECTED } else { Status::CANTCONNECT };
        context.app.replica_failed(self.chunk, self.number, status);
    }
}
