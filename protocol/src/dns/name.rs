//! Domain names, in messages and of their own.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::error::{Fault, MessageError};

/// The longest name, with the lengths of its labels and its end, in bytes (RFC 1035 section 2.3.4).
pub const NAME_SIZE_MAX: usize = 255;
/// The longest label, in bytes (RFC 1035 section 2.3.4).
pub const LABEL_SIZE_MAX: usize = 63;
/// The number of compression pointers that a name may have. It is the number of labels that a name has
/// at most, so a longer chain is no use to an honest sender, but costs each reader of the name.
pub const POINTERS_MAX: usize = 127;

/// The two bits that mark a compression pointer.
const POINTER: u8 = 0b1100_0000;

/// A name in a message, with its compression.
///
/// Two names are equal if they differ in the case of ASCII letters at most (RFC 4343).
#[derive(Clone, Copy)]
pub struct NameView<'a> {
    /// A message in which the name was checked, or the bytes of a [`Name`].
    bytes: &'a [u8],
    at: usize,
}

impl<'a> NameView<'a> {
    /// Reads the name at `at`. Returns the offset after it, too.
    pub(super) fn parse(bytes: &'a [u8], at: usize) -> Result<(Self, usize), MessageError> {
        let error = |at, fault| Err(MessageError::new(at, fault));
        let (mut place, mut size, mut pointers, mut end) = (at, 0, 0, None);
        // Each pointer has to point before the piece that it ends, so the chain has an end.
        let mut piece = at;
        loop {
            let Some(&length) = bytes.get(place) else { return error(place, Fault::Truncated) };
            match length & POINTER {
                0 => {
                    size += 1 + usize::from(length);
                    if size > NAME_SIZE_MAX {
                        return error(at, Fault::NameTooLong);
                    }
                    let next = place + 1 + usize::from(length);
                    if next > bytes.len() {
                        return error(place, Fault::Truncated);
                    }
                    place = next;
                    if length == 0 {
                        return Ok((Self { bytes, at }, end.unwrap_or(place)));
                    }
                }
                POINTER => {
                    let Some(target) = pointer(bytes, place) else {
                        return error(place, Fault::Truncated);
                    };
                    if target >= piece {
                        return error(place, Fault::ForwardPointer);
                    }
                    pointers += 1;
                    if pointers > POINTERS_MAX {
                        return error(at, Fault::TooManyPointers);
                    }
                    end = end.or(Some(place + 2));
                    (piece, place) = (target, target);
                }
                _ => return error(place, Fault::LabelType),
            }
        }
    }

    /// Returns its labels, from the first to the top-level domain. The root has none.
    pub fn labels(&self) -> Labels<'a> {
        Labels::at(self.bytes, self.at)
    }

    /// Returns whether it is the root.
    pub fn is_root(&self) -> bool {
        self.labels().next().is_none()
    }

    /// Returns the name of its own, without compression.
    pub fn to_name(&self) -> Name {
        let mut bytes = Vec::with_capacity(NAME_SIZE_MAX);
        self.append_to(&mut bytes);
        Name(bytes.into())
    }

    /// Returns whether it is `parent` or below it.
    pub fn is_within(&self, parent: NameView<'_>) -> bool {
        let (own, theirs) = (self.labels().count(), parent.labels().count());
        let Some(more) = own.checked_sub(theirs) else { return false };
        self.labels().skip(more).zip(parent.labels()).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    /// Returns whether it is spelled like `other`, in the case of each letter too. Resolvers that vary
    /// the case of their questions ask this of the answers.
    pub fn is_spelled_like(&self, other: NameView<'_>) -> bool {
        self.labels().eq(other.labels())
    }

    /// Appends the name without compression.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        for label in self.labels() {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
        }
        bytes.push(0);
    }
}

/// Returns where the pointer at `at` points to.
fn pointer(bytes: &[u8], at: usize) -> Option<usize> {
    let [high, low] = *bytes.get(at..at + 2)? else { return None };
    Some(usize::from(high & !POINTER) << 8 | usize::from(low))
}

/// The labels of a name.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Labels<'a> {
    /// Returns the labels of the name at `at`.
    pub(super) fn at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let length = *self.bytes.get(self.at)?;
            if length & POINTER != 0 {
                self.at = pointer(self.bytes, self.at)?;
                continue;
            }
            if length == 0 {
                return None;
            }
            let label = self.bytes.get(self.at + 1..)?.get(..usize::from(length))?;
            self.at += 1 + label.len();
            return Some(label);
        }
    }
}

impl PartialEq for NameView<'_> {
    fn eq(&self, other: &NameView<'_>) -> bool {
        let mut theirs = other.labels();
        self.labels().all(|own| theirs.next().is_some_and(|it| it.eq_ignore_ascii_case(own)))
            && theirs.next().is_none()
    }
}

impl Eq for NameView<'_> {}

