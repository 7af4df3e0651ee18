//! What `mfscli` asks, without a session, and also clients.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use protocol::Reply;
use protocol::codecs::Packet;
use protocol::mfs::{
    Charts, ChunkMatrix, ChunkTests, Chunkserver as ChunkserverEntry, Chunkservers, Exports,
    GetCharts, GetChunkMatrix, GetChunkTests, GetInfo, GetMemory, Info, Kind, List,
    ListChunkservers, ListExports, ListLocks, ListMetaloggers, ListMissingChunks, ListOpenFiles,
    ListQuotas, ListSessions, ListStorageClasses, Locks, Memory, Message, Metaloggers,
    MissingChunks, OpenFiles, Quotas, Rest, Sessions, StatCount, StorageClasses, Version,
    append_all,
};

use super::app::Master;
use super::chunks::COPIES_MAX;
use super::chunkservers::{Chunkserver, State};
use super::port::Refused;

/// The sizes of tables that this master leaves empty, in bytes.
const MEMORY_SIZE: usize = 11 * 16;
const TESTS_SIZE: usize = 18 * 4;
const CHARTS_SIZE: usize = 11 * 4;
/// How many missing chunks are listed at most.
const MISSING_MAX: usize = 1000;

/// Answers a question. Returns false if packets of this type are none.
///
/// # Errors
/// What is wrong with it.
pub(super) fn answer(
    kind: Kind,
    body: &[u8],
    now: Instant,
    reply: &mut Reply<'_, Packet>,
    app: &mut Master,
) -> Result<bool, Refused> {
    match kind {
        Kind::GET_INFO => {
            GetInfo::parse(body)?;
            info(now, app).send(reply);
        }
        Kind::LIST_CHUNKSERVERS => {
            ListChunkservers::parse(body)?;
            let entries = app.chunkservers.iter().map(|(csid, server)| entry(csid, server));
            let bytes = append_all(entries);
            Chunkservers { servers: List::new(&bytes).unwrap_or_default() }.send(reply);
        }
        Kind::LIST_METALOGGERS => {
            ListMetaloggers::parse(body)?;
            let bytes = append_all(app.metaloggers.iter());
            Metaloggers { metaloggers: List::new(&bytes).unwrap_or_default() }.send(reply);
        }
        Kind::LIST_SESSIONS => {
            ListSessions::parse(body)?;
            let sessions = app.list_sessions(now);
            let sessions = List::new(&sessions).unwrap_or_default();
            Sessions { counts: StatCount, sessions }.send(reply);
        }
        Kind::GET_CHUNK_MATRIX => {
            GetChunkMatrix::parse(body)?;
            ChunkMatrix { figures: Rest(&matrix(now, app)) }.send(reply);
        }
        Kind::LIST_MISSING_CHUNKS => {
            let ListMissingChunks { form } = ListMissingChunks::parse(body)?;
            MissingChunks { chunks: Rest(&missing(form, app)) }.send(reply);
        }
        _ => return answer_empty(kind, body, reply, app),
    }
    Ok(true)
}

