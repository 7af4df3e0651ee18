//! Command-line tools and client libraries. This module has what they share: resolving addresses,
//! and error messages for users.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use protocol::Reason;
use reactor::{AddressError, Location, Signal};

pub use reactor::blocking;
pub mod fetch;
pub mod file_watch;
pub mod http;
pub mod kv_cli;
pub mod load;
pub mod lookup;
pub mod mfs;
pub mod mfs_client;
pub mod net_watch;
pub mod output;
mod pipes;
pub mod resolve;
pub mod resp;
pub mod sentinel;
pub mod sentinel_watch;
pub mod talk;
pub mod tls;
pub mod ws;

/// The reason why a tool failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A message for the user, one sentence.
    Text(String),
    /// Standard output was closed. The tool exits without a message.
    OutputClosed,
}

impl Failure {
    /// Creates a failure with this message.
    pub fn new(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Creates a failure that names `address` and the reason why its connection ended.
    pub fn of_connection(address: &str, reason: &Reason) -> Self {
        if let Reason::Failed { operation: "connect", error, .. } = reason {
            // It names the address.
            return Self::Text(error.to_string());
        }
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

/// Parses a location that a user gave: an address, or the name of a host and a service.
///
/// # Errors
/// Fails if `text` is neither.
pub fn location(text: &str) -> Result<Location, Failure> {
    text.parse().map_err(|error: AddressError| Failure::new(error.to_string()))
}

/// Returns the signals that end a tool. A process that was started with nohup is meant to outlive
/// the terminal, so `SIGHUP` is not among them where it is ignored.
fn signals_to_end() -> Vec<Signal> {
    let mut signals = vec![Signal::INTERRUPT, Signal::TERMINATE];
    if !Signal::HANGUP.is_ignored() {
        signals.push(Signal::HANGUP);
    }
    signals
}

#[cfg(test)]
mod tests {
    use reactor::Address;

    use super::*;

    #[test]
    fn addresses_and_names_are_distinguished() {
        let addresses = |text| Ok::<_, Failure>(location(text)?.addresses()?);
        assert!(addresses("127.0.0.1:1").is_ok());
        assert!(matches!(addresses("unix:/x").as_deref(), Ok([Address::Unix(_)])));
        for (text, hint) in [("localhost", "a port"), ("127.0.0.1:99999", "0 to 65535")] {
            let error = addresses(text).expect_err(text).to_string();
            assert!(error.contains(hint), "{error}");
        }
        let error = addresses("127.0.0.1:no-such-service").expect_err("there is none");
        assert!(error.to_string().contains("unknown service"), "{error}");
    }
}
