//! The connection of a metalogger.

use std::net::SocketAddr;
use std::time::Duration;

use log::{info, warn};
use protocol::codecs::{Packet, PacketView};
use protocol::mfs::{
    DownloadEnd, DownloadRequest, DownloadStart, Kind, Message, MetaloggerRegister, Nop, limit,
};
use protocol::{Context, Flow, Reason, Reply, Service};

use super::download::Downloads;
use crate::mfs::master::app::Master;
use crate::mfs::master::changes::Next;
use crate::mfs::master::port::{Peer, Refused, introduce};
use crate::mfs::master::pulse::{Beat, Pulse};

/// The shortest time-out that a metalogger may ask for, in seconds.
const TIMEOUT_MIN: u16 = 10;

/// The connection of a metalogger, or of a peer that may become one.
#[derive(Debug)]
pub(in crate::mfs::master) struct MetaloggerSession {
    peer: Peer,
    pulse: Pulse,
    registered: Option<Registered>,
    downloads: Downloads,
}

#[derive(Debug)]
struct Registered {
    /// Where it is in the log of the changes.
    position: u64,
    /// It has had all changes once, so it has to keep up from then on.
    has_caught_up: bool,
}

impl MetaloggerSession {
    pub(in crate::mfs::master) fn new(address: Option<SocketAddr>, timeout: Duration) -> Self {
        let peer = Peer::new("metalogger", address);
        Self {
            peer,
            pulse: Pulse::within(timeout),
            registered: None,
            downloads: Downloads::default(),
        }
    }

    fn handle(
        &mut self,
        kind: Kind,
        body: &[u8],
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Result<(), Refused> {
        match (kind, &self.registered) {
            (Kind::UNKNOWN_COMMAND | Kind::BAD_COMMAND_SIZE, _) => {}
            (Kind::NOP, _) if body.is_empty() => {
                Nop::parse(body)?;
            }
            (Kind::GET_VERSION | Kind::GET_CONFIG, _) => introduce(kind, body, reply)?,
            (Kind::METALOGGER_REGISTER, None) => {
                self.register(MetaloggerRegister::parse(body)?, reply, context);
            }
            (Kind::DOWNLOAD_START, Some(_)) => {
                let DownloadStart { file } = DownloadStart::parse(body)?;
                self.downloads.start(file, reply, context.app);
            }
            (Kind::DOWNLOAD_REQUEST, Some(_)) => {
                self.downloads.send(DownloadRequest::parse(body)?, reply)?;
            }
            (Kind::DOWNLOAD_END, Some(_)) => {
                DownloadEnd::parse(body)?;
                self.downloads.end();
            }
            _ => return Err(Refused::unexpected(kind, body)),
        }
        Ok(())
    }

    fn register(
        &mut self,
        register: MetaloggerRegister,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) {
        let MetaloggerRegister { version, timeout, first } = register;
        info!("{}: registered, {}", self.peer, register.text());
        self.pulse = Pulse::within(Duration::from_secs(timeout.max(TIMEOUT_MIN).into()));
        self.pulse.start(context.effects);
        reply.codec().set_size_max(limit::METALOGGER);
        context.app.metaloggers.add(context.me, version, self.peer.ip());
        let changes = &context.app.changes;
        let position = first.map_or_else(|| changes.position(), |first| changes.position_of(first));
        self.registered = Some(Registered { position, has_caught_up: false });
    }

    /// Sends the changes that it has not got, as far as the connection takes them. What it leaves
    /// waits in the log, where all share it.
    ///
    /// # Errors
    /// When it does not keep up.
    fn send_changes(
        &mut self,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Result<(), Refused> {
        let Some(registered) = &mut self.registered else { return Ok(()) };
        let changes = &context.app.changes;
        while reply.backlog() < context.limits.output_high {
            match changes.at(registered.position) {
                Next::Packet(packet) => {
                    reply.share(packet);
                    self.pulse.said();
                    registered.position += 1;
                }
                Next::Nothing => {
                    registered.has_caught_up = true;
                    return Ok(());
                }
                Next::Gone => return Err(Refused::new("what it needs next is no longer kept")),
            }
        }
        let waiting = changes.size_from(registered.position);
        if registered.has_caught_up && waiting > context.app.options.queue_max {
            return Err(Refused::new(format!("{waiting} bytes of changes wait for it")));
        }
        Ok(())
    }

    /// Ends a call: sends what has to be sent, and wakes others.
    fn conclude(
        &mut self,
        handled: Result<(), Refused>,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        let result = handled.and_then(|()| {
            self.send_changes(reply, context).inspect_err(|why| {
                context.app.metaloggers.dropped += 1;
                warn!("{}: dropped: {why}", self.peer);
            })
        });
        context.app.settle(context.effects);
        match result {
            Ok(()) => Flow::Continue,
            Err(why) => self.peer.cut(&why, context),
        }
    }
}

impl Service<Packet, Master> for MetaloggerSession {
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
        context.app.metaloggers.look();
        self.conclude(Ok(()), reply, context)
    }

    fn drained(
        &mut self,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        // It reads, though its own packets may wait behind what it reads.
        self.pulse.heard();
        self.conclude(Ok(()), reply, context)
    }

    fn timeout(
        &mut self,
        _: u8,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        match self.pulse.beat(context.effects) {
            Beat::Rest => {}
            Beat::Speak => Nop::default().send(reply),
            Beat::GiveUp => return self.peer.cut(&Refused::new("it is silent"), context),
        }
        Flow::Continue
    }

    fn stopping(
        &mut self,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Master>,
    ) -> Flow {
        // What is not sent now is kept for when it comes back.
        match self.send_changes(reply, context) {
            Ok(()) => Flow::Close,
            Err(why) => self.peer.cut(&why, context),
        }
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Master>) {
        if self.registered.is_some() {
            context.app.metaloggers.remove(context.me);
            info!("{}: gone: {reason}", self.peer);
        }
    }
}
