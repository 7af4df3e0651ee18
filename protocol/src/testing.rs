//! Checks for any codec: what the codecs of this crate are held to, for embedders' own as well.
//!
//! Each check panics, saying what was expected and what happened, when the codec is wrong.

use std::time::Instant;

use crate::{
    Agenda, Buffer, Cause, Codec, Decoded, Flow, Limits, Output, Peer, Refusal, Session, Turn,
};

/// How a stream that was decoded piece by piece went.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    messages: Vec<Vec<u8>>,
    error: Option<String>,
    /// What was left when the stream ended.
    rest: usize,
}

/// Decodes `pieces` as a driver would, and checks every answer on the way.
fn decode<C: Codec>(
    mut codec: C,
    pieces: &[&[u8]],
    describe: &impl for<'a> Fn(C::In<'a>) -> Vec<u8>,
) -> Outcome {
    let (mut buffer, mut output) = (Buffer::new(), Output::new());
    let mut outcome = Outcome { messages: Vec::new(), error: None, rest: 0 };
    let mut need = 0;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() && buffer.len() >= need {
            let waiting = buffer.len();
            let consumed = match codec.decode(buffer.filled_mut(), &mut output) {
                Ok(Decoded::Message { message, consumed }) => {
                    assert!(consumed > 0, "a message consumed nothing, and would come for ever");
                    assert!(consumed <= waiting, "consumed {consumed} of {waiting} bytes");
                    outcome.messages.push(describe(message));
                    need = 0;
                    consumed
                }
                Ok(Decoded::Incomplete { need: more }) => {
                    assert!(more > waiting, "needs {more} bytes and has {waiting} already");
                    need = more;
                    break;
                }
                Err(error) => {
                    outcome.error = Some(error.to_string());
                    codec.reject(&error, &mut output);
                    return outcome;
                }
            };
            buffer.consume(consumed);
        }
    }
    outcome.rest = buffer.len();
    outcome
}

/// Decodes `input` whole, split in two at every byte, and byte by byte, and checks that it comes
/// to the same messages, the same error and the same rest. A decoder that asks for more than a
/// message really needs is caught too: byte by byte, the message would come late or never.
///
/// `describe` turns a message into bytes to compare. Returns the messages.
///
/// # Panics
/// When the codec is wrong.
pub fn check_splits<C: Codec>(
    make: impl Fn() -> C,
    input: &[u8],
    describe: impl for<'a> Fn(C::In<'a>) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let whole = decode(make(), &[input], &describe);
    for split in 0..=input.len() {
        let (front, back) = input.split_at(split);
        let parts = decode(make(), &[front, back], &describe);
        assert_eq!(parts, whole, "split at byte {split} (left) is not as in one piece (right)");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    let trickled = decode(make(), &bytes, &describe);
    assert_eq!(trickled, whole, "byte by byte (left) is not as in one piece (right)");
    whole.messages
}

/// Checks that `input` is refused, whole and byte by byte, and that no message comes before.
///
/// # Panics
/// When it is not.
pub fn check_refused<C: Codec>(make: impl Fn() -> C, input: &[u8]) {
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    for pieces in [&[input][..], &bytes] {
        let outcome = decode(make(), pieces, &|_message| Vec::new());
        assert!(outcome.error.is_some(), "{} bytes were not refused", input.len());
        assert!(outcome.messages.is_empty(), "a message came before the refusal");
    }
}

/// Feeds `rounds` runs of pseudo-random bytes: decoding must end and never claim what is not
/// there. The bytes are the same every time.
///
/// # Panics
/// When the codec is wrong.
pub fn check_garbage<C: Codec>(make: impl Fn() -> C, rounds: usize) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..rounds {
        let mut garbage = Vec::new();
        for _ in 0..16 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Small numbers are likelier to make sense as lengths.
            let word = if state & 1 == 0 { state } else { state >> 56 };
            garbage.extend_from_slice(&word.to_be_bytes());
        }
        let cut = state as usize % garbage.len();
        decode(make(), &[&garbage[..cut], &garbage[cut..]], &|_message| Vec::new());
    }
}

