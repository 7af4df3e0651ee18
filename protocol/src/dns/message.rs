//! Whole messages, as validated views.

use super::data::Data;
use super::edns::Edns;
use super::error::{Fault, MessageError};
use super::header::{HEADER_SIZE, Header};
use super::name::NameView;
use super::numbers::{Class, RecordType, ResponseCode};

/// A message, checked to its end: every name and the data of every record.
///
/// ```
/// use protocol::dns::{Builder, Class, Header, Message, Name, RecordType};
///
/// let name: Name = "example.org".parse()?;
/// let mut builder = Builder::new(Header::question(7), 512);
/// builder.question(name.view(), RecordType::A, Class::IN)?;
/// let bytes = builder.finish();
///
/// let message = Message::parse(&bytes)?;
/// let question = message.question().ok_or("no question")?;
/// assert_eq!((message.header().id, question.kind), (7, RecordType::A));
/// assert_eq!(question.name, name.view());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    header: Header,
    /// The number of entries of each section.
    counts: [u16; 4],
    /// Where each section begins.
    starts: [usize; 4],
    end: usize,
    edns: Option<Edns<'a>>,
}

/// A section of a message that has records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Records that answer the question.
    Answer = 1,
    /// Records about the servers that are responsible.
    Authority = 2,
    /// Other records that may help.
    Additional = 3,
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The name that is asked about.
    pub name: NameView<'a>,
    /// The type of the records that are wanted.
    pub kind: RecordType,
    /// Their class.
    pub class: Class,
}

/// A record in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The name that the record is about.
    pub name: NameView<'a>,
    /// The type.
    pub kind: RecordType,
    /// The class.
    pub class: Class,
    /// For how many seconds the record may be kept. A value beyond 2^31 counts as zero (RFC 2181 section
    /// 8).
    pub ttl: u32,
    /// The data.
    pub data: Data<'a>,
}

