//! Changes of the tree, and their text in the change log.

use std::fmt::{self, Write};

use protocol::mfs::ChunkId;

use crate::mfs::master::changes::{Escaped, is_plain};

/// What becomes of a chunk when a client begins to write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// It is as it was: it is only locked.
    Same,
    /// It is new.
    New,
}

/// One change. It has what was decided, such as the number of a new inode, so applying it decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A client has used a file. The times are of the client.
    Used { inode: u32, atime: u32, mtime: u32 },
    /// A session opens a file.
    Acquire { session: u32, inode: u32 },
    /// A session no longer has a file open.
    Release { session: u32, inode: u32 },
    /// The attributes of a file from now on.
    Attributes { inode: u32, mode: u16, uid: u32, gid: u32, atime: u32, mtime: u32, windows: u8 },
    /// A new inode with a name. `file_type` is the number of its type.
    Create {
        parent: u32,
        name: Vec<u8>,
        file_type: u8,
        mode: u16,
        umask: u16,
        uid: u32,
        gid: u32,
        device: u32,
        inode: u32,
    },
    /// A new symbolic link.
    Symlink { parent: u32, name: Vec<u8>, path: Vec<u8>, uid: u32, gid: u32, inode: u32 },
    /// Another name of a file.
    Link { inode: u32, parent: u32, name: Vec<u8> },
    /// A name is removed, and what has no other name with it.
    Unlink { parent: u32, name: Vec<u8>, inode: u32 },
    /// A name changes. What had the new name loses it.
    Move { parent: u32, name: Vec<u8>, new_parent: u32, new_name: Vec<u8>, inode: u32 },
    /// A client has written: the length of the file from now on. Another client may have got a chunk behind
    /// it meanwhile, to which it writes.
    Length { inode: u32, length: u64 },
    /// The length of a file from now on. Chunks behind it are no longer part of the file.
    Truncate { inode: u32, length: u64 },
    /// A client begins to write to a chunk.
    Write { inode: u32, index: u32, writing: Writing, chunk: ChunkId },
    /// It has finished.
    Unlock { chunk: ChunkId },
    /// An extended attribute. The mode 3 removes it.
    Xattr { inode: u32, name: Vec<u8>, value: Vec<u8>, mode: u8 },
}

/// The mode of an extended attribute that is removed.
pub(super) const REMOVE: u8 = 3;

/// An argument in the text of a change.
enum Argument<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl From<u8> for Argument<'_> {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Argument<'_> {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Argument<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Argument<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a Vec<u8>> for Argument<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Display for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => Escaped(bytes).fmt(f),
        }
    }
}

macro_rules! arguments {
    ($($argument:expr),*) => { vec![$(Argument::from($argument)),*] };
}

impl Change {
    /// Returns its name, its arguments and its result.
    fn parts(&self) -> (&'static str, Vec<Argument<'_>>, Option<u64>) {
        match self {
            Self::Used { inode, atime, mtime } => {
                ("AMTIME", arguments![*inode, *atime, *mtime], None)
            }
            Self::Acquire { session, inode } => ("ACQUIRE", arguments![*session, *inode], None),
            Self::Release { session, inode } => ("RELEASE", arguments![*session, *inode], None),
            Self::Attributes { inode, mode, uid, gid, atime, mtime, windows } => {
                let arguments = arguments![*inode, *mode, *uid, *gid, *atime, *mtime, *windows];
                ("ATTR", arguments, None)
            }
            Self::Create { parent, name, file_type, mode, umask, uid, gid, device, inode } => {
                let arguments =
                    arguments![*parent, name, *file_type, *mode, *umask, *uid, *gid, *device];
                ("CREATE", arguments, Some(u64::from(*inode)))
            }
            Self::Symlink { parent, name, path, uid, gid, inode } => {
                ("SYMLINK", arguments![*parent, name, path, *uid, *gid], Some((*inode).into()))
            }
            Self::Link { inode, parent, name } => ("LINK", arguments![*inode, *parent, name], None),
            Self::Unlink { parent, name, inode } => {
                ("UNLINK", arguments![*parent, name], Some((*inode).into()))
            }
            Self::Move { parent, name, new_parent, new_name, inode } => {
                let arguments = arguments![*parent, name, *new_parent, new_name];
                ("MOVE", arguments, Some((*inode).into()))
            }
            Self::Length { inode, length } => ("LENGTH", arguments![*inode, *length, 0_u8], None),
            Self::Truncate { inode, length } => ("TRUNCATE", arguments![*inode, *length], None),
            Self::Write { inode, index, writing, chunk } => {
                let arguments = arguments![*inode, *index, *writing as u8, 0_u8];
                ("WRITE", arguments, Some(chunk.0))
            }
            Self::Unlock { chunk } => ("UNLOCK", arguments![chunk.0], None),
            Self::Xattr { inode, name, value, mode } => {
                ("SETXATTR", arguments![*inode, name, value, *mode], None)
            }
        }
    }

