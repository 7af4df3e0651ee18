//! The data of a record: its bytes, checked, and their parts.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::{Fault, MessageError};
use super::layout::{Part, is_compressible, parts};
use super::name::NameView;
use super::numbers::{Class, RecordType};
use super::params::{self, Param};

/// The data of a record, checked for its type. Of a type that is not known, they are any bytes (RFC 3597).
///
/// Data are equal if they are the same without compression, up to the case of names.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    pub(super) kind: RecordType,
    pub(super) class: Class,
    /// The message, in which names may point to others.
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) end: usize,
}

/// A part of the data of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field<'a> {
    /// A domain name.
    Name(NameView<'a>),
    /// A number.
    Number(u32),
    /// The number of a record type.
    Type(RecordType),
    /// A moment, in seconds since 1970 modulo 2^32.
    Time(u32),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// A text, which may have any bytes.
    Text(&'a [u8]),
    /// Other bytes: a key, a digest, or the data of a type that is not known.
    Bytes(&'a [u8]),
    /// A set of record types.
    Types(TypeSet<'a>),
    /// A parameter of a service.
    Param(Param<'a>),
}

/// The contents of a SOA record (RFC 1035 section 3.3.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa<'a> {
    /// The primary server of the zone.
    pub primary: NameView<'a>,
    /// The mail address of its operator. The first label is the part before the `@`.
    pub mailbox: NameView<'a>,
    /// The version of the zone.
    pub serial: u32,
    /// After how many seconds secondary servers look for a new version.
    pub refresh: u32,
    /// After how many seconds they look again if that fails.
    pub retry: u32,
    /// After how many seconds without success they stop answering.
    pub expire: u32,
    /// For how many seconds at most it is known that a name does not exist (RFC 2308 section 4).
    pub minimum: u32,
}

impl<'a> Data<'a> {
    /// Checks the bytes from `at` to `end` of a message as data of a type.
    pub(super) fn parse(
        (kind, class): (RecordType, Class),
        bytes: &'a [u8],
        at: usize,
        end: usize,
    ) -> Result<Self, MessageError> {
        let data = Self { kind, class, bytes, at, end };
        if at == end && matches!(class, Class::ANY | Class::NONE) {
            // An update names what is not to exist (RFC 2136 section 2.4).
            return Ok(data);
        }
        let mut fields = data.fields();
        while fields.read()?.is_some() {}
        Ok(data)
    }

    /// Returns the type.
    pub fn kind(&self) -> RecordType {
        self.kind
    }

    /// Returns the parts.
    pub fn fields(&self) -> Fields<'a> {
        Fields {
            data: *self,
            parts: parts(self.kind, self.class),
            next: 0,
            at: self.at,
            last_key: None,
        }
    }

    /// Returns the address of an A or AAAA record.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        match self.fields().next()? {
            Field::Ipv4(address) => Some(address.into()),
            Field::Ipv6(address) => Some(address.into()),
            _ => None,
        }
    }

    /// Returns the first name in the data: of a CNAME, NS, PTR, DNAME, SOA, MX, SRV, SVCB and other
    /// records that have one.
    pub fn name(&self) -> Option<NameView<'a>> {
        self.fields().find_map(|field| match field {
            Field::Name(name) => Some(name),
            _ => None,
        })
    }

    /// Returns the contents of a SOA record.
    pub fn soa(&self) -> Option<Soa<'a>> {
        if self.kind != RecordType::SOA {
            return None;
        }
        let mut fields = self.fields();
        let (Some(Field::Name(primary)), Some(Field::Name(mailbox))) =
            (fields.next(), fields.next())
        else {
            return None;
        };
        let mut number = || match fields.next() {
            Some(Field::Number(number)) => Some(number),
            _ => None,
        };
        Some(Soa {
            primary,
            mailbox,
            serial: number()?,
            refresh: number()?,
            retry: number()?,
            expire: number()?,
            minimum: number()?,
        })
    }

    /// Appends the bytes. `write_name` appends a name, and knows whether it may be compressed.
    pub(super) fn append_with(
        &self,
        bytes: &mut Vec<u8>,
        mut write_name: impl FnMut(&mut Vec<u8>, NameView<'a>, bool),
    ) {
        let may_compress = is_compressible(self.kind);
        let (mut fields, mut at) = (self.fields(), self.at);
        while let Some(field) = fields.next() {
            match field {
                Field::Name(name) => write_name(bytes, name, may_compress),
                _ => bytes.extend_from_slice(&self.bytes[at..fields.at]),
            }
            at = fields.at;
        }
    }

    /// Appends the bytes without compression.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        self.append_with(bytes, |bytes, name, _| name.append_to(bytes));
    }
}

