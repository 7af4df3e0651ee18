//! Lines of text.

use std::error::Error;
use std::fmt;

use crate::search::find_byte;
use crate::{Codec, Decoded, NotSaved, Output, SavedState, State, StateError};

/// The end of the lines that are sent. Received lines may have either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LineEnd {
    /// A line feed.
    #[default]
    Lf,
    /// A carriage return and a line feed.
    CrLf,
}

/// Lines that end with LF or CRLF, delivered without that end.
///
/// The codec remembers how far it has searched the input, so the work for a line that arrives byte
/// by byte is proportional to its length.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    size_max: usize,
    line_end: LineEnd,
    searched: usize,
}

impl Lines {
    /// The default limit on a line, in bytes without its end.
    pub const SIZE_MAX_DEFAULT: usize = 64 * 1024;

    /// Returns a codec for lines of at most `size_max` bytes, not counting their ends.
    pub const fn with_size_max(size_max: usize) -> Self {
        Self { size_max, line_end: LineEnd::Lf, searched: 0 }
    }

    /// Sets the end of the lines that are sent.
    #[must_use]
    pub const fn ending_with(mut self, line_end: LineEnd) -> Self {
        self.line_end = line_end;
        self
    }

    fn too_long<T>(&self) -> Result<T, LinesError> {
        Err(LinesError::TooLong { size_max: self.size_max })
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::with_size_max(Self::SIZE_MAX_DEFAULT)
    }
}

impl Codec for Lines {
    type In<'a> = &'a mut [u8];
    type Out<'a> = &'a [u8];
    type Error = LinesError;

    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        _output: &mut Output,
    ) -> Result<Decoded<&'a mut [u8]>, LinesError> {
        let from = self.searched.min(input.len());
        let Some(place) = find_byte(&input[from..], b'\n') else {
            // A carriage return at the end may be the first half of a line end.
            let line = input.strip_suffix(b"\r").unwrap_or(input);
            if line.len() > self.size_max {
                return self.too_long();
            }
            self.searched = input.len();
            return Ok(Decoded::Incomplete { need: input.len() + 1 });
        };
        self.searched = 0;
        let consumed = from + place + 1;
        let end = from + place;
        let end = if input[..end].ends_with(b"\r") { end - 1 } else { end };
        if end > self.size_max {
            return self.too_long();
        }
        Ok(Decoded::Message { message: &mut input[..end], consumed })
    }

    fn encode(&mut self, line: &[u8], output: &mut Output) {
        output.append(line);
        output.append(match self.line_end {
            LineEnd::Lf => b"\n",
            LineEnd::CrLf => b"\r\n",
        });
    }

    fn finish(&mut self, rest: &[u8]) -> Result<(), LinesError> {
        match rest.len() {
            0 => Ok(()),
            length => Err(LinesError::Unterminated { length }),
        }
    }

    fn reject(&mut self, error: &LinesError, output: &mut Output) {
        self.encode(format!("error: {error}").as_bytes(), output);
    }

    fn save(&self, _state: &mut State) -> Result<(), NotSaved> {
        Ok(())
    }

    fn restore(&mut self, _state: &mut SavedState<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

/// Why lines were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinesError {
    /// A line is longer than allowed.
    TooLong {
        /// The limit in bytes.
        size_max: usize,
    },
    /// The stream ended in the middle of a line.
    Unterminated {
        /// How many bytes arrived after the last line end.
        length: usize,
    },
}

impl fmt::Display for LinesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { size_max } => write!(f, "line longer than {size_max} bytes"),
            Self::Unterminated { length } => {
                write!(f, "the stream ended {length} bytes after the last line end")
            }
        }
    }
}

impl Error for LinesError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn either_end_is_understood_however_the_input_is_split() {
        let input = b"one\ntwo\r\n\n\r\nth\rree\n";
        let lines = testing::check_splits(Lines::default, input, |line| line.to_vec());
        assert_eq!(lines, [&b"one"[..], b"two", b"", b"", b"th\rree"]);
    }

    #[test]
    fn the_limit_counts_the_line_without_its_end() {
        let make = || Lines::with_size_max(100);
        for end in ["\n", "\r\n"] {
            let just = format!("{}{end}", "x".repeat(100));
            assert_eq!(testing::check_splits(make, just.as_bytes(), |it| it.to_vec()).len(), 1);
            testing::check_refused(make, format!("{}{end}", "x".repeat(101)).as_bytes());
        }
        testing::check_refused(make, &[b'x'; 1000]);
    }

    #[test]
    fn no_more_of_a_line_is_kept_than_the_limit_allows() {
        for end in [&b"\n"[..], b"\r\n"] {
            let encoded = |size| [&vec![b'x'; size], end].concat();
            testing::check_limit(|| Lines::with_size_max(100), 100, encoded);
        }
    }

    #[test]
    fn a_carriage_return_at_the_limit_may_begin_the_end_and_may_not() {
        let make = || Lines::with_size_max(2);
        assert_eq!(testing::check_splits(make, b"ab\r\n", |it| it.to_vec()), [b"ab"]);
        assert_eq!(testing::check_splits(make, b"a\r\r\n", |it| it.to_vec()), [b"a\r"]);
        testing::check_refused(make, b"ab\rc");
        testing::check_refused(make, b"ab\r\r\n");
    }

    #[test]
    fn lines_of_either_end_survive_the_round_trip() {
        for line_end in [LineEnd::Lf, LineEnd::CrLf] {
            let make = || Lines::default().ending_with(line_end);
            let lines = [&b"one"[..], b"", b"tw\ro", &[0; 200]];
            testing::check_round_trip(make, &lines, |line| line, |line| line.to_vec());
        }
    }

    #[test]
    fn a_line_that_comes_byte_by_byte_is_searched_once() {
        let (mut lines, mut output) = (Lines::with_size_max(100), Output::new());
        let mut input = *b"no end yet";
        let need = input.len() + 1;
        assert_eq!(lines.decode(&mut input, &mut output), Ok(Decoded::Incomplete { need }));
        // No line feed can appear in bytes that were searched. One is planted there to show that
        // they are not searched again.
        input[2] = b'\n';
        assert_eq!(lines.decode(&mut input, &mut output), Ok(Decoded::Incomplete { need }));
    }

    #[test]
    fn the_refusal_is_told_in_a_line() {
        let mut output = Output::new();
        Lines::with_size_max(9).reject(&LinesError::TooLong { size_max: 9 }, &mut output);
        assert_eq!(output.to_vec(), b"error: line longer than 9 bytes\n");
    }

    #[test]
    fn an_unterminated_line_is_told_at_the_end() {
        let error = Lines::default().finish(b"half").expect_err("it has no end");
        assert_eq!(error, LinesError::Unterminated { length: 4 });
    }

    #[test]
    fn garbage_is_no_danger() {
        testing::check_garbage(|| Lines::with_size_max(50), 2000);
    }
}