    /// Returns its text in a log, which begins with the time of the change in seconds since 1970.
    pub(super) fn line(&self, time: u32) -> String {
        let (name, arguments, result) = self.parts();
        let mut line = format!("{time}|{name}(");
        for (place, argument) in arguments.iter().enumerate() {
            // Writing to a string fails at nothing.
            let _ = write!(line, "{}{argument}", if place == 0 { "" } else { "," });
        }
        line.push(')');
        if let Some(result) = result {
            let _ = write!(line, ":{result}");
        }
        line
    }

    /// Reads the text of a change. Returns its time too.
    pub(super) fn parse(line: &str) -> Option<(u32, Self)> {
        let (time, rest) = line.split_once('|')?;
        let (name, rest) = rest.split_once('(')?;
        let (arguments, result) = rest.split_once(')')?;
        let result = match result.strip_prefix(':') {
            Some(number) => Some(number.parse().ok()?),
            None if result.is_empty() => None,
            None => return None,
        };
        let mut words = Words { rest: arguments.split(','), result };
        let change = Self::read(name, &mut words)?;
        words.is_used_up().then_some((time.parse().ok()?, change))
    }

    fn read(name: &str, words: &mut Words<'_>) -> Option<Self> {
        Some(match name {
            "AMTIME" => {
                let (inode, atime) = (words.number()?, words.number()?);
                Self::Used { inode, atime, mtime: words.number()? }
            }
            "ACQUIRE" => Self::Acquire { session: words.number()?, inode: words.number()? },
            "RELEASE" => Self::Release { session: words.number()?, inode: words.number()? },
            "ATTR" => Self::Attributes {
                inode: words.number()?,
                mode: words.number()?,
                uid: words.number()?,
                gid: words.number()?,
                atime: words.number()?,
                mtime: words.number()?,
                windows: words.number()?,
            },
            "CREATE" => Self::Create {
                parent: words.number()?,
                name: words.bytes()?,
                file_type: words.number()?,
                mode: words.number()?,
                umask: words.number()?,
                uid: words.number()?,
                gid: words.number()?,
                device: words.number()?,
                inode: words.result()?,
            },
            "SYMLINK" => Self::Symlink {
                parent: words.number()?,
                name: words.bytes()?,
                path: words.bytes()?,
                uid: words.number()?,
                gid: words.number()?,
                inode: words.result()?,
            },
            "LINK" => {
                Self::Link { inode: words.number()?, parent: words.number()?, name: words.bytes()? }
            }
            "UNLINK" => Self::Unlink {
                parent: words.number()?,
                name: words.bytes()?,
                inode: words.result()?,
            },
            "MOVE" => Self::Move {
                parent: words.number()?,
                name: words.bytes()?,
                new_parent: words.number()?,
                new_name: words.bytes()?,
                inode: words.result()?,
            },
            _ => return Self::read_content(name, words),
        })
    }

    /// Reads a change of what a file contains.
    fn read_content(name: &str, words: &mut Words<'_>) -> Option<Self> {
        Some(match name {
            "LENGTH" => {
                let (inode, length) = (words.number()?, words.number()?);
                words.number::<u8>()?;
                Self::Length { inode, length }
            }
            "TRUNCATE" => Self::Truncate { inode: words.number()?, length: words.number()? },
            "WRITE" => {
                let (inode, index) = (words.number()?, words.number()?);
                let writing = match words.number::<u8>()? {
                    0 => Writing::Same,
                    1 => Writing::New,
                    _ => return None,
                };
                words.number::<u8>()?;
                Self::Write { inode, index, writing, chunk: ChunkId(words.result()?) }
            }
            "UNLOCK" => Self::Unlock { chunk: ChunkId(words.number()?) },
            "SETXATTR" => Self::Xattr {
                inode: words.number()?,
                name: words.bytes()?,
                value: words.bytes()?,
                mode: words.number()?,
            },
            _ => return None,
        })
    }
}

/// The arguments in the text of a change, one after the other.
struct Words<'a> {
    rest: std::str::Split<'a, char>,
    result: Option<u64>,
}

impl Words<'_> {
    fn number<N: TryFrom<u64>>(&mut self) -> Option<N> {
        N::try_from(self.rest.next()?.parse().ok()?).ok()
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut text = self.rest.next()?.bytes();
        while let Some(byte) = text.next() {
            bytes.push(match byte {
                b'%' => hexadecimal(text.next()?)? << 4 | hexadecimal(text.next()?)?,
                byte if is_plain(byte) => byte,
                _ => return None,
            });
        }
        Some(bytes)
    }

    fn result<N: TryFrom<u64>>(&mut self) -> Option<N> {
        N::try_from(self.result.take()?).ok()
    }

    fn is_used_up(&mut self) -> bool {
        self.rest.next().is_none() && self.result.is_none()
    }
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}
