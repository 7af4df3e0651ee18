//! The options of a message: EDNS (RFC 6891).

use super::data::Data;
use super::error::{Fault, MessageError};
use super::message::RecordView;

/// What an OPT record says: the abilities of its sender, and options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'a> {
    /// The largest datagram that the sender receives, in bytes. A value below 512 counts as 512 (RFC 6891
    /// section 6.2.3), which [`udp_size`](Self::udp_size) respects.
    pub size: u16,
    /// The upper eight bits of the response code.
    pub code_upper: u8,
    /// The version, zero today.
    pub version: u8,
    /// DO: the sender wants records of DNSSEC (RFC 3225).
    pub dnssec_ok: bool,
    /// The options, one after the other, each checked to be whole.
    options: &'a [u8],
}

/// The numbers of options that this crate names.
pub mod option {
    /// The name of the server (RFC 5001).
    pub const NSID: u16 = 3;
    /// The network of the client (RFC 7871).
    pub const CLIENT_SUBNET: u16 = 8;
    /// Cookies of client and server (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// Bytes without meaning, which hide the size of an encrypted message (RFC 7830).
    pub const PADDING: u16 = 12;
    /// More about an error (RFC 8914).
    pub const EXTENDED_ERROR: u16 = 15;
}

impl<'a> Edns<'a> {
    /// Returns what a sender that receives datagrams of `size` bytes says, without options.
    pub const fn new(size: u16) -> Self {
        Self { size, code_upper: 0, version: 0, dnssec_ok: false, options: &[] }
    }

    /// Returns the same with these options: the bytes that [`append_option`] makes.
    ///
    /// # Errors
    /// When an option is not whole.
    pub fn with_options(self, options: &'a [u8]) -> Result<Self, MessageError> {
        let mut rest = options;
        while !rest.is_empty() {
            let error = MessageError::new(options.len() - rest.len(), Fault::DataSize);
            rest = split_option(rest).ok_or(error)?.2;
        }
        Ok(Self { options, ..self })
    }

    /// Reads an OPT record that is at `at` of a message.
    pub(super) fn parse(
        bytes: &'a [u8],
        at: usize,
        record: &RecordView<'a>,
    ) -> Result<Self, MessageError> {
        let [code_upper, version, flags, _] = record.ttl.to_be_bytes();
        let Data { at: start, end, .. } = record.data;
        let edns = Self {
            size: record.class.0,
            code_upper,
            version,
            dnssec_ok: flags & 0x80 != 0,
            options: &[],
        };
        edns.with_options(&bytes[start..end])
            .map_err(|error| MessageError { at: start.max(at) + error.at, ..error })
    }

    /// Returns the largest datagram that the sender receives, in bytes.
    pub const fn udp_size(&self) -> usize {
        if self.size < super::UDP_SIZE_MIN as u16 {
            super::UDP_SIZE_MIN
        } else {
            self.size as usize
        }
    }

    /// Returns the options: the number and the content of each.
    pub fn options(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = self.options;
        std::iter::from_fn(move || {
            let (number, content, others) = split_option(rest)?;
            rest = others;
            Some((number, content))
        })
    }

    /// Returns the content of an option.
    pub fn option(&self, number: u16) -> Option<&'a [u8]> {
        self.options().find_map(|(own, content)| (own == number).then_some(content))
    }

    /// Returns the bytes of all options, as [`append_option`] makes them.
    pub const fn option_bytes(&self) -> &'a [u8] {
        self.options
    }
}

/// Appends an option to the bytes of others.
///
/// # Panics
/// When the content is longer than 65,535 bytes.
pub fn append_option(number: u16, content: &[u8], options: &mut Vec<u8>) {
    let size = u16::try_from(content.len());
    let size = size.unwrap_or_else(|_| panic!("an option of {} bytes", content.len()));
    options.extend(number.to_be_bytes());
    options.extend(size.to_be_bytes());
    options.extend_from_slice(content);
}

/// Returns the number and the content of the first option, and what follows it.
fn split_option(options: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let [a, b, c, d, rest @ ..] = options else { return None };
    let (content, rest) = rest.split_at_checked(u16::from_be_bytes([*c, *d]).into())?;
    Some((u16::from_be_bytes([*a, *b]), content, rest))
}
