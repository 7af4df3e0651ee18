//! Messages of a fixed length.

use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;

use crate::{Codec, Decoded, NotSaved, Output, SavedState, State, StateError};

/// Messages that all have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    length: NonZeroUsize,
}

impl Fixed {
    /// Returns a codec for messages of `length` bytes.
    pub const fn new(length: NonZeroUsize) -> Self {
        Self { length }
    }
}

impl Codec for Fixed {
    type In<'a> = &'a mut [u8];
    type Out<'a> = &'a [u8];
    type Error = FixedError;

    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        _output: &mut Output,
    ) -> Result<Decoded<&'a mut [u8]>, FixedError> {
        let length = self.length.get();
        Ok(match input.get_mut(..length) {
            Some(message) => Decoded::Message { message, consumed: length },
            None => Decoded::Incomplete { need: length },
        })
    }

    /// # Panics
    /// When the message has another length, which would break every message after it.
    fn encode(&mut self, message: &[u8], output: &mut Output) {
        assert_eq!(message.len(), self.length.get(), "a message of another length");
        output.append(message);
    }

    fn finish(&mut self, rest: &[u8]) -> Result<(), FixedError> {
        match rest.len() {
            0 => Ok(()),
            got => Err(FixedError { got, length: self.length.get() }),
        }
    }

    fn save(&self, _state: &mut State) -> Result<(), NotSaved> {
        Ok(())
    }

    fn restore(&mut self, _state: &mut SavedState<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

/// The stream ended in the middle of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedError {
    got: usize,
    length: usize,
}

impl fmt::Display for FixedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stream ended after {} of {} bytes of a message", self.got, self.length)
    }
}

impl Error for FixedError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn make() -> Fixed {
        Fixed::new(NonZeroUsize::new(3).expect("three is not zero"))
    }

    #[test]
    fn messages_are_cut_at_their_length() {
        let messages = testing::check_splits(make, b"abcdefgh", |message| message.to_vec());
        assert_eq!(messages, [b"abc", b"def"]);
        let error = make().finish(b"gh").expect_err("a byte is missing");
        assert_eq!(error.to_string(), "the stream ended after 2 of 3 bytes of a message");
    }

    #[test]
    fn messages_survive_the_round_trip_and_garbage_is_no_danger() {
        testing::check_round_trip(make, &[b"abc", b"def"], |it| it, |message| message.to_vec());
        testing::check_garbage(make, 100);
    }

    #[test]
    #[should_panic(expected = "another length")]
    fn a_message_of_another_length_is_not_sent() {
        make().encode(b"four", &mut Output::new());
    }
}
