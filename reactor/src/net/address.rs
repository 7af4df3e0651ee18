//! Addresses of servers, in the form in which users write them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::sys::{Endpoint, UNIX_PATH_MAX};

/// An address on which a server listens or to which a client connects: TCP or UDP over IPv4 or
/// IPv6, or a Unix socket of streams or datagrams.
///
/// ```
/// use reactor::Address;
///
/// for text in ["127.0.0.1:8080", "tcp://[::1]:8080", "unix:/run/x.sock"] {
///     assert!(text.parse::<Address>().is_ok_and(|address| !address.is_datagram()));
/// }
/// for text in ["udp://127.0.0.1:8000", "unix-dgram:/run/x.sock"] {
///     assert!(text.parse::<Address>().is_ok_and(|address| address.is_datagram()));
/// }
/// let error = "127.0.0.1:70000".parse::<Address>().unwrap_err();
/// assert!(error.to_string().contains("0 to 65535"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port. A listener with port 0 gets a free port from the kernel.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
    /// An IP address and a port of UDP. A socket bound to port 0 gets a free port from the kernel.
    Udp(SocketAddr),
    /// The path of a Unix datagram socket.
    UnixDatagram(PathBuf),
}

impl Address {
    /// Returns whether it is an address of datagrams: see
    /// [`DatagramSocket`](crate::DatagramSocket).
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::UnixDatagram(_))
    }

    /// Returns the error of using this address where `instead` has to be used.
    pub(crate) fn wrong_kind(&self, instead: &str) -> io::Error {
        let (kind, other) =
            if self.is_datagram() { ("datagrams", "streams") } else { ("streams", "datagrams") };
        let text = format!("it is an address of {kind}, not of {other}; use {instead}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    }

    pub(crate) fn endpoint(&self) -> Endpoint<'_> {
        match self {
            Self::Tcp(address) | Self::Udp(address) => Endpoint::Inet(address),
            Self::Unix(path) | Self::UnixDatagram(path) => Endpoint::Unix(path),
        }
    }
}

/// The protocol below an IP address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Streams of bytes: connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    /// Returns the address with this protocol.
    pub fn address(self, address: SocketAddr) -> Address {
        match self {
            Self::Tcp => Address::Tcp(address),
            Self::Udp => Address::Udp(address),
        }
    }

    /// Returns the protocol that a text names, TCP if it names none, and the rest of the text.
    pub(super) fn of(text: &str) -> (Self, &str) {
        match text.strip_prefix("udp://") {
            Some(rest) => (Self::Udp, rest),
            None => (Self::Tcp, text.strip_prefix("tcp://").unwrap_or(text)),
        }
    }

    /// Returns what precedes an address in text. TCP is the default.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Tcp => "",
            Self::Udp => "udp://",
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
            Self::Unix(path) => write!(f, "unix:{}", Shown(path)),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::UnixDatagram(path) => write!(f, "unix-dgram:{}", Shown(path)),
        }
    }
}

/// A path as an address shows it. Two slashes at its beginning would be taken for those of a scheme, so
/// they follow two more.
struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.display();
        if self.0.as_os_str().as_encoded_bytes().starts_with(b"//") {
            f.write_str("//")?;
        }
        path.fmt(f)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fail = |problem| Err(AddressError::new(text, problem));
        for (prefix, is_datagram) in [("unix:", false), ("unix-dgram:", true)] {
            let Some(path) = text.strip_prefix(prefix) else { continue };
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.len() {
                0 => fail(Problem::NoPath),
                length if length > UNIX_PATH_MAX => fail(Problem::LongPath),
                _ if path.starts_with('@') => fail(Problem::AbstractName),
                _ if path.contains('\0') => fail(Problem::ZeroByte),
                _ if is_datagram => Ok(Self::UnixDatagram(path.into())),
                _ => Ok(Self::Unix(path.into())),
            };
        }
        let (transport, rest) = Transport::of(text);
        if let Ok(address) = rest.parse() {
            return Ok(transport.address(address));
        }
        let Some((host, port)) = rest.rsplit_once(':') else { return fail(Problem::NoPort) };
        if !is_number(port) {
            return fail(Problem::NoPort);
        }
        if port.parse::<u16>().is_err() {
            return fail(Problem::PortRange);
        }
        let is_bare = host.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
        fail(if host.contains(':') && is_bare { Problem::NoBrackets } else { Problem::NoIpAddress })
    }
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NoPath,
    LongPath,
    AbstractName,
    ZeroByte,
    NoPort,
    PortRange,
    NoBrackets,
    NoIpAddress,
    NoService,
}

