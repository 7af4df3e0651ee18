//! The connection of a chunkserver.

use std::net::SocketAddr;
use std::time::Duration;

use log::{info, warn};
use protocol::codecs::{Packet, PacketView};
use protocol::mfs::{
    Accepted, ChunkDamaged, ChunkLost, ChunkNew, ChunkVersion, ChunkserverAbout, ChunkserverBegin,
    ChunkserverRegister, CurrentLoad, ErrorOccurred, Ip, Kind, Labels, List, MasterAck, Message,
    Nop, Space, Version, auth_code_digest, limit,
};
use protocol::{Context, Flow, Reason, Reply, Service};

use super::order::Answered;
use super::orders::Found;
use super::registration::Registered;
use super::{Chunkserver, State};
use crate::mfs::master::app::Master;
use crate::mfs::master::port::{Peer, Refused, introduce};
use crate::mfs::master::pulse::{Beat, PULSE, Pulse};

/// The key of the timeout at which orders are given again.
const AGAIN: u8 = PULSE + 1;
/// The longest time-out that a chunkserver may ask for, in seconds, as the real one.
const TIMEOUT_MAX: u16 = 65_535;

/// The connection of a chunkserver, or of a peer that may become one.
#[derive(Debug)]
pub(in crate::mfs::master) struct ChunkserverSession {
    peer: Peer,
    pulse: Pulse,
    /// What it was asked to prove that it has the code.
    challenge: Option<[u8; 32]>,
    registered: Option<Registered>,
}

impl ChunkserverSession {
    pub(in crate::mfs::master) fn new(address: Option<SocketAddr>, timeout: Duration) -> Self {
        let peer = Peer::new("chunkserver", address);
        Self { peer, pulse: Pulse::within(timeout), challenge: None, registered: None }
    }

