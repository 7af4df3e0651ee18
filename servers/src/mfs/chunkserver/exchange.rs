//! The protocol of the connection to the master.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::{debug, log_enabled};
use protocol::Reply;
use protocol::codecs::{Packet, PacketView};
use protocol::exchange::{Exchange, Heard, Opening};
use protocol::mfs::{
    Accepted, ChunkOperation, ChunkserverAbout, ChunkserverBegin, ChunkserverRegister, Create,
    Delete, Duplicate, DuplicateTruncated, Endpoint, GetChunkBlocks, GetChunkChecksum,
    GetChunkChecksums, GetConfig, GetVersion, Kind, MasterAck, Message, MessageError, Nop,
    Replicate, SetVersion, Space, Truncate, Version, auth_code_digest, describe, limit,
};

/// What a new connection registers with, and what the master has said to it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Our data port. The address 0 is that of the connection.
    pub(super) place: Endpoint,
    /// The seconds of silence after which either side closes the connection.
    pub(super) timeout: u16,
    pub(super) auth_code: Option<Vec<u8>>,
    pub(super) csid: u16,
    pub(super) space: Space,
    /// What the master has said last when it accepted us.
    pub(super) accepted: Accepted,
    /// Which connection this is.
    pub(super) connection: u64,
    /// How many packets have come.
    pub(super) packets: u64,
}

/// What the connection and the application share.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Known>>);

impl Shared {
    pub(super) fn new(known: Known) -> Self {
        Self(Arc::new(Mutex::new(known)))
    }

    /// Returns what is known. It is consistent between operations, also after a panic.
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A packet for the master.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The connection that it is for. It is not sent on another one.
    pub(super) connection: u64,
    pub(super) packet: Arc<[u8]>,
    /// The master acknowledges it.
    pub(super) is_acknowledged: bool,
}

/// What the master asks for.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Create(Create),
    Delete(Delete),
    SetVersion(SetVersion),
    Duplicate(Duplicate),
    Truncate(Truncate),
    DuplicateTruncated(DuplicateTruncated),
    Replicate(Replicate),
    Operation(ChunkOperation),
    Blocks(GetChunkBlocks),
    Checksum(GetChunkChecksum),
    Checksums(GetChunkChecksums),
    Version(GetVersion),
    /// The value of an option, for the question of this number.
    Option(u32),
}

/// The exchange of the connection to the master.
pub(super) struct ToMaster {
    shared: Shared,
    is_open: bool,
    is_challenged: bool,
}

