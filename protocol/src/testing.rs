//! Tools for tests: checks for any codec, a connection in memory ([`Wire`], [`drive`]), and choices of
//! a fuzzer ([`Choices`]).
//!
//! Each check panics when the codec is wrong, with a message that says what was expected and what
//! happened. The codecs of this crate pass the same checks.

mod choices;
mod cipher;
mod wire;

use std::io::{self, IoSlice, Read, Seek, SeekFrom};

pub use choices::Choices;
pub use cipher::ToyCipher;
pub use wire::Wire;

use crate::link::Front;
use crate::{Buffer, Codec, Decoded, FileRange, Output, Random, Reason, Session};

/// The result of decoding a stream piece by piece.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    messages: Vec<Vec<u8>>,
    error: Option<String>,
    /// The number of bytes left when the stream ended.
    rest: usize,
}

/// A driver that checks every answer of a codec.
#[derive(Default)]
struct Run {
    outcome: Outcome,
    /// The offsets at which messages and skipped bytes ended.
    ends: Vec<usize>,
    /// The number of bytes fed so far, decoded or not.
    fed: usize,
    /// The number of bytes that messages took so far.
    taken: usize,
}

impl Run {
    /// Decodes `pieces` as a driver would. `ends` has the known ends of messages. A codec that asks
    /// for bytes beyond such an end would delay a message.
    fn over<C: Codec>(
        mut codec: C,
        pieces: &[&[u8]],
        ends: &[usize],
        describe: &impl for<'a> Fn(C::In<'a>) -> Vec<u8>,
    ) -> Self {
        let (mut buffer, mut output) = (Buffer::new(), Output::new());
        let (mut run, mut need) = (Self::default(), 0);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            run.fed += piece.len();
            while !buffer.is_empty() && buffer.len() >= need {
                let waiting = buffer.len();
                let consumed = match codec.decode(buffer.filled_mut(), &mut output) {
                    Ok(Decoded::Message { message, consumed }) => {
                        run.outcome.messages.push(describe(message));
                        run.take(consumed, waiting);
                        need = 0;
                        consumed
                    }
                    Ok(Decoded::Skip { consumed }) => {
                        run.take(consumed, waiting);
                        need = 0;
                        consumed
                    }
                    Ok(Decoded::Incomplete { need: more }) => {
                        run.check_need(more, waiting, ends);
                        need = more;
                        0
                    }
                    Err(error) => {
                        run.outcome.error = Some(error.to_string());
                        codec.reject(&error, &mut output);
                        return run;
                    }
                };
                buffer.consume(consumed);
            }
        }
        run.outcome.rest = buffer.len();
        run
    }

    fn take(&mut self, consumed: usize, waiting: usize) {
        assert!(consumed > 0, "a message consumed nothing, and would come for ever");
        assert!(consumed <= waiting, "consumed {consumed} of {waiting} bytes");
        self.taken += consumed;
        self.ends.push(self.taken);
    }

    fn check_need(&self, need: usize, waiting: usize, ends: &[usize]) {
        assert!(need > waiting, "needs {need} bytes and has {waiting} already");
        if let Some(end) = ends.get(self.ends.len()) {
            let size = end - self.taken;
            assert!(need <= size, "asks for {need} bytes, and the message has {size}");
        }
    }
}

/// Decodes `pieces` one after the other and as a whole. Checks that both give the same messages,
/// the same error and the same rest, that decoding ends, and that the codec does not delay a
/// message by asking for more bytes than it has. Fuzzers use this check and choose the pieces.
///
/// `describe` turns a message into bytes for comparison. Returns the messages.
///
/// # Panics
/// When the codec is wrong.
pub fn check_pieces<C: Codec>(
    make: impl Fn() -> C,
    pieces: &[&[u8]],
    describe: impl for<'a> Fn(C::In<'a>) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let whole = Run::over(make(), &[&pieces.concat()], &[], &describe);
    let parts = Run::over(make(), pieces, &whole.ends, &describe);
    assert_eq!(parts.outcome, whole.outcome, "in pieces (left) is not as in one piece (right)");
    whole.outcome.messages
}

