//! Uppercase: sends back what it receives, with ASCII letters in upper case.

use crate::Loopback;

/// Returns the session of one connection.
pub fn session() -> Loopback {
    Loopback::new(|bytes| bytes.make_ascii_uppercase())
}
