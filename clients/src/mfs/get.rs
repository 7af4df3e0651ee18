//! Reading a file: several parts at a time, from all copies of its chunks.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::mfs::{CHUNK_SIZE, Endpoint};

use super::client::{Client, Found, text_of, unnamed};
use super::error::{Cause, Error};
use super::packets::{Fault, wait_for};
use super::places::{Place, Places};
use super::reads::{Ended, Want};
use super::sink::Sink;
use super::watch::Watch;

/// The size of a part, in bytes: large, so that its request costs little beside it.
const PART: u32 = 4 * 1024 * 1024;
/// The size of a part for a stream, which keeps the parts that come before their turn.
const STREAM_PART: u32 = 1024 * 1024;
/// How long a server that has failed is the last choice.
const AVOID: Duration = Duration::from_secs(10);

/// A part of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// The index of the chunk.
    index: u64,
    /// Where it begins and ends in the chunk, in bytes.
    from: u32,
    end: u32,
}

/// The reading of a file.
struct Fetch<'a> {
    client: &'a mut Client,
    places: Places,
    sink: &'a mut dyn Sink,
    watch: &'a mut dyn Watch,
    /// Parts that are begun again.
    again: Vec<Part>,
    /// Where the next new part begins: the chunk, and the place in it.
    next: (u64, u32),
    /// The parts that are being read, by their keys.
    under_way: HashMap<usize, Part>,
    next_key: usize,
    /// Servers that have failed, and since when.
    avoided: HashMap<Endpoint, Instant>,
    done: u64,
}

impl Client {
    /// Reads a file. Several parts are read at a time, from all copies of its chunks. When a copy fails,
    /// the others are read: a server that is silent for [`silence_max`](super::Options::silence_max), an
    /// error, a wrong CRC. Returns the file as it was when it was opened.
    ///
    /// # Errors
    /// When the file cannot be opened, no copy of a chunk can be read for
    /// [`patience`](super::Options::patience), the master is lost, or the sink fails.
    pub fn get(
        &mut self,
        path: &Path,
        sink: &mut dyn Sink,
        watch: &mut dyn Watch,
    ) -> Result<Found, Error> {
        let found = self.open_to_read(path)?;
        let failed = |error: Error| error.about("read", text_of(path));
        let places = Places::new(&found, self.options.patience).map_err(unnamed);
        let fetch = Fetch {
            places: places.map_err(failed)?,
            client: self,
            sink,
            watch,
            again: Vec::new(),
            next: (0, 0),
            under_way: HashMap::new(),
            next_key: 0,
            avoided: HashMap::new(),
            done: 0,
        };
        let result = fetch.run(found.attributes.length);
        if result.is_err() {
            // What is still under way belongs to nobody.
            self.reads.clear();
        }
        result.map_err(failed)?;
        Ok(found)
    }
}

