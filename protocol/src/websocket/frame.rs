//! The head of a frame (RFC 6455 section 5.2).

use super::{Error, Kind};

/// The longest head of a frame in bytes: two, eight of the length, four of the key.
pub(super) const HEAD_MAX: usize = 14;

/// The longest payload of a control frame in bytes.
pub(super) const CONTROL_MAX: usize = 125;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Data(Kind),
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn number(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Data(Kind::Text) => 0x1,
            Self::Data(Kind::Binary) => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    fn new(number: u8) -> Result<Self, Error> {
        Ok(match number {
            0x0 => Self::Continuation,
            0x1 => Self::Data(Kind::Text),
            0x2 => Self::Data(Kind::Binary),
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            other => return Err(Error::Opcode(other)),
        })
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: Opcode,
    /// The last frame of its message.
    pub(super) is_last: bool,
    /// The first reserved bit, which permessage-deflate uses.
    pub(super) is_compressed: bool,
    pub(super) key: Option<[u8; 4]>,
    pub(super) length: u64,
}

impl Head {
    /// Reads the head at the front of `input`. Returns it and its size; `None` when there is too
    /// little input. The peer is a client if frames have to be masked.
    #[inline]
    pub(super) fn read(
        input: &[u8],
        is_masked: bool,
        may_compress: bool,
    ) -> Result<Option<(Self, usize)>, Error> {
        let [first, second, rest @ ..] = input else { return Ok(None) };
        let is_compressed = first & 0x40 != 0;
        if first & 0x30 != 0 || is_compressed && !may_compress {
            return Err(Error::ReservedBits);
        }
        let (opcode, is_last) = (Opcode::new(first & 0x0F)?, first & 0x80 != 0);
        let short = usize::from(second & 0x7F);
        if opcode.is_control() {
            check_control(is_last, is_compressed, short)?;
        }
        match (second & 0x80 != 0, is_masked) {
            (false, true) => return Err(Error::NotMasked),
            (true, false) => return Err(Error::Masked),
            _ => {}
        }
        let (length, rest) = match short {
            126 => {
                let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let length = u64::from(u16::from_be_bytes(*bytes));
                (Self::checked(length, CONTROL_MAX as u64 + 1)?, rest)
            }
            127 => {
                let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (Self::checked(u64::from_be_bytes(*bytes), u64::from(u16::MAX) + 1)?, rest)
            }
            short => (short as u64, rest),
        };
        let (key, rest) = if is_masked {
            let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (Some(*key), rest)
        } else {
            (None, rest)
        };
        let head = Self { opcode, is_last, is_compressed, key, length };
        Ok(Some((head, input.len() - rest.len())))
    }

    /// Checks a length that is encoded in a way for lengths of `least` or more.
    fn checked(length: u64, least: u64) -> Result<u64, Error> {
        if length >= least && length <= i64::MAX as u64 { Ok(length) } else { Err(Error::Length) }
    }

    /// Writes the head to the beginning of `room`, and returns its size.
    #[inline]
    pub(super) fn write(&self, room: &mut [u8; HEAD_MAX]) -> usize {
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        room[0] = bit(self.is_last, 0x80) | bit(self.is_compressed, 0x40) | self.opcode.number();
        let masked = bit(self.key.is_some(), 0x80);
        let mut size = 2;
        if self.length <= CONTROL_MAX as u64 {
            room[1] = masked | self.length as u8;
        } else if let Ok(length) = u16::try_from(self.length) {
            room[1] = masked | 126;
            room[2..4].copy_from_slice(&length.to_be_bytes());
            size = 4;
        } else {
            room[1] = masked | 127;
            room[2..10].copy_from_slice(&self.length.to_be_bytes());
            size = 10;
        }
        if let Some(key) = self.key {
            room[size..size + 4].copy_from_slice(&key);
            size += 4;
        }
        size
    }
}

/// Checks what holds for control frames alone.
fn check_control(is_last: bool, is_compressed: bool, short: usize) -> Result<(), Error> {
    if !is_last {
        Err(Error::FragmentedControl)
    } else if short > CONTROL_MAX {
        Err(Error::LongControl)
    } else if is_compressed {
        Err(Error::ReservedBits)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPCODES: [Opcode; 6] = [
        Opcode::Continuation,
        Opcode::Data(Kind::Text),
        Opcode::Data(Kind::Binary),
        Opcode::Close,
        Opcode::Ping,
        Opcode::Pong,
    ];

    fn check(head: Head) {
        let mut room = [0xEE; HEAD_MAX];
        let size = head.write(&mut room);
        let is_masked = head.key.is_some();
        for end in 0..size {
            assert_eq!(Head::read(&room[..end], is_masked, true), Ok(None), "{head:?} to {end}");
        }
        assert_eq!(Head::read(&room, is_masked, true), Ok(Some((head, size))));
        let wrong = if is_masked { Error::Masked } else { Error::NotMasked };
        assert_eq!(Head::read(&room, !is_masked, true), Err(wrong));
        if head.is_compressed {
            assert_eq!(Head::read(&room, is_masked, false), Err(Error::ReservedBits));
        }
    }

    #[test]
    fn every_kind_of_head_is_read_as_it_was_written_when_it_is_whole() {
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 32, i64::MAX as u64];
        for opcode in OPCODES {
            let is_control = opcode.is_control();
            for length in lengths.into_iter().filter(|it| !is_control || *it <= 125) {
                for key in [None, Some([1, 2, 3, 4])] {
                    for (is_last, is_compressed) in [(true, false), (false, false), (true, true)] {
                        if !is_control || is_last && !is_compressed {
                            check(Head { opcode, is_last, is_compressed, key, length });
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_first_byte_is_a_kind_of_frame_or_refused() {
        for first in 0..=u8::MAX {
            let (reserved, opcode, is_last) = (first & 0x70, first & 0x0F, first & 0x80 != 0);
            let found = Head::read(&[first, 0], false, false).map(|head| head.is_some());
            let expected = match opcode {
                _ if reserved != 0 => Err(Error::ReservedBits),
                0..=2 => Ok(true),
                8..=10 if is_last => Ok(true),
                8..=10 => Err(Error::FragmentedControl),
                other => Err(Error::Opcode(other)),
            };
            assert_eq!(found, expected, "{first:#x}");
        }
    }

    #[test]
    fn lengths_have_their_shortest_form() {
        for (head, is_right) in [
            (&[0x82, 126, 0, 125][..], false),
            (&[0x82, 126, 0, 126], true),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], false),
            (&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], true),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], false),
        ] {
            assert_eq!(Head::read(head, false, false).is_ok(), is_right, "{head:?}");
        }
        assert_eq!(Head::read(&[0x89, 126], false, false), Err(Error::LongControl));
    }
}
