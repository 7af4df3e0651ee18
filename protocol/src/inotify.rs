//! The events of `inotify(7)`: what a `read(2)` of such a descriptor returns.
//!
//! An event has a header of 16 bytes, in the byte order of the machine, and the name of a file, which is
//! padded with NUL bytes. The kernel returns whole events only.
//!
//! ```
//! use protocol::inotify::{Event, Events, Mask};
//!
//! let mut bytes = Vec::new();
//! let created = Event { watch: 1, mask: Mask::CREATE, cookie: 0, name: b"notes.txt" };
//! created.append_to(&mut bytes);
//! let events: Result<Vec<Event<'_>>, _> = Events::new(&bytes).collect();
//! assert_eq!(events?, [created]);
//! # Ok::<(), protocol::inotify::EventError>(())
//! ```

use std::error::Error;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// The size of an event without its name, in bytes.
pub const HEADER_SIZE: usize = 16;

/// The most bytes of a name in an event: 255 of `NAME_MAX`, and at least one NUL byte.
pub const NAME_SIZE_MAX: usize = 256;

/// The size of the largest event, in bytes. A `read(2)` with less room may fail (`EINVAL`).
pub const EVENT_SIZE_MAX: usize = HEADER_SIZE + NAME_SIZE_MAX;

/// What has happened, or what is asked for: a set of bits (`inotify(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mask(pub u32);

impl Mask {
    /// A file was read (`IN_ACCESS`).
    pub const ACCESS: Self = Self(0x1);
    /// A file was written to or truncated (`IN_MODIFY`).
    pub const MODIFY: Self = Self(0x2);
    /// The metadata has changed: permissions, times, owner, number of links (`IN_ATTRIB`).
    pub const ATTRIB: Self = Self(0x4);
    /// A file that was open for writing was closed (`IN_CLOSE_WRITE`).
    pub const CLOSE_WRITE: Self = Self(0x8);
    /// A file or directory that was not open for writing was closed (`IN_CLOSE_NOWRITE`).
    pub const CLOSE_NOWRITE: Self = Self(0x10);
    /// A file or directory was opened (`IN_OPEN`).
    pub const OPEN: Self = Self(0x20);
    /// A name has left the watched directory (`IN_MOVED_FROM`). The cookie connects it with the event
    /// of its new name.
    pub const MOVED_FROM: Self = Self(0x40);
    /// A name has come into the watched directory (`IN_MOVED_TO`).
    pub const MOVED_TO: Self = Self(0x80);
    /// A name was created in the watched directory (`IN_CREATE`).
    pub const CREATE: Self = Self(0x100);
    /// A name was removed from the watched directory (`IN_DELETE`).
    pub const DELETE: Self = Self(0x200);
    /// The watched file or directory itself was removed (`IN_DELETE_SELF`).
    pub const DELETE_SELF: Self = Self(0x400);
    /// The watched file or directory itself was moved (`IN_MOVE_SELF`).
    pub const MOVE_SELF: Self = Self(0x800);
    /// The file system was unmounted (`IN_UNMOUNT`).
    pub const UNMOUNT: Self = Self(0x2000);
    /// The queue of the kernel was full, and events were lost (`IN_Q_OVERFLOW`). The event belongs to no
    /// watch.
    pub const OVERFLOW: Self = Self(0x4000);
    /// The watch has ended, and no event of it follows (`IN_IGNORED`).
    pub const IGNORED: Self = Self(0x8000);
    /// A watch is added only if the path names a directory (`IN_ONLYDIR`).
    pub const ONLY_DIRECTORY: Self = Self(0x0100_0000);
    /// A symbolic link is not followed when a watch is added (`IN_DONT_FOLLOW`).
    pub const DONT_FOLLOW: Self = Self(0x0200_0000);
    /// Names that were unlinked and are still open report nothing (`IN_EXCL_UNLINK`).
    pub const EXCLUDE_UNLINKED: Self = Self(0x0400_0000);
    /// The bits are added to those of a watch that exists (`IN_MASK_ADD`).
    pub const ADD: Self = Self(0x2000_0000);
    /// The event concerns a directory (`IN_ISDIR`).
    pub const DIRECTORY: Self = Self(0x4000_0000);

    /// Returns whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether a bit of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Mask {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Mask {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// An event (`struct inotify_event`), as a view of the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The watch, as `inotify_add_watch(2)` returned it; -1 for [`Mask::OVERFLOW`].
    pub watch: i32,
    /// What has happened.
    pub mask: Mask,
    /// The number that connects both halves of a move; otherwise zero.
    pub cookie: u32,
    /// The name in the watched directory, without NUL bytes; empty if the event concerns the watched
    /// file or directory itself.
    pub name: &'a [u8],
}

impl Event<'_> {
    /// Appends the event as the kernel writes it: the name ends with NUL bytes and is padded to a
    /// multiple of the size of a header. This is for tests.
    ///
    /// # Panics
    /// Panics if the name is longer than a name can be, or contains a NUL byte.
    pub fn append_to(&self, output: &mut Vec<u8>) {
        assert!(self.name.len() < NAME_SIZE_MAX, "a name has at most 255 bytes");
        assert!(!self.name.contains(&0), "a name has no NUL byte");
        let size = match self.name.len() {
            0 => 0,
            length => (length + 1).next_multiple_of(HEADER_SIZE),
        };
        output.extend(self.watch.to_ne_bytes());
        output.extend(self.mask.0.to_ne_bytes());
        output.extend(self.cookie.to_ne_bytes());
        output.extend((size as u32).to_ne_bytes());
        output.extend(self.name);
        output.resize(output.len() + size - self.name.len(), 0);
    }
}

