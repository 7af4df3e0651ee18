//! Data with their CRC.

use std::fmt;

use super::crc::crc32;
use super::error::Fault;
use super::field::{Field, Reader};
use super::values::Crc;

/// Data up to the end of a body, after their size and their CRC-32.
///
/// Reading them does not check the CRC: a wrong one is an error of the data and not of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data<'a> {
    /// The CRC-32 that the sender gives.
    pub crc: Crc,
    /// The data.
    pub bytes: &'a [u8],
}

impl<'a> Data<'a> {
    /// Returns data with their CRC.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { crc: Crc(crc32(bytes)), bytes }
    }

    /// Returns whether the data have their CRC.
    pub fn is_intact(&self) -> bool {
        crc32(self.bytes) == self.crc.0
    }
}

impl<'a> Field<'a> for Data<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let (size, crc) = (u32::read(reader)?, Crc::read(reader)?);
        Ok(Self { crc, bytes: reader.bytes(size as usize)? })
    }

    fn append(&self, body: &mut Vec<u8>) {
        // The body of a packet has less than 4 GiB, which is checked where it is framed.
        (self.bytes.len() as u32).append(body);
        self.crc.append(body);
        body.extend_from_slice(self.bytes);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes, CRC {})", self.bytes.len(), self.crc)
    }
}