    fn handle(
        &mut self,
        kind: Kind,
        body: &[u8],
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Result<(), Refused> {
        match kind {
            Kind::UNKNOWN_COMMAND | Kind::BAD_COMMAND_SIZE => return Ok(()),
            Kind::NOP if body.is_empty() => return Ok(()),
            Kind::GET_VERSION | Kind::GET_CONFIG => return Ok(introduce(kind, body, reply)?),
            Kind::REGISTER => {
                return self.step(ChunkserverRegister::parse(body)?, reply, context);
            }
            _ => {}
        }
        let Some(me) = self.registered else { return Err(Refused::unexpected(kind, body)) };
        if context.app.chunkservers.of_epoch(me.csid, me.epoch).is_none() {
            return Err(Refused::new("another connection has its place"));
        }
        if let Some(answer) = Answered::parse(kind, body)? {
            return self.answered(me, answer, context);
        }
        match kind {
            Kind::CHUNK_NEW => {
                let ChunkNew { chunks } = ChunkNew::parse(body)?;
                return self.has(me, chunks, context.app);
            }
            Kind::CHUNK_DAMAGED => {
                let ChunkDamaged { chunks } = ChunkDamaged::parse(body)?;
                chunks.iter().for_each(|chunk| context.app.chunks.lost(chunk, me.csid));
            }
            Kind::CHUNK_LOST => {
                let ChunkLost { chunks } = ChunkLost::parse(body)?;
                chunks.iter().for_each(|chunk| context.app.chunks.lost(chunk, me.csid));
            }
            _ => {
                let Some(server) = context.app.chunkservers.get_mut(me.csid) else { return Ok(()) };
                tell(server, kind, body)?;
            }
        }
        Ok(())
    }

    /// Goes on with the registration, or ends it.
    fn step(
        &mut self,
        step: ChunkserverRegister<'_>,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Result<(), Refused> {
        let state = self.registered.and_then(|me| {
            context.app.chunkservers.of_epoch(me.csid, me.epoch).map(|server| (me, server.state))
        });
        match (step, state) {
            (ChunkserverRegister::Begin(begin), None) => self.begin(begin, reply, context),
            (ChunkserverRegister::Chunks(chunks), Some((me, State::Registering))) => {
                self.has(me, chunks, context.app)?;
                MasterAck::Next.send(reply);
                Ok(())
            }
            (ChunkserverRegister::Done, Some((me, State::Registering))) => {
                info!("{}: registered as number {}", self.peer, me.csid);
                set_state(me, State::Registered, context.app);
                Ok(())
            }
            (ChunkserverRegister::Leaves, Some((me, _))) => {
                set_state(me, State::Leaving, context.app);
                Ok(())
            }
            _ => Err(Refused::new("a step of the registration is out of order")),
        }
    }

    /// Begins the registration, or asks for the proof of the code first.
    fn begin(
        &mut self,
        begin: ChunkserverBegin,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Result<(), Refused> {
        let ChunkserverBegin { proof, mut about } = begin;
        if let Some(code) = &context.app.options.auth_code {
            match (proof, self.challenge.take()) {
                (Some(proof), Some(challenge)) if auth_code_digest(&challenge, code) == proof => {}
                (None, None) => {
                    let mut challenge = [0; 32];
                    getrandom::fill(&mut challenge)
                        .map_err(|error| Refused::new(format!("no random numbers: {error}")))?;
                    self.challenge = Some(challenge);
                    MasterAck::Challenge(challenge).send(reply);
                    return Ok(());
                }
                _ => return Err(Refused::new("it does not have the code of this master")),
            }
        }
        if about.place.ip == Ip(0) {
            about.place.ip = self.peer.ip();
        }
        let ChunkserverAbout { timeout, .. } = about;
        let own = context.app.options.timeout;
        let timeout = if timeout == 0 { own } else { Duration::from_secs(timeout.into()) };
        let me = context.app.register_chunkserver(&about, context.me)?;
        self.registered = Some(me);
        self.pulse = Pulse::within(timeout);
        self.pulse.start(context.effects);
        reply.codec().set_size_max(limit::FROM_CHUNKSERVER);
        MasterAck::Accepted(Accepted {
            version: Version::OURS,
            timeout: u16::try_from(timeout.as_secs()).unwrap_or(TIMEOUT_MAX).max(1),
            csid: me.csid,
            meta_id: context.app.meta_id,
        })
        .send(reply);
        Ok(())
    }

    /// Notes chunks that it has.
    fn has(
        &self,
        me: Registered,
        chunks: List<'_, ChunkVersion>,
        app: &mut Master,
    ) -> Result<(), Refused> {
        let chunks_max = app.options.chunks_max;
        for chunk in chunks.iter() {
            if app.chunks.len() >= chunks_max && !app.chunks.contains(chunk.chunk) {
                return Err(Refused::new(format!("there are {chunks_max} chunks already")));
            }
            app.chunk_is_at(chunk, me.csid, me.epoch);
        }
        Ok(())
    }

    /// Passes an answer on to what has asked.
    ///
    /// # Errors
    /// When nothing has. What the chunkserver has done is not known then: it has to register again, and
    /// tell what it has.
    fn answered(
        &self,
        me: Registered,
        answer: Answered,
        context: &mut Context<'_, Master>,
    ) -> Result<(), Refused> {
        let Some(server) = context.app.chunkservers.get_mut(me.csid) else { return Ok(()) };
        match server.orders.answered(answer, context.now) {
            Found::Done(given) => {
                (given.done)(answer.status, context.app);
                Ok(())
            }
            Found::Again => {
                context.app.counts.again += 1;
                Ok(())
            }
            Found::Nothing => {
                let text = format!("an answer to no order: {:?}, {}", answer.key, answer.status);
                Err(Refused::new(text))
            }
        }
    }

    /// Ends a call: gives the orders that may be given, and wakes others.
    fn conclude(
        &mut self,
        handled: Result<(), Refused>,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        if let Err(why) = handled {
            context.app.settle(context.effects);
            return self.peer.cut(&why, context);
        }
        let under_way_max = context.app.options.under_way_max;
        let server = self.registered.and_then(|me| context.app.chunkservers.get_mut(me.csid));
        if let Some(server) = server.filter(|it| it.connection == Some(context.me)) {
            let (given, due) = server.orders.give(under_way_max, context.now, reply);
            if given > 0 {
                self.pulse.said();
                context.app.counts.orders += given;
            }
            if due.is_some() {
                context.effects.set_timeout(AGAIN, due);
            }
        }
        context.app.settle(context.effects);
        Flow::Continue
    }
}

/// Notes what a chunkserver says about itself.
fn tell(server: &mut Chunkserver, kind: Kind, body: &[u8]) -> Result<(), Refused> {
    match kind {
        Kind::SPACE => server.space = Space::parse(body)?,
        Kind::LABELS => server.labels = Labels::parse(body)?.mask,
        Kind::CURRENT_LOAD => {
            let CurrentLoad { load, state } = CurrentLoad::parse(body)?;
            (server.load, server.load_state) = (load, state);
        }
        Kind::ERROR_OCCURRED => {
            ErrorOccurred::parse(body)?;
            server.errors = server.errors.saturating_add(1);
        }
        _ => return Err(Refused::unexpected(kind, body)),
    }
    Ok(())
}

fn set_state(me: Registered, state: State, app: &mut Master) {
    if let Some(server) = app.chunkservers.get_mut(me.csid) {
        server.state = state;
    }
}

impl Service<Packet, Master> for ChunkserverSession {
    fn open(&mut self, _: &mut Reply<'_, Packet>, context: &mut Context<'_, Master>) -> Flow {
        self.pulse.start(context.effects);
        Flow::Continue
    }

    fn call(
        &mut self,
        packet: PacketView<'_>,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        let (kind, body) = (Kind(packet.kind), &*packet.body);
        self.peer.log(kind, body);
        let handled = self.handle(kind, body, reply, context);
        // Signs of life do not keep a connection that does not register.
        if self.registered.is_some() {
            self.pulse.heard();
        }
        self.conclude(handled, reply, context)
    }

    fn resume(&mut self, reply: &mut Reply<'_, Packet>, context: &mut Context<'_, Master>) -> Flow {
        self.conclude(Ok(()), reply, context)
    }

    fn timeout(
        &mut self,
        key: u8,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        if key == AGAIN {
            return self.conclude(Ok(()), reply, context);
        }
        match self.pulse.beat(context.effects) {
            Beat::Rest => {}
            Beat::Speak => Nop::default().send(reply),
            Beat::GiveUp => return self.peer.cut(&Refused::new("it is silent"), context),
        }
        Flow::Continue
    }

    fn stopping(&mut self, _: &mut Reply<'_, Packet>, _: &mut Context<'_, Master>) -> Flow {
        Flow::Close
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Master>) {
        let Some(me) = self.registered else { return };
        let server = context.app.chunkservers.get(me.csid);
        if server.is_some_and(|it| it.connection == Some(context.me)) {
            warn!("{}: number {} is gone: {reason}", self.peer, me.csid);
            context.app.chunkserver_gone(me.csid);
            context.app.settle(context.effects);
        }
    }
}
