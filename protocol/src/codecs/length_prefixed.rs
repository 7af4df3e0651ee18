//! Messages preceded by their length.

use std::error::Error;
use std::fmt;

use crate::{Codec, Decoded, NotSaved, Output, SavedState, State, StateError};

/// The size of the length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthField {
    /// One byte.
    One = 1,
    /// Two bytes.
    Two = 2,
    /// Four bytes.
    Four = 4,
    /// Eight bytes.
    Eight = 8,
}

/// The order of the bytes in the length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ByteOrder {
    /// Network order: the most significant byte first.
    #[default]
    BigEndian,
    /// The least significant byte first.
    LittleEndian,
}

/// What the length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LengthCounts {
    /// The body alone.
    #[default]
    Body,
    /// The length field too.
    HeaderAndBody,
}

/// Messages preceded by their length.
#[derive(Clone, Copy, Debug)]
pub struct LengthPrefixed {
    /// The size of the length field.
    pub field: LengthField,
    /// The order of its bytes.
    pub order: ByteOrder,
    /// What the length counts.
    pub counts: LengthCounts,
    /// The largest body, in bytes. A larger one is refused as soon as its length is known.
    pub size_max: usize,
}

impl LengthPrefixed {
    /// Returns a codec whose length is in network order and counts the body alone, of at most
    /// `size_max` bytes.
    pub const fn new(field: LengthField, size_max: usize) -> Self {
        Self { field, order: ByteOrder::BigEndian, counts: LengthCounts::Body, size_max }
    }

    const fn header(&self) -> usize {
        self.field as usize
    }

    /// Returns how many bytes the length counts besides the body.
    fn counted(&self) -> u64 {
        match self.counts {
            LengthCounts::Body => 0,
            LengthCounts::HeaderAndBody => self.header() as u64,
        }
    }

    fn read(&self, field: &[u8]) -> u64 {
        let shift_in = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self.order {
            ByteOrder::BigEndian => field.iter().fold(0, shift_in),
            ByteOrder::LittleEndian => field.iter().rev().fold(0, shift_in),
        }
    }

    /// Returns the length to write for a body of `size` bytes.
    ///
    /// # Errors
    /// When the body is larger than allowed, or than the field can express.
    pub fn length_of(&self, size: usize) -> Result<u64, LengthPrefixedError> {
        let largest = u64::MAX >> (64 - 8 * self.header());
        let length = (size as u64).checked_add(self.counted());
        match length {
            Some(length) if size <= self.size_max && length <= largest => Ok(length),
            _ => Err(LengthPrefixedError::TooLong {
                size: size as u64,
                size_max: (self.size_max as u64).min(largest - self.counted()),
            }),
        }
    }
}

impl Codec for LengthPrefixed {
    type In<'a> = &'a mut [u8];
    type Out<'a> = &'a [u8];
    type Error = LengthPrefixedError;

    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        _output: &mut Output,
    ) -> Result<Decoded<&'a mut [u8]>, LengthPrefixedError> {
        let header = self.header();
        let Some(field) = input.get(..header) else {
            return Ok(Decoded::Incomplete { need: header });
        };
        let length = self.read(field);
        let Some(size) = length.checked_sub(self.counted()) else {
            return Err(LengthPrefixedError::TooShort { length, header });
        };
        if size > self.size_max as u64 {
            return Err(LengthPrefixedError::TooLong { size, size_max: self.size_max as u64 });
        }
        // It fits: the limit is a usize itself.
        let need = header.saturating_add(size as usize);
        Ok(match input.get_mut(header..need) {
            Some(message) => Decoded::Message { message, consumed: need },
            None => Decoded::Incomplete { need },
        })
    }

    /// # Panics
    /// When the message is larger than allowed. [`LengthPrefixed::length_of`] checks a size
    /// beforehand.
    fn encode(&mut self, message: &[u8], output: &mut Output) {
        let length = self.length_of(message.len()).unwrap_or_else(|error| panic!("{error}"));
        let header = self.header();
        match self.order {
            ByteOrder::BigEndian => output.append(&length.to_be_bytes()[8 - header..]),
            ByteOrder::LittleEndian => output.append(&length.to_le_bytes()[..header]),
        }
        output.append(message);
    }

    fn finish(&mut self, rest: &[u8]) -> Result<(), LengthPrefixedError> {
        match rest.len() {
            0 => Ok(()),
            got => Err(LengthPrefixedError::Unterminated { got }),
        }
    }

    fn save(&self, _state: &mut State) -> Result<(), NotSaved> {
        Ok(())
    }

    fn restore(&mut self, _state: &mut SavedState<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthPrefixedError {
    /// The body is larger than allowed.
    TooLong {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        size_max: u64,
    },
    /// The length counts its own field and is smaller than that field.
    TooShort {
        /// The length.
        length: u64,
        /// The size of the field in bytes.
        header: usize,
    },
    /// The stream ended in the middle of a message.
    Unterminated {
        /// How many of its bytes had arrived.
        got: usize,
    },
}

impl fmt::Display for LengthPrefixedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { size, size_max } => {
                write!(f, "message of {size} bytes, the limit is {size_max}")
            }
            Self::TooShort { length, header } => {
                write!(f, "length of {length}, which is less than its own field of {header} bytes")
            }
            Self::Unterminated { got } => {
                write!(f, "the stream ended after {got} bytes of a message")
            }
        }
    }
}

