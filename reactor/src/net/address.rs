//! Addresses of servers, in the form in which users write them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
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
    fn of(text: &str) -> (Self, &str) {
        match text.strip_prefix("udp://") {
            Some(rest) => (Self::Udp, rest),
            None => (Self::Tcp, text.strip_prefix("tcp://").unwrap_or(text)),
        }
    }

    /// Returns what precedes an address in text. TCP is the default.
    fn prefix(self) -> &'static str {
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
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::UnixDatagram(path) => write!(f, "unix-dgram:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fail = |problem| Err(AddressError { text: text.to_owned(), problem });
        let unix: [(_, fn(PathBuf) -> Self); 2] =
            [("unix:", Self::Unix), ("unix-dgram:", Self::UnixDatagram)];
        for (prefix, make) in unix {
            let Some(path) = text.strip_prefix(prefix) else { continue };
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.len() {
                0 => fail(Problem::NoPath),
                length if length > UNIX_PATH_MAX => fail(Problem::LongPath),
                _ if path.starts_with('@') => fail(Problem::AbstractName),
                _ if path.contains('\0') => fail(Problem::ZeroByte),
                _ => Ok(make(path.into())),
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

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The location of a server as users write it: an [`Address`], or the name of a host and a port,
/// which stands for all addresses of that host.
///
/// ```
/// use reactor::Location;
///
/// let location: Location = "localhost:8080".parse()?;
/// assert!(!location.addresses()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// An address.
    Address(Address),
    /// A host name and a port.
    Host {
        /// The name: labels of letters, digits, `-` and `_`, separated by dots.
        name: String,
        /// The port, which is the same for each address of the host.
        port: u16,
        /// The protocol.
        transport: Transport,
    },
}

impl Location {
    /// Returns the addresses that it stands for, each once. A host name is resolved by
    /// `getaddrinfo(3)` in each call, and its addresses keep the order of the resolver. This blocks
    /// and may take seconds: call it before the loop runs, or on another thread.
    ///
    /// # Errors
    /// When the resolver does not know the name, or has no address for it.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        let (name, port, transport) = match self {
            Self::Address(address) => return Ok(vec![address.clone()]),
            Self::Host { name, port, transport } => (name, *port, *transport),
        };
        let found = (name.as_str(), port).to_socket_addrs().map_err(|error| {
            io::Error::new(error.kind(), format!("{self}: unknown name ({error})"))
        })?;
        let mut addresses = Vec::new();
        for address in found.map(|address| transport.address(address)) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let text = format!("{self}: the name has no address");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(addresses)
    }
}

impl From<Address> for Location {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host { name, port, transport } => {
                write!(f, "{}{name}:{port}", transport.prefix())
            }
        }
    }
}

impl FromStr for Location {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = match text.parse() {
            Ok(address) => return Ok(Self::Address(address)),
            Err(error) => error,
        };
        let (transport, rest) = Transport::of(text);
        match rest.rsplit_once(':') {
            Some((name, port)) if is_name(name) && is_number(port) => match port.parse() {
                Ok(port) => Ok(Self::Host { name: name.to_owned(), port, transport }),
                Err(_) => Err(error),
            },
            _ => Err(error),
        }
    }
}

/// Returns whether a text may be the name of a host (RFC 1123). If its last label is a number, the
/// text is a mistyped IP address, which some resolvers would accept in part.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_hexadecimal = last.starts_with("0x") || last.starts_with("0X");
    name.split('.').all(is_label) && !is_number(last) && !is_hexadecimal
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    NoPath,
    LongPath,
    AbstractName,
    ZeroByte,
    NoPort,
    PortRange,
    NoBrackets,
    NoIpAddress,
}

/// The error of a text that is not an [`Address`] or [`Location`]. Its message says what to write
/// instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    problem: Problem,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not an address: ", self.text)?;
        f.write_str(match self.problem {
            Problem::NoPath => "a path must follow \"unix:\", as in unix:/run/x.sock",
            Problem::LongPath => {
                return write!(
                    f,
                    "the path of a Unix socket may have {UNIX_PATH_MAX} bytes at most"
                );
            }
            Problem::AbstractName => {
                "abstract names of Unix sockets are not supported; a file of that name is \
                 written unix:./@name"
            }
            Problem::ZeroByte => "the path of a Unix socket cannot have a zero byte",
            Problem::NoPort => "a port must follow the IP address, as in 127.0.0.1:8080",
            Problem::PortRange => "port numbers go from 0 to 65535",
            Problem::NoBrackets => "an IPv6 address needs brackets, as in [::1]:8080",
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
            ("unix-dgram:", "a path must follow"),
            ("udp://127.0.0.1", "a port must follow"),
            ("udp://127.0.0.1:65536", "0 to 65535"),
            ("unix:@name", "abstract names of Unix sockets are not supported"),
            ("unix://@name", "abstract names of Unix sockets are not supported"),
            (&format!("unix:/{}", "x".repeat(107)), "107 bytes at most"),
            ("", "a port must follow"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(hint) && error.contains(text), "{text}: {error}");
            if hint != "an IP address must come" {
                let error = text.parse::<Location>().expect_err(text).to_string();
                assert!(error.contains(hint), "{text}: {error}");
            }
        }
    }

    #[test]
    fn a_mistyped_address_is_not_taken_for_a_host() {
        for text in [
            "localhost:80",
            "udp://localhost:80",
            "a-b.example.:1",
            "3com.example:65535",
            "under_score:1",
        ] {
            let location = text.parse::<Location>().expect(text);
            assert!(matches!(location, Location::Host { .. }), "{location:?}");
            assert_eq!(location.to_string(), text);
        }
        assert!(matches!("127.0.0.1:1".parse(), Ok(Location::Address(Address::Tcp(_)))));
        assert!(matches!("unix:/x".parse(), Ok(Location::Address(Address::Unix(_)))));
        for text in [
            "127.0.0.300:80",
            "1.2:80",
            "0x7f000001:80",
            "a b:80",
            "http://x:80",
            "..:80",
            "[::1:80",
        ] {
            let error = text.parse::<Location>().expect_err(text).to_string();
            assert!(error.contains("an IP address must come"), "{text}: {error}");
        }
    }

    #[test]
    fn each_address_of_a_host_is_returned_once() {
        let location: Location = "localhost:80".parse().expect("it is a name");
        let addresses = location.addresses().expect("every machine has this name");
        let twice = |address| addresses.iter().filter(|it| *it == address).count() > 1;
        assert!(!addresses.is_empty() && !addresses.iter().any(twice), "{addresses:?}");
        let nowhere: Location = "no-such-host.invalid:80".parse().expect("it is a name");
        let error = nowhere.addresses().expect_err("the domain is reserved (RFC 6761)").to_string();
        assert!(error.contains("unknown name"), "{error}");
    }
}