/// Runs [`check_pieces`] on `input` split in two at every byte, and on single bytes.
///
/// The work grows with the square of the input, so use hundreds of bytes rather than megabytes.
///
/// # Panics
/// When the codec is wrong.
pub fn check_splits<C: Codec>(
    make: impl Fn() -> C,
    input: &[u8],
    describe: impl for<'a> Fn(C::In<'a>) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let whole = Run::over(make(), &[input], &[], &describe);
    for split in 0..=input.len() {
        let (front, back) = input.split_at(split);
        let parts = Run::over(make(), &[front, back], &whole.ends, &describe).outcome;
        let whole = &whole.outcome;
        assert_eq!(parts, *whole, "split at byte {split} (left) is not as in one piece (right)");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    let trickled = Run::over(make(), &bytes, &whole.ends, &describe).outcome;
    assert_eq!(trickled, whole.outcome, "byte by byte (left) is not as in one piece (right)");
    whole.outcome.messages
}

/// Encodes `messages`, decodes them in every way of [`check_splits`], and checks that they are the
/// same, and shared as they are sent ([`check_shared`]).
///
/// `restore` turns bytes into a message to send, and `describe` turns a received message into
/// bytes.
///
/// # Panics
/// When the codec is wrong.
pub fn check_round_trip<C: Codec>(
    make: impl Fn() -> C,
    messages: &[&[u8]],
    restore: impl for<'a> Fn(&'a [u8]) -> C::Out<'a>,
    describe: impl for<'a> Fn(C::In<'a>) -> Vec<u8>,
) {
    let (mut sender, mut output) = (make(), Output::new());
    for message in messages {
        sender.encode(restore(message), &mut output);
    }
    let mut sent = Vec::new();
    send(&mut output, &mut sent).expect("the files are as long as was promised");
    let received = check_splits(&make, &sent, describe);
    assert_eq!(received, messages, "received (left) is not what was sent (right)");
    check_shared(make, messages, |message| restore(message));
}

/// Checks that [`Codec::encode_shared`] returns for each of `messages` what [`Codec::encode`] appends.
/// Two codecs of `make` say them in turn, one in each way.
///
/// `restore` turns what stands for a message into a message to send.
///
/// # Panics
/// When the codec is wrong.
pub fn check_shared<C: Codec, M>(
    make: impl Fn() -> C,
    messages: &[M],
    restore: impl for<'a> Fn(&'a M) -> C::Out<'a>,
) {
    let (mut sender, mut sharer) = (make(), make());
    for (number, message) in messages.iter().enumerate() {
        let (mut output, mut sent) = (Output::new(), Vec::new());
        sender.encode(restore(message), &mut output);
        send(&mut output, &mut sent).expect("the files are as long as was promised");
        let shared = sharer.encode_shared(restore(message));
        assert_eq!(*shared, *sent, "message {number}: shared (left) is not as it is sent (right)");
    }
}

/// Checks that a message of `size_max` bytes is delivered, and that one with a byte more is
/// refused. A much larger message has to be refused early: at the latest when one byte more has
/// arrived than the largest allowed message has.
///
/// `encoded` returns the bytes of a message of a given size. Use a small limit: the work grows with
/// its square.
///
/// # Panics
/// When the codec is wrong.
pub fn check_limit<C: Codec>(
    make: impl Fn() -> C,
    size_max: usize,
    encoded: impl Fn(usize) -> Vec<u8>,
) {
    let largest = encoded(size_max);
    let delivered = check_splits(&make, &largest, |_message| Vec::new()).len();
    assert_eq!(delivered, 1, "a message of {size_max} bytes, which is the limit, is not delivered");
    check_refused(&make, &encoded(size_max + 1));
    let huge = encoded(size_max.saturating_mul(4).saturating_add(100));
    let bytes: Vec<&[u8]> = huge.chunks(1).collect();
    let run = Run::over(make(), &bytes, &[], &|_message| Vec::new());
    assert!(run.outcome.error.is_some(), "a message of four times the limit was not refused");
    let (kept, most) = (run.fed, largest.len() + 1);
    assert!(kept <= most, "{kept} bytes were kept before the refusal, {most} had been enough");
}

