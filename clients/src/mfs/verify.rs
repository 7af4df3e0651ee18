//! Reading every copy of a file, and comparing them.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use protocol::mfs::{CHUNK_SIZE, ChunkId, Endpoint};

use super::client::{Client, Found, text_of, unnamed};
use super::error::{Cause, Error};
use super::packets::wait_for;
use super::places::{Place, Places};
use super::reads::{Ended, Want};
use super::watch::Watch;

/// How many bytes of each copy are compared at a time.
const PIECE: u32 = 1024 * 1024;
/// How many pieces are read at a time, from each copy.
const PIECES_MAX: usize = 2;
/// How many copies a chunk may have: more than any goal.
const COPIES_MAX: usize = 64;

/// What was found out about a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its index in the file.
    pub index: u64,
    /// The chunk and its version. `None` is a hole.
    pub chunk: Option<(ChunkId, u32)>,
    /// Each copy with its server. A hole has none, and one verdict if there is a reference.
    pub copies: Vec<(Option<Endpoint>, Verdict)>,
}

/// What was found out about a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the same as the reference; without one, as the first copy that can be read.
    Same,
    /// It differs, first at this place in the file, in bytes.
    Differs(u64),
    /// It cannot be read, and why.
    Unreadable(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same"),
            Self::Differs(offset) => write!(f, "differs at byte {offset}"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

impl Verified {
    /// Returns whether all copies are the same.
    pub fn is_sound(&self) -> bool {
        self.copies.iter().all(|(_, verdict)| *verdict == Verdict::Same)
    }
}

/// A piece of all copies.
#[derive(Debug)]
struct Piece {
    from: u32,
    end: u32,
    /// What was read of each copy.
    read: Vec<Vec<u8>>,
    /// How many copies are still being read.
    waiting: usize,
}

/// The comparison of one file.
struct Comparison<'a> {
    client: &'a mut Client,
    places: Places,
    reference: Option<&'a File>,
    watch: &'a mut dyn Watch,
    index: u64,
    /// The verdicts about the copies of this chunk, and their servers.
    copies: Vec<(Endpoint, Verdict)>,
    pieces: VecDeque<Piece>,
    /// The number of the first of the pieces, and where the next one begins in the chunk.
    first: usize,
    next: u32,
    /// A piece was compared, so another one can be read.
    has_room: bool,
    done: u64,
}

impl Client {
    /// Reads every copy of every chunk of a file, and compares them with `reference`, or with one
    /// another. `each` gets what was found out about each chunk. Copies of which one fails are not read
    /// from another server: that is what is found out.
    ///
    /// The length of a reference is not compared.
    ///
    /// # Errors
    /// When the file cannot be opened, a chunk has no copy for
    /// [`patience`](super::Options::patience), the master is lost, or the reference cannot be read.
    pub fn verify(
        &mut self,
        path: &Path,
        reference: Option<&File>,
        each: &mut dyn FnMut(Verified),
        watch: &mut dyn Watch,
    ) -> Result<Found, Error> {
        let found = self.open_to_read(path)?;
        let failed = |error: Error| error.about("verify", text_of(path));
        let places = Places::new(&found, self.options.patience).map_err(unnamed);
        let comparison = Comparison {
            places: places.map_err(failed)?,
            client: self,
            reference,
            watch,
            index: 0,
            copies: Vec::new(),
            pieces: VecDeque::new(),
            first: 0,
            next: 0,
            has_room: false,
            done: 0,
        };
        let result = comparison.run(each);
        // What is still under way after a failure belongs to nobody.
        self.reads.clear();
        result.map_err(failed)?;
        Ok(found)
    }
}

impl Comparison<'_> {
    fn run(mut self, each: &mut dyn FnMut(Verified)) -> Result<(), Error> {
        while !self.places.is_done() {
            if self.watch.is_cancelled() {
                return Err(unnamed(Cause::Cancelled));
            }
            self.client.master.pass()?;
            let due = self.places.pass(&mut self.client.master).map_err(unnamed)?;
            if let Some(verified) = self.pass().map_err(unnamed)? {
                each(verified);
                continue;
            }
            if std::mem::take(&mut self.has_room) {
                continue;
            }
            let Client { master, reads, .. } = &*self.client;
            let due = due.into_iter().chain(master.due()).min();
            wait_for(master.wire().into_iter().chain(reads.wires()), due)
                .map_err(|error| unnamed(error.into()))?;
        }
        Ok(())
    }

    /// Goes on with the chunk. Returns what was found out, when it is done.
    fn pass(&mut self) -> Result<Option<Verified>, Cause> {
        let Some(chunk) = self.places.chunk(self.index) else { return Ok(None) };
        let (place, size) = (chunk.place.clone(), chunk.size);
        let known = match place {
            Place::Hole => return self.hole(size).map(Some),
            Place::Known { chunk, version, servers } => {
                if self.copies.is_empty() {
                    let servers = servers.into_iter().take(COPIES_MAX);
                    self.copies = servers.map(|server| (server, Verdict::Same)).collect();
                }
                (chunk, version)
            }
            _ => return Ok(None),
        };
        while self.next < size && self.pieces.len() < PIECES_MAX {
            self.start(known, size);
        }
        self.read()?;
        while self.pieces.front().is_some_and(|piece| piece.waiting == 0) {
            self.compare()?;
        }
        if self.next < size || !self.pieces.is_empty() {
            return Ok(None);
        }
        self.next = 0;
        let copies = std::mem::take(&mut self.copies).into_iter();
        let copies = copies.map(|(server, verdict)| (Some(server), verdict)).collect();
        Ok(Some(self.finish(size, Some(known), copies)))
    }

    fn finish(
        &mut self,
        size: u32,
        chunk: Option<(ChunkId, u32)>,
        copies: Vec<(Option<Endpoint>, Verdict)>,
    ) -> Verified {
        if let Some(chunk) = self.places.chunk(self.index) {
            chunk.has_moved(size);
        }
        self.index += 1;
        Verified { index: self.index - 1, chunk, copies }
    }

    /// Compares a hole with the reference.
    fn hole(&mut self, size: u32) -> Result<Verified, Cause> {
        let mut copies = Vec::new();
        if let Some(reference) = self.reference {
            let mut verdict = Verdict::Same;
            let begin = self.index * CHUNK_SIZE;
            for from in (0..size).step_by(PIECE as usize) {
                let length = PIECE.min(size - from) as usize;
                let right = read_reference(reference, begin + u64::from(from), length)?;
                if verdict == Verdict::Same {
                    verdict = compared(&vec![0; length], &right, begin + u64::from(from));
                }
            }
            copies.push((None, verdict));
        }
        Ok(self.finish(size, None, copies))
    }

    /// Begins to read a piece of all copies that can be read.
    fn start(&mut self, (chunk, version): (ChunkId, u32), size: u32) {
        let (from, end) = (self.next, self.next.saturating_add(PIECE).min(size));
        let number = self.first + self.pieces.len();
        let mut waiting = 0;
        for (place, (server, verdict)) in self.copies.iter_mut().enumerate() {
            if matches!(verdict, Verdict::Unreadable(_)) {
                continue;
            }
            let key = number * COPIES_MAX + place;
            let want = Want { key, server: *server, chunk, version, from, end };
            match self.client.reads.start(want, &self.client.options) {
                Ok(()) => waiting += 1,
                Err(fault) => *verdict = Verdict::Unreadable(fault.to_string()),
            }
        }
        let read = vec![Vec::new(); self.copies.len()];
        self.pieces.push_back(Piece { from, end, read, waiting });
        self.next = end;
    }

    /// Reads what is there.
    fn read(&mut self) -> Result<(), Cause> {
        let Self { client, pieces, copies, first, .. } = self;
        let ended = client.reads.pass(&client.options, &mut |key, _, bytes| {
            let piece = (key / COPIES_MAX).checked_sub(*first).and_then(|it| pieces.get_mut(it));
            if let Some(read) = piece.and_then(|it| it.read.get_mut(key % COPIES_MAX)) {
                read.extend_from_slice(bytes);
            }
            Ok(())
        })?;
        for Ended { want, fault, .. } in ended {
            let piece = (want.key / COPIES_MAX).checked_sub(*first);
            if let Some(piece) = piece.and_then(|it| pieces.get_mut(it)) {
                piece.waiting = piece.waiting.saturating_sub(1);
            }
            if let (Some(fault), Some((_, verdict))) =
                (fault, copies.get_mut(want.key % COPIES_MAX))
            {
                *verdict = Verdict::Unreadable(fault.to_string());
            }
        }
        Ok(())
    }

    /// Compares the first piece of all copies.
    fn compare(&mut self) -> Result<(), Cause> {
        let Some(piece) = self.pieces.pop_front() else { return Ok(()) };
        self.first += 1;
        self.has_room = true;
        let begin = self.index * CHUNK_SIZE + u64::from(piece.from);
        let size = (piece.end - piece.from) as usize;
        let read = || piece.read.iter().zip(&self.copies).filter(|(read, _)| read.len() == size);
        let right = match self.reference {
            Some(reference) => Some(read_reference(reference, begin, size)?),
            None => read().map(|(read, _)| read.clone()).next(),
        };
        for (read, (_, verdict)) in piece.read.iter().zip(&mut self.copies) {
            if let (Some(right), Verdict::Same, true) = (&right, &*verdict, read.len() == size) {
                *verdict = compared(read, right, begin);
            }
        }
        self.done += size as u64;
        self.watch.moved(self.done);
        Ok(())
    }
}

/// Reads a piece of the reference. What is behind its end is zeros, as in a chunk.
fn read_reference(reference: &File, offset: u64, size: usize) -> Result<Vec<u8>, Cause> {
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match reference.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(bytes)
}

/// Compares what was read at `offset` of the file.
fn compared(read: &[u8], right: &[u8], offset: u64) -> Verdict {
    match read.iter().zip(right).position(|(one, other)| one != other) {
        Some(place) => Verdict::Differs(offset + place as u64),
        None => Verdict::Same,
    }
}