impl PartialEq for Data<'_> {
    fn eq(&self, other: &Data<'_>) -> bool {
        self.kind == other.kind && self.fields().eq(other.fields())
    }
}

impl Eq for Data<'_> {}

/// The parts of the data of a record.
#[derive(Clone)]
pub struct Fields<'a> {
    data: Data<'a>,
    parts: Option<&'static [Part]>,
    next: usize,
    /// Where the next part begins.
    at: usize,
    /// The key of the last parameter: they are in order.
    last_key: Option<u16>,
}

impl<'a> Fields<'a> {
    /// Reads the next part.
    ///
    /// # Errors
    /// When the data are wrong, which was checked once.
    fn read(&mut self) -> Result<Option<Field<'a>>, MessageError> {
        Ok(self.read_part()?.map(|(_, field)| field))
    }

    /// Reads the next part, and returns what it is. Data of an unknown type are one part.
    pub(super) fn read_part(&mut self) -> Result<Option<(Option<Part>, Field<'a>)>, MessageError> {
        let Some(parts) = self.parts else {
            if std::mem::replace(&mut self.next, 1) == 1 {
                return Ok(None);
            }
            return Ok(Some((None, Field::Bytes(self.take_rest()))));
        };
        let is_end = self.at == self.data.end;
        let Some(&part) = parts.get(self.next) else {
            let error = MessageError::new(self.at, Fault::DataSize);
            return if is_end { Ok(None) } else { Err(error) };
        };
        match part {
            // The first text was read with the part before it in the list.
            Part::Texts if is_end && self.at > self.data.at => return Ok(None),
            Part::Params if is_end => return Ok(None),
            Part::Texts | Part::Params => {}
            _ => self.next += 1,
        }
        Ok(Some((Some(part), self.read_as(part)?)))
    }

    fn read_as(&mut self, part: Part) -> Result<Field<'a>, MessageError> {
        let start = self.at;
        let wrong = MessageError::new(start, Fault::DataValue);
        Ok(match part {
            Part::Name => Field::Name(self.take_name()?),
            Part::U8 => Field::Number(u8::from_be_bytes(self.take_array()?).into()),
            Part::U16 => Field::Number(u16::from_be_bytes(self.take_array()?).into()),
            Part::U32 => Field::Number(u32::from_be_bytes(self.take_array()?)),
            Part::Type => Field::Type(RecordType(u16::from_be_bytes(self.take_array()?))),
            Part::Time => Field::Time(u32::from_be_bytes(self.take_array()?)),
            Part::Ipv4 => Field::Ipv4(self.take_array::<4>()?.into()),
            Part::Ipv6 => Field::Ipv6(self.take_array::<16>()?.into()),
            Part::Text | Part::Texts => Field::Text(self.take_counted()?),
            Part::Rest => Field::Text(self.take_rest()),
            Part::Tag => match self.take_counted()? {
                tag if !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric) => {
                    Field::Text(tag)
                }
                _ => return Err(wrong),
            },
            Part::Hex | Part::Base64 => match self.take_rest() {
                [] => return Err(MessageError::new(start, Fault::DataSize)),
                bytes => Field::Bytes(bytes),
            },
            Part::Salt => Field::Bytes(self.take_counted()?),
            Part::Hash => match self.take_counted()? {
                [] => return Err(wrong),
                bytes => Field::Bytes(bytes),
            },
            Part::Types(form) => Field::Types(TypeSet::parse(self.take_rest(), form).ok_or(wrong)?),
            Part::Params => Field::Param(self.take_param()?),
        })
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], MessageError> {
        let end = self.at + size;
        if end > self.data.end {
            return Err(MessageError::new(self.at, Fault::DataSize));
        }
        let bytes = &self.data.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn take_array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], MessageError> {
        let at = self.at;
        let bytes = self.take(SIZE)?.first_chunk();
        bytes.copied().ok_or(MessageError::new(at, Fault::DataSize))
    }

    fn take_counted(&mut self) -> Result<&'a [u8], MessageError> {
        let [size] = self.take_array()?;
        self.take(size.into())
    }

    fn take_rest(&mut self) -> &'a [u8] {
        let bytes = &self.data.bytes[self.at..self.data.end];
        self.at = self.data.end;
        bytes
    }

    fn take_name(&mut self) -> Result<NameView<'a>, MessageError> {
        let start = self.at;
        let (name, end) = NameView::parse(self.data.bytes, self.at)?;
        if end > self.data.end {
            return Err(MessageError::new(start, Fault::DataSize));
        }
        self.at = end;
        Ok(name)
    }

    fn take_param(&mut self) -> Result<Param<'a>, MessageError> {
        let wrong = MessageError::new(self.at, Fault::DataValue);
        let key = u16::from_be_bytes(self.take_array()?);
        let size = u16::from_be_bytes(self.take_array()?);
        let value = self.take(size.into())?;
        let is_next = self.last_key.is_none_or(|last| last < key);
        self.last_key = Some(key);
        if !is_next || !params::is_valid(key, value) {
            return Err(wrong);
        }
        Ok(Param { key, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        self.read().ok().flatten()
    }
}

