//! Writing one chunk through a chain of chunkservers.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use protocol::mfs::{
    ChunkId, Crc, Data, Endpoint, Kind, List, Message, Status, Write, WriteChunkAnswer, WriteData,
    WriteFinish, WriteStatus, append_all,
};

use super::options::Options;
use super::packets::{Fault, Wire};
use super::reads::connect;

/// A block that was sent, or is to be sent. It is kept until it is acknowledged.
#[derive(Debug)]
pub(super) struct Block {
    /// Its number in the chunk.
    number: u16,
    /// The number of the write.
    write: u32,
    bytes: Vec<u8>,
    crc: Crc,
}

impl Block {
    /// Returns a block of a chunk.
    pub(super) fn new(number: u16, bytes: Vec<u8>) -> Self {
        let crc = Data::new(&bytes).crc;
        Self { number, write: 0, bytes, crc }
    }
}

/// A chain to which a chunk is written.
#[derive(Debug)]
pub(super) struct Chain {
    wire: Wire,
    chunk: ChunkId,
    version: u32,
    next: u32,
    servers: Vec<Endpoint>,
    /// The blocks that are not acknowledged, the oldest first.
    sent: VecDeque<Block>,
    /// When something was acknowledged, or sent while nothing was under way.
    moved: Instant,
}

impl Chain {
    /// Connects to the first server of an answer, and tells it the others.
    pub(super) fn open(answer: &WriteChunkAnswer<'_>, options: &Options) -> Result<Self, Fault> {
        let servers: Vec<Endpoint> = answer.servers.iter().map(|it| it.place).collect();
        let Some((first, rest)) = servers.split_first() else {
            return Err(Fault::Nonsense("a chain without a chunkserver".to_owned()));
        };
        let mut wire = connect(*first, options)?;
        let (chunk, version) = (answer.chunk, answer.version);
        let rest = append_all(rest.iter().copied());
        let chain = List::new(&rest).unwrap_or_default();
        wire.send(&Write { form: 1, chunk, version, chain });
        let (sent, moved) = (VecDeque::new(), Instant::now());
        Ok(Self { wire, chunk, version, next: 1, servers, sent, moved })
    }

    /// Sends a block in the next pass.
    pub(super) fn send(&mut self, mut block: Block) {
        if self.sent.is_empty() {
            self.moved = Instant::now();
            self.wire.expect_answer();
        }
        block.write = self.next;
        self.next += 1;
        let data = Data { crc: block.crc, bytes: &block.bytes };
        let (chunk, write, block_number) = (self.chunk, block.write, block.number);
        self.wire.send(&WriteData { chunk, write, block: block_number, offset: 0, data });
        self.sent.push_back(block);
    }

    /// Returns how many blocks are not acknowledged.
    pub(super) fn under_way(&self) -> usize {
        self.sent.len()
    }

    /// Moves what can be moved without waiting. Returns how many bytes were acknowledged.
    pub(super) fn pass(&mut self, stall_max: Duration) -> Result<u64, Fault> {
        let Self { wire, chunk, sent, .. } = self;
        let mut acknowledged = 0;
        wire.pass(&mut |kind, body| {
            acknowledged += u64::from(acknowledge(kind, body, *chunk, sent)?);
            Ok(())
        })?;
        if acknowledged > 0 || self.sent.is_empty() {
            self.moved = Instant::now();
        }
        match self.moved.elapsed() {
            time if time >= stall_max => Err(Fault::Stalled(time)),
            _ => Ok(acknowledged),
        }
    }

    /// Ends writing, after everything was acknowledged.
    pub(super) fn finish(mut self) {
        self.wire.send(&WriteFinish { chunk: self.chunk, version: self.version });
        // It is a few bytes, and a chain that has failed now has all data already.
        let _ = self.wire.pass(&mut |_, _| Ok(()));
    }

    /// Gives the chain up. Returns the blocks that are not acknowledged, in their order.
    pub(super) fn give_up(self) -> VecDeque<Block> {
        self.sent
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }
}

/// The servers, from the first to the last.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, server) in self.servers.iter().enumerate() {
            write!(f, "{}{server}", if number == 0 { "" } else { " -> " })?;
        }
        Ok(())
    }
}

/// Takes an acknowledgement. Returns how many bytes it is for.
fn acknowledge(
    kind: Kind,
    body: &[u8],
    expected: ChunkId,
    sent: &mut VecDeque<Block>,
) -> Result<u32, Fault> {
    if kind != Kind::WRITE_STATUS {
        return Err(Fault::Nonsense(format!("{kind} while a chunk is written")));
    }
    let WriteStatus { chunk, write, status } = WriteStatus::parse(body)?;
    if chunk != expected {
        return Err(Fault::Nonsense(format!(
            "a status of the chunk {chunk} in place of {expected}"
        )));
    }
    if status != Status::OK {
        return Err(Fault::Status(status));
    }
    if write == 0 {
        // The chain is connected.
        return Ok(0);
    }
    match sent.iter().position(|block| block.write == write) {
        Some(place) => Ok(sent.remove(place).map_or(0, |block| block.bytes.len() as u32)),
        None => Err(Fault::Nonsense(format!("the write {write}, which is not under way, is done"))),
    }
}
