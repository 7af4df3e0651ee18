//! The session of a client with the master.

use std::fmt;

use super::error::Fault;
use super::field::{Field, Pass, Reader, Record};
use super::message::Message;
use super::values::{Ip, Text, Version};
use super::{Kind, Status};

/// What the registration of every client begins with: 64 bytes that only this protocol has.
pub const CLIENT_MARK: &[u8; 64] =
    b"DjI1GAQDULI5d2YjA26ypc3ovkhjvhciTQVx3CS4nYgtBoUcsljiVpsErJENHaw0";

/// A client opens, resumes or closes a session. After [`CLIENT_MARK`] comes one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRegister<'a> {
    /// Asks for a random value, which a password is proven with.
    Challenge,
    /// Opens a session.
    Open(OpenSession<'a>),
    /// Resumes a session on a new connection.
    Resume(ResumeSession),
    /// Uses the connection for commands of tools only. It gets no signs of life.
    Tools {
        /// The session.
        session: u32,
        /// The version of the client.
        version: Version,
    },
    /// Opens a session for the trash and other metadata.
    OpenMeta(OpenMetaSession<'a>),
    /// Closes a session. The master closes the connection.
    Close(CloseSession),
}

/// Opens a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenSession<'a> {
    /// The version of the client.
    pub version: Version,
    /// What lists of sessions show as the mount point, with a zero byte at its end.
    pub info: Text<'a>,
    /// The exported directory, with a zero byte at its end.
    pub path: Text<'a>,
    /// The session before, and the proof of a password.
    pub rest: OpenRest,
}

/// Opens a session for the trash and other metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMetaSession<'a> {
    /// The version of the client.
    pub version: Version,
    /// What lists of sessions show as the mount point, with a zero byte at its end.
    pub info: Text<'a>,
    /// The session before, and the proof of a password.
    pub rest: OpenRest,
}

/// What may follow when a session is opened: which of it is there, its size tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenRest {
    /// The session that the client had before.
    pub session: Option<u32>,
    /// The id of the metadata of that session. There is none without a session.
    pub meta_id: Option<u64>,
    /// The proof of a password ([`password_digest`](super::password_digest)).
    pub proof: Option<[u8; 16]>,
}

impl<'a> Field<'a> for OpenRest {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let (has_session, has_meta_id, has_proof) = match reader.left() {
            0 => (false, false, false),
            4 => (true, false, false),
            12 => (true, true, false),
            16 => (false, false, true),
            20 => (true, false, true),
            28 => (true, true, true),
            _ => return Err(Fault::TooLong),
        };
        Ok(Self {
            session: has_session.then(|| u32::read(reader)).transpose()?,
            meta_id: has_meta_id.then(|| u64::read(reader)).transpose()?,
            proof: has_proof.then(|| reader.array()).transpose()?,
        })
    }

    fn append(&self, body: &mut Vec<u8>) {
        self.session.append(body);
        self.meta_id.filter(|_| self.session.is_some()).append(body);
        self.proof.append(body);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.show(f)?;
        f.write_str(if self.proof.is_some() { " with a password" } else { "" })
    }
}

impl<'a> Record<'a> for OpenSession<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("version", &mut self.version)?;
        pass.field("info", &mut self.info)?;
        pass.field("path", &mut self.path)?;
        pass.field("before", &mut self.rest)
    }
}

impl<'a> Record<'a> for OpenMetaSession<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("version", &mut self.version)?;
        pass.field("info", &mut self.info)?;
        pass.field("before", &mut self.rest)
    }
}

/// Resumes a session on a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumeSession {
    /// The session.
    pub session: u32,
    /// The version of the client.
    pub version: Version,
    /// The id of the metadata that the session was opened on.
    pub meta_id: u64,
}

impl<'a> Record<'a> for ResumeSession {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("session", &mut self.session)?;
        pass.field("version", &mut self.version)?;
        pass.field("meta_id", &mut self.meta_id)
    }
}

/// Closes a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseSession {
    /// The session.
    pub session: u32,
    /// The id of the metadata that the session was opened on.
    pub meta_id: Option<u64>,
}

impl<'a> Record<'a> for CloseSession {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("session", &mut self.session)?;
        pass.field("meta_id", &mut self.meta_id)
    }
}

impl ClientRegister<'_> {
    const fn number(&self) -> u8 {
        match self {
            Self::Challenge => 1,
            Self::Open(_) => 2,
            Self::Resume(_) => 3,
            Self::Tools { .. } => 4,
            Self::OpenMeta(_) => 5,
            Self::Close(_) => 6,
        }
    }
}