/// The error of a text that is not an [`Address`] or [`Location`](crate::Location). Its message says what to write
/// instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    problem: Problem,
}

impl AddressError {
    pub(super) fn new(text: &str, problem: Problem) -> Self {
        Self { text: text.to_owned(), problem }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, problem } = self;
        write!(f, "\"{text}\" is not an address: ")?;
        // The examples are of the kind that was meant.
        let ip = if text.starts_with("udp://") { "udp://" } else { "" };
        let unix = if text.starts_with("unix-dgram:") { "unix-dgram:" } else { "unix:" };
        match problem {
            Problem::NoPath => {
                write!(f, "a path must follow \"{unix}\", as in {unix}/run/x.sock")
            }
            Problem::LongPath => {
                write!(f, "the path of a Unix socket may have {UNIX_PATH_MAX} bytes at most")
            }
            Problem::AbstractName => write!(
                f,
                "abstract names of Unix sockets are not supported; a file of that name is \
                 written {unix}./@name"
            ),
            Problem::ZeroByte => f.write_str("the path of a Unix socket cannot have a zero byte"),
            Problem::NoPort => {
                write!(f, "a port must follow the IP address, as in {ip}127.0.0.1:8080")
            }
            Problem::PortRange => f.write_str("port numbers go from 0 to 65535"),
            Problem::NoBrackets => {
                write!(f, "an IPv6 address needs brackets, as in {ip}[::1]:8080")
            }
            Problem::NoIpAddress => write!(
                f,
                "an IP address must come before the port, as in {ip}127.0.0.1:8080 or \
                 {ip}[::1]:8080"
            ),
            Problem::NoService => write!(
                f,
                "a port or the name of a service must follow the name of the host, as in \
                 {ip}localhost:8080 or {ip}localhost:http"
            ),
        }
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_displayed() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("tcp://[::1]:8080", "[::1]:8080"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("unix:///run/x.sock", "unix:/run/x.sock"),
            ("unix:./@name", "unix:./@name"),
            ("udp://127.0.0.1:8000", "udp://127.0.0.1:8000"),
            ("udp://[::1]:8000", "udp://[::1]:8000"),
            ("unix-dgram:/run/x.sock", "unix-dgram:/run/x.sock"),
            ("unix-dgram:///run/x.sock", "unix-dgram:/run/x.sock"),
        ] {
            assert_eq!(text.parse::<Address>().expect("it is an address").to_string(), shown);
        }
    }

    #[test]
    fn an_error_says_what_to_write_instead() {
        for (text, hint) in [
            ("127.0.0.1:65536", "0 to 65535"),
            ("127.0.0.1", "a port must follow"),
            ("127.0.0.1:http", "a port must follow"),
            ("::1:80", "brackets"),
            ("localhost:80", "an IP address must come"),
            ("127.0.0.1:+80", "a port must follow"),
            ("unix:", "a path must follow"),
            ("unix-dgram:", "as in unix-dgram:/run/x.sock"),
            ("udp://127.0.0.1", "as in udp://127.0.0.1:8080"),
            ("udp://::1:80", "as in udp://[::1]:8080"),
            ("udp://:80", "as in udp://127.0.0.1:8080 or udp://[::1]:8080"),
            ("udp://127.0.0.1:65536", "0 to 65535"),
            ("unix:@name", "abstract names of Unix sockets are not supported"),
            ("unix://@name", "abstract names of Unix sockets are not supported"),
            (&format!("unix:/{}", "x".repeat(107)), "107 bytes at most"),
            ("", "a port must follow"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(hint) && error.contains(text), "{text}: {error}");
        }
    }
}
