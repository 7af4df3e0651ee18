//! Reading parts of chunks from chunkservers, each part on a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::options::Options;
use super::packets::{Fault, Rhythm, Wire};
use protocol::mfs::{
    BLOCK_SIZE, ChunkId, Endpoint, Kind, Message, Nop, Read, ReadData, ReadForm, ReadStatus,
    Status, limit,
};

/// After how long a silence of ours a chunkserver gets a sign of life.
const NOP_EVERY: Duration = Duration::from_secs(1);
/// How long a connection without a part is kept. Chunkservers keep one for five seconds.
const KEEP: Duration = Duration::from_secs(1);

/// A part of a chunk at one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// What the caller knows the part by.
    pub(super) key: usize,
    pub(super) server: Endpoint,
    pub(super) chunk: ChunkId,
    pub(super) version: u32,
    /// Where it begins and ends in the chunk, in bytes.
    pub(super) from: u32,
    pub(super) end: u32,
}

/// A part whose reading has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) want: Want,
    /// Up to where it was read, in bytes of the chunk.
    pub(super) position: u32,
    /// Why it ends before its end.
    pub(super) fault: Option<Fault>,
}

/// What takes data: it gets the key of a part, a place in its chunk, and the data from there on.
pub(super) type Deliver<'a> = dyn FnMut(usize, u32, &[u8]) -> io::Result<()> + 'a;

/// A connection to a chunkserver.
#[derive(Debug)]
struct Lane {
    server: Endpoint,
    wire: Wire,
    job: Option<(Want, u32)>,
    /// When it has got data, a part, or the end of one.
    used: Instant,
}

/// All connections for reading.
#[derive(Debug, Default)]
pub(super) struct Reads {
    lanes: Vec<Lane>,
}

/// Connects to the data port of a chunkserver.
pub(super) fn connect(server: Endpoint, options: &Options) -> Result<Wire, Fault> {
    let silence_max = options.silence_max;
    let rhythm = Rhythm { nop: Nop::default(), every: NOP_EVERY.min(silence_max / 2), silence_max };
    let address = SocketAddr::V4(server.into());
    Wire::connect(address, silence_max, limit::DATA_PORT, rhythm)
}

impl Reads {
    /// Returns how many parts are being read.
    pub(super) fn busy(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.job.is_some()).count()
    }

    /// Returns how many parts are being read from a server.
    pub(super) fn busy_at(&self, server: Endpoint) -> usize {
        self.lanes.iter().filter(|lane| lane.server == server && lane.job.is_some()).count()
    }

    /// Begins to read a part.
    pub(super) fn start(&mut self, want: Want, options: &Options) -> Result<(), Fault> {
        let is_idle = |lane: &Lane| lane.server == want.server && lane.job.is_none();
        let place = match self.lanes.iter().position(is_idle) {
            Some(place) => place,
            None => {
                let wire = connect(want.server, options)?;
                let lane = Lane { server: want.server, wire, job: None, used: Instant::now() };
                self.lanes.push(lane);
                self.lanes.len() - 1
            }
        };
        let lane = &mut self.lanes[place];
        lane.wire.expect_answer();
        lane.wire.send(&Read {
            form: ReadForm::Lively,
            chunk: want.chunk,
            version: want.version,
            offset: want.from,
            size: want.end - want.from,
        });
        (lane.job, lane.used) = (Some((want, want.from)), Instant::now());
        Ok(())
    }

    /// Reads what is there. `deliver` gets the data whose CRC is right. Returns the parts that have ended.
    ///
    /// # Errors
    /// That of `deliver`.
    pub(super) fn pass(
        &mut self,
        options: &Options,
        deliver: &mut Deliver<'_>,
    ) -> io::Result<Vec<Ended>> {
        let stall_max = options.stall_max();
        let (mut ended, mut failure) = (Vec::new(), None);
        self.lanes.retain_mut(|lane| {
            let Lane { wire, job, used, .. } = lane;
            let Some((want, position)) = job else {
                // The server may end a connection without a part when it likes.
                return used.elapsed() < KEEP && wire.pass(&mut |kind, _| odd(kind)).is_ok();
            };
            let mut is_done = false;
            let passed = wire.pass(&mut |kind, body| {
                if is_done {
                    return odd(kind);
                }
                if kind == Kind::READ_DATA {
                    let data = checked(body, want, *position)?;
                    if let Err(error) = deliver(want.key, *position, data) {
                        failure = Some(error);
                        return Err(Fault::Lost("the data cannot be written".to_owned()));
                    }
                    *position += data.len() as u32;
                    *used = Instant::now();
                    return Ok(());
                }
                is_done = true;
                check_end(kind, body, want, *position)
            });
            let passed = match used.elapsed() {
                time if passed.is_ok() && time >= stall_max => Err(Fault::Stalled(time)),
                _ => passed,
            };
            match (passed, is_done) {
                (Err(fault), _) => {
                    ended.push(Ended { want: *want, position: *position, fault: Some(fault) });
                    false
                }
                (Ok(()), true) => {
                    ended.push(Ended { want: *want, position: *position, fault: None });
                    (*job, *used) = (None, Instant::now());
                    true
                }
                (Ok(()), false) => true,
            }
        });
        failure.map_or(Ok(ended), Err)
    }

    /// Ends all connections.
    pub(super) fn clear(&mut self) {
        self.lanes.clear();
    }

    /// Returns all connections, to wait for.
    pub(super) fn wires(&self) -> impl Iterator<Item = &Wire> {
        self.lanes.iter().map(|lane| &lane.wire)
    }
}

fn odd(kind: Kind) -> Result<(), Fault> {
    Err(Fault::Nonsense(format!("{kind}, which was not asked for")))
}

/// Checks data, which have to be the next of the part, within one block.
fn checked<'a>(body: &'a [u8], want: &Want, position: u32) -> Result<&'a [u8], Fault> {
    let ReadData { chunk, block, offset, data } = ReadData::parse(body)?;
    if chunk != want.chunk {
        return Err(Fault::Nonsense(format!(
            "data of the chunk {chunk} in place of {}",
            want.chunk
        )));
    }
    let place = u64::from(block) * BLOCK_SIZE as u64 + u64::from(offset);
    let end = place + data.bytes.len() as u64;
    let block_end = (u64::from(block) + 1) * BLOCK_SIZE as u64;
    if place != u64::from(position) || end > block_end.min(u64::from(want.end)) || end == place {
        return Err(Fault::Nonsense(format!(
            "{} bytes at {place} of the chunk, where {position} follows",
            data.bytes.len()
        )));
    }
    if data.is_intact() { Ok(data.bytes) } else { Err(Fault::Crc) }
}

/// Checks the end of a part.
fn check_end(kind: Kind, body: &[u8], want: &Want, position: u32) -> Result<(), Fault> {
    if kind != Kind::READ_STATUS {
        return odd(kind);
    }
    let ReadStatus { chunk, status } = ReadStatus::parse(body)?;
    match status {
        _ if chunk != want.chunk => {
            Err(Fault::Nonsense(format!("the end of the chunk {chunk} in place of {}", want.chunk)))
        }
        Status::OK if position < want.end => {
            Err(Fault::Nonsense(format!("{} bytes of data are missing", want.end - position)))
        }
        Status::OK => Ok(()),
        status => Err(Fault::Status(status)),
    }
}
