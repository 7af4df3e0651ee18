//! Raw bytes.

use std::convert::Infallible;

use crate::{Codec, Decoded, NotSaved, Output, SavedState, State, StateError};

/// Raw bytes: every piece of input is a message, and nothing is refused. Over datagrams, each of
/// them is a message, also an empty one.
///
/// Messages are mutable views of the input, so a service can transform them in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

impl Codec for Bytes {
    type In<'a> = &'a mut [u8];
    type Out<'a> = &'a [u8];
    type Error = Infallible;

    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        _output: &mut Output,
    ) -> Result<Decoded<&'a mut [u8]>, Infallible> {
        // Only a datagram can be empty: other input is not decoded before there is some.
        let consumed = input.len();
        Ok(Decoded::Message { message: input, consumed })
    }

    fn encode(&mut self, message: &[u8], output: &mut Output) {
        output.append(message);
    }

    fn finish(&mut self, _rest: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    fn save(&self, _state: &mut State) -> Result<(), NotSaved> {
        Ok(())
    }

    fn restore(&mut self, _state: &mut SavedState<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn bytes_are_sent_and_shared_as_they_are() {
        testing::check_shared(|| Bytes, &[&b"one"[..], b"", b"two"], |bytes| bytes);
        let mut output = Output::new();
        Bytes.encode(b"one", &mut output);
        assert_eq!(output.to_vec(), b"one");
    }
}
