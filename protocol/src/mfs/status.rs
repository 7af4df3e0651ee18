//! The status of an operation.

use std::error::Error;
use std::fmt;

use super::error::Fault;
use super::field::{Field, Reader};

/// The result of an operation that has no other result, or has failed.
///
/// ```
/// use protocol::mfs::Status;
///
/// assert_eq!(Status::ENOENT.to_string(), "no such file or directory (3)");
/// assert_eq!(Status::ENOENT.done(), Err(Status::ENOENT));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u8);

impl Status {
    /// Success.
    pub const OK: Self = Self(0);
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// Not a directory.
    pub const ENOTDIR: Self = Self(2);
    /// No such file or directory.
    pub const ENOENT: Self = Self(3);
    /// Permission denied.
    pub const EACCES: Self = Self(4);
    /// File exists.
    pub const EEXIST: Self = Self(5);
    /// Invalid argument.
    pub const EINVAL: Self = Self(6);
    /// Directory not empty.
    pub const ENOTEMPTY: Self = Self(7);
    /// Chunk lost.
    pub const CHUNKLOST: Self = Self(8);
    /// Out of memory.
    pub const OUTOFMEMORY: Self = Self(9);
    /// Index of the chunk too large.
    pub const INDEXTOOBIG: Self = Self(10);
    /// Chunk locked.
    pub const LOCKED: Self = Self(11);
    /// No chunkservers.
    pub const NOCHUNKSERVERS: Self = Self(12);
    /// No such chunk.
    pub const NOCHUNK: Self = Self(13);
    /// Chunk busy.
    pub const CHUNKBUSY: Self = Self(14);
    /// Registration refused.
    pub const REGISTER: Self = Self(15);
    /// Operation not done.
    pub const NOTDONE: Self = Self(16);
    /// File not opened.
    pub const NOTOPENED: Self = Self(17);
    /// Write not started.
    pub const NOTSTARTED: Self = Self(18);
    /// Wrong version of the chunk.
    pub const WRONGVERSION: Self = Self(19);
    /// Chunk exists.
    pub const CHUNKEXIST: Self = Self(20);
    /// No space left.
    pub const NOSPACE: Self = Self(21);
    /// Input/output error.
    pub const IO: Self = Self(22);
    /// Number of the block too large.
    pub const BNUMTOOBIG: Self = Self(23);
    /// Wrong size.
    pub const WRONGSIZE: Self = Self(24);
    /// Wrong offset.
    pub const WRONGOFFSET: Self = Self(25);
    /// Cannot connect.
    pub const CANTCONNECT: Self = Self(26);
    /// Wrong id of the chunk.
    pub const WRONGCHUNKID: Self = Self(27);
    /// Disconnected.
    pub const DISCONNECTED: Self = Self(28);
    /// Wrong CRC.
    pub const CRC: Self = Self(29);
    /// Operation delayed.
    pub const DELAYED: Self = Self(30);
    /// Path cannot be created.
    pub const CANTCREATEPATH: Self = Self(31);
    /// Data mismatch.
    pub const MISMATCH: Self = Self(32);
    /// Read-only file system.
    pub const EROFS: Self = Self(33);
    /// Quota exceeded.
    pub const QUOTA: Self = Self(34);
    /// Unknown session.
    pub const BADSESSIONID: Self = Self(35);
    /// A password is needed.
    pub const NOPASSWORD: Self = Self(36);
    /// Wrong password.
    pub const BADPASSWORD: Self = Self(37);
    /// No such attribute.
    pub const ENOATTR: Self = Self(38);
    /// Operation not supported.
    pub const ENOTSUP: Self = Self(39);
    /// Result too large.
    pub const ERANGE: Self = Self(40);
    /// Not found.
    pub const NOTFOUND: Self = Self(41);
    /// Entity active.
    pub const ACTIVE: Self = Self(42);
    /// Chunkserver not present.
    pub const CSNOTPRESENT: Self = Self(43);
    /// Waiting.
    pub const WAITING: Self = Self(44);
    /// Try again.
    pub const EAGAIN: Self = Self(45);
    /// Interrupted.
    pub const EINTR: Self = Self(46);
    /// Canceled.
    pub const ECANCELED: Self = Self(47);
    /// No such file or directory, not to be cached.
    pub const ENOENT_NOCACHE: Self = Self(48);
    /// Only for administrators.
    pub const EPERM_NOTADMIN: Self = Self(49);

    /// Returns success, or the status as an error.
    ///
    /// # Errors
    /// This status, unless it is [`OK`](Self::OK).
    pub const fn done(self) -> Result<(), Self> {
        if self.0 == 0 { Ok(()) } else { Err(self) }
    }

    /// Returns whether the operation may succeed if it is tried again after a pause.
    pub const fn is_passing(self) -> bool {
        matches!(
            self,
            Self::LOCKED
                | Self::CHUNKBUSY
                | Self::EAGAIN
                | Self::NOTDONE
                | Self::DELAYED
                | Self::NOCHUNKSERVERS
                | Self::NOSPACE
                | Self::CSNOTPRESENT
        )
    }
}

/// The texts of the statuses, from 0 on.
const TEXTS: [&str; 50] = [
    "success",
    "operation not permitted",
    "not a directory",
    "no such file or directory",
    "permission denied",
    "file exists",
    "invalid argument",
    "directory not empty",
    "chunk lost",
    "out of memory",
    "index of the chunk too large",
    "chunk locked",
    "no chunkservers",
    "no such chunk",
    "chunk busy",
    "registration refused",
    "operation not done",
    "file not opened",
    "write not started",
    "wrong version of the chunk",
    "chunk exists",
    "no space left",
    "input/output error",
    "number of the block too large",
    "wrong size",
    "wrong offset",
    "cannot connect",
    "wrong id of the chunk",
    "disconnected",
    "wrong CRC",
    "operation delayed",
    "path cannot be created",
    "data mismatch",
    "read-only file system",
    "quota exceeded",
    "unknown session",
    "a password is needed",
    "wrong password",
    "no such attribute",
    "operation not supported",
    "result too large",
    "not found",
    "entity active",
    "chunkserver not present",
    "waiting",
    "try again",
    "interrupted",
    "canceled",
    "no such file or directory, not to be cached",
    "only for administrators",
];

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = TEXTS.get(usize::from(self.0)).copied().unwrap_or("unknown status");
        write!(f, "{text} ({})", self.0)
    }
}

impl Error for Status {}

impl<'a> Field<'a> for Status {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        u8::read(reader).map(Self)
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.push(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
