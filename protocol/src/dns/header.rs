//! The header of a message.

use std::fmt;

use super::numbers::{Opcode, ResponseCode};

/// The size of a header, in bytes (RFC 1035 section 4.1.1).
pub const HEADER_SIZE: usize = 12;

const RESPONSE: u16 = 1 << 15;
const AUTHORITATIVE: u16 = 1 << 10;
const TRUNCATED: u16 = 1 << 9;
const RECURSION_DESIRED: u16 = 1 << 8;
const RECURSION_AVAILABLE: u16 = 1 << 7;
const AUTHENTIC_DATA: u16 = 1 << 5;
const CHECKING_DISABLED: u16 = 1 << 4;

/// The header of a message, without the numbers of its records (RFC 1035 section 4.1.1, RFC 4035
/// section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number that the answer to a question repeats.
    pub id: u16,
    /// The operation.
    pub opcode: Opcode,
    /// QR: the message is a response.
    pub is_response: bool,
    /// AA: the server is responsible for the zone.
    pub is_authoritative: bool,
    /// TC: there was no room for the whole answer, which is available over TCP.
    pub is_truncated: bool,
    /// RD: the server is to ask others.
    pub recursion_desired: bool,
    /// RA: the server asks others.
    pub recursion_available: bool,
    /// AD: the server has verified all data; in a question, the client understands that.
    pub is_authentic: bool,
    /// CD: the client verifies the data, so the server need not.
    pub checking_disabled: bool,
    /// The lower four bits of the response code. [`Message::response_code`](super::Message::response_code)
    /// has all.
    pub code: ResponseCode,
}

impl Header {
    /// Returns the header of a question that a server may pass on to others.
    pub const fn question(id: u16) -> Self {
        Self {
            id,
            opcode: Opcode::QUERY,
            is_response: false,
            is_authoritative: false,
            is_truncated: false,
            recursion_desired: true,
            recursion_available: false,
            is_authentic: false,
            checking_disabled: false,
            code: ResponseCode::NOERROR,
        }
    }

    /// Returns the header of the response to a message with this header: with its number, its operation,
    /// RD and CD.
    pub const fn response(&self, code: ResponseCode) -> Self {
        Self {
            opcode: self.opcode,
            is_response: true,
            recursion_desired: self.recursion_desired,
            checking_disabled: self.checking_disabled,
            code,
            ..Self::question(self.id)
        }
    }

    /// Reads the header of a message. Returns `None` if there are fewer than [`HEADER_SIZE`] bytes. A
    /// server that cannot read the rest still knows what to answer.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_SIZE>()?;
        let flags = u16::from_be_bytes([header[2], header[3]]);
        let has = |flag| flags & flag != 0;
        Some(Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            opcode: Opcode((flags >> 11 & 0xf) as u8),
            is_response: has(RESPONSE),
            is_authoritative: has(AUTHORITATIVE),
            is_truncated: has(TRUNCATED),
            recursion_desired: has(RECURSION_DESIRED),
            recursion_available: has(RECURSION_AVAILABLE),
            is_authentic: has(AUTHENTIC_DATA),
            checking_disabled: has(CHECKING_DISABLED),
            code: ResponseCode(flags & 0xf),
        })
    }

    /// Returns the bytes that stand for it, with no records.
    pub(super) fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let flags = [
            (self.is_response, RESPONSE),
            (self.is_authoritative, AUTHORITATIVE),
            (self.is_truncated, TRUNCATED),
            (self.recursion_desired, RECURSION_DESIRED),
            (self.recursion_available, RECURSION_AVAILABLE),
            (self.is_authentic, AUTHENTIC_DATA),
            (self.checking_disabled, CHECKING_DISABLED),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
        let flags = flags | u16::from(self.opcode.0 & 0xf) << 11 | self.code.0 & 0xf;
        let mut bytes = [0; HEADER_SIZE];
        bytes[..2].copy_from_slice(&self.id.to_be_bytes());
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        bytes
    }
}

/// The operation, the result and the flags, as `QUERY NOERROR qr rd ra`.
impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.opcode, self.code)?;
        let flags = [
            (self.is_response, "qr"),
            (self.is_authoritative, "aa"),
            (self.is_truncated, "tc"),
            (self.recursion_desired, "rd"),
            (self.recursion_available, "ra"),
            (self.is_authentic, "ad"),
            (self.checking_disabled, "cd"),
        ];
        flags.iter().filter(|(is_set, _)| *is_set).try_for_each(|(_, name)| write!(f, " {name}"))
    }
}
