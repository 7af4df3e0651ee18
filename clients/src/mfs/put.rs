//! Writing a file: several chunks at a time, each through a chain of its own.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::mfs::{CHUNK_SIZE, Status, WriteChunk, WriteChunkAnswer};

use super::chain::Chain;
use super::client::{Client, Found, text_of, unnamed};
use super::error::{Cause, Error};
use super::master::{Body, pause};
use super::packets::wait_for;
use super::source::{Filled, Source};
use super::watch::Watch;
use super::writing::{State, Writing, end};

/// How long a chunk stays open for a stream that has nothing: it is locked for others meanwhile.
const REST_AFTER: Duration = Duration::from_secs(1);
/// How long a stream is waited for before the connections are looked after again.
const INPUT_WAIT: Duration = Duration::from_millis(100);
/// How long the chunks of a failed transfer are unlocked for. They unlock themselves after two minutes.
const ABANDON_MAX: Duration = Duration::from_secs(5);
/// The pause before a write is continued for the first time. It doubles up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The writing of a file.
struct Store<'a> {
    client: &'a mut Client,
    inode: u32,
    source: &'a mut Source,
    watch: &'a mut dyn Watch,
    chunks: VecDeque<Writing>,
    /// The index of the next chunk.
    next: u64,
    done: u64,
}

impl Client {
    /// Writes a file: what it had is gone. A new one gets the permissions `mode` without those of the
    /// umask. Several chunks are written at a time. When a chain of chunkservers fails, the master names
    /// another, which gets the blocks again that were not acknowledged.
    ///
    /// A file whose writing has failed is not complete. It can be written again at once.
    ///
    /// # Errors
    /// When the file cannot be opened, no chain takes anything for
    /// [`patience`](super::Options::patience), the master is lost, or the source fails.
    pub fn put(
        &mut self,
        path: &Path,
        mode: u16,
        source: &mut Source,
        watch: &mut dyn Watch,
    ) -> Result<Found, Error> {
        let found = self.open_to_write(path, mode)?;
        let mut store = Store {
            client: self,
            inode: found.inode,
            source,
            watch,
            chunks: VecDeque::new(),
            next: 0,
            done: 0,
        };
        if let Err(error) = store.run() {
            store.abandon();
            return Err(error.about("write", text_of(path)));
        }
        Ok(found)
    }
}

