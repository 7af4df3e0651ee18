//! Values of a body that are views, and small values of their own.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::error::Fault;
use super::field::{Field, Pass, Reader, Record};

/// How many bytes of a text a log has.
const SHOWN_MAX: usize = 100;

/// Writes bytes as text, as far as a log wants it.
fn show_bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
    write!(f, "\"{}\"", shown.escape_ascii())?;
    match bytes.len() - shown.len() {
        0 => Ok(()),
        more => write!(f, "+{more}"),
    }
}

/// A name of at most 255 bytes, after its length in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Returns a name. `None` if it is longer than 255 bytes.
    pub const fn new(name: &'a [u8]) -> Option<Self> {
        if name.len() <= u8::MAX as usize { Some(Self(name)) } else { None }
    }

    /// Returns its bytes.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Field<'a> for Name<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let size = u8::read(reader)?;
        reader.bytes(size.into()).map(Self)
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.push(self.0.len() as u8);
        body.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_bytes(self.0, f)
    }
}

/// Bytes after their length in four bytes: a path or another text.
///
/// # Panics
/// Appending one of 4 GiB or more panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(pub &'a [u8]);

impl<'a> Text<'a> {
    /// Returns the bytes without the zero byte that ends many texts.
    pub fn trimmed(self) -> &'a [u8] {
        self.0.strip_suffix(b"\0").unwrap_or(self.0)
    }
}

impl<'a> Field<'a> for Text<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let size = u32::read(reader)?;
        reader.bytes(size as usize).map(Self)
    }

    fn append(&self, body: &mut Vec<u8>) {
        let size = u32::try_from(self.0.len()).expect("a text is shorter than 4 GiB");
        size.append(body);
        body.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_bytes(self.0, f)
    }
}

/// Bytes up to the end of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rest<'a>(pub &'a [u8]);

impl<'a> Field<'a> for Rest<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.bytes(reader.left()).map(Self)
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// Values up to the end of the body, each of which was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct List<'a, T> {
    bytes: &'a [u8],
    of: PhantomData<T>,
}

impl<'a, T: Field<'a>> List<'a, T> {
    /// Returns the list that `bytes` are: as [`append_all`] makes them. `None` if they are none.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        Self::read(&mut Reader::new(bytes)).ok()
    }

    /// Returns the values.
    pub const fn iter(&self) -> ListIter<'a, T> {
        ListIter { reader: Reader::new(self.bytes), of: PhantomData }
    }
}

impl<T> List<'_, T> {
    /// Returns whether there is no value.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self { bytes: &[], of: PhantomData }
    }
}

/// Returns the bytes of a list of these values.
pub fn append_all<'a, T: Field<'a>>(values: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.into_iter().for_each(|value| value.append(&mut bytes));
    bytes
}

impl<'a, T: Field<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

/// The values of a [`List`].
#[derive(Clone, Debug)]
pub struct ListIter<'a, T> {
    reader: Reader<'a>,
    of: PhantomData<T>,
}

impl<'a, T: Field<'a>> Iterator for ListIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.reader.left() == 0 { None } else { T::read(&mut self.reader).ok() }
    }
}

impl<'a, T: Field<'a>> FusedIterator for ListIter<'a, T> {}

impl<'a, T: Field<'a>> Field<'a> for List<'a, T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let bytes = reader.peek();
        while reader.left() > 0 {
            let left = reader.left();
            T::read(reader)?;
            if reader.left() == left {
                // A value without bytes would be read for ever.
                return Err(Fault::Value);
            }
        }
        Ok(Self { bytes, of: PhantomData })
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(self.bytes);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        let mut shown = 0;
        for value in self.iter().take(4) {
            f.write_str(if shown == 0 { "" } else { ", " })?;
            value.show(f)?;
            shown += 1;
        }
        let count = self.iter().count();
        if count > shown {
            write!(f, ", and {} more", count - shown)?;
        }
        f.write_str("]")
    }
}