impl Fetch<'_> {
    fn run(mut self, length: u64) -> Result<(), Error> {
        while !self.places.is_done() {
            if self.watch.is_cancelled() {
                return Err(unnamed(Cause::Cancelled));
            }
            self.client.master.pass()?;
            let due = self.places.pass(&mut self.client.master).map_err(unnamed)?;
            self.start().map_err(unnamed)?;
            if self.read().map_err(unnamed)? {
                // There is room for another part.
                continue;
            }
            let Client { master, reads, .. } = &*self.client;
            let due = due.into_iter().chain(master.due()).min();
            wait_for(master.wire().into_iter().chain(reads.wires()), due)
                .map_err(|error| unnamed(error.into()))?;
        }
        self.sink.finish(length).map_err(|error| unnamed(error.into()))
    }

    /// Begins to read as many parts as may be read at a time.
    fn start(&mut self) -> Result<(), Cause> {
        while self.client.reads.busy() < self.client.options.reads_max {
            let Some(part) = self.next_part()? else { break };
            self.start_part(part)?;
        }
        Ok(())
    }

    /// Returns the next part that can be read now.
    fn next_part(&mut self) -> Result<Option<Part>, Cause> {
        let places = &mut self.places;
        let is_known = |part: &Part| {
            places.chunk(part.index).is_some_and(|it| matches!(it.place, Place::Known { .. }))
        };
        if let Some(place) = self.again.iter().position(is_known) {
            return Ok(Some(self.again.remove(place)));
        }
        loop {
            let (index, from) = self.next;
            let Some(chunk) = self.places.chunk(index) else { return Ok(None) };
            let offset = index * CHUNK_SIZE + u64::from(from);
            let position = self.sink.in_order();
            let size = if position.is_some() { STREAM_PART } else { PART };
            let ahead_max = 2 * u64::from(size) * self.client.options.reads_max as u64;
            if position.is_some_and(|position| offset >= position + ahead_max) {
                return Ok(None);
            }
            match chunk.place {
                Place::Hole => {
                    let size = chunk.size - from;
                    chunk.has_moved(size);
                    self.sink.skip(offset, size.into())?;
                    self.done += u64::from(size);
                    self.watch.moved(self.done);
                    self.next = (index + 1, 0);
                }
                Place::Known { .. } => {
                    let end = from.saturating_add(size).min(chunk.size);
                    self.next = if end == chunk.size { (index + 1, 0) } else { (index, end) };
                    return Ok(Some(Part { index, from, end }));
                }
                _ => return Ok(None),
            }
        }
    }

    /// Begins to read a part from the copy that has least to do.
    fn start_part(&mut self, part: Part) -> Result<(), Cause> {
        let Some(chunk) = self.places.chunk(part.index) else { return Ok(()) };
        let (reads, avoided) = (&self.client.reads, &self.avoided);
        let is_avoided = |server| avoided.get(&server).is_some_and(|it| it.elapsed() < AVOID);
        let best = chunk.copies().min_by_key(|it| (is_avoided(*it), reads.busy_at(*it)));
        let (Some(server), Place::Known { chunk: id, version, .. }) = (best, &chunk.place) else {
            self.again.push(part);
            return chunk.put_off("all copies have failed", self.client.options.patience);
        };
        let Part { from, end, .. } = part;
        let key = self.next_key;
        self.next_key += 1;
        let want = Want { key, server, chunk: *id, version: *version, from, end };
        match self.client.reads.start(want, &self.client.options) {
            Ok(()) => drop(self.under_way.insert(key, part)),
            Err(fault) => self.failed(part, server, fault),
        }
        Ok(())
    }

    /// Reads what is there. Returns whether parts have ended.
    fn read(&mut self) -> Result<bool, Cause> {
        let Self { client, places, sink, under_way, done, .. } = self;
        let ended = client.reads.pass(&client.options, &mut |key, place, bytes| {
            let Some(part) = under_way.get(&key) else { return Ok(()) };
            sink.write(part.index * CHUNK_SIZE + u64::from(place), bytes)?;
            *done += bytes.len() as u64;
            if let Some(chunk) = places.chunk(part.index) {
                chunk.has_moved(bytes.len() as u32);
            }
            Ok(())
        })?;
        self.watch.moved(self.done);
        let has_ended = !ended.is_empty();
        for Ended { want, position, fault } in ended {
            let Some(part) = self.under_way.remove(&want.key) else { continue };
            if let Some(fault) = fault {
                // What came before the failure was right.
                self.failed(Part { from: position, ..part }, want.server, fault);
            }
        }
        Ok(has_ended)
    }

    /// Reads a part from another copy.
    fn failed(&mut self, part: Part, server: Endpoint, fault: Fault) {
        let (index, from) = (part.index, part.from);
        self.watch.trouble(&format!("{server}: chunk {index} from {from} on: {fault}"));
        if fault.is_of_server() {
            self.avoided.insert(server, Instant::now());
        }
        if let Some(chunk) = self.places.chunk(index) {
            chunk.has_failed(server, fault);
        }
        if part.from < part.end {
            self.again.push(part);
        }
    }
}
