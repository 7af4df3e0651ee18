//! The text form of records, as zone files and tools have it (RFC 1035 section 5, RFC 3597).

use std::error::Error;
use std::fmt::{self, Display as _, Write as _};

use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXUPPER, HEXUPPER_PERMISSIVE};

use super::calendar;
use super::data::{Data, Field};
use super::layout::Part;
use super::name::unescape;
use super::params;

/// A word of a text form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Its characters without quotation marks, and with their escape sequences.
    pub(super) raw: String,
    is_quoted: bool,
}

impl Word {
    /// Returns the bytes that it stands for.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, TextError> {
        let (raw, mut bytes, mut at) = (self.raw.as_bytes(), Vec::new(), 0);
        while let Some(&byte) = raw.get(at) {
            at += 1;
            if byte == b'\\' {
                let (byte, size) = unescape(&raw[at..]).ok_or(TextError::Escape)?;
                bytes.push(byte);
                at += size;
            } else {
                bytes.push(byte);
            }
        }
        Ok(bytes)
    }

    /// Returns whether it is the mark of data of an unknown type (RFC 3597 section 5).
    pub(super) fn is_unknown_mark(&self) -> bool {
        !self.is_quoted && self.raw == "\\#"
    }
}

/// Divides a text into words. Parentheses may enclose line ends, and a semicolon begins a comment.
pub(super) fn words(text: &str) -> Result<Vec<Word>, TextError> {
    let (mut words, mut word): (_, Option<Word>) = (Vec::new(), None);
    let (mut is_quoted, mut is_enclosed, mut has_ended) = (false, false, false);
    let mut characters = text.chars();
    let empty = |is_quoted| Word { raw: String::new(), is_quoted };
    while let Some(character) = characters.next() {
        if has_ended && !character.is_ascii_whitespace() && character != ';' {
            return Err(TextError::SecondLine);
        }
        match character {
            '\\' => {
                let raw = &mut word.get_or_insert_with(|| empty(is_quoted)).raw;
                raw.push(character);
                raw.push(characters.next().ok_or(TextError::Escape)?);
            }
            '"' => {
                is_quoted = !is_quoted;
                let whole = &word.get_or_insert_with(|| empty(true));
                // A text ends with its second mark. In `key="value"`, the word goes on.
                if !is_quoted && whole.is_quoted {
                    words.extend(word.take());
                }
            }
            _ if is_quoted => word.get_or_insert_with(|| empty(true)).raw.push(character),
            ';' => {
                words.extend(word.take());
                let is_line_over = characters.by_ref().any(|character| character == '\n');
                has_ended |= is_line_over && !is_enclosed && !words.is_empty();
            }
            '(' | ')' => {
                words.extend(word.take());
                if is_enclosed == (character == '(') {
                    return Err(TextError::Parentheses);
                }
                is_enclosed = !is_enclosed;
            }
            '\n' if !is_enclosed => {
                words.extend(word.take());
                has_ended |= !words.is_empty();
            }
            _ if character.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_with(|| empty(false)).raw.push(character),
        }
    }
    if is_quoted {
        return Err(TextError::Quotes);
    }
    if is_enclosed {
        return Err(TextError::Parentheses);
    }
    words.extend(word);
    Ok(words)
}

/// Why a text is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// A backslash is not followed by a character or by three digits of at most 255.
    Escape,
    /// A quotation mark is missing.
    Quotes,
    /// A parenthesis is missing, or they are nested.
    Parentheses,
    /// There is a second line.
    SecondLine,
    /// The text ends before this part.
    Missing {
        /// What was expected.
        expected: &'static str,
    },
    /// A word is not what is expected in its place.
    Invalid {
        /// What was expected.
        expected: &'static str,
        /// The word.
        word: String,
    },
    /// There are more words than the record has parts.
    TooMany {
        /// The first word that is too many.
        word: String,
    },
    /// The data are longer than a record can have, 65,535 bytes.
    TooLong,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Escape => f.write_str("a backslash needs a character or three digits after it"),
            Self::Quotes => f.write_str("a quotation mark is missing"),
            Self::Parentheses => f.write_str("parentheses are not in pairs, or nested"),
            Self::SecondLine => f.write_str("there is a second line, and only one record is read"),
            Self::Missing { expected } => write!(f, "the record ends where {expected} is expected"),
            Self::Invalid { expected, word } => {
                write!(f, "{word:?} stands where {expected} is expected")
            }
            Self::TooMany { word } => write!(f, "{word:?} follows the end of the record"),
            Self::TooLong => f.write_str("the data of the record are longer than 65535 bytes"),
        }
    }
}

impl Error for TextError {}

/// The text form of the data. Names are whole, with a dot at their end. Keys, digests and texts of
/// parameters are single words.
impl fmt::Display for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut fields, mut is_first) = (self.fields(), true);
        while let Ok(Some((part, field))) = fields.read_part() {
            let is_empty = matches!(field, Field::Types(types) if types.is_empty());
            if !std::mem::replace(&mut is_first, false) && !is_empty {
                f.write_char(' ')?;
            }
            write_field(f, part, &field)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.kind)
    }
}

fn write_field(f: &mut fmt::Formatter<'_>, part: Option<Part>, field: &Field<'_>) -> fmt::Result {
    match field {
        Field::Name(name) => name.fmt(f),
        Field::Number(number) => number.fmt(f),
        Field::Type(kind) => kind.fmt(f),
        Field::Time(seconds) => calendar::write_time(f, *seconds),
        Field::Ipv4(address) => address.fmt(f),
        Field::Ipv6(address) => address.fmt(f),
        Field::Text(text) if part == Some(Part::Tag) => f.write_str(&String::from_utf8_lossy(text)),
        Field::Text(text) => write_text(f, text),
        Field::Bytes(bytes) => match part {
            Some(Part::Base64) => f.write_str(&BASE64.encode(bytes)),
            Some(Part::Hash) => f.write_str(&BASE32HEX_NOPAD.encode(bytes)),
            Some(Part::Salt) if bytes.is_empty() => f.write_char('-'),
            Some(_) => f.write_str(&HEXUPPER.encode(bytes)),
            None if bytes.is_empty() => f.write_str("\\# 0"),
            None => write!(f, "\\# {} {}", bytes.len(), HEXUPPER.encode(bytes)),
        },
        Field::Types(types) => types.iter().enumerate().try_for_each(|(index, kind)| match index {
            0 => write!(f, "{kind}"),
            _ => write!(f, " {kind}"),
        }),
        Field::Param(param) => params::write(f, param),
    }
}

/// Writes a text in quotation marks.
pub(super) fn write_text(f: &mut fmt::Formatter<'_>, text: &[u8]) -> fmt::Result {
    f.write_char('"')?;
    text.iter().try_for_each(|byte| write_byte(f, *byte))?;
    f.write_char('"')
}

/// Writes a byte of a text in quotation marks.
pub(super) fn write_byte(f: &mut fmt::Formatter<'_>, byte: u8) -> fmt::Result {
    match byte {
        b'"' | b'\\' => write!(f, "\\{}", char::from(byte)),
        b' '..=b'~' => f.write_char(char::from(byte)),
        _ => write!(f, "\\{byte:03}"),
    }
}

/// Reads bytes in hexadecimal.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    HEXUPPER_PERMISSIVE.decode(text.as_bytes()).ok()
}

/// Reads bytes in Base64.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok()
}

/// Reads bytes in Base32 for names.
pub(super) fn from_base32(text: &str) -> Option<Vec<u8>> {
    BASE32HEX_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()
}
