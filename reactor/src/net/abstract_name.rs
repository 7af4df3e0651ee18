//! Abstract names of Unix sockets.

use std::fmt;
use std::io;

use crate::sys::UNIX_PATH_MAX;

/// The abstract name of a Unix socket (`unix(7)`), which users write `unix:@name`. There is no file
/// with that name: it is free again once no socket has it, however the program ended. It is valid
/// in one network namespace, and has no permissions, so any program in that namespace can connect.
/// A server that does not serve them all asks for the [`Credentials`](crate::Credentials) of its
/// peers.
///
/// ```
/// use reactor::{AbstractName, Address, ListenOptions, Listener};
///
/// let name = AbstractName::new(format!("example-{}", std::process::id()))?;
/// let listener = Listener::bind(&Address::Abstract(name.clone()), &ListenOptions::DEFAULT)?;
/// assert_eq!(listener.address().to_string(), format!("unix:{name}"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AbstractName(Box<[u8]>);

impl AbstractName {
    /// Returns the abstract name with these bytes, which do not include the `@`. They may be any,
    /// zeros too.
    ///
    /// # Errors
    /// When it has no byte, or more than 107.
    pub fn new(name: impl AsRef<[u8]>) -> io::Result<Self> {
        let name = name.as_ref();
        if name.is_empty() || name.len() > UNIX_PATH_MAX {
            let text = format!(
                "the abstract name of a Unix socket has 1 to {UNIX_PATH_MAX} bytes, not {}",
                name.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self(name.into()))
    }

    /// Returns its bytes, without the `@`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes that a text stands for, which has no `@`; `None` if a backslash in it begins
    /// no escape.
    pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let [first, after @ ..] = rest {
            let (byte, after) = match (first, after) {
                (b'\\', [b'\\', after @ ..]) => (b'\\', after),
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let digit = |letter: &u8| char::from(*letter).to_digit(16);
                    let value = digit(high)? * 16 + digit(low)?;
                    (u8::try_from(value).ok()?, after)
                }
                (b'\\', _) => return None,
                (byte, after) => (*byte, after),
            };
            bytes.push(byte);
            rest = after;
        }
        Some(bytes)
    }
}

/// Shows the name after an `@`. A backslash is shown as `\\`, and each byte of what is not printable as
/// `\x` and two hexadecimal digits. [`Address`](crate::Address) parses this to the same name.
impl fmt::Display for AbstractName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
        };
        f.write_str("@")?;
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '\\' => f.write_str("\\\\")?,
                    _ if letter.is_control() => {
                        escaped(f, letter.encode_utf8(&mut [0; 4]).as_bytes())?;
                    }
                    _ => write!(f, "{letter}")?,
                }
            }
            escaped(f, chunk.invalid())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_byte_at_least_and_as_many_as_the_kernel_allows() {
        assert!(AbstractName::new("x".repeat(107)).is_ok());
        for name in ["", &"x".repeat(108)] {
            let error = AbstractName::new(name).expect_err("it is refused").to_string();
            assert!(error.contains("1 to 107 bytes"), "{error}");
        }
    }

    #[test]
    fn what_is_not_printable_is_shown_in_hexadecimal() {
        let name = AbstractName::new(b"a\0\xFF\n b\\\xC3\xBC\xC2\x85").expect("it is a name");
        assert_eq!(name.to_string(), "@a\\x00\\xff\\x0a b\\\\\u{fc}\\xc2\\x85");
    }

    #[test]
    fn a_shown_name_of_any_bytes_is_parsed_to_the_same() {
        for bytes in (0..=u16::MAX).map(u16::to_be_bytes) {
            let name = AbstractName::new(bytes).expect("it is a name");
            let shown = name.to_string();
            assert_eq!(AbstractName::unescape(&shown[1..]).as_deref(), Some(&bytes[..]), "{shown}");
        }
        for text in ["\\", "a\\n", "\\x", "\\x1", "\\x1g", "\\x+1", "\\X11"] {
            assert_eq!(AbstractName::unescape(text), None, "{text}");
        }
    }
}
