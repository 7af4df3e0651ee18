//! Chains: each is what the connection of a client and that to the next chunkserver share.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::codecs::{Packet, PacketView};
use protocol::mfs::{
    ChunkId, Endpoint, Kind, List, Message, MessageError, Nop, Status, Write, WriteFinish,
    WriteStatus, append_all, describe,
};
use protocol::{ConnectionId, Effects, Flow, Reason, Service};

use super::app::{Chunkserver, Dial};
use super::service::{Called, ToPeer};

/// How many bytes wait for the next chunkserver, for each chain.
const QUEUE_MAX: usize = 2 << 20;
/// How long the attempts to connect may take, in milliseconds. The last one is repeated.
const PATIENCE: [u64; 5] = [200, 300, 400, 600, 1000];
/// How often a connection is tried.
const ATTEMPTS_MAX: usize = 10;
/// The key of the timer of signs of life, and its time.
const TICK: (u8, Duration) = (0, Duration::from_secs(1));
/// After how many ticks without a packet the next chunkserver is given up.
const SILENT_TICKS_MAX: u8 = 5;

/// The number of a chain.
pub(super) type ChainId = u64;

/// What the two connections of a chain share.
struct Chain {
    client: ConnectionId,
    chunk: ChunkId,
    version: u32,
    /// The next chunkserver, and those after it.
    route: Vec<Endpoint>,
    /// How often a connection was tried.
    attempts: usize,
    successor: Option<ConnectionId>,
    /// What the next chunkserver is to be sent.
    queue: VecDeque<Arc<[u8]>>,
    queued: usize,
    /// What it has said.
    statuses: VecDeque<(u32, Status)>,
    failure: Option<Status>,
    is_finished: bool,
}

/// All chains.
#[derive(Default)]
pub(super) struct Chains {
    all: HashMap<ChainId, Chain>,
    next: ChainId,
}

impl Chains {
    /// Sends a packet to the next chunkserver.
    pub(super) fn forward(&mut self, id: ChainId, packet: Arc<[u8]>, effects: &mut Effects) {
        let Some(chain) = self.all.get_mut(&id) else { return };
        chain.queued += packet.len();
        chain.queue.push_back(packet);
        if let Some(successor) = chain.successor {
            effects.wake(successor);
        }
    }

    /// Returns whether more waits for the next chunkserver than the memory is meant for.
    pub(super) fn is_full(&self, id: ChainId) -> bool {
        self.all.get(&id).is_some_and(|chain| chain.queued > QUEUE_MAX)
    }

    /// Takes what the next chunkserver has said of a write.
    pub(super) fn take_status(&mut self, id: ChainId) -> Option<(u32, Status)> {
        self.all.get_mut(&id)?.statuses.pop_front()
    }

    /// Returns why the chain is broken, if it is.
    pub(super) fn failure(&self, id: ChainId) -> Option<Status> {
        self.all.get(&id)?.failure
    }

    /// Ends a chain in order: everything is written.
    pub(super) fn finish(&mut self, id: ChainId, effects: &mut Effects) {
        if let Some(chain) = self.all.get_mut(&id) {
            chain.is_finished = true;
            if let Some(successor) = chain.successor {
                effects.wake(successor);
            }
        }
    }

    /// Ends a chain at once.
    pub(super) fn end(&mut self, id: ChainId, effects: &mut Effects) {
        if let Some(successor) = self.all.remove(&id).and_then(|chain| chain.successor) {
            effects.close(successor);
        }
    }

    /// Returns where the next chunkserver of a chain is and how long connecting to it may take, if that
    /// is still wanted.
    pub(super) fn target(&self, id: ChainId) -> Option<(Endpoint, Duration)> {
        let chain = self.all.get(&id)?;
        let patience = PATIENCE[chain.attempts.min(PATIENCE.len() - 1)];
        Some((*chain.route.first()?, Duration::from_millis(patience)))
    }

    /// Notes the connection that is being made, or that none can be.
    pub(super) fn dialled(&mut self, id: ChainId, connection: Option<ConnectionId>) {
        let Some(chain) = self.all.get_mut(&id) else { return };
        chain.attempts += 1;
        chain.successor = connection;
        if connection.is_none() {
            chain.failure = Some(Status::CANTCONNECT);
        }
    }

    /// Returns the connection of the client of a chain.
    pub(super) fn client(&self, id: ChainId) -> Option<ConnectionId> {
        Some(self.all.get(&id)?.client)
    }
}

