//! The ready tools and client libraries, and what they share: addresses by name, and errors as
//! users want to read them.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use protocol::Reason;
use reactor::{Address, AddressError, Location};

pub mod kv_cli;
pub mod load;
pub mod output;
pub mod resp;
pub mod talk;

/// Why a tool could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This, in one sentence.
    Text(String),
    /// Standard output was closed: nothing more is wanted, and nothing is told.
    OutputClosed,
}

impl Failure {
    /// A failure in the given words.
    pub fn new(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// What went wrong with the connection to `address`.
    pub fn of_connection(address: &str, reason: &Reason) -> Self {
        let hint = match reason {
            Reason::Deadline => ": the peer does not answer",
            _ => "",
        };
        Self::Text(format!("{address}: {reason}{hint}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(text) => text,
            Self::OutputClosed => "standard output was closed",
        })
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Text(error.to_string())
    }
}

/// The address that a user means: what [`Address`] reads, or a name and a port, for which the
/// first address that the name resolves to is taken. Blocks while resolving.
///
/// # Errors
/// When it is neither.
pub fn resolve(text: &str) -> Result<Address, Failure> {
    Ok(resolve_all(text)?.swap_remove(0))
}

/// [`resolve`], but all addresses of a name: a server need not listen at the first.
///
/// # Errors
/// When it is neither.
pub fn resolve_all(text: &str) -> Result<Vec<Address>, Failure> {
    let location: Location =
        text.parse().map_err(|error: AddressError| Failure::new(error.to_string()))?;
    Ok(location.addresses()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        assert!(resolve("127.0.0.1:1").is_ok());
        assert!(matches!(resolve("unix:/x"), Ok(Address::Unix(_))));
        for (text, hint) in [("localhost", "a port"), ("127.0.0.1:99999", "0 to 65535")] {
            let error = resolve(text).expect_err(text).to_string();
            assert!(error.contains(hint), "{error}");
        }
        let error = resolve("no-such-host.invalid:80").expect_err("no name ends so (RFC 6761)");
        assert!(error.to_string().contains("unknown name"), "{error}");
    }
}