/// A set of record types, of NSEC and NSEC3 (RFC 4034 section 4.1.2) or of NXT (RFC 2535 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeSet<'a> {
    bytes: &'a [u8],
    form: SetForm,
}

/// How a set of record types is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetForm {
    /// Windows of 256 types each, with their number and the number of their bytes.
    Windows,
    /// Bits of the types below 128.
    Bits,
}

impl<'a> TypeSet<'a> {
    fn parse(bytes: &'a [u8], form: SetForm) -> Option<Self> {
        let is_valid = match form {
            SetForm::Windows => are_windows(bytes),
            // With the bit of type 0, they would have another form, which was never defined.
            SetForm::Bits => {
                bytes.len() <= 16 && bytes.last() != Some(&0) && bytes.first() < Some(&0x80)
            }
        };
        is_valid.then_some(Self { bytes, form })
    }

    /// Returns the types, in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordType> + use<'a> {
        let (mut rest, form) = (self.bytes, self.form);
        let windows = std::iter::from_fn(move || {
            if form == SetForm::Bits {
                let bits = std::mem::take(&mut rest);
                return (!bits.is_empty()).then_some((0, bits));
            }
            let [window, size, after @ ..] = rest else { return None };
            let (bits, others) = after.split_at_checked(usize::from(*size))?;
            rest = others;
            Some((*window, bits))
        });
        windows.flat_map(|(window, bits)| {
            (0..bits.len() * 8)
                .filter(|bit| bits[bit / 8] & 0x80 >> (bit % 8) != 0)
                .map(move |bit| RecordType(u16::from(window) << 8 | bit as u16))
        })
    }

    /// Returns whether it contains no type.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns whether it contains a type.
    pub fn contains(&self, kind: RecordType) -> bool {
        self.iter().any(|own| own == kind)
    }

    /// Appends the set of `kinds`, which are in order. Returns `None` if the form has no bit for one.
    pub(super) fn append(kinds: &[RecordType], form: SetForm, bytes: &mut Vec<u8>) -> Option<()> {
        if form == SetForm::Bits && kinds.iter().any(|kind| !(1..128).contains(&kind.0)) {
            return None;
        }
        for window in kinds.chunk_by(|a, b| a.0 >> 8 == b.0 >> 8) {
            let mut bits = [0u8; 32];
            for kind in window {
                bits[usize::from(kind.0 as u8) / 8] |= 0x80 >> (kind.0 % 8);
            }
            let size = bits.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if form == SetForm::Windows {
                bytes.extend([(window[0].0 >> 8) as u8, size as u8]);
            }
            bytes.extend_from_slice(&bits[..size]);
        }
        Some(())
    }
}

/// Returns whether bytes are windows of record types, in order and without bytes that say nothing.
fn are_windows(bytes: &[u8]) -> bool {
    let (mut rest, mut last) = (bytes, None);
    while let [window, size, after @ ..] = rest {
        let Some(bits) = after.get(..usize::from(*size)) else { return false };
        if !(1..=32).contains(size) || last >= Some(*window) || bits.last() == Some(&0) {
            return false;
        }
        last = Some(*window);
        rest = &after[bits.len()..];
    }
    rest.is_empty()
}