impl Error for LengthPrefixedError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const FIELDS: [LengthField; 4] =
        [LengthField::One, LengthField::Two, LengthField::Four, LengthField::Eight];

    fn all() -> Vec<LengthPrefixed> {
        let mut all = Vec::new();
        for field in FIELDS {
            for order in [ByteOrder::BigEndian, ByteOrder::LittleEndian] {
                for counts in [LengthCounts::Body, LengthCounts::HeaderAndBody] {
                    all.push(LengthPrefixed { field, order, counts, size_max: 200 });
                }
            }
        }
        all
    }

    #[test]
    fn every_form_survives_the_round_trip_and_every_split() {
        for codec in all() {
            let messages = [&b"one"[..], b"", &[9; 200]];
            testing::check_round_trip(|| codec, &messages, |it| it, |it| it.to_vec());
            testing::check_garbage(|| codec, 500);
        }
    }

    #[test]
    fn too_long_is_refused_as_soon_as_the_length_is_known() {
        for codec in all() {
            let mut header = Output::new();
            LengthPrefixed { size_max: 245, ..codec }.encode(&[0; 201], &mut header);
            let bytes = header.to_vec();
            testing::check_refused(|| codec, &bytes[..codec.header()]);
            assert!(codec.length_of(201).is_err());
        }
        let mut huge = LengthPrefixed::new(LengthField::Eight, usize::MAX);
        let mut header = [0xff; 8];
        let mut output = Output::new();
        let decoded = huge.decode(&mut header, &mut output);
        assert_eq!(decoded, Ok(Decoded::Incomplete { need: usize::MAX }));
    }

    #[test]
    fn no_more_of_a_message_is_kept_than_the_limit_allows() {
        for codec in all().into_iter().filter(|codec| codec.field != LengthField::One) {
            let encoded = |size: usize| {
                let mut output = Output::new();
                LengthPrefixed { size_max: size, ..codec }.encode(&vec![1; size], &mut output);
                output.to_vec()
            };
            testing::check_limit(|| codec, codec.size_max, encoded);
        }
    }

    #[test]
    fn a_body_longer_than_the_field_can_say_is_not_sent() {
        for (counts, largest) in [(LengthCounts::Body, 255), (LengthCounts::HeaderAndBody, 254)] {
            let codec = LengthPrefixed { counts, ..LengthPrefixed::new(LengthField::One, 1000) };
            assert_eq!(codec.length_of(largest), Ok(255));
            let error = codec.length_of(largest + 1).expect_err("a byte cannot say it");
            let (size, size_max) = (largest as u64 + 1, largest as u64);
            assert_eq!(error, LengthPrefixedError::TooLong { size, size_max });
        }
    }

    #[test]
    #[should_panic(expected = "message of 11 bytes, the limit is 10")]
    fn a_body_longer_than_the_limit_is_not_sent() {
        LengthPrefixed::new(LengthField::Four, 10).encode(&[0; 11], &mut Output::new());
    }

    #[test]
    fn a_length_smaller_than_its_own_field_is_refused() {
        let counts = LengthCounts::HeaderAndBody;
        let codec = LengthPrefixed { counts, ..LengthPrefixed::new(LengthField::Four, 10) };
        testing::check_refused(|| codec, &[0, 0, 0, 3]);
    }
}
