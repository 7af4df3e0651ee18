//! Messages between the master and metaloggers.

use std::fmt;

use super::Kind;
use super::error::Fault;
use super::field::{Field, Pass, Reader, Record};
use super::message::Message;
use super::payload::Data;
use super::values::{Text, Version};

/// A metalogger registers. No answer comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetaloggerRegister {
    /// Its version.
    pub version: Version,
    /// After how many seconds of silence each side closes the connection: 10 at least.
    pub timeout: u16,
    /// The version of the first change that it wants, if it has those before: the last one, and 1.
    pub first: Option<u64>,
}

impl<'a> Field<'a> for MetaloggerRegister {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let form = u8::read(reader)?;
        let (version, timeout) = (Version::read(reader)?, u16::read(reader)?);
        let first = match form {
            1 => None,
            2 => Some(u64::read(reader)?),
            _ => return Err(Fault::Value),
        };
        Ok(Self { version, timeout, first })
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.push(if self.first.is_some() { 2 } else { 1 });
        self.version.append(body);
        self.timeout.append(body);
        self.first.append(body);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version={} timeout={} first=", self.version, self.timeout)?;
        self.first.show(f)
    }
}

impl<'a> Message<'a> for MetaloggerRegister {
    const KIND: Kind = Kind::METALOGGER_REGISTER;
}

/// The master tells a change of the metadata, or that a new log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes<'a> {
    /// A change.
    Change {
        /// Its version: one more than that of the change before.
        version: u64,
        /// `SECONDS|NAME(ARGUMENTS):RESULT`, without a zero byte and a line feed.
        text: &'a [u8],
    },
    /// A new log begins: the old one gets another name.
    Rotate,
}

const CHANGE: u8 = 0xff;
const ROTATE: u8 = 0x55;

/// Returns whether a text can be a line of a log.
fn is_line(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, 0 | b'\n'))
}

impl<'a> Field<'a> for Changes<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        match u8::read(reader)? {
            ROTATE => Ok(Self::Rotate),
            CHANGE => {
                let version = u64::read(reader)?;
                let text = reader.bytes(reader.left())?.split_last();
                match text {
                    Some((0, text)) if is_line(text) => Ok(Self::Change { version, text }),
                    Some(_) => Err(Fault::Value),
                    None => Err(Fault::Truncated),
                }
            }
            _ => Err(Fault::Value),
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        match self {
            Self::Change { version, text } => {
                body.push(CHANGE);
                version.append(body);
                body.extend_from_slice(text);
                body.push(0);
            }
            Self::Rotate => body.push(ROTATE),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change { version, text } => {
                write!(f, "version={version} text=")?;
                Text(text).show(f)
            }
            Self::Rotate => f.write_str("rotate"),
        }
    }
}

impl<'a> Message<'a> for Changes<'a> {
    const KIND: Kind = Kind::CHANGES;
}

/// Begins to download a file. One file is downloaded at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownloadStart {
    /// Which: 1 the metadata, 11 the change log, 12 the change log before.
    pub file: u8,
}

impl<'a> Record<'a> for DownloadStart {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("file", &mut self.file)
    }
}

impl<'a> Message<'a> for DownloadStart {
    const KIND: Kind = Kind::DOWNLOAD_START;
}

/// The answer to [`DownloadStart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadInfo {
    /// The length of the file in bytes.
    Length(u64),
    /// The file cannot be had. The status of the real master is 0xFF.
    Refused(u8),
}

impl<'a> Field<'a> for DownloadInfo {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        match reader.left() {
            1 => u8::read(reader).map(Self::Refused),
            _ => u64::read(reader).map(Self::Length),
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        match self {
            Self::Length(length) => length.append(body),
            Self::Refused(status) => status.append(body),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "length={length}"),
            Self::Refused(status) => write!(f, "refused={status}"),
        }
    }
}

impl<'a> Message<'a> for DownloadInfo {
    const KIND: Kind = Kind::DOWNLOAD_INFO;
}

/// Asks for a part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownloadRequest {
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes: 1,000,000 at most.
    pub size: u32,
}

impl<'a> Record<'a> for DownloadRequest {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("offset", &mut self.offset)?;
        pass.field("size", &mut self.size)
    }
}

impl<'a> Message<'a> for DownloadRequest {
    const KIND: Kind = Kind::DOWNLOAD_REQUEST;
}

/// A part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownloadData<'a> {
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// The data with their CRC.
    pub data: Data<'a>,
}

impl<'a> Record<'a> for DownloadData<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("offset", &mut self.offset)?;
        pass.field("data", &mut self.data)
    }
}

impl<'a> Message<'a> for DownloadData<'a> {
    const KIND: Kind = Kind::DOWNLOAD_DATA;
}

/// Ends a download. It has no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownloadEnd;

impl<'a> Record<'a> for DownloadEnd {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for DownloadEnd {
    const KIND: Kind = Kind::DOWNLOAD_END;
}