impl Store<'_> {
    fn run(&mut self) -> Result<(), Error> {
        loop {
            if self.watch.is_cancelled() {
                return Err(unnamed(Cause::Cancelled));
            }
            self.client.master.pass()?;
            self.begin().map_err(unnamed)?;
            for place in 0..self.chunks.len() {
                self.pass(place).map_err(unnamed)?;
            }
            let count = self.chunks.len();
            self.chunks.retain(|it| !(it.is_full && matches!(it.state, State::Ended)));
            self.watch.moved(self.done);
            if self.chunks.is_empty() && !self.has_more().map_err(unnamed)? {
                return Ok(());
            }
            if self.chunks.len() == count {
                self.wait().map_err(unnamed)?;
            }
        }
    }

    /// Returns whether the source has, or may still have, bytes for another chunk.
    fn has_more(&mut self) -> Result<bool, Cause> {
        let offset = self.next * CHUNK_SIZE;
        match self.source.length() {
            Some(length) => Ok(offset < length),
            None => Ok(self.source.has_block(offset, INPUT_WAIT)? || !self.source.has_ended()),
        }
    }

    /// Begins to write further chunks.
    fn begin(&mut self) -> Result<(), Cause> {
        while self.chunks.len() < self.client.options.writes_max {
            // A stream has one block after the other.
            let is_in_turn = self.source.length().is_some()
                || self.chunks.back().is_none_or(|chunk| chunk.is_full);
            if !is_in_turn || !self.source.has_block(self.next * CHUNK_SIZE, Duration::ZERO)? {
                return Ok(());
            }
            if self.next >= u64::from(u32::MAX) {
                return Err(Cause::Invalid("no file can be so long".to_owned()));
            }
            self.chunks.push_back(Writing::new(self.next));
            self.next += 1;
        }
        Ok(())
    }

    /// Does what can be done for a chunk without waiting.
    fn pass(&mut self, place: usize) -> Result<(), Cause> {
        let Some(writing) = self.chunks.get_mut(place) else { return Ok(()) };
        match &mut writing.state {
            State::Later(when) if *when > Instant::now() => Ok(()),
            State::Wanted | State::Later(_) => {
                let flags = if writing.is_interrupted { 2 } else { 0 };
                let request = WriteChunk { inode: self.inode, index: writing.index as u32, flags };
                writing.state = State::Asked(self.client.master.ask(request));
                Ok(())
            }
            State::Asked(ticket) => match self.client.master.take(*ticket) {
                Some(body) => self.answered(place, &body),
                None => Ok(()),
            },
            State::Open(_) => self.write(place),
            State::Ending(ticket) => match self.client.master.take(*ticket) {
                Some(body) => self.unlocked(place, &body),
                None => Ok(()),
            },
            State::Ended => {
                let offset = writing.offset();
                match self.source.block(offset)? {
                    Filled::Data(bytes) => {
                        writing.take(bytes);
                        (writing.state, writing.moved) = (State::Wanted, Instant::now());
                    }
                    Filled::Later => {}
                    Filled::End => writing.is_full = true,
                }
                Ok(())
            }
        }
    }

    /// Opens a chain, if the master names one.
    fn answered(&mut self, place: usize, body: &Body) -> Result<(), Cause> {
        let writing = &mut self.chunks[place];
        writing.state = State::Wanted;
        match body.read::<WriteChunkAnswer<'_>>() {
            Ok(answer) => {
                writing.locked = Some(answer.chunk);
                match Chain::open(&answer, &self.client.options) {
                    Ok(chain) => {
                        writing.state = State::Open(Box::new(chain));
                        Ok(())
                    }
                    Err(fault) => {
                        let first = answer.servers.iter().next().unwrap_or_default().place;
                        self.failed(place, &format!("{first}: {fault}"), FIRST_PAUSE)
                    }
                }
            }
            Err(Cause::Status(status)) => {
                // Without a copy that is connected, one may come back.
                let known =
                    if status == Status::CHUNKLOST { Status::NOCHUNKSERVERS } else { status };
                match pause(known, writing.attempts) {
                    Some(pause) => self.failed(place, &status.to_string(), pause),
                    None => Err(Cause::Status(status)),
                }
            }
            Err(cause) => Err(cause),
        }
    }

    /// Sends blocks and takes acknowledgements.
    fn write(&mut self, place: usize) -> Result<(), Cause> {
        self.fill(place)?;
        let writing = &mut self.chunks[place];
        let State::Open(chain) = &mut writing.state else { return Ok(()) };
        match chain.pass(self.client.options.stall_max()) {
            Ok(0) => {}
            Ok(count) => {
                self.done += count;
                (writing.attempts, writing.moved) = (0, Instant::now());
            }
            Err(fault) => {
                let text = format!("{chain}: {fault}");
                return self.failed(place, &text, FIRST_PAUSE);
            }
        }
        self.fill(place)?;
        let writing = &mut self.chunks[place];
        let State::Open(chain) = &mut writing.state else { return Ok(()) };
        let is_idle = chain.under_way() == 0 && writing.again.is_empty();
        let rests = writing.moved.elapsed() >= REST_AFTER;
        if is_idle && (writing.is_full || rests) {
            if let State::Open(chain) = std::mem::replace(&mut writing.state, State::Wanted) {
                chain.finish();
            }
            self.unlock(place);
        }
        Ok(())
    }

    /// Sends blocks, those of a chain before first, until the window is full.
    fn fill(&mut self, place: usize) -> Result<(), Cause> {
        let writing = &mut self.chunks[place];
        let window = self.client.options.window;
        loop {
            let State::Open(chain) = &mut writing.state else { return Ok(()) };
            if chain.under_way() >= window {
                return Ok(());
            }
            if let Some(block) = writing.again.pop_front() {
                chain.send(block);
                continue;
            }
            if writing.is_full {
                return Ok(());
            }
            match self.source.block(writing.offset())? {
                Filled::Data(bytes) => writing.take(bytes),
                Filled::Later => return Ok(()),
                Filled::End => writing.is_full = true,
            }
        }
    }

    /// Gives a chain up. The write is continued after a pause, unless there was no progress for too long.
    fn failed(&mut self, place: usize, text: &str, pause: Duration) -> Result<(), Cause> {
        let writing = &mut self.chunks[place];
        self.watch.trouble(&format!("chunk {}: {text}", writing.index));
        if writing.moved.elapsed() >= self.client.options.patience {
            return Err(Cause::Chain(text.to_owned()));
        }
        let pause = pause.max(FIRST_PAUSE * (1 << writing.attempts.min(4)));
        writing.attempts += 1;
        let later = State::Later(Instant::now() + pause);
        if let State::Open(chain) = std::mem::replace(&mut writing.state, later) {
            let mut blocks = chain.give_up();
            blocks.append(&mut writing.again);
            writing.again = blocks;
        }
        writing.is_interrupted = writing.locked.is_some();
        Ok(())
    }

    /// Tells the master that a chunk is written.
    fn unlock(&mut self, place: usize) {
        let writing = &mut self.chunks[place];
        let length = writing.offset();
        writing.state = match writing.locked {
            Some(chunk) => {
                let request = end(self.inode, writing.index, chunk, length);
                State::Ending(self.client.master.ask(request))
            }
            None => State::Ended,
        };
    }

    fn unlocked(&mut self, place: usize, body: &Body) -> Result<(), Cause> {
        let writing = &mut self.chunks[place];
        writing.state = State::Ended;
        match body.done() {
            Ok(()) => {
                (writing.locked, writing.is_interrupted) = (None, false);
                Ok(())
            }
            Err(Cause::Status(status)) if status.is_passing() => {
                if writing.moved.elapsed() >= self.client.options.patience {
                    return Err(Cause::Status(status));
                }
                self.unlock(place);
                Ok(())
            }
            Err(cause) => Err(cause),
        }
    }

    /// Waits until something can go on.
    fn wait(&mut self) -> Result<(), Cause> {
        let is_resting = |chunk: &Writing| match &chunk.state {
            State::Open(chain) => chain.under_way() == 0,
            State::Ended => true,
            _ => false,
        };
        let last = self.chunks.back();
        if self.source.length().is_none() && last.is_none_or(is_resting) {
            // Only the stream is waited for.
            self.source.has_block(0, INPUT_WAIT)?;
            return Ok(());
        }
        let master = &self.client.master;
        let chains = self.chunks.iter().filter_map(|chunk| match &chunk.state {
            State::Open(chain) => Some(chain.wire()),
            _ => None,
        });
        let times = self.chunks.iter().filter_map(|chunk| match chunk.state {
            State::Later(when) => Some(when),
            _ => None,
        });
        let due = times.chain(master.due()).min();
        wait_for(master.wire().into_iter().chain(chains), due)?;
        Ok(())
    }

    /// Unlocks all chunks after a failure, as far as the master answers in time.
    fn abandon(&mut self) {
        let until = Instant::now() + ABANDON_MAX;
        for writing in &mut self.chunks {
            if let (State::Open(_) | State::Later(_) | State::Wanted, Some(chunk)) =
                (&writing.state, writing.locked)
            {
                let request = end(self.inode, writing.index, chunk, 0);
                writing.state = State::Ending(self.client.master.ask(request));
            }
        }
        while Instant::now() < until && self.client.master.pass().is_ok() {
            let mut is_waiting = false;
            for writing in &mut self.chunks {
                let (State::Asked(ticket) | State::Ending(ticket)) = writing.state else {
                    continue;
                };
                is_waiting = true;
                let Some(body) = self.client.master.take(ticket) else { continue };
                let is_asked = matches!(writing.state, State::Asked(_));
                writing.state = match body.read::<WriteChunkAnswer<'_>>() {
                    Ok(answer) if is_asked => {
                        let request = end(self.inode, writing.index, answer.chunk, 0);
                        State::Ending(self.client.master.ask(request))
                    }
                    _ => State::Ended,
                };
            }
            let master = &self.client.master;
            if !is_waiting || wait_for(master.wire().into_iter(), Some(until)).is_err() {
                return;
            }
        }
    }
}