impl ToMaster {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, is_open: false, is_challenged: false }
    }

    /// Sends the first step of the registration.
    fn register(&self, challenge: Option<&[u8; 32]>, reply: &mut Reply<'_, Packet>) {
        let known = self.shared.lock();
        let code = known.auth_code.as_deref().unwrap_or_default();
        let about = ChunkserverAbout {
            version: Version::OURS,
            place: known.place,
            timeout: known.timeout,
            csid: known.csid,
            space: known.space,
        };
        let proof = challenge.map(|challenge| auth_code_digest(challenge, code));
        let register = ChunkserverRegister::Begin(ChunkserverBegin { proof, about });
        debug!("to the master: {}", register.text());
        register.send(reply);
    }

    fn acknowledged(&mut self, ack: &MasterAck, reply: &mut Reply<'_, Packet>) -> Heard<(), Order> {
        let has_code = self.shared.lock().auth_code.is_some();
        match ack {
            MasterAck::Accepted(accepted) if !self.is_open => {
                let mut known = self.shared.lock();
                known.accepted = *accepted;
                if accepted.csid != 0 {
                    known.csid = accepted.csid;
                }
                self.is_open = true;
                Heard::Opened
            }
            MasterAck::Next if self.is_open => Heard::Reply(()),
            MasterAck::Challenge(challenge) if !self.is_open && !self.is_challenged && has_code => {
                self.is_challenged = true;
                self.register(Some(challenge), reply);
                Heard::Nothing
            }
            MasterAck::Challenge(_) if !has_code => {
                Heard::Refused("the master wants a code: give its file with --auth-code".into())
            }
            MasterAck::Challenge(_) => Heard::Refused("the master refuses the code".into()),
            MasterAck::Wait(_) => Heard::Refused("the master is not ready".into()),
            MasterAck::Elsewhere(ip) => Heard::Refused(
                format!("the master says that {ip} is the master: give it with --master").into(),
            ),
            _ => Heard::Refused("an acknowledgement came to no registration".into()),
        }
    }

    fn take(
        &mut self,
        kind: Kind,
        body: &[u8],
        reply: &mut Reply<'_, Packet>,
    ) -> Result<Heard<(), Order>, MessageError> {
        Ok(Heard::Push(match kind {
            Kind::NOP => {
                Nop::parse(body)?;
                return Ok(Heard::Nothing);
            }
            Kind::UNKNOWN_COMMAND | Kind::BAD_COMMAND_SIZE => return Ok(Heard::Nothing),
            Kind::MASTER_ACK => return Ok(self.acknowledged(&MasterAck::parse(body)?, reply)),
            Kind::CREATE => Order::Create(Create::parse(body)?),
            Kind::DELETE => Order::Delete(Delete::parse(body)?),
            Kind::SET_VERSION => Order::SetVersion(SetVersion::parse(body)?),
            Kind::DUPLICATE => Order::Duplicate(Duplicate::parse(body)?),
            Kind::TRUNCATE => Order::Truncate(Truncate::parse(body)?),
            Kind::DUPLICATE_TRUNCATED => {
                Order::DuplicateTruncated(DuplicateTruncated::parse(body)?)
            }
            Kind::REPLICATE => Order::Replicate(Replicate::parse(body)?),
            Kind::CHUNK_OPERATION => Order::Operation(ChunkOperation::parse(body)?),
            Kind::GET_CHUNK_BLOCKS => Order::Blocks(GetChunkBlocks::parse(body)?),
            Kind::GET_CHUNK_CHECKSUM => Order::Checksum(GetChunkChecksum::parse(body)?),
            Kind::GET_CHUNK_CHECKSUMS => Order::Checksums(GetChunkChecksums::parse(body)?),
            Kind::GET_VERSION => Order::Version(GetVersion::parse(body)?),
            Kind::GET_CONFIG => Order::Option(GetConfig::parse(body)?.number),
            _ => {
                let text = format!("unexpected: {}", describe(kind, body));
                return Ok(Heard::Refused(text.into()));
            }
        }))
    }
}

impl Exchange for ToMaster {
    type Codec = Packet;
    type Request = Request;
    type Reply = ();
    type Push = Order;

    fn codec(&self) -> Packet {
        Packet::with_size_max(limit::TO_CHUNKSERVER)
    }

    fn open(&mut self, reply: &mut Reply<'_, Packet>) -> Opening {
        (self.is_open, self.is_challenged) = (false, false);
        self.shared.lock().connection += 1;
        self.register(None, reply);
        Opening::Waits
    }

    fn size(request: &Request) -> usize {
        request.packet.len()
    }

    fn write(&mut self, request: &Request, _: u64, reply: &mut Reply<'_, Packet>) {
        if request.connection == self.shared.lock().connection {
            reply.share(Arc::clone(&request.packet));
        }
    }

    fn one_way(&self, request: &Request) -> Option<()> {
        (!request.is_acknowledged).then_some(())
    }

    fn hear(
        &mut self,
        packet: PacketView<'_>,
        _: Option<&Request>,
        reply: &mut Reply<'_, Packet>,
    ) -> Heard<(), Order> {
        self.shared.lock().packets += 1;
        let kind = Kind(packet.kind);
        if log_enabled!(log::Level::Debug) {
            debug!("from the master: {}", describe(kind, packet.body));
        }
        self.take(kind, packet.body, reply).unwrap_or_else(|error| Heard::Refused(Box::new(error)))
    }
}
