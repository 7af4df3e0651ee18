//! Data on their way from a client to a chunk, and to the next chunkserver of the chain.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Codec;
use protocol::codecs::{Packet, PacketMessage};
use protocol::mfs::{
    Endpoint, Kind, Message, MessageError, Nop, Status, Write, WriteData, WriteFinish, WriteStatus,
};
use reactor::Job;

use super::chain::ChainId;
use super::disk::{Chunk, Done, Written};
use super::service::{Called, Next, ToPeer};

/// How many bytes wait for the disk, for each writer.
const QUEUE_MAX: usize = 2 << 20;
/// How many writes are not acknowledged, for each writer. A real client has 64.
const UNACKNOWLEDGED_MAX: usize = 1024;
/// How many chunkservers a chain has after this one. More copies than this make no sense, and each
/// connects to the next.
const CHAIN_MAX: usize = 16;
/// How often a sign of life is answered at most.
const NOP_PAUSE: Duration = Duration::from_millis(500);

/// What a thread does for a writer.
enum Work {
    Open(Job<Done<()>>),
    Write(Job<Vec<Written>>),
}

/// A write that was not acknowledged to the client.
#[derive(Clone, Copy, Debug)]
struct Pending {
    write: u32,
    /// This chunkserver has done it.
    is_done: bool,
    /// So have those after it.
    is_done_after: bool,
}

/// A chunk that a client writes to.
pub(super) struct Writing {
    chunk: Arc<Chunk>,
    version: u32,
    work: Option<Work>,
    chain: Option<ChainId>,
    queue: VecDeque<Arc<[u8]>>,
    queued: usize,
    /// In the order in which they are acknowledged.
    pending: VecDeque<Pending>,
    is_finishing: bool,
    last_nop: Option<Instant>,
}

impl Writing {
    /// Begins. `None` if it was refused, of which the client was told.
    pub(super) fn begin(
        write: &Write<'_>,
        reply: &mut ToPeer<'_>,
        context: &mut Called<'_>,
    ) -> Option<Self> {
        match Self::check(write, context) {
            Ok(writing) => Some(writing),
            Err(status) => {
                WriteStatus { chunk: write.chunk, write: 0, status }.send(reply);
                None
            }
        }
    }

    fn check(write: &Write<'_>, context: &mut Called<'_>) -> Result<Self, Status> {
        let route: Vec<Endpoint> = write.chain.iter().take(CHAIN_MAX + 1).collect();
        if write.form != 1 || route.len() > CHAIN_MAX {
            return Err(Status::EINVAL);
        }
        let chunk = context.app.find(write.chunk)?;
        let offload = context.app.store.offload_of(&chunk).ok_or(Status::NOCHUNK)?;
        let (opened, version) = (Arc::clone(&chunk), write.version);
        let job = offload.run(context.me, move || opened.prepare(version));
        let work = Some(Work::Open(job.map_err(|_| Status::NOTDONE)?));
        context.app.counts.writes += 1;
        let is_last = route.is_empty();
        let chain = (!is_last).then(|| {
            context.app.counts.forwarded += 1;
            context.app.begin_chain(context.me, write.chunk, version, route, context.effects)
        });
        let pending =
            VecDeque::from([Pending { write: 0, is_done: false, is_done_after: is_last }]);
        Ok(Self {
            chunk,
            version,
            work,
            chain,
            queue: VecDeque::new(),
            queued: 0,
            pending,
            is_finishing: false,
            last_nop: None,
        })
    }

    /// Returns whether a packet may come while a chunk is written.
    pub(super) fn takes(kind: Kind) -> bool {
        matches!(kind, Kind::NOP | Kind::WRITE_DATA | Kind::WRITE_FINISH)
    }

