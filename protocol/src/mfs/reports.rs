//! What `mfscli` asks the master, on connections that are not registered. The messages have no number.

use super::Kind;
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::numbers::{SessionCounters, StatCount};
use super::session::ExportFlags;
use super::values::{Endpoint, Ip, List, Text, Version};

/// Asks for the chunkservers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListChunkservers;

impl<'a> Record<'a> for ListChunkservers {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for ListChunkservers {
    const KIND: Kind = Kind::LIST_CHUNKSERVERS;
}

/// The chunkservers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunkservers<'a> {
    /// One entry for each.
    pub servers: List<'a, Chunkserver>,
}

impl<'a> Record<'a> for Chunkservers<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("servers", &mut self.servers)
    }
}

impl<'a> Message<'a> for Chunkservers<'a> {
    const KIND: Kind = Kind::CHUNKSERVERS;
}

/// A chunkserver that the master knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunkserver {
    /// The version, with flags in the highest 8 bits: 1 disconnected, 2 maintenance, 4 maintenance for
    /// a while.
    pub flags_and_version: u32,
    /// Its data port.
    pub place: Endpoint,
    /// Its number.
    pub csid: u16,
    /// What is used, in bytes.
    pub used: u64,
    /// What there is, in bytes.
    pub total: u64,
    /// The number of chunks.
    pub chunks: u32,
    /// The same of the disks that are to be emptied: what is used, in bytes.
    pub leaving_used: u64,
    /// What they have, in bytes.
    pub leaving_total: u64,
    /// The number of their chunks.
    pub leaving_chunks: u32,
    /// The number of errors.
    pub errors: u32,
    /// The number of jobs.
    pub load: u32,
    /// The seconds for which nothing new is given to it. 0xC0000000 overloaded, 0x80000000 moving
    /// chunks.
    pub grace: u32,
    /// Its labels: the lowest bit is A.
    pub labels: u32,
    /// How far its marked disks are emptied.
    pub removal: u8,
}

impl<'a> Record<'a> for Chunkserver {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("flags_and_version", &mut self.flags_and_version)?;
        pass.field("place", &mut self.place)?;
        pass.field("csid", &mut self.csid)?;
        pass.field("used", &mut self.used)?;
        pass.field("total", &mut self.total)?;
        pass.field("chunks", &mut self.chunks)?;
        pass.field("leaving_used", &mut self.leaving_used)?;
        pass.field("leaving_total", &mut self.leaving_total)?;
        pass.field("leaving_chunks", &mut self.leaving_chunks)?;
        pass.field("errors", &mut self.errors)?;
        pass.field("load", &mut self.load)?;
        pass.field("grace", &mut self.grace)?;
        pass.field("labels", &mut self.labels)?;
        pass.field("removal", &mut self.removal)
    }
}

/// Asks for the sessions of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListSessions {
    /// 4.
    pub form: u8,
}

impl<'a> Record<'a> for ListSessions {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("form", &mut self.form)
    }
}

impl<'a> Message<'a> for ListSessions {
    const KIND: Kind = Kind::LIST_SESSIONS;
}

/// The sessions of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions<'a> {
    /// How many counters each has, twice.
    pub counts: StatCount,
    /// The sessions.
    pub sessions: List<'a, Session<'a>>,
}

impl<'a> Record<'a> for Sessions<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("counts", &mut self.counts)?;
        pass.field("sessions", &mut self.sessions)
    }
}

impl<'a> Message<'a> for Sessions<'a> {
    const KIND: Kind = Kind::SESSIONS;
}

/// A session of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session<'a> {
    /// Its number.
    pub session: u32,
    /// The address of the client.
    pub ip: Ip,
    /// Its version.
    pub version: Version,
    /// How many files it has open.
    pub open_files: u32,
    /// How many connections it has. 0 is a session without a client.
    pub sockets: u8,
    /// After how many seconds it ends then.
    pub expires: u32,
    /// What the client says about itself: its mount point.
    pub info: Text<'a>,
    /// The directory of the master that it uses.
    pub path: Text<'a>,
    /// What it may do.
    pub flags: ExportFlags,
    /// The counters of the current hour.
    pub current: SessionCounters,
    /// The counters of the last hour.
    pub last: SessionCounters,
}

impl<'a> Record<'a> for Session<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("session", &mut self.session)?;
        pass.field("ip", &mut self.ip)?;
        pass.field("version", &mut self.version)?;
        pass.field("open_files", &mut self.open_files)?;
        pass.field("sockets", &mut self.sockets)?;
        pass.field("expires", &mut self.expires)?;
        pass.field("info", &mut self.info)?;
        pass.field("path", &mut self.path)?;
        pass.field("flags", &mut self.flags)?;
        pass.field("current", &mut self.current)?;
        pass.field("last", &mut self.last)
    }
}