/// Checks that `input` is refused, whole and byte by byte, without a message before the refusal.
///
/// # Panics
/// When it is not.
pub fn check_refused<C: Codec>(make: impl Fn() -> C, input: &[u8]) {
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    for pieces in [&[input][..], &bytes] {
        let outcome = Run::over(make(), pieces, &[], &|_message| Vec::new()).outcome;
        assert!(outcome.error.is_some(), "{} bytes were not refused", input.len());
        assert!(outcome.messages.is_empty(), "a message came before the refusal");
    }
}

/// Runs [`check_pieces`] `rounds` times on pseudo-random bytes in two pieces: decoding must end,
/// never consume more than there is, and not depend on the pieces. The bytes are the same every
/// time.
///
/// # Panics
/// When the codec is wrong.
pub fn check_garbage<C: Codec>(make: impl Fn() -> C, rounds: usize) {
    let mut random = Random::new(1);
    for _ in 0..rounds {
        let mut garbage = Vec::new();
        for _ in 0..16 {
            // Small numbers are more likely to be valid lengths.
            let word = if random.one_in(2) { random.number() } else { random.below(256) };
            garbage.extend_from_slice(&word.to_be_bytes());
        }
        let cut = random.index(garbage.len());
        check_pieces(&make, &[&garbage[..cut], &garbage[cut..]], |_message| Vec::new());
    }
}

/// Sends the whole output to `said`, as a driver does. Ranges of files are read.
fn send(output: &mut Output, said: &mut Vec<u8>) -> io::Result<()> {
    while !output.is_empty() {
        let before = said.len();
        append_front(output.front(), output, u64::MAX, said)?;
        output.consume((said.len() - before) as u64);
    }
    Ok(())
}

/// Appends the front of an output to `said`, `most` bytes at most.
fn append_front(
    front: Front<'_>,
    output: &Output,
    most: u64,
    said: &mut Vec<u8>,
) -> io::Result<()> {
    let bounded =
        |bytes: &[u8], most: u64| bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    match front {
        Front::Empty => {}
        Front::Whole(bytes) => said.extend_from_slice(&bytes[..bounded(bytes, most)]),
        Front::Memory => {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = output.gather(&mut slices);
            let mut left = most;
            for slice in &slices[..filled] {
                let count = bounded(slice, left);
                said.extend_from_slice(&slice[..count]);
                left -= count as u64;
            }
        }
        Front::File(range) => {
            // Piece by piece, so that a false length takes no memory.
            let mut piece = [0; 4096];
            let size = range.length.min(most).min(piece.len() as u64) as usize;
            let count = read_file(&range, &mut piece[..size])?;
            said.extend_from_slice(&piece[..count]);
        }
    }
    Ok(())
}

/// Reads the beginning of a range of a file into `piece`.
fn read_file(range: &FileRange, piece: &mut [u8]) -> io::Result<usize> {
    // A portable way, which moves the position of the file.
    let mut file = &*range.file;
    file.seek(SeekFrom::Start(range.offset))?;
    file.read_exact(piece).map_err(promised)?;
    Ok(piece.len())
}

/// Returns the error of a driver for a file that ends before its range.
fn promised(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            let text = "the file is shorter than the range that was promised";
            io::Error::new(io::ErrorKind::UnexpectedEof, text)
        }
        _ => error,
    }
}

