//! Makes messages.

use std::error::Error;
use std::fmt;

use super::edns::Edns;
use super::header::{HEADER_SIZE, Header};
use super::message::{RecordView, Section};
use super::name::NameView;
use super::numbers::{Class, RecordType, ResponseCode};

/// Pointers reach that far (RFC 1035 section 4.1.4).
const POINTER_MAX: usize = 0x3fff;
/// Names are compared with this many earlier ones, so a message of thousands of names costs no more than
/// a multiple of its size. Later names that repeat others are longer than they had to be.
const PLACES_MAX: usize = 64;
/// The size of an OPT record without options.
const OPT_SIZE: usize = 11;

/// Makes a message of a limited size. What does not fit is left out as a whole: no name and no record is
/// cut.
///
/// ```
/// use protocol::dns::{Builder, Class, Header, Message, Record, RecordType, ResponseCode, Section};
///
/// let record: Record = "example.org. 60 IN A 192.0.2.1".parse()?;
/// let header = Header::question(7).response(ResponseCode::NOERROR);
/// let mut builder = Builder::new(header, 512);
/// builder.question(record.name.view(), RecordType::A, Class::IN)?;
/// builder.record(Section::Answer, &record.view())?;
/// let bytes = builder.finish();
/// // The name of the record points to that of the question.
/// assert_eq!(bytes.len(), 12 + 13 + 4 + 2 + 10 + 4);
/// assert_eq!(Message::parse(&bytes)?.answers().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    bytes: Vec<u8>,
    size_max: usize,
    /// Bytes that are kept for the OPT record.
    reserved: usize,
    section: usize,
    /// Where names and their endings begin that others may point to.
    places: Vec<u16>,
    ignores_case: bool,
}

/// There is no room for a part of a message. The message is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message has no room for this")
    }
}

impl Error for Full {}

impl Builder {
    /// Begins a message of at most `size_max` bytes. A message over TCP has at most 65,535, which is the
    /// limit here too. A header always fits.
    pub fn new(header: Header, size_max: usize) -> Self {
        Self {
            bytes: header.to_bytes().to_vec(),
            size_max: size_max.min(u16::MAX.into()),
            reserved: 0,
            section: 0,
            places: Vec::new(),
            ignores_case: false,
        }
    }

    /// Lets a name point to an earlier one that differs only in the case of its letters. So it takes over
    /// that case, as all names of an answer do that repeat the question. By default the case of each is kept.
    pub fn ignore_case(&mut self) {
        self.ignores_case = true;
    }

    /// Keeps room for an OPT record, which is appended last.
    ///
    /// # Errors
    /// When there is none.
    pub fn reserve(&mut self, edns: &Edns<'_>) -> Result<(), Full> {
        let size = OPT_SIZE + edns.option_bytes().len();
        if self.bytes.len() + size > self.size_max {
            return Err(Full);
        }
        self.reserved = size;
        Ok(())
    }

    /// Appends a question.
    ///
    /// # Errors
    /// When there is no room for it.
    ///
    /// # Panics
    /// When records were appended before.
    pub fn question(
        &mut self,
        name: NameView<'_>,
        kind: RecordType,
        class: Class,
    ) -> Result<(), Full> {
        self.append(0, |builder| {
            builder.name(name, true);
            builder.bytes.extend(kind.0.to_be_bytes());
            builder.bytes.extend(class.0.to_be_bytes());
        })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// When there is no room for it.
    ///
    /// # Panics
    /// When records of a later section were appended before.
    pub fn record(&mut self, section: Section, record: &RecordView<'_>) -> Result<(), Full> {
        self.append(section as usize, |builder| {
            builder.name(record.name, true);
            builder.bytes.extend(record.kind.0.to_be_bytes());
            builder.bytes.extend(record.class.0.to_be_bytes());
            builder.bytes.extend(record.ttl.to_be_bytes());
            let at = builder.bytes.len();
            builder.bytes.extend([0, 0]);
            let mut bytes = std::mem::take(&mut builder.bytes);
            record.data.append_with(&mut bytes, |bytes, name, may_compress| {
                std::mem::swap(bytes, &mut builder.bytes);
                builder.name(name, may_compress);
                std::mem::swap(bytes, &mut builder.bytes);
            });
            builder.bytes = bytes;
            // Data without compression may be longer than a record can have; then they do not fit.
            let size = u16::try_from(builder.bytes.len() - at - 2).unwrap_or(u16::MAX);
            builder.bytes[at..at + 2].copy_from_slice(&size.to_be_bytes());
        })
    }

    /// Appends an OPT record, in the room that was kept for it if there is some.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn edns(&mut self, edns: &Edns<'_>) -> Result<(), Full> {
        self.reserved = 0;
        let flags = if edns.dnssec_ok { 0x80 } else { 0 };
        self.append(Section::Additional as usize, |builder| {
            builder.bytes.push(0);
            builder.bytes.extend(RecordType::OPT.0.to_be_bytes());
            builder.bytes.extend(edns.size.to_be_bytes());
            builder.bytes.extend([edns.code_upper, edns.version, flags, 0]);
            builder.bytes.extend((edns.option_bytes().len() as u16).to_be_bytes());
            builder.bytes.extend_from_slice(edns.option_bytes());
        })
    }

