//! The attributes of a file.

use std::fmt;

use super::error::Fault;
use super::field::{Field, Pass, Reader, Record};

/// The type of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// A socket.
    Socket,
}

/// All types: with its number, from 1 on, and the letter of a listing without attributes.
const TYPES: [(FileType, u8); 7] = [
    (FileType::File, b'f'),
    (FileType::Directory, b'd'),
    (FileType::Symlink, b'l'),
    (FileType::Fifo, b'q'),
    (FileType::Block, b'b'),
    (FileType::Character, b'c'),
    (FileType::Socket, b's'),
];

impl FileType {
    /// Returns the type of a number of the attributes.
    pub fn from_number(number: u8) -> Option<Self> {
        let place = usize::from(number.checked_sub(1)?);
        TYPES.get(place).map(|(kind, _)| *kind)
    }

    /// Returns its number.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Returns the type of a letter of a listing without attributes.
    pub fn from_letter(letter: u8) -> Option<Self> {
        TYPES.iter().find(|(_, it)| *it == letter).map(|(kind, _)| *kind)
    }

    /// Returns its letter.
    pub const fn letter(self) -> u8 {
        TYPES[self as usize].1
    }
}

/// As the letter of a listing without attributes.
impl<'a> Field<'a> for FileType {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Self::from_letter(u8::read(reader)?).ok_or(Fault::Value)
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.push(self.letter());
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(self.letter()))
    }
}

/// The type of a file and its permissions, as 4 bits and 12 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mode {
    /// The type.
    pub file_type: FileType,
    /// The permissions, with set-user-ID, set-group-ID and sticky.
    pub permissions: u16,
}

impl<'a> Field<'a> for Mode {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let bits = u16::read(reader)?;
        let file_type = FileType::from_number((bits >> 12) as u8).ok_or(Fault::Value)?;
        Ok(Self { file_type, permissions: bits & 0o7777 })
    }

    fn append(&self, body: &mut Vec<u8>) {
        (u16::from(self.file_type.number()) << 12 | self.permissions & 0o7777).append(body);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file_type.show(f)?;
        write!(f, "{:04o}", self.permissions)
    }
}

/// The attributes of a file, as clients from version 3.0.93 on get them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// Bits: 1 attributes are not to be cached, 2 names are not to be cached, 4 data may be cached, 8 no
    /// extended attributes, 0x10 no cache at all, 0x20 cannot be deleted.
    pub flags: u8,
    /// Type and permissions.
    pub mode: Mode,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The last access, in seconds since 1970.
    pub atime: u32,
    /// The last change of the content, in seconds since 1970.
    pub mtime: u32,
    /// The last change of the attributes, in seconds since 1970.
    pub ctime: u32,
    /// How many names it has.
    pub links: u32,
    /// The length in bytes. A device has `major:16 minor:16 zero:32` here, and the length of a directory
    /// is only decoration.
    pub length: u64,
    /// Attributes of Windows.
    pub windows: u8,
}

/// The size of attributes, in bytes.
pub const ATTRIBUTES_SIZE: usize = 36;

impl<'a> Record<'a> for Attributes {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("flags", &mut self.flags)?;
        pass.field("mode", &mut self.mode)?;
        pass.field("uid", &mut self.uid)?;
        pass.field("gid", &mut self.gid)?;
        pass.field("atime", &mut self.atime)?;
        pass.field("mtime", &mut self.mtime)?;
        pass.field("ctime", &mut self.ctime)?;
        pass.field("links", &mut self.links)?;
        pass.field("length", &mut self.length)?;
        pass.field("windows", &mut self.windows)
    }
}