impl<'a> Message<'a> {
    /// Checks a message. Bytes after its end are ignored; [`size`](Self::size) says where it ends.
    ///
    /// # Errors
    /// When the bytes are no message. The error names the place.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let too_short = MessageError::new(bytes.len(), Fault::Truncated);
        let header = Header::parse(bytes).ok_or(too_short)?;
        let count = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let counts = [count(4), count(6), count(8), count(10)];
        let mut message =
            Self { bytes, header, counts, starts: [HEADER_SIZE; 4], end: 0, edns: None };
        let mut at = HEADER_SIZE;
        for _ in 0..counts[0] {
            at = parse_question(bytes, at)?.1;
        }
        for section in [Section::Answer, Section::Authority, Section::Additional] {
            message.starts[section as usize] = at;
            for _ in 0..counts[section as usize] {
                let (record, end) = parse_record(bytes, at)?;
                if record.kind == RecordType::OPT {
                    let is_right = section == Section::Additional && record.name.is_root();
                    if !is_right || message.edns.is_some() {
                        return Err(MessageError::new(at, Fault::Options));
                    }
                    message.edns = Some(Edns::parse(bytes, at, &record)?);
                }
                at = end;
            }
        }
        message.end = at;
        Ok(message)
    }

    /// Returns the header.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Returns the bytes, without what follows the end.
    pub fn as_bytes(&self) -> &'a [u8] {
        &self.bytes[..self.end]
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> usize {
        self.end
    }

    /// Returns the response code, with the bits that an OPT record has (RFC 6891 section 6.1.3).
    pub fn response_code(&self) -> ResponseCode {
        let upper = self.edns.map_or(0, |edns| edns.code_upper);
        ResponseCode(u16::from(upper) << 4 | self.header.code.0)
    }

    /// Returns the options of the message, if it has an OPT record.
    pub fn edns(&self) -> Option<Edns<'a>> {
        self.edns
    }

    /// Returns the question, if there is exactly one. Servers accept no other (RFC 9619).
    pub fn question(&self) -> Option<Question<'a>> {
        if self.counts[0] != 1 {
            return None;
        }
        self.questions().next()
    }

    /// Returns all questions.
    pub fn questions(&self) -> impl Iterator<Item = Question<'a>> + use<'a> {
        let (bytes, mut at) = (self.bytes, HEADER_SIZE);
        (0..self.counts[0]).map_while(move |_| {
            let (question, end) = parse_question(bytes, at).ok()?;
            at = end;
            Some(question)
        })
    }

    /// Returns how many records a section has.
    pub fn count(&self, section: Section) -> usize {
        self.counts[section as usize].into()
    }

    /// Returns the records of a section, the OPT record among them.
    pub fn records(&self, section: Section) -> impl Iterator<Item = RecordView<'a>> + use<'a> {
        let (bytes, mut at) = (self.bytes, self.starts[section as usize]);
        (0..self.counts[section as usize]).map_while(move |_| {
            let (record, end) = parse_record(bytes, at).ok()?;
            at = end;
            Some(record)
        })
    }

    /// Returns where the bytes of the TTLs of a section are in the message, except that of an OPT record,
    /// whose bytes are none. So a cache can count them down in the bytes that it keeps.
    ///
    /// ```
    /// use protocol::dns::{Builder, Header, Message, Record, Section};
    ///
    /// let record: Record = "example.org. 60 IN A 192.0.2.1".parse()?;
    /// let mut builder = Builder::new(Header::question(7), 512);
    /// builder.record(Section::Answer, &record.view())?;
    /// let mut bytes = builder.finish();
    /// let places: Vec<usize> = Message::parse(&bytes)?.ttl_places(Section::Answer).collect();
    /// for place in places {
    ///     bytes[place..place + 4].copy_from_slice(&59_u32.to_be_bytes());
    /// }
    /// assert_eq!(Message::parse(&bytes)?.answers().next().ok_or("none")?.ttl, 59);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ttl_places(&self, section: Section) -> impl Iterator<Item = usize> + use<'a> {
        let (bytes, mut at) = (self.bytes, self.starts[section as usize]);
        let places = (0..self.counts[section as usize]).map_while(move |_| {
            let start = at;
            let (record, end) = parse_record(bytes, start).ok()?;
            at = end;
            // The TTL follows the name, the type and the class.
            let place = NameView::parse(bytes, start).ok()?.1 + 4;
            Some((record.kind, place))
        });
        places.filter(|(kind, _)| *kind != RecordType::OPT).map(|(_, place)| place)
    }

    /// Returns the records of the answer.
    pub fn answers(&self) -> impl Iterator<Item = RecordView<'a>> + use<'a> {
        self.records(Section::Answer)
    }
}

/// Returns the two bytes at `at`.
fn read_u16(bytes: &[u8], at: usize) -> Result<u16, MessageError> {
    let number = bytes.get(at..).and_then(<[u8]>::first_chunk);
    number.copied().map(u16::from_be_bytes).ok_or(MessageError::new(at, Fault::Truncated))
}

/// Reads a question. Returns the offset after it, too.
fn parse_question(bytes: &[u8], at: usize) -> Result<(Question<'_>, usize), MessageError> {
    let (name, at) = NameView::parse(bytes, at)?;
    let kind = RecordType(read_u16(bytes, at)?);
    let class = Class(read_u16(bytes, at + 2)?);
    Ok((Question { name, kind, class }, at + 4))
}

/// Reads a record. Returns the offset after it, too.
fn parse_record(bytes: &[u8], at: usize) -> Result<(RecordView<'_>, usize), MessageError> {
    let (name, at) = NameView::parse(bytes, at)?;
    let kind = RecordType(read_u16(bytes, at)?);
    let class = Class(read_u16(bytes, at + 2)?);
    let ttl = u32::from(read_u16(bytes, at + 4)?) << 16 | u32::from(read_u16(bytes, at + 6)?);
    // The TTL of an OPT record has other contents.
    let is_time = kind == RecordType::OPT || ttl <= i32::MAX as u32;
    let ttl = if is_time { ttl } else { 0 };
    let (start, end) = (at + 10, at + 10 + usize::from(read_u16(bytes, at + 8)?));
    if end > bytes.len() {
        return Err(MessageError::new(at + 8, Fault::Truncated));
    }
    let data = Data::parse((kind, class), bytes, start, end)?;
    Ok((RecordView { name, kind, class, ttl, data }, end))
}
