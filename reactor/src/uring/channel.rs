//! What the backend knows of a descriptor.

use std::os::fd::RawFd;

use super::name::Does;
use crate::sys::{BLOCK_SIZE, Piece, Repeats, Room, Unread};
use crate::{Readiness, Tag};

/// A descriptor that is watched, or a connection whose bytes the kernel moves. It lives until no
/// operation of it is left in the kernel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) tag: Tag,
    pub(super) fd: RawFd,
    /// How many operations will report once more.
    pub(super) in_flight: u32,
    pub(super) state: State,
}

impl Channel {
    /// Returns whether no operation of it is to begin again.
    pub(super) fn is_stopping(&self) -> bool {
        match &self.state {
            State::Watched { .. } => false,
            State::Stream(stream) => stream.stops,
            State::Removed => true,
        }
    }
}

#[derive(Debug)]
pub(super) enum State {
    /// It reports readiness.
    Watched { events: u32 },
    /// The kernel moves its bytes.
    Stream(Box<Stream>),
    /// The loop has removed it.
    Removed,
}

/// The receiving side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// The kernel does not receive.
    Off,
    /// The kernel receives.
    On,
    /// It is cancelled, and has not reported that.
    Ending,
}

/// How much a receive brings, as far as the last ones tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Amount {
    /// A part of a block that others share.
    Small,
    /// A block, or most of one, which is exchanged rather than copied.
    Large,
    /// As much as there is room for. Such a stream is received a block at a time, so a session that does
    /// not read cannot have many.
    Bulk,
}

impl Amount {
    /// Fewer bytes are small.
    const LARGE_MIN: usize = BLOCK_SIZE / 8;

    /// Returns what to expect after a receive of `length` bytes.
    #[inline]
    pub(super) fn after(self, length: usize) -> Self {
        match length {
            ..Self::LARGE_MIN => Self::Small,
            BLOCK_SIZE.. => Self::Bulk,
            _ => self.max(Self::Large),
        }
    }

    #[inline]
    pub(super) fn room(self) -> Room {
        if self == Self::Small { Room::Shared } else { Room::Block }
    }

    #[inline]
    pub(super) fn repeats(self) -> Repeats {
        if self == Self::Bulk { Repeats::Never } else { Repeats::Always }
    }

    /// Returns what an operation does that receives so much.
    #[inline]
    pub(super) fn does(self) -> Does {
        if self == Self::Small { Does::Receive } else { Does::ReceiveBlock }
    }
}

/// How a direction of a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream has ended.
    Stream,
    /// It failed, with this error number.
    Failed(i32),
}

/// The sending side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// What is written is sent at the next entry into the kernel.
    Open,
    /// The socket was full. The kernel sends this many bytes when there is room.
    Rest(u32),
}

/// A connection whose bytes the kernel moves.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) receiving: Receiving,
    /// What the operation that receives was begun for.
    pub(super) receives: Amount,
    pub(super) expected: Amount,
    pub(super) unread: Unread,
    /// What follows after that.
    pub(super) end: Option<End>,
    /// Its end is watched for while the kernel does not receive.
    pub(super) is_watched: bool,
    pub(super) sending: Sending,
    /// What was written for an entry into the kernel, and for which.
    pub(super) piece: Piece,
    pub(super) written_at: u64,
    /// The error number of what was sent, until a write has told it.
    pub(super) failed: Option<i32>,
    /// Room for output is watched for.
    pub(super) awaits_room: bool,
    /// The kernel is stopping to move its bytes.
    pub(super) stops: bool,
    /// What was not sent when the kernel stopped sending.
    pub(super) unsent: Vec<u8>,
    /// The sending side is shut down when everything was sent.
    pub(super) ends: bool,
}

impl Stream {
    pub(super) const NEW: Self = Self {
        receiving: Receiving::Off,
        receives: Amount::Small,
        expected: Amount::Small,
        unread: Unread::NOTHING,
        end: None,
        is_watched: false,
        sending: Sending::Open,
        piece: Piece::NONE,
        written_at: 0,
        failed: None,
        awaits_room: false,
        stops: false,
        unsent: Vec::new(),
        ends: false,
    };
}

/// Everything that a watched descriptor reports.
pub(super) const EVERYTHING: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI | libc::EPOLLRDHUP) as u32;

/// How a connection ends, as far as that shows without receiving.
pub(super) const ENDS: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// What is known of a connection whose stream has ended.
pub(super) const ENDED: Readiness = Readiness::READABLE.with(Readiness::READ_CLOSED);

/// What is known of a connection that has failed.
pub(super) const FAILED: Readiness =
    Readiness::ERROR.with(Readiness::READABLE).with(Readiness::WRITABLE);