/// The id of a chunk. Logs and files have it as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub u64);

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl<'a> Field<'a> for ChunkId {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        u64::read(reader).map(Self)
    }

    fn append(&self, body: &mut Vec<u8>) {
        self.0.append(body);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A CRC-32. Logs have it as 8 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Crc(pub u32);

impl fmt::Display for Crc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}", self.0)
    }
}

impl<'a> Field<'a> for Crc {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        u32::read(reader).map(Self)
    }

    fn append(&self, body: &mut Vec<u8>) {
        self.0.append(body);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The version of a program, as `major:16 middle:8 2*minor:8`. Later versions are greater.
///
/// ```
/// use protocol::mfs::Version;
///
/// assert_eq!(Version::OURS, Version::new(3, 0, 117));
/// assert_eq!(Version::OURS.0, 0x000300EA);
/// assert_eq!(Version::OURS.to_string(), "3.0.117");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32);

impl Version {
    /// What our programs announce: the version whose messages these are.
    pub const OURS: Self = Self::new(3, 0, 117);

    /// Returns a version. Its last part is below 128.
    pub const fn new(major: u16, middle: u8, minor: u8) -> Self {
        Self((major as u32) << 16 | (middle as u32) << 8 | (minor as u32) << 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, _, middle, minor] = self.0.to_be_bytes();
        write!(f, "{}.{middle}.{}", self.0 >> 16, minor >> 1)
    }
}

impl<'a> Field<'a> for Version {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        u32::read(reader).map(Self)
    }

    fn append(&self, body: &mut Vec<u8>) {
        self.0.append(body);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv4 address. The protocol has no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ip(pub u32);

impl From<Ipv4Addr> for Ip {
    fn from(address: Ipv4Addr) -> Self {
        Self(address.to_bits())
    }
}

impl From<Ip> for Ipv4Addr {
    fn from(ip: Ip) -> Self {
        Self::from_bits(ip.0)
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv4Addr::from(*self).fmt(f)
    }
}

impl<'a> Field<'a> for Ip {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        u32::read(reader).map(Self)
    }

    fn append(&self, body: &mut Vec<u8>) {
        self.0.append(body);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The address and the port of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Its address.
    pub ip: Ip,
    /// Its port.
    pub port: u16,
}

impl From<SocketAddrV4> for Endpoint {
    fn from(address: SocketAddrV4) -> Self {
        Self { ip: (*address.ip()).into(), port: address.port() }
    }
}

impl From<Endpoint> for SocketAddrV4 {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.ip.into(), endpoint.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddrV4::from(*self).fmt(f)
    }
}

impl<'a> Record<'a> for Endpoint {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("ip", &mut self.ip)?;
        pass.field("port", &mut self.port)
    }
}

/// The user and the groups that a request is made for, at least one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials<'a> {
    /// The user.
    pub uid: u32,
    /// The groups, as the bytes of a list: [`append_all`] makes them.
    groups: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// The superuser with its group.
    pub const ROOT: Self = Self { uid: 0, groups: &[0; 4] };

    /// Returns credentials. `groups` has the bytes of one group or more. `None` if it has not.
    pub fn new(uid: u32, groups: &'a [u8]) -> Option<Self> {
        let is_list = !groups.is_empty() && groups.len().is_multiple_of(4);
        is_list.then_some(Self { uid, groups })
    }

    /// Returns the groups.
    pub fn groups(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.groups.as_chunks().0.iter().map(|it| u32::from_be_bytes(*it))
    }
}

impl Default for Credentials<'_> {
    fn default() -> Self {
        Self::ROOT
    }
}

impl<'a> Field<'a> for Credentials<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let (uid, count) = (u32::read(reader)?, u32::read(reader)?);
        let size = (count as usize).checked_mul(4).ok_or(Fault::Truncated)?;
        Self::new(uid, reader.bytes(size)?).ok_or(Fault::Value)
    }

    fn append(&self, body: &mut Vec<u8>) {
        self.uid.append(body);
        ((self.groups.len() / 4) as u32).append(body);
        body.extend_from_slice(self.groups);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.uid)?;
        for (number, group) in self.groups().take(4).enumerate() {
            write!(f, "{}{group}", if number == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
