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
}

/// Shows the name after an `@`. What is not printable is shown as `\x` and two hexadecimal digits,
/// which [`Address`](crate::Address) does not parse.
impl fmt::Display for AbstractName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("@")?;
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter.is_control() {
                    true => write!(f, "\\x{:02x}", u32::from(letter))?,
                    false => write!(f, "{letter}")?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
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
        let name = AbstractName::new(b"a\0\xFF\n b\xC3\xBC").expect("it is a name");
        assert_eq!(name.to_string(), "@a\\x00\\xff\\x0a b\u{fc}");
    }
}
