//! Values that only one message has.

use std::fmt;

use super::error::Fault;
use super::field::{Field, Reader};

/// The two forms of a request to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadForm {
    /// The chunkserver sends signs of life while it looks for the data.
    #[default]
    Lively,
    /// It does not. This form is one byte shorter.
    Quiet,
}

/// The size of a request to read that has the byte of its form.
const LIVELY_SIZE: usize = 21;

impl<'a> Field<'a> for ReadForm {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        if reader.left() < LIVELY_SIZE {
            return Ok(Self::Quiet);
        }
        match u8::read(reader)? {
            1 => Ok(Self::Lively),
            _ => Err(Fault::Value),
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        if *self == Self::Lively {
            body.push(1);
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lively => "lively",
            Self::Quiet => "quiet",
        })
    }
}

/// How many counters a session has.
pub const SESSION_COUNTERS: usize = 16;

/// The number of counters of a session in a message: [`SESSION_COUNTERS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatCount;

impl<'a> Field<'a> for StatCount {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        match u16::read(reader)? {
            count if usize::from(count) == SESSION_COUNTERS => Ok(Self),
            _ => Err(Fault::Value),
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        (SESSION_COUNTERS as u16).append(body);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SESSION_COUNTERS}")
    }
}

/// The counters of a session: how often it has asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionCounters(pub [u32; SESSION_COUNTERS]);

impl<'a> Field<'a> for SessionCounters {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let mut counters = Self::default();
        for counter in &mut counters.0 {
            *counter = u32::read(reader)?;
        }
        Ok(counters)
    }

    fn append(&self, body: &mut Vec<u8>) {
        self.0.iter().for_each(|counter| counter.append(body));
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// The counters of a disk: three times 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counters(pub [u8; 192]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; 192])
    }
}

impl<'a> Field<'a> for Counters {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.array().map(Self)
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f)
    }
}
