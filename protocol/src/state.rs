//! What a session says of itself as bytes, for the process that goes on with its connection.

use std::error::Error;
use std::fmt;

/// What a session, a codec or a service knows, as bytes: what its `save` method writes and its
/// `restore` method reads back. See [`Session::save`](crate::Session::save).
///
/// ```
/// use protocol::{SavedState, State};
///
/// let mut state = State::new();
/// state.number(7);
/// state.bytes(b"name");
/// state.flag(true);
///
/// let bytes = state.into_bytes();
/// let mut saved = SavedState::new(&bytes);
/// assert_eq!(saved.number()?, 7);
/// assert_eq!(saved.bytes()?, b"name");
/// assert!(saved.flag()?);
/// saved.end()?;
/// # Ok::<(), protocol::StateError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    bytes: Vec<u8>,
}

impl State {
    /// Returns a state without anything.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Appends a number.
    pub fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    /// Appends whether something holds.
    pub fn flag(&mut self, flag: bool) {
        self.bytes.push(flag.into());
    }

    /// Appends bytes and their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.parts(&[bytes]);
    }

    /// Appends bytes that are in several parts, as [`bytes`](Self::bytes) does with one.
    pub(crate) fn parts(&mut self, parts: &[&[u8]]) {
        self.number(parts.iter().map(|part| part.len() as u64).sum());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Returns how many bytes there are.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The state that another process has saved, which is read in the order in which it was written.
#[derive(Clone, Copy, Debug)]
pub struct SavedState<'a> {
    rest: &'a [u8],
}

impl<'a> SavedState<'a> {
    /// Returns the state that `bytes` are.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads a number.
    ///
    /// # Errors
    /// When the state ends before.
    pub fn number(&mut self) -> Result<u64, StateError> {
        let (number, rest) = self.rest.split_first_chunk().ok_or(StateError::TooShort)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*number))
    }

    /// Reads whether something holds.
    ///
    /// # Errors
    /// When the state ends before, or the byte is neither zero nor one.
    pub fn flag(&mut self) -> Result<bool, StateError> {
        let (flag, rest) = self.rest.split_first().ok_or(StateError::TooShort)?;
        self.rest = rest;
        match flag {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(StateError::Invalid("a flag is neither zero nor one")),
        }
    }

    /// Reads bytes with their length.
    ///
    /// # Errors
    /// When the state ends before.
    pub fn bytes(&mut self) -> Result<&'a [u8], StateError> {
        let length = usize::try_from(self.number()?).map_err(|_| StateError::TooShort)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(StateError::TooShort)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// When there is more.
    pub fn end(self) -> Result<(), StateError> {
        if self.rest.is_empty() { Ok(()) } else { Err(StateError::TooLong) }
    }
}

/// The answer of a session that cannot say all that it knows as bytes, so that its connection stays
/// where it is. See [`Session::save`](crate::Session::save).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSaved;

impl fmt::Display for NotSaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection cannot be handed over in its present state")
    }
}

impl Error for NotSaved {}

/// Why a saved state cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateError {
    /// The session restores nothing.
    Unsupported,
    /// It was saved in another format, that of another version of this crate.
    Format {
        /// The number of that format.
        format: u64,
    },
    /// It ends too early.
    TooShort,
    /// There is more than was expected.
    TooLong,
    /// It contradicts itself, or what the session allows.
    Invalid(&'static str),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the saved state of the connection cannot be restored: ")?;
        match self {
            Self::Unsupported => f.write_str("this kind of session restores none"),
            Self::Format { format } => write!(f, "its format {format} is that of another version"),
            Self::TooShort => f.write_str("it ends too early"),
            Self::TooLong => f.write_str("there are bytes after its end"),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}

impl Error for StateError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_cut_or_extended_anywhere_is_refused() {
        let mut state = State::new();
        state.flag(false);
        state.bytes(b"abc");
        state.number(u64::MAX);
        let whole = state.into_bytes();
        let read = |bytes: &[u8]| {
            let mut saved = SavedState::new(bytes);
            let fields = (saved.flag()?, saved.bytes()?.to_vec(), saved.number()?);
            saved.end().map(|()| fields)
        };
        assert_eq!(read(&whole), Ok((false, b"abc".to_vec(), u64::MAX)));
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), Err(StateError::TooShort), "{length} bytes");
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(read(&longer), Err(StateError::TooLong));
    }

    #[test]
    fn a_length_beyond_memory_is_too_short() {
        let mut state = State::new();
        state.number(u64::MAX);
        let bytes = state.into_bytes();
        assert_eq!(SavedState::new(&bytes).bytes(), Err(StateError::TooShort));
        assert!(matches!(SavedState::new(&[2]).flag(), Err(StateError::Invalid(_))));
    }
}