/// Drives a session in memory: opens it, feeds it `pieces`, ends its input, drains its output
/// whenever that is full. Returns all it said.
///
/// # Errors
/// What the session refused.
pub fn drive<A, S: Session<A>>(
    session: &mut S,
    app: &mut A,
    pieces: &[&[u8]],
) -> Result<Vec<u8>, Refusal> {
    let (mut input, mut output, mut said) = (Buffer::new(), Output::new(), Vec::new());
    let opening = [(Cause::Opened, &b""[..], false)];
    let feeding = pieces.iter().map(|piece| (Cause::Input, *piece, false));
    let ending = [(Cause::Input, &b""[..], true)];
    for (cause, piece, ended) in opening.into_iter().chain(feeding).chain(ending) {
        input.extend_from_slice(piece);
        let mut cause = cause;
        loop {
            let mut agenda = Agenda::default();
            let (now, limits) = (Instant::now(), Limits::DEFAULT);
            let mut turn = Turn::new(now, Peer(0), app, &limits, &mut agenda).because(cause);
            turn.input_ended = ended;
            let flow = session.advance(&mut input, &mut output, &mut turn)?;
            let full = output.len() >= limits.output_high;
            said.append(&mut output.to_vec());
            output.clear();
            if flow == Flow::Close {
                return Ok(said);
            }
            if !full {
                break;
            }
            cause = Cause::Drained;
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Delivers pairs of bytes, wrong in one way.
    #[derive(Clone, Copy)]
    enum Broken {
        AsksTooMuch,
        AsksForWhatItHas,
        ConsumesNothing,
        DeliversWhatThereIs,
    }

    impl Codec for Broken {
        type In<'a> = &'a mut [u8];
        type Out<'a> = &'a [u8];
        type Error = Infallible;

        fn decode<'a>(
            &mut self,
            input: &'a mut [u8],
            _output: &mut Output,
        ) -> Result<Decoded<&'a mut [u8]>, Infallible> {
            let whole = input.len() >= 2;
            Ok(match self {
                Self::AsksTooMuch if !whole => Decoded::Incomplete { need: 3 },
                Self::AsksForWhatItHas if !whole => Decoded::Incomplete { need: 1 },
                Self::ConsumesNothing => Decoded::Message { message: input, consumed: 0 },
                Self::DeliversWhatThereIs => {
                    let consumed = input.len();
                    Decoded::Message { message: input, consumed }
                }
                _ => Decoded::Message { message: &mut input[..2], consumed: 2 },
            })
        }

        fn encode(&mut self, message: &[u8], output: &mut Output) {
            output.append(message);
        }

        fn finish(&mut self, _rest: &[u8]) -> Result<(), Infallible> {
            Ok(())
        }
    }

    fn check(broken: Broken) {
        check_splits(|| broken, b"aabb", |message| message.to_vec());
    }

    #[test]
    #[should_panic(expected = "is not as in one piece")]
    fn asking_too_much_is_caught() {
        check(Broken::AsksTooMuch);
    }

    #[test]
    #[should_panic(expected = "has 1 already")]
    fn asking_for_what_is_there_is_caught() {
        check(Broken::AsksForWhatItHas);
    }

    #[test]
    #[should_panic(expected = "consumed nothing")]
    fn consuming_nothing_is_caught() {
        check(Broken::ConsumesNothing);
    }

    #[test]
    #[should_panic(expected = "is not as in one piece")]
    fn depending_on_where_the_input_is_split_is_caught() {
        check(Broken::DeliversWhatThereIs);
    }

    #[test]
    #[should_panic(expected = "were not refused")]
    fn having_no_limit_is_caught() {
        check_refused(|| Broken::DeliversWhatThereIs, &[0; 1000]);
    }
}
