//! The messages of a datagram.

use super::error::{Fault, MessageError};

/// The size of the header of a message, in bytes (`struct nlmsghdr`, `netlink(7)`).
pub const MESSAGE_HEADER_SIZE: usize = 16;

/// What a message is about (`nlmsg_type`, `rtnetlink(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageKind(pub u16);

impl MessageKind {
    /// The answer to a request that failed, or an acknowledgement (`NLMSG_ERROR`).
    pub const ERROR: Self = Self(2);
    /// The end of a dump (`NLMSG_DONE`).
    pub const DONE: Self = Self(3);
    /// Messages were lost (`NLMSG_OVERRUN`).
    pub const OVERRUN: Self = Self(4);
    /// A link is there, or has changed (`RTM_NEWLINK`).
    pub const NEW_LINK: Self = Self(16);
    /// A link was removed (`RTM_DELLINK`).
    pub const DELETE_LINK: Self = Self(17);
    /// Asks for links (`RTM_GETLINK`).
    pub const GET_LINK: Self = Self(18);
    /// An address is there, or has changed (`RTM_NEWADDR`).
    pub const NEW_ADDRESS: Self = Self(20);
    /// An address was removed (`RTM_DELADDR`).
    pub const DELETE_ADDRESS: Self = Self(21);
    /// Asks for addresses (`RTM_GETADDR`).
    pub const GET_ADDRESS: Self = Self(22);
    /// A route is there, or has changed (`RTM_NEWROUTE`).
    pub const NEW_ROUTE: Self = Self(24);
    /// A route was removed (`RTM_DELROUTE`).
    pub const DELETE_ROUTE: Self = Self(25);
    /// Asks for routes (`RTM_GETROUTE`).
    pub const GET_ROUTE: Self = Self(26);
    /// A neighbour is there, or has changed (`RTM_NEWNEIGH`).
    pub const NEW_NEIGHBOUR: Self = Self(28);
    /// A neighbour was removed (`RTM_DELNEIGH`).
    pub const DELETE_NEIGHBOUR: Self = Self(29);
    /// Asks for neighbours (`RTM_GETNEIGH`).
    pub const GET_NEIGHBOUR: Self = Self(30);
}

/// The flags of a message (`nlmsg_flags`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// It is a request (`NLM_F_REQUEST`).
    pub const REQUEST: Self = Self(0x1);
    /// It is one of several, which `DONE` ends (`NLM_F_MULTI`).
    pub const MULTI: Self = Self(0x2);
    /// What the dump lists has changed meanwhile, so the dump may lack something (`NLM_F_DUMP_INTR`).
    pub const DUMP_INTERRUPTED: Self = Self(0x10);
    /// In a request: everything is asked for (`NLM_F_DUMP`).
    pub const DUMP: Self = Self(0x300);
    /// In a message about something new: it replaces something (`NLM_F_REPLACE`).
    pub const REPLACE: Self = Self(0x100);

    /// Returns whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A message of a datagram: its header, and the bytes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is about.
    pub kind: MessageKind,
    /// Its flags.
    pub flags: Flags,
    /// The number of the request that it answers; in a notification, of the request that has made the
    /// change, or zero.
    pub sequence: u32,
    /// The port of the socket whose request it answers, or that has made the change, or zero.
    pub port: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// Returns the number of the error that a message of the kind [`ERROR`](MessageKind::ERROR) or
    /// [`DONE`](MessageKind::DONE) reports (`errno(3)`), or `None` if it reports none.
    pub fn error_number(&self) -> Option<i32> {
        let number = i32::from_ne_bytes(*self.body.first_chunk()?);
        (number != 0).then(|| number.saturating_neg())
    }
}

/// The messages of a datagram, one after the other. After an error, there are no more.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Messages<'a> {
    /// Returns the messages of a datagram.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram, at: 0 }
    }

    fn parse(&mut self) -> Result<Message<'a>, MessageError> {
        let Some(header) = self.rest.first_chunk::<MESSAGE_HEADER_SIZE>() else {
            return Err(MessageError::new(self.at, Fault::Truncated));
        };
        let size = word(header, 0) as usize;
        if size < MESSAGE_HEADER_SIZE {
            return Err(MessageError::new(self.at, Fault::TooShort));
        }
        let Some(body) = self.rest.get(MESSAGE_HEADER_SIZE..size) else {
            return Err(MessageError::new(self.at, Fault::Truncated));
        };
        // The next one is at a multiple of four bytes; the padding of the last may be left out.
        let next = aligned(size).min(self.rest.len());
        self.at += next;
        self.rest = &self.rest[next..];
        Ok(Message {
            kind: MessageKind(u16::from_ne_bytes([header[4], header[5]])),
            flags: Flags(u16::from_ne_bytes([header[6], header[7]])),
            sequence: word(header, 8),
            port: word(header, 12),
            body,
        })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.parse();
        if message.is_err() {
            self.rest = &[];
        }
        Some(message)
    }
}

/// Returns the number at an offset of a header. The caller has checked that it is there.
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|it| it.first_chunk()).map_or(0, |it| u32::from_ne_bytes(*it))
}

/// Returns a size rounded up to a multiple of four bytes.
pub(super) const fn aligned(size: usize) -> usize {
    size.saturating_add(3) & !3
}