/// Answers a question for something that this master does not have.
fn answer_empty(
    kind: Kind,
    body: &[u8],
    reply: &mut Reply<'_, Packet>,
    app: &Master,
) -> Result<bool, Refused> {
    match kind {
        Kind::GET_MEMORY => {
            GetMemory::parse(body)?;
            Memory { figures: Rest(&[0; MEMORY_SIZE]) }.send(reply);
        }
        Kind::GET_CHUNK_TESTS => {
            GetChunkTests::parse(body)?;
            ChunkTests { figures: Rest(&[0; TESTS_SIZE]) }.send(reply);
        }
        Kind::GET_CHARTS => {
            GetCharts::parse(body)?;
            Charts { figures: Rest(&[0; CHARTS_SIZE]) }.send(reply);
        }
        Kind::LIST_QUOTAS => {
            ListQuotas::parse(body)?;
            Quotas::default().send(reply);
        }
        Kind::LIST_EXPORTS => {
            ListExports::parse(body)?;
            Exports::default().send(reply);
        }
        Kind::LIST_OPEN_FILES => {
            ListOpenFiles::parse(body)?;
            OpenFiles::default().send(reply);
        }
        Kind::LIST_LOCKS => {
            ListLocks::parse(body)?;
            Locks::default().send(reply);
        }
        Kind::LIST_STORAGE_CLASSES => {
            ListStorageClasses::parse(body)?;
            let count = u16::try_from(app.chunkservers.connected()).unwrap_or(u16::MAX);
            StorageClasses { classes: Rest(&count.to_be_bytes()) }.send(reply);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Returns the state of the master.
fn info(now: Instant, app: &mut Master) -> Info {
    let figures = app.chunks.figures(&app.chunkservers, now);
    let (total, free) = app.total_and_free();
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    let micros = |time: TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    let sums = app.tree.sums();
    Info {
        version: Version::OURS,
        // The largest that it has been, in KiB.
        memory: usage.map_or(0, |it| it.max_rss() as u64 * 1024),
        system_time: usage.map_or(0, |it| micros(it.system_time())),
        user_time: usage.map_or(0, |it| micros(it.user_time())),
        total,
        available: free,
        free,
        sustained: sums.sustained_size,
        sustained_files: sums.sustained_files,
        objects: sums.inodes,
        directories: sums.directories,
        files: sums.files,
        chunks: u32::try_from(app.chunks.len()).unwrap_or(u32::MAX),
        copies: u32::try_from(figures.copies).unwrap_or(u32::MAX),
        alone: u32::MAX,
        metadata_version: app.version(),
        time: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64),
        ..Info::default()
    }
}

impl Master {
    /// Returns how many bytes the connected chunkservers have, and how many of them are free.
    pub(super) fn total_and_free(&self) -> (u64, u64) {
        let servers = self.chunkservers.iter().filter(|(_, server)| server.state.is_connected());
        let (total, used) = servers.fold((0_u64, 0_u64), |(total, used), (_, server)| {
            let space = server.space;
            (total.saturating_add(space.total), used.saturating_add(space.used))
        });
        (total, total.saturating_sub(used))
    }
}

/// Returns what is listed of a chunkserver.
fn entry(csid: u16, server: &Chunkserver) -> ChunkserverEntry {
    const DISCONNECTED: u32 = 1 << 24;
    const LEAVING: u32 = 4 << 24;
    const OVERLOADED: u32 = 0xC000_0000;
    const REBALANCING: u32 = 0x8000_0000;
    let flags = match server.state {
        State::Registering | State::Registered => 0,
        State::Leaving => LEAVING,
        State::Gone => DISCONNECTED,
        State::Left => DISCONNECTED | LEAVING,
    };
    let space = server.space;
    ChunkserverEntry {
        flags_and_version: flags | server.version.0,
        place: server.place,
        csid,
        used: space.used,
        total: space.total,
        chunks: space.chunks,
        leaving_used: space.leaving_used,
        leaving_total: space.leaving_total,
        leaving_chunks: space.leaving_chunks,
        errors: server.errors,
        load: server.load,
        grace: match server.load_state {
            2 => OVERLOADED,
            3 => REBALANCING,
            _ => 0,
        },
        labels: server.labels,
        removal: 0,
    }
}

/// Returns a byte of progress, and two tables of how many chunks are wanted in a number of copies and
/// have a number of them: of all, and without those on disks that are being emptied.
fn matrix(now: Instant, app: &mut Master) -> Vec<u8> {
    const SIDE: usize = COPIES_MAX + 1;
    let figures = app.chunks.figures(&app.chunkservers, now);
    let goal = app.options.goal.min(COPIES_MAX);
    let mut table = vec![0; 1];
    for _ in 0..2 {
        for row in 0..SIDE {
            let counts = if row == goal { figures.by_copies } else { [0; SIDE] };
            table.extend(counts.into_iter().flat_map(u32::to_be_bytes));
        }
    }
    table
}

/// Returns the chunks without a copy, with the file that they are part of and their place in it.
fn missing(form: u8, app: &Master) -> Vec<u8> {
    let mut list = Vec::new();
    for chunk in app.chunks.missing(&app.chunkservers, MISSING_MAX) {
        list.extend_from_slice(&chunk.0.to_be_bytes());
        let used = app.tree.chunk(chunk);
        let (inode, index) = used.map_or((0, 0), |used| (used.inode, used.index));
        list.extend_from_slice(&inode.to_be_bytes());
        list.extend_from_slice(&index.to_be_bytes());
        list.extend((form > 0).then_some(0));
    }
    list
}