    /// Takes a packet of the client.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        body: &[u8],
        reply: &mut ToPeer<'_>,
        context: &mut Called<'_>,
    ) -> Result<Next, MessageError> {
        match kind {
            Kind::NOP => {
                Nop::parse(body)?;
                self.answer_nop(reply, context);
            }
            Kind::WRITE_DATA => {
                let data = WriteData::parse(body)?;
                if data.chunk != self.chunk.id {
                    return Ok(self.fail(data.write, Status::WRONGCHUNKID, reply));
                }
                context.app.counts.written_bytes += data.data.bytes.len() as u64;
                let packet = Packet::default().encode_shared(PacketMessage { kind: kind.0, body });
                self.pending.push_back(Pending {
                    write: data.write,
                    is_done: false,
                    is_done_after: self.chain.is_none(),
                });
                if let Some(chain) = self.chain {
                    context.app.chains.forward(chain, Arc::clone(&packet), context.effects);
                }
                self.queued += packet.len();
                self.queue.push_back(packet);
            }
            _ => {
                let finish = WriteFinish::parse(body)?;
                if finish.chunk != self.chunk.id {
                    return Ok(self.fail(0, Status::WRONGCHUNKID, reply));
                }
                self.is_finishing = true;
            }
        }
        Ok(self.proceed(reply, context))
    }

    fn answer_nop(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) {
        let now = context.now;
        if self.last_nop.is_some_and(|last| now.saturating_duration_since(last) < NOP_PAUSE) {
            return;
        }
        self.last_nop = Some(now);
        Nop::default().send(reply);
        if let Some(chain) = self.chain {
            context.app.chains.forward(chain, Nop::default().packet(), context.effects);
        }
    }

    /// Takes what the thread and the next chunkserver have done, and goes on.
    pub(super) fn proceed(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Next {
        let taken = self.take_work(context).and_then(|()| self.take_statuses(context));
        if let Err((write, status)) = taken {
            return self.fail(write, status, reply);
        }
        while let Some(first) = self.pending.front().filter(|it| it.is_done && it.is_done_after) {
            WriteStatus { chunk: self.chunk.id, write: first.write, status: Status::OK }
                .send(reply);
            self.pending.pop_front();
        }
        if let Err((write, status)) = self.start(context) {
            return self.fail(write, status, reply);
        }
        if self.is_finishing {
            if !self.pending.is_empty() {
                return Next::Waits;
            }
            if let Some(chain) = self.chain.take() {
                context.app.chains.finish(chain, context.effects);
            }
            return Next::Done;
        }
        let is_full = self.queued > QUEUE_MAX
            || self.pending.len() > UNACKNOWLEDGED_MAX
            || self.chain.is_some_and(|chain| context.app.chains.is_full(chain));
        if is_full { Next::Waits } else { Next::Goes }
    }

    /// Takes what the thread has done. The error is a write that has failed.
    fn take_work(&mut self, context: &mut Called<'_>) -> Result<(), (u32, Status)> {
        let done = match &mut self.work {
            None => return Ok(()),
            Some(Work::Open(job)) => job.take().map(|it| it.map(|opened| vec![(0, opened)])),
            Some(Work::Write(job)) => job.take(),
        };
        let Some(done) = done else { return Ok(()) };
        self.work = None;
        let first = self.pending.iter().find(|it| !it.is_done).map_or(0, |it| it.write);
        for (write, result) in done.map_err(|_| (first, Status::IO))? {
            if let Err(trouble) = result {
                return Err((write, context.app.note(&self.chunk, &trouble)));
            }
            // Numbers that come twice are done in their order.
            let wanted = |it: &&mut Pending| it.write == write && !it.is_done;
            if let Some(pending) = self.pending.iter_mut().find(wanted) {
                pending.is_done = true;
            }
        }
        Ok(())
    }

    /// Takes what the next chunkserver has said.
    fn take_statuses(&mut self, context: &mut Called<'_>) -> Result<(), (u32, Status)> {
        let Some(chain) = self.chain else { return Ok(()) };
        while let Some((write, status)) = context.app.chains.take_status(chain) {
            status.done().map_err(|status| (write, status))?;
            let wanted = |it: &&mut Pending| it.write == write && !it.is_done_after;
            match self.pending.iter_mut().find(wanted) {
                Some(pending) => pending.is_done_after = true,
                // It acknowledges what it was not given.
                None => return Err((write, Status::EINVAL)),
            }
        }
        match context.app.chains.failure(chain) {
            Some(status) => {
                let first = self.pending.iter().find(|it| !it.is_done_after);
                Err((first.map_or(0, |it| it.write), status))
            }
            None => Ok(()),
        }
    }

    /// Hands what waits over to a thread, unless one is at work.
    fn start(&mut self, context: &mut Called<'_>) -> Result<(), (u32, Status)> {
        if self.work.is_some() || self.queue.is_empty() {
            return Ok(());
        }
        let packets: Vec<_> = std::mem::take(&mut self.queue).into();
        self.queued = 0;
        let first = self.pending.iter().find(|it| !it.is_done).map_or(0, |it| it.write);
        let offload = context.app.store.offload_of(&self.chunk).ok_or((first, Status::NOCHUNK))?;
        let (chunk, version) = (Arc::clone(&self.chunk), self.version);
        let job = offload.run(context.me, move || chunk.write(version, &packets));
        self.work = Some(Work::Write(job.map_err(|_| (first, Status::NOTDONE))?));
        Ok(())
    }

    fn fail(&self, write: u32, status: Status, reply: &mut ToPeer<'_>) -> Next {
        WriteStatus { chunk: self.chunk.id, write, status }.send(reply);
        Next::Failed
    }

    /// Returns whether the client waits for this chunkserver or one after it.
    pub(super) fn waits_for_us(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Ends the chain, at the end of the connection.
    pub(super) fn end(&mut self, context: &mut Called<'_>) {
        if let Some(chain) = self.chain.take() {
            context.app.chains.end(chain, context.effects);
        }
    }
}