impl<'a> Field<'a> for ClientRegister<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        if reader.array()? != *CLIENT_MARK {
            return Err(Fault::Value);
        }
        match u8::read(reader)? {
            1 => Ok(Self::Challenge),
            2 => Field::read(reader).map(Self::Open),
            3 => Field::read(reader).map(Self::Resume),
            4 => Ok(Self::Tools { session: u32::read(reader)?, version: Version::read(reader)? }),
            5 => Field::read(reader).map(Self::OpenMeta),
            6 => Field::read(reader).map(Self::Close),
            _ => Err(Fault::Value),
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(CLIENT_MARK);
        body.push(self.number());
        match self {
            Self::Challenge => {}
            Self::Open(open) => open.append(body),
            Self::Resume(resume) => resume.append(body),
            Self::Tools { session, version } => {
                session.append(body);
                version.append(body);
            }
            Self::OpenMeta(open) => open.append(body),
            Self::Close(close) => close.append(body),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, name| write!(f, "{name} ");
        match self {
            Self::Challenge => f.write_str("challenge"),
            Self::Open(open) => named(f, "open").and_then(|()| open.show(f)),
            Self::Resume(resume) => named(f, "resume").and_then(|()| resume.show(f)),
            Self::Tools { session, version } => {
                write!(f, "tools session={session} version={version}")
            }
            Self::OpenMeta(open) => named(f, "open_meta").and_then(|()| open.show(f)),
            Self::Close(close) => named(f, "close").and_then(|()| close.show(f)),
        }
    }
}

impl<'a> Message<'a> for ClientRegister<'a> {
    const KIND: Kind = Kind::CLIENT_REGISTER;
}

/// What a session may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportFlags {
    /// Bits: 1 only reading, 2 the address may change, 4 groups are ignored, 8 administrator, 0x10 all
    /// users are mapped.
    pub flags: u8,
    /// Permissions that new files do not get.
    pub umask: u16,
    /// The user that stands for the superuser.
    pub root_uid: u32,
    /// The group that stands for that of the superuser.
    pub root_gid: u32,
    /// The user that stands for all others.
    pub all_uid: u32,
    /// The group that stands for all others.
    pub all_gid: u32,
    /// The smallest number of copies that may be asked for.
    pub goal_min: u8,
    /// The largest number of copies that may be asked for.
    pub goal_max: u8,
    /// The shortest time in the trash, in seconds.
    pub trash_time_min: u32,
    /// The longest time in the trash, in seconds.
    pub trash_time_max: u32,
    /// A bit for each command that is disabled.
    pub disabled: u32,
}

impl<'a> Record<'a> for ExportFlags {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("flags", &mut self.flags)?;
        pass.field("umask", &mut self.umask)?;
        pass.field("root_uid", &mut self.root_uid)?;
        pass.field("root_gid", &mut self.root_gid)?;
        pass.field("all_uid", &mut self.all_uid)?;
        pass.field("all_gid", &mut self.all_gid)?;
        pass.field("goal_min", &mut self.goal_min)?;
        pass.field("goal_max", &mut self.goal_max)?;
        pass.field("trash_time_min", &mut self.trash_time_min)?;
        pass.field("trash_time_max", &mut self.trash_time_max)?;
        pass.field("disabled", &mut self.disabled)
    }
}

/// A session was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionOpened {
    /// The version of the master.
    pub version: Version,
    /// The session.
    pub session: u32,
    /// The id of the metadata.
    pub meta_id: u64,
    /// What it may do.
    pub export: ExportFlags,
}

impl<'a> Record<'a> for SessionOpened {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("version", &mut self.version)?;
        pass.field("session", &mut self.session)?;
        pass.field("meta_id", &mut self.meta_id)?;
        pass.field("export", &mut self.export)
    }
}

/// The answer to a registration of a client. Its size tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRegisterAnswer {
    /// Random bytes to prove a password with.
    Challenge([u8; 32]),
    /// The session is open.
    Opened(SessionOpened),
    /// The session was closed, or the request has failed.
    Status(Status),
    /// Another master is responsible. Real masters of version 3.0.117 never say that.
    Elsewhere(Ip),
    /// The session goes on, unless the status says why not.
    Resumed {
        /// The version of the master.
        version: Version,
        /// Whether it goes on.
        status: Status,
    },
}

impl<'a> Field<'a> for ClientRegisterAnswer {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        match reader.left() {
            1 => Status::read(reader).map(Self::Status),
            4 => Ip::read(reader).map(Self::Elsewhere),
            5 => {
                let (version, status) = (Version::read(reader)?, Status::read(reader)?);
                Ok(Self::Resumed { version, status })
            }
            32 => reader.array().map(Self::Challenge),
            _ => Field::read(reader).map(Self::Opened),
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        match self {
            Self::Challenge(challenge) => challenge.append(body),
            Self::Opened(opened) => opened.append(body),
            Self::Status(status) => status.append(body),
            Self::Elsewhere(ip) => ip.append(body),
            Self::Resumed { version, status } => {
                version.append(body);
                status.append(body);
            }
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge(_) => f.write_str("challenge"),
            Self::Opened(opened) => opened.show(f),
            Self::Status(status) => status.show(f),
            Self::Elsewhere(ip) => write!(f, "elsewhere={ip}"),
            Self::Resumed { version, status } => write!(f, "version={version} status={status}"),
        }
    }
}

impl<'a> Message<'a> for ClientRegisterAnswer {
    const KIND: Kind = Kind::CLIENT_REGISTER_ANSWER;
}
