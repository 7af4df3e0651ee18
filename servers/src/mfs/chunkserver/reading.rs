//! A part of a chunk on its way to a client.

use std::sync::Arc;

use protocol::mfs::{CHUNK_SIZE, Message, Read, ReadForm, ReadStatus, Status};
use reactor::Job;

use super::disk::{Chunk, Part, Readout, Spare};
use super::service::{Called, Next, ToPeer};

/// How many blocks are read at once. Together with what waits to be sent, it bounds the memory of a
/// reader: 1 MiB.
const BLOCKS_AT_ONCE: usize = 8;

/// A request to read that is being answered.
pub(super) struct Reading {
    read: Read,
    chunk: Arc<Chunk>,
    /// What was not read yet.
    rest: Part,
    job: Option<Job<Readout>>,
    /// Packets that are sent, or were.
    sent: Spare,
}

impl Reading {
    /// Begins. `None` if the request was answered.
    pub(super) fn begin(
        read: Read,
        reply: &mut ToPeer<'_>,
        context: &mut Called<'_>,
    ) -> Option<Self> {
        context.app.counts.reads += 1;
        match Self::check(&read, context) {
            Ok(chunk) => {
                let rest = Part { offset: read.offset as usize, size: read.size as usize };
                let sent = context.app.take_spare(2 * BLOCKS_AT_ONCE);
                let mut reading = Self { read, chunk, rest, job: None, sent };
                match reading.start(context) {
                    Ok(()) => return Some(reading),
                    Err(status) => reading.finish(status, reply, context),
                }
            }
            Err(status) => ReadStatus { chunk: read.chunk, status }.send(reply),
        }
        None
    }

    /// Checks a request. The status is that of its answer: a request for nothing has all of it.
    fn check(read: &Read, context: &mut Called<'_>) -> Result<Arc<Chunk>, Status> {
        let (offset, size) = (u64::from(read.offset), u64::from(read.size));
        if size == 0 {
            return Err(Status::OK);
        }
        if size > CHUNK_SIZE {
            return Err(Status::WRONGSIZE);
        }
        if offset + size > CHUNK_SIZE {
            return Err(Status::WRONGOFFSET);
        }
        context.app.find(read.chunk)
    }

    /// Hands the next part over to a thread.
    fn start(&mut self, context: &mut Called<'_>) -> Result<(), Status> {
        let part = self.rest.take(BLOCKS_AT_ONCE);
        let (free, busy) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|packet| Arc::strong_count(packet) == 1);
        self.sent = busy;
        let offload = context.app.store.offload_of(&self.chunk).ok_or(Status::NOCHUNK)?;
        let (chunk, version) = (Arc::clone(&self.chunk), self.read.version);
        let job = offload.run(context.me, move || chunk.read(version, part, free));
        self.job = Some(job.map_err(|_| Status::NOTDONE)?);
        Ok(())
    }

    /// Sends what was read, and goes on.
    pub(super) fn proceed(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Next {
        if let Some(job) = &mut self.job {
            let Some(result) = job.take() else { return Next::Goes };
            self.job = None;
            let Ok(Readout { packets, spare, end }) = result else {
                self.finish(Status::IO, reply, context);
                return Next::Done;
            };
            for packet in &packets {
                context.app.counts.read_bytes += packet.len() as u64;
                reply.share(Arc::clone(packet));
            }
            self.sent.extend(packets);
            self.sent.extend(spare);
            if let Err(trouble) = end {
                let status = context.app.note(&self.chunk, &trouble);
                self.finish(status, reply, context);
                return Next::Done;
            }
        }
        if self.rest.size == 0 {
            self.finish(Status::OK, reply, context);
            return Next::Done;
        }
        // The client is told when it has taken the most of it.
        if reply.backlog() <= context.limits.output_low
            && let Err(status) = self.start(context)
        {
            self.finish(status, reply, context);
            return Next::Done;
        }
        Next::Goes
    }

    fn finish(&mut self, status: Status, reply: &mut ToPeer<'_>, context: &mut Called<'_>) {
        ReadStatus { chunk: self.read.chunk, status }.send(reply);
        context.app.keep_spare(std::mem::take(&mut self.sent));
    }

    /// Returns whether the client takes signs of life.
    pub(super) fn is_lively(&self) -> bool {
        self.read.form == ReadForm::Lively
    }
}
