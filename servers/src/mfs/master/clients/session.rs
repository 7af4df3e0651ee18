//! The connection of a client, or of `mfscli`.

use std::net::SocketAddr;

use protocol::codecs::{Packet, PacketMessage, PacketView};
use protocol::mfs::{Answer, Status};
use protocol::mfs::{
    ClientRegister, Kind, Message, Nop, Numbered, ReadChunk, TruncateFile, WriteChunk,
    WriteChunkEnd, WriteChunkEndAnswer, limit,
};
use protocol::{Context, Flow, Reason, Reply, Service};

use super::contents::{Asked, Waiting};
use super::names::{Call, not_supported};
use super::registration::{Registration, Role};
use crate::mfs::master::app::Master;
use crate::mfs::master::port::{Peer, Refused, introduce};
use crate::mfs::master::pulse::{Beat, Pulse};
use crate::mfs::master::questions;

/// The connection of a client, which may register.
#[derive(Debug)]
pub(in crate::mfs::master) struct ClientSession {
    peer: Peer,
    pulse: Pulse,
    registration: Registration,
}

impl ClientSession {
    pub(in crate::mfs::master) fn new(address: Option<SocketAddr>) -> Self {
        let peer = Peer::new("client", address);
        let registration = Registration::new(peer.ip());
        Self { peer, pulse: Pulse::of_client(), registration }
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
            Kind::NOP => {
                Nop::parse(body)?;
                return Ok(());
            }
            Kind::GET_VERSION | Kind::GET_CONFIG => {
                introduce(kind, body, reply)?;
                self.pulse.said();
                return Ok(());
            }
            Kind::CLIENT_REGISTER => return self.register(body, reply, context),
            _ => {}
        }
        if questions::answer(kind, body, context.now, reply, context.app)? {
            self.pulse.said();
            return Ok(());
        }
        match self.registration.role {
            Role::Session(session) => self.serve(session, kind, body, reply, context),
            Role::Tools => answer_unknown(kind, body, reply),
            Role::Unregistered | Role::Ended => Err(Refused::unexpected(kind, body)),
        }
    }

    fn register(
        &mut self,
        body: &[u8],
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Result<(), Refused> {
        let step = ClientRegister::parse(body)?;
        let place = (context.me, context.now);
        let answer = self.registration.step(step, place, context.app)?;
        if matches!(self.registration.role, Role::Session(_)) {
            reply.codec().set_size_max(limit::FROM_CLIENT);
        }
        answer.send(reply);
        self.pulse.said();
        Ok(())
    }

    /// Handles a request of a session.
    fn serve(
        &mut self,
        session: u32,
        kind: Kind,
        body: &[u8],
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Result<(), Refused> {
        let (connection, now) = (context.me, context.now);
        let app = &mut *context.app;
        app.clients.count(session, kind, now);
        if (Call { session, reply }).handle(kind, body, app)? {
            return Ok(());
        }
        match kind {
            Kind::READ_CHUNK => {
                let Numbered { number, message } = Numbered::<ReadChunk>::parse(body)?;
                app.begin(Waiting::Read(Asked { connection, session, number }, message), now);
            }
            Kind::WRITE_CHUNK => {
                let Numbered { number, message } = Numbered::<WriteChunk>::parse(body)?;
                app.begin(Waiting::Write(Asked { connection, session, number }, message), now);
            }
            Kind::TRUNCATE_FILE => {
                let Numbered { number, message } = Numbered::<TruncateFile<'_>>::parse(body)?;
                app.begin_truncation(Asked { connection, session, number }, &message, now);
            }
            Kind::WRITE_CHUNK_END => {
                let Numbered { number, message } = Numbered::<WriteChunkEnd>::parse(body)?;
                let status = app.end_write(session, &message).err().unwrap_or(Status::OK);
                let message = Answer::<WriteChunkEndAnswer>::Status(status);
                Numbered { number, message }.send(reply);
            }
            _ => return answer_unknown(kind, body, reply),
        }
        Ok(())
    }

    /// Ends a call: sends what others have put into the mailbox, and wakes others.
    fn conclude(
        &mut self,
        handled: Result<(), Refused>,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        for packet in context.app.clients.take_mail(context.me) {
            reply.share(packet);
            self.pulse.said();
        }
        context.app.settle(context.effects);
        match handled {
            Ok(()) if self.registration.role == Role::Ended => Flow::Close,
            Ok(()) => Flow::Continue,
            Err(why) => self.peer.cut(&why, context),
        }
    }
}

/// Answers a request of a type that this master does not know.
///
/// # Errors
/// When it is none.
fn answer_unknown(kind: Kind, body: &[u8], reply: &mut Reply<'_, Packet>) -> Result<(), Refused> {
    let (kind, body) = not_supported(kind, body).ok_or_else(|| Refused::unexpected(kind, body))?;
    reply.send(PacketMessage { kind: kind.0, body: &body });
    Ok(())
}

impl Service<Packet, Master> for ClientSession {
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
        self.pulse.heard();
        let handled = self.handle(kind, body, reply, context);
        self.conclude(handled, reply, context)
    }

    fn resume(&mut self, reply: &mut Reply<'_, Packet>, context: &mut Context<'_, Master>) -> Flow {
        self.conclude(Ok(()), reply, context)
    }

    fn timeout(
        &mut self,
        _: u8,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        match self.pulse.beat(context.effects) {
            Beat::Speak if self.registration.role != Role::Tools => {
                Nop { padding: Some(0) }.send(reply);
            }
            Beat::Speak | Beat::Rest => {}
            Beat::GiveUp => return self.peer.cut(&Refused::new("it is silent"), context),
        }
        Flow::Continue
    }

    fn stopping(&mut self, _: &mut Reply<'_, Packet>, _: &mut Context<'_, Master>) -> Flow {
        Flow::Close
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, Master>) {
        self.registration.end((context.me, context.now), context.app);
        context.app.settle(context.effects);
    }
}
