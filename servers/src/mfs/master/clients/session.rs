//! The connection of a client, or of `mfscli`.

use std::net::SocketAddr;

use protocol::codecs::{Packet, PacketView};
use protocol::mfs::{Kind, Message, Nop};
use protocol::{Context, Flow, Reply, Service};

use crate::mfs::master::app::Master;
use crate::mfs::master::port::{Peer, Refused, answer_version};
use crate::mfs::master::pulse::{Beat, Pulse};
use crate::mfs::master::questions;

/// The connection of a client, which has not registered.
#[derive(Debug)]
pub(in crate::mfs::master) struct ClientSession {
    peer: Peer,
    pulse: Pulse,
}

impl ClientSession {
    pub(in crate::mfs::master) const fn new(address: Option<SocketAddr>) -> Self {
        Self { peer: Peer::new("client", address), pulse: Pulse::of_client() }
    }

    fn handle(
        &mut self,
        kind: Kind,
        body: &[u8],
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Result<(), Refused> {
        match kind {
            Kind::UNKNOWN_COMMAND | Kind::BAD_COMMAND_SIZE => {}
            Kind::NOP => {
                Nop::parse(body)?;
            }
            Kind::GET_VERSION => answer_version(body, reply)?,
            _ if questions::answer(kind, body, context.now, reply, context.app)? => {
                self.pulse.said();
            }
            _ => return Err(Refused::unexpected(kind, body)),
        }
        Ok(())
    }
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
        context.app.settle(context.effects);
        match handled {
            Ok(()) => Flow::Continue,
            Err(why) => self.peer.cut(&why, context),
        }
    }

    fn timeout(
        &mut self,
        _: u8,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        match self.pulse.beat(context.effects) {
            Beat::Rest => {}
            Beat::Speak => Nop { padding: Some(0) }.send(reply),
            Beat::GiveUp => return self.peer.cut(&Refused::new("it is silent"), context),
        }
        Flow::Continue
    }

    fn stopping(&mut self, _: &mut Reply<'_, Packet>, _: &mut Context<'_, Master>) -> Flow {
        Flow::Close
    }
}