impl Chunkserver {
    /// Begins a chain: connects to the next chunkserver.
    pub(super) fn begin_chain(
        &mut self,
        client: ConnectionId,
        chunk: ChunkId,
        version: u32,
        route: Vec<Endpoint>,
        effects: &mut Effects,
    ) -> ChainId {
        let id = self.chains.next;
        self.chains.next += 1;
        let chain = Chain {
            client,
            chunk,
            version,
            route,
            attempts: 0,
            successor: None,
            queue: VecDeque::new(),
            queued: 0,
            statuses: VecDeque::new(),
            failure: None,
            is_finished: false,
        };
        self.chains.all.insert(id, chain);
        self.dial(Dial::Successor(id), effects);
        id
    }
}

/// The service of the connection to the next chunkserver.
pub(super) struct Successor {
    chain: ChainId,
    is_open: bool,
    has_heard: bool,
    silent_ticks: u8,
    /// Something was sent since the last tick.
    has_spoken: bool,
}

impl Successor {
    pub(super) fn new(chain: ChainId) -> Self {
        Self { chain, is_open: false, has_heard: false, silent_ticks: 0, has_spoken: false }
    }

    /// Sends what waits, as far as there is room.
    fn flush(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        let Some(chain) = context.app.chains.all.get_mut(&self.chain) else { return Flow::Close };
        let was_full = chain.queued > QUEUE_MAX;
        while reply.backlog() < context.limits.output_high
            && let Some(packet) = chain.queue.pop_front()
        {
            chain.queued -= packet.len();
            self.has_spoken = true;
            reply.share(packet);
        }
        if was_full && chain.queued <= QUEUE_MAX {
            context.effects.wake(chain.client);
        }
        if chain.is_finished && chain.queue.is_empty() {
            WriteFinish { chunk: chain.chunk, version: chain.version }.send(reply);
            context.app.chains.all.remove(&self.chain);
            return Flow::Close;
        }
        Flow::Continue
    }

    fn take(
        &self,
        kind: Kind,
        body: &[u8],
        context: &mut Called<'_>,
    ) -> Result<Flow, MessageError> {
        let Some(chain) = context.app.chains.all.get_mut(&self.chain) else {
            return Ok(Flow::Close);
        };
        match kind {
            Kind::NOP => Nop::parse(body).map(|_| Flow::Continue),
            Kind::WRITE_STATUS => {
                let WriteStatus { chunk, write, status } = WriteStatus::parse(body)?;
                let status = if chunk == chain.chunk { status } else { Status::WRONGCHUNKID };
                chain.statuses.push_back((write, status));
                context.effects.wake(chain.client);
                Ok(Flow::Continue)
            }
            _ => {
                self.refuse(&format!("unexpected: {}", describe(kind, body)), context);
                Ok(Flow::Close)
            }
        }
    }

    fn refuse(&self, why: &str, context: &mut Called<'_>) {
        let target = context.app.chains.target(self.chain).map(|(target, _)| target);
        context.app.refuse(target.unwrap_or_default(), why, context.now);
    }
}

impl Service<Packet, Chunkserver> for Successor {
    fn open(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        self.is_open = true;
        context.effects.set_timeout(TICK.0, Some(TICK.1));
        let Some(chain) = context.app.chains.all.get(&self.chain) else { return Flow::Close };
        let after = append_all(chain.route.iter().skip(1).copied());
        let chain_after = List::new(&after).unwrap_or_default();
        Write { form: 1, chunk: chain.chunk, version: chain.version, chain: chain_after }
            .send(reply);
        self.flush(reply, context)
    }

    fn call(
        &mut self,
        packet: PacketView<'_>,
        _: &mut ToPeer<'_>,
        context: &mut Called<'_>,
    ) -> Flow {
        self.has_heard = true;
        self.take(Kind(packet.kind), packet.body, context).unwrap_or_else(|error| {
            self.refuse(&error.to_string(), context);
            Flow::Close
        })
    }

    fn resume(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        self.flush(reply, context)
    }

    fn drained(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        self.flush(reply, context)
    }

    fn timeout(&mut self, _: u8, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        let has_heard = std::mem::take(&mut self.has_heard);
        self.silent_ticks = if has_heard { 0 } else { self.silent_ticks + 1 };
        if self.silent_ticks >= SILENT_TICKS_MAX {
            self.refuse("it is silent", context);
            context.effects.close(context.me);
            return Flow::Close;
        }
        if !std::mem::take(&mut self.has_spoken) && reply.backlog() == 0 {
            Nop::default().send(reply);
        }
        context.effects.set_timeout(TICK.0, Some(TICK.1));
        Flow::Continue
    }

    fn closed(&mut self, _: &Reason, context: &mut Called<'_>) {
        let Some(chain) = context.app.chains.all.get_mut(&self.chain) else { return };
        chain.successor = None;
        if !self.is_open && chain.attempts < ATTEMPTS_MAX {
            return context.app.dial(Dial::Successor(self.chain), context.effects);
        }
        chain.failure = Some(if self.is_open { Status::DISCONNECTED } else { Status::CANTCONNECT });
        context.effects.wake(chain.client);
    }
}