    /// Sets TC: there was no room for the whole answer.
    pub fn set_truncated(&mut self) {
        self.bytes[2] |= 0x02;
    }

    /// Sets the response code. Its upper bits are those of an OPT record, which has to be appended with
    /// them.
    pub fn set_code(&mut self, code: ResponseCode) {
        self.bytes[3] = self.bytes[3] & 0xf0 | (code.0 & 0xf) as u8;
    }

    /// Returns the size so far, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the message.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends what `write` writes to a section, or nothing if there is no room.
    fn append(&mut self, section: usize, write: impl FnOnce(&mut Self)) -> Result<(), Full> {
        assert!(section >= self.section, "the sections of a message have an order");
        let (size, places) = (self.bytes.len(), self.places.len());
        let count = 4 + 2 * section;
        let next = u16::from_be_bytes([self.bytes[count], self.bytes[count + 1]]).checked_add(1);
        write(self);
        match next {
            Some(next) if self.bytes.len() + self.reserved <= self.size_max => {
                self.bytes[count..count + 2].copy_from_slice(&next.to_be_bytes());
                self.section = section;
                Ok(())
            }
            _ => {
                self.bytes.truncate(size);
                self.places.truncate(places);
                Err(Full)
            }
        }
    }

    /// Appends a name. Its longest ending that is in the message becomes a pointer, if it may.
    fn name(&mut self, name: NameView<'_>, may_compress: bool) {
        let mut rest = name.labels();
        // A pointer never leads into the name itself, which has no end yet: `com.com` would be one `com`
        // that follows itself.
        let earlier = self.places.len();
        loop {
            let ending = rest.clone();
            let Some(label) = rest.next() else {
                self.bytes.push(0);
                return;
            };
            if may_compress && let Some(place) = self.place_of(&ending, earlier) {
                self.bytes.extend((0xc000 | place).to_be_bytes());
                return;
            }
            let at = self.bytes.len();
            if at <= POINTER_MAX && self.places.len() < PLACES_MAX {
                self.places.push(at as u16);
            }
            self.bytes.push(label.len() as u8);
            self.bytes.extend_from_slice(label);
        }
    }

    /// Returns where the message has a name of these labels, among the `earlier` first places.
    fn place_of(&self, ending: &super::name::Labels<'_>, earlier: usize) -> Option<u16> {
        let is_same = |place: &u16| {
            let mut own = super::name::Labels::at(&self.bytes, usize::from(*place));
            let mut theirs = ending.clone();
            loop {
                match (own.next(), theirs.next()) {
                    // The case is kept too: an answer repeats the name as it was asked.
                    (Some(a), Some(b)) if a == b => {}
                    (Some(a), Some(b)) if self.ignores_case && a.eq_ignore_ascii_case(b) => {}
                    (None, None) => return true,
                    _ => return false,
                }
            }
        };
        self.places[..earlier].iter().copied().find(is_same)
    }
}

const _: () = assert!(HEADER_SIZE == 12, "the numbers of records are at the end of the header");