/// Why bytes are no events, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventError {
    /// The offset of the event that is wrong, in bytes.
    pub at: usize,
    /// What is wrong with it.
    pub fault: EventFault,
}

/// What is wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventFault {
    /// The bytes end within the event.
    Truncated,
    /// The name is longer than [`NAME_SIZE_MAX`].
    NameTooLong,
    /// The name does not end with a NUL byte.
    NameWithoutEnd,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.fault {
            EventFault::Truncated => "the bytes end within an event of inotify",
            EventFault::NameTooLong => "a name in an event of inotify is longer than 256 bytes",
            EventFault::NameWithoutEnd => {
                "a name in an event of inotify has no NUL byte at its end"
            }
        };
        write!(f, "{text} (byte {})", self.at)
    }
}

impl Error for EventError {}

/// The events that a `read(2)` has returned. After an error, it ends.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Events<'a> {
    /// Decodes `bytes`, which contain whole events.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    fn decode(&mut self) -> Result<Event<'a>, EventFault> {
        let (header, rest) =
            self.rest.split_first_chunk::<HEADER_SIZE>().ok_or(EventFault::Truncated)?;
        let word = |index: usize| {
            let bytes = [header[index], header[index + 1], header[index + 2], header[index + 3]];
            u32::from_ne_bytes(bytes)
        };
        let size = word(12) as usize;
        if size > NAME_SIZE_MAX {
            return Err(EventFault::NameTooLong);
        }
        let (padded, rest) = rest.split_at_checked(size).ok_or(EventFault::Truncated)?;
        let name = match padded.iter().position(|byte| *byte == 0) {
            Some(end) => &padded[..end],
            None if size == 0 => padded,
            None => return Err(EventFault::NameWithoutEnd),
        };
        self.rest = rest;
        self.at += HEADER_SIZE + size;
        let (watch, mask, cookie) = (word(0).cast_signed(), Mask(word(4)), word(8));
        Ok(Event { watch, mask, cookie, name })
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Event<'a>, EventError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.decode().map_err(|fault| {
            self.rest = &[];
            EventError { at: self.at, fault }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    fn random_event<'a>(random: &mut Random, names: &'a [u8]) -> Event<'a> {
        let length = random.below(NAME_SIZE_MAX as u64) as usize;
        Event {
            watch: random.number() as i32,
            mask: Mask(random.number() as u32),
            cookie: random.number() as u32,
            name: &names[..length],
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let mut random = Random::new(30);
        let names: Vec<u8> = (0..NAME_SIZE_MAX).map(|at| (at % 255) as u8 + 1).collect();
        for _ in 0..1_000 {
            let count = random.below(8) as usize;
            let events: Vec<Event<'_>> =
                (0..count).map(|_| random_event(&mut random, &names)).collect();
            let mut bytes = Vec::new();
            events.iter().for_each(|event| event.append_to(&mut bytes));
            let decoded: Result<Vec<Event<'_>>, EventError> = Events::new(&bytes).collect();
            assert_eq!(decoded.as_ref(), Ok(&events));
        }
    }

    #[test]
    fn bytes_that_end_at_any_place_within_an_event_are_an_error_that_names_it() {
        let first = Event { watch: 1, mask: Mask::OVERFLOW, cookie: 0, name: b"" };
        let second =
            Event { watch: 2, mask: Mask::MOVED_TO, cookie: 7, name: b"a name of 20 bytes.." };
        let mut bytes = Vec::new();
        first.append_to(&mut bytes);
        let border = bytes.len();
        second.append_to(&mut bytes);
        for end in 0..bytes.len() {
            let mut events = Events::new(&bytes[..end]);
            let truncated = |at| Some(Err(EventError { at, fault: EventFault::Truncated }));
            match end {
                0 => {}
                _ if end < border => assert_eq!(events.next(), truncated(0)),
                _ => {
                    assert_eq!(events.next(), Some(Ok(first)));
                    if end > border {
                        assert_eq!(events.next(), truncated(border));
                    }
                }
            }
            assert_eq!(events.next(), None);
        }
    }

    #[test]
    fn names_without_an_end_and_names_that_are_too_long_are_refused() {
        let mut bytes = Vec::new();
        Event { watch: 1, mask: Mask::CREATE, cookie: 0, name: &[b'x'; 15] }.append_to(&mut bytes);
        *bytes.last_mut().expect("there is a NUL byte") = b'x';
        let error = Events::new(&bytes).next().and_then(Result::err).expect("it is refused");
        assert_eq!(error.fault, EventFault::NameWithoutEnd);
        bytes[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        let error = Events::new(&bytes).next().and_then(Result::err).expect("it is refused");
        assert_eq!(error.fault, EventFault::NameTooLong);
        assert!(error.to_string().ends_with("(byte 0)"), "{error}");
    }

    #[test]
    fn the_bits_are_those_of_the_kernel() {
        // From linux/inotify.h; the reactor compares them with libc.
        assert_eq!((Mask::CLOSE_WRITE | Mask::CLOSE_NOWRITE).0, 0x18);
        assert!((Mask::CREATE | Mask::DIRECTORY).contains(Mask::DIRECTORY));
        assert!(!Mask::CREATE.intersects(Mask::DELETE | Mask::MODIFY));
    }
}