/// Drives a session in memory, through a [`Link`](crate::link::Link) as every driver does: opens
/// it, feeds it `pieces`, ends its input, and takes all of its output. Returns the output,
/// including ranges of files. [`Wire`] offers more control.
///
/// # Errors
/// The reason for the end of the connection, unless that was orderly: a refusal of the session, or
/// a file that could not be read to the end of its range.
pub fn drive<A, S: Session<A>>(
    session: &mut S,
    app: &mut A,
    pieces: &[&[u8]],
) -> Result<Vec<u8>, Reason> {
    let mut wire = Wire::new(session);
    wire.run(app);
    for piece in pieces {
        wire.feed(piece, app);
    }
    wire.end_input(app);
    let said = wire.take_sent();
    match wire.into_reason() {
        Some(reason) if !reason.is_orderly() => Err(reason),
        _ => Ok(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::fs::File;
    use std::sync::Arc;

    use crate::codecs::{Lines, LinesError};
    use crate::{Cause, Context, FileRange, Flow};

    /// Delivers pairs of bytes, wrong in one way.
    #[derive(Clone, Copy)]
    enum Broken {
        AsksTooMuch,
        AsksTooMuchAtFirst { delivered: bool },
        AsksForWhatItHas,
        ConsumesNothing,
        ConsumesWhatIsNotThere,
        DeliversWhatThereIs,
        LosesAByteInSending,
        SharesSomethingElse,
    }

    impl Broken {
        /// Returns how many bytes it asks for when there is less than a pair.
        fn need(self) -> usize {
            match self {
                Self::AsksTooMuch | Self::AsksTooMuchAtFirst { delivered: false } => 3,
                Self::AsksForWhatItHas => 1,
                _ => 2,
            }
        }
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
            let there = input.len();
            let consumed = match self {
                Self::ConsumesNothing => 0,
                Self::ConsumesWhatIsNotThere => there + 1,
                Self::DeliversWhatThereIs => there,
                _ if there < 2 => return Ok(Decoded::Incomplete { need: self.need() }),
                _ => 2,
            };
            if let Self::AsksTooMuchAtFirst { delivered } = self {
                *delivered = true;
            }
            Ok(Decoded::Message { message: &mut input[..consumed.min(there)], consumed })
        }

        fn encode(&mut self, message: &[u8], output: &mut Output) {
            let lost = usize::from(matches!(self, Self::LosesAByteInSending));
            output.append(&message[..message.len() - lost]);
        }

        fn encode_shared(&mut self, message: &[u8]) -> Arc<[u8]> {
            let lost = usize::from(matches!(self, Self::SharesSomethingElse));
            message[..message.len() - lost].into()
        }

        fn finish(&mut self, _rest: &[u8]) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// Refuses lines that are too long, but only when they are complete.
    struct RefusesLate(Lines);

    impl Codec for RefusesLate {
        type In<'a> = &'a mut [u8];
        type Out<'a> = &'a [u8];
        type Error = LinesError;

        fn decode<'a>(
            &mut self,
            input: &'a mut [u8],
            output: &mut Output,
        ) -> Result<Decoded<&'a mut [u8]>, LinesError> {
            match self.0.decode(input, output)? {
                Decoded::Message { message, .. } if message.len() > 20 => {
                    Err(LinesError::TooLong { size_max: 20 })
                }
                decoded => Ok(decoded),
            }
        }

        fn encode(&mut self, line: &[u8], output: &mut Output) {
            self.0.encode(line, output);
        }

        fn finish(&mut self, rest: &[u8]) -> Result<(), LinesError> {
            self.0.finish(rest)
        }
    }

    /// Delivers lines, and does not reset its search for the next one.
    #[derive(Default)]
    struct Forgetful {
        searched: usize,
    }

    impl Codec for Forgetful {
        type In<'a> = &'a mut [u8];
        type Out<'a> = &'a [u8];
        type Error = Infallible;

        fn decode<'a>(
            &mut self,
            input: &'a mut [u8],
            _output: &mut Output,
        ) -> Result<Decoded<&'a mut [u8]>, Infallible> {
            let from = self.searched.min(input.len());
            let need = input.len() + 1;
            let Some(place) = input[from..].iter().position(|byte| *byte == b'\n') else {
                self.searched = input.len();
                return Ok(Decoded::Incomplete { need });
            };
            let end = from + place;
            Ok(Decoded::Message { message: &mut input[..end], consumed: end + 1 })
        }

        fn encode(&mut self, _message: &[u8], _output: &mut Output) {}

        fn finish(&mut self, _rest: &[u8]) -> Result<(), Infallible> {
            Ok(())
        }
    }

    fn check(broken: Broken) {
        check_splits(|| broken, b"aabb", |message| message.to_vec());
    }

    /// Sends this many bytes of this source file, between `hello` and `bye`.
    struct Sends(u64);

    impl Session for Sends {
        fn advance(
            &mut self,
            _input: &mut Buffer,
            output: &mut Output,
            context: &mut Context<'_>,
        ) -> Result<Flow, Reason> {
            if context.cause == Cause::Opened {
                let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing.rs"))
                    .map_err(Reason::refused)?;
                output.append(b"hello");
                output.file(FileRange { file: Arc::new(file), offset: 4, length: self.0 });
                output.append(b"bye");
            }
            Ok(Flow::Continue)
        }
    }

    #[test]
    fn what_stands_in_files_is_said_like_everything_else() {
        let source = include_bytes!("testing.rs");
        for length in [0, 1, 4096, 5000] {
            let said = drive(&mut Sends(length), &mut (), &[]).expect("the file is longer");
            let expected = [b"hello", &source[4..][..length as usize], b"bye"].concat();
            assert_eq!(said, expected, "{length} bytes");
        }
    }

    #[test]
    fn a_file_that_is_shorter_than_promised_is_an_error() {
        let length = include_bytes!("testing.rs").len() as u64;
        let error = drive(&mut Sends(length), &mut (), &[]).expect_err("four bytes are missing");
        assert!(error.to_string().contains("shorter than the range"), "{error}");
    }

    #[test]
    #[should_panic(expected = "asks for 3 bytes, and the message has 2")]
    fn asking_too_much_is_caught() {
        check(Broken::AsksTooMuch);
    }

    #[test]
    #[should_panic(expected = "asks for 3 bytes, and the message has 2")]
    fn a_message_that_only_comes_late_is_caught() {
        check(Broken::AsksTooMuchAtFirst { delivered: false });
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
    #[should_panic(expected = "consumed 5 of 4 bytes")]
    fn consuming_what_is_not_there_is_caught() {
        check(Broken::ConsumesWhatIsNotThere);
    }

    #[test]
    #[should_panic(expected = "is not as in one piece")]
    fn depending_on_where_the_input_is_split_is_caught() {
        check(Broken::DeliversWhatThereIs);
    }

    #[test]
    #[should_panic(expected = "is not as in one piece")]
    fn depending_on_where_garbage_is_split_is_caught() {
        check_garbage(|| Broken::DeliversWhatThereIs, 10);
    }

    #[test]
    #[should_panic(expected = "is not as in one piece")]
    fn searching_on_where_the_last_message_left_off_is_caught() {
        check_splits(Forgetful::default, b"long line\na\nb\n", |line| line.to_vec());
    }

    #[test]
    #[should_panic(expected = "is not what was sent")]
    fn sending_something_else_is_caught() {
        let make = || Broken::LosesAByteInSending;
        check_round_trip(make, &[b"aa", b"bb"], |bytes| bytes, |message| message.to_vec());
    }

    #[test]
    #[should_panic(expected = "is not as it is sent")]
    fn sharing_something_else_is_caught() {
        let make = || Broken::SharesSomethingElse;
        check_round_trip(make, &[b"aa", b"bb"], |bytes| bytes, |message| message.to_vec());
    }

    #[test]
    #[should_panic(expected = "were not refused")]
    fn having_no_limit_is_caught() {
        check_refused(|| Broken::DeliversWhatThereIs, &[0; 1000]);
    }

    fn line(size: usize) -> Vec<u8> {
        let mut line = vec![b'x'; size];
        line.push(b'\n');
        line
    }

    #[test]
    #[should_panic(expected = "were not refused")]
    fn ignoring_the_limit_is_caught() {
        check_limit(Forgetful::default, 20, line);
    }

    #[test]
    #[should_panic(expected = "which is the limit, is not delivered")]
    fn refusing_the_largest_message_is_caught() {
        check_limit(|| Lines::with_size_max(19), 20, line);
    }

    #[test]
    #[should_panic(expected = "were not refused")]
    fn allowing_a_byte_too_many_is_caught() {
        check_limit(|| Lines::with_size_max(21), 20, line);
    }

    #[test]
    #[should_panic(expected = "had been enough")]
    fn keeping_all_of_a_message_before_refusing_it_is_caught() {
        check_limit(|| RefusesLate(Lines::default()), 20, line);
    }
}
