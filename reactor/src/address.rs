//! Addresses of servers, as users write them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::sys::Endpoint;

/// Where a server listens and a client connects: TCP over IPv4 or IPv6, or a Unix socket.
///
/// ```
/// use reactor::Address;
///
/// for text in ["127.0.0.1:8080", "tcp://[::1]:8080", "unix:/run/x.sock"] {
///     assert!(text.parse::<Address>().is_ok());
/// }
/// let error = "127.0.0.1:70000".parse::<Address>().unwrap_err();
/// assert!(error.to_string().contains("0 to 65535"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port. Port 0 has the kernel choose one.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    pub(crate) fn endpoint(&self) -> Endpoint<'_> {
        match self {
            Self::Tcp(address) => Endpoint::Inet(address),
            Self::Unix(path) => Endpoint::Unix(path),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fail = |problem| Err(AddressError { text: text.to_owned(), problem });
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                fail(Problem::NoPath)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let rest = text.strip_prefix("tcp://").unwrap_or(text);
        if let Ok(address) = rest.parse() {
            return Ok(Self::Tcp(address));
        }
        let Some((host, port)) = rest.rsplit_once(':') else { return fail(Problem::NoPort) };
        if port.parse::<u16>().is_err() {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            return fail(if digits { Problem::PortRange } else { Problem::NoPort });
        }
        fail(if host.contains(':') && !host.starts_with('[') {
            Problem::NoBrackets
        } else {
            Problem::NoIpAddress
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    NoPath,
    NoPort,
    PortRange,
    NoBrackets,
    NoIpAddress,
}

/// A text that is no [`Address`], and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    problem: Problem,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no address: ", self.text)?;
        f.write_str(match self.problem {
            Problem::NoPath => "a path must follow \"unix:\", as in unix:/run/x.sock",
            Problem::NoPort => "a port must follow the IP address, as in 127.0.0.1:8080",
            Problem::PortRange => "port numbers go from 0 to 65535",
            Problem::NoBrackets => "an IPv6 address stands in brackets, as in [::1]:8080",
            Problem::NoIpAddress => {
                "an IP address must come before the port, as in 127.0.0.1:8080 or [::1]:8080"
            }
        })
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("tcp://[::1]:8080", "[::1]:8080"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("unix:///run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(text.parse::<Address>().expect("it is an address").to_string(), shown);
        }
    }

    #[test]
    fn a_mistake_is_told_with_what_to_write_instead() {
        for (text, hint) in [
            ("127.0.0.1:65536", "0 to 65535"),
            ("127.0.0.1", "a port must follow"),
            ("127.0.0.1:http", "a port must follow"),
            ("::1:80", "brackets"),
            ("localhost:80", "an IP address must come"),
            ("unix:", "a path must follow"),
            ("", "a port must follow"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(hint) && error.contains(text), "{text}: {error}");
        }
    }
}
