//! Uppercase: whatever arrives goes back with its ASCII letters in upper case, as it arrives.

use crate::Loopback;

/// Returns the session of one connection.
pub fn session() -> Loopback {
    Loopback::new(|bytes| bytes.make_ascii_uppercase())
}
