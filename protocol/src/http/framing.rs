//! What the fields of a head say about the message and the connection: the rules of RFC 9112
//! section 6, and those against request smuggling (section 11.2).

use super::fields::{Fields, elements};
use super::target::is_host;
use super::{BodyLength, Refusal, Version};

/// What the fields of a head say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts<'a> {
    pub(super) host: Option<&'a [u8]>,
    pub(super) length: Option<u64>,
    pub(super) coding: Option<Coding>,
    pub(super) says_close: bool,
    pub(super) says_keep_alive: bool,
    pub(super) expects_continue: bool,
}

/// What the fields `Transfer-Encoding` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// `chunked` alone.
    Chunked,
    /// `chunked` after another coding.
    Other,
    /// Something that does not end with one `chunked`.
    Unframed,
}

impl Coding {
    /// Returns the coding that the elements of a further field complete.
    fn followed_by(before: Option<Self>, value: &[u8]) -> Self {
        let mut coding = before;
        for element in elements(value) {
            let is_chunked = element.eq_ignore_ascii_case("chunked");
            coding = Some(match coding {
                None if is_chunked => Self::Chunked,
                None => Self::Unframed,
                // Twice, or not at the end.
                Some(Self::Chunked | Self::Other) => return Self::Unframed,
                Some(Self::Unframed) if is_chunked => Self::Other,
                Some(Self::Unframed) => Self::Unframed,
            });
        }
        coding.unwrap_or(Self::Unframed)
    }
}

impl<'a> Facts<'a> {
    /// Reads the fields of a request, or of a response, which has no `Host` and no `Expect`.
    pub(super) fn of(fields: &Fields<'a>, is_request: bool) -> Result<Self, Refusal> {
        let mut facts = Self::default();
        for (name, value) in fields.pairs() {
            match name.len() {
                4 if is_request && name.eq_ignore_ascii_case(b"host") => facts.add_host(value)?,
                6 if is_request && name.eq_ignore_ascii_case(b"expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Refusal::Expectation);
                    }
                    facts.expects_continue = true;
                }
                10 if name.eq_ignore_ascii_case(b"connection") => facts.add_connection(value),
                14 if name.eq_ignore_ascii_case(b"content-length") => facts.add_length(value)?,
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    facts.coding = Some(Coding::followed_by(facts.coding, value));
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    fn add_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if self.host.is_some() {
            return Err(Refusal::SeveralHosts);
        }
        if !is_host(value) {
            return Err(Refusal::Host);
        }
        self.host = Some(value);
        Ok(())
    }

    fn add_connection(&mut self, value: &[u8]) {
        for element in elements(value) {
            self.says_close |= element.eq_ignore_ascii_case("close");
            self.says_keep_alive |= element.eq_ignore_ascii_case("keep-alive");
        }
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() || value.contains(&b',') {
            return Err(Refusal::SeveralLengths);
        }
        self.length = Some(parse_length(value).ok_or(Refusal::Length)?);
        Ok(())
    }

    /// Returns how the end of the body is found, unless the length and the coding contradict each
    /// other, and `None` if neither is there.
    pub(super) fn body(&self, version: Version) -> Result<Option<BodyLength>, Refusal> {
        match (self.coding, self.length) {
            (None, length) => Ok(length.map(BodyLength::Known)),
            (Some(_), Some(_)) => Err(Refusal::LengthAndCoding),
            (Some(_), None) if version == Version::Http10 => Err(Refusal::CodingInHttp10),
            (Some(Coding::Chunked), None) => Ok(Some(BodyLength::Chunked)),
            (Some(Coding::Other), None) => Err(Refusal::UnknownCoding),
            (Some(Coding::Unframed), None) => Err(Refusal::Coding),
        }
    }

    /// Returns whether the sender of the message keeps the connection (RFC 9112 section 9.3).
    pub(super) fn keeps(&self, version: Version) -> bool {
        !self.says_close && (version == Version::Http11 || self.says_keep_alive)
    }
}

/// Parses a length: digits alone, which no parser of the standard library requires.
fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