impl Hash for NameView<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for label in self.labels() {
            state.write_u8(label.len() as u8);
            label.iter().for_each(|byte| state.write_u8(byte.to_ascii_lowercase()));
        }
        state.write_u8(0);
    }
}

/// The text form, with a dot at the end (RFC 1035 section 5.1): bytes that are not printable as `\DDD`,
/// and a backslash before characters that mean something in a zone file.
impl fmt::Display for NameView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'"' | b'$' | b'(' | b')' | b';' | b'@' | b'\\' => {
                        write!(f, "\\{}", char::from(byte))?;
                    }
                    b'!'..=b'~' => f.write_char(char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_char('.')?;
        }
        Ok(())
    }
}

impl fmt::Debug for NameView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A name of its own.
///
/// Two names are equal if they differ in the case of ASCII letters at most (RFC 4343).
///
/// ```
/// use protocol::dns::Name;
///
/// let name: Name = "WWW.example.org".parse()?;
/// assert_eq!(name, "www.example.org.".parse()?);
/// assert_eq!(name.to_string(), "WWW.example.org.");
/// assert!(name.view().is_within("org".parse::<Name>()?.view()));
/// # Ok::<(), protocol::dns::NameError>(())
/// ```
#[derive(Clone)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Returns the root.
    pub fn root() -> Self {
        Self([0].into())
    }

    /// Returns a name of these labels.
    ///
    /// # Errors
    /// When a label is empty or longer than [`LABEL_SIZE_MAX`], or the name is longer than
    /// [`NAME_SIZE_MAX`].
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NameError> {
        let mut bytes = Vec::new();
        for label in labels {
            match label.len() {
                0 => return Err(NameError::EmptyLabel),
                1..=LABEL_SIZE_MAX => bytes.push(label.len() as u8),
                _ => return Err(NameError::LabelTooLong),
            }
            bytes.extend_from_slice(label);
            if bytes.len() >= NAME_SIZE_MAX {
                return Err(NameError::TooLong);
            }
        }
        bytes.push(0);
        Ok(Self(bytes.into()))
    }

    /// Returns a view of it.
    pub fn view(&self) -> NameView<'_> {
        NameView { bytes: &self.0, at: 0 }
    }

    /// Returns the same name, with each ASCII letter in the case that `is_upper` says. Resolvers vary the
    /// case of their questions, so that an answer with another one is known to be forged.
    ///
    /// ```
    /// use protocol::dns::Name;
    ///
    /// let name: Name = "example.org".parse()?;
    /// let mut cases = [false, true].into_iter().cycle();
    /// let varied = name.with_case(|| cases.next() == Some(true));
    /// assert_eq!(varied.to_string(), "eXaMpLe.OrG.");
    /// # Ok::<(), protocol::dns::NameError>(())
    /// ```
    #[must_use]
    pub fn with_case(&self, mut is_upper: impl FnMut() -> bool) -> Self {
        let mut bytes = self.0.clone();
        // The lengths of labels are below the letters.
        for byte in bytes.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
            *byte = if is_upper() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        }
        Self(bytes)
    }

    /// Returns the bytes that stand for it in a message, without compression.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // The lengths of labels are below the letters.
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.view().hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Reads the text form (RFC 1035 section 5.1). A dot at the end is optional, since there is no origin to
/// which a name could be relative.
impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.as_bytes();
        if text == b"." {
            return Ok(Self::root());
        }
        let (mut labels, mut label, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(&byte) = text.get(at) {
            at += 1;
            match byte {
                b'.' => labels.push(std::mem::take(&mut label)),
                b'\\' => {
                    let (byte, size) = unescape(&text[at..]).ok_or(NameError::Escape)?;
                    label.push(byte);
                    at += size;
                }
                _ => label.push(byte),
            }
        }
        if !label.is_empty() || text.is_empty() {
            labels.push(label);
        }
        Self::from_labels(labels.iter().map(Vec::as_slice))
    }
}

/// Returns the byte that an escape sequence stands for, and the length of the sequence after its
/// backslash: three digits, or a character (RFC 1035 section 5.1).
pub(super) fn unescape(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            let value = digit(a) * 100 + digit(b) * 10 + digit(c);
            Some((u8::try_from(value).ok()?, 3))
        }
        [b'0'..=b'9', ..] | [] => None,
        [byte, ..] => Some((*byte, 1)),
    }
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// A label is empty.
    EmptyLabel,
    /// A label is longer than [`LABEL_SIZE_MAX`].
    LabelTooLong,
    /// The name is longer than [`NAME_SIZE_MAX`].
    TooLong,
    /// A backslash is not followed by a character or by three digits of at most 255.
    Escape,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyLabel => "a label of the name is empty: there is a dot too many, or no name",
            Self::LabelTooLong => "a label of the name is longer than 63 bytes",
            Self::TooLong => "the name is longer than 255 bytes",
            Self::Escape => "a backslash in the name needs a character or three digits after it",
        })
    }
}

impl Error for NameError {}
