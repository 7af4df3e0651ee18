//! Addresses of servers, in the form in which users write them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::AbstractName;
use crate::sys::{Endpoint, UNIX_PATH_MAX};

/// An address on which a server listens or to which a client connects: TCP or UDP over IPv4 or
/// IPv6, or a Unix socket of streams or datagrams.
///
/// A name after `@` is an abstract one; a file whose name begins so is written `unix:./@name`. In an
/// abstract name, `\\` stands for a backslash and `\x1f` for the byte with that hexadecimal value.
///
/// ```
/// use reactor::Address;
///
/// for text in ["127.0.0.1:8080", "tcp://[::1]:8080", "unix:/run/x.sock", "unix:@name"] {
///     assert!(text.parse::<Address>().is_ok_and(|address| !address.is_datagram()));
/// }
/// for text in ["udp://127.0.0.1:8000", "unix-dgram:/run/x.sock", "unix-dgram:@name"] {
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
    /// The abstract name of a Unix stream socket.
    Abstract(AbstractName),
    /// The abstract name of a Unix datagram socket.
    AbstractDatagram(AbstractName),
}

impl Address {
    /// Returns whether it is an address of datagrams: see
    /// [`DatagramSocket`](crate::DatagramSocket).
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::UnixDatagram(_) | Self::AbstractDatagram(_))
    }

    /// Returns whether it is an address of a Unix socket.
    pub fn is_unix(&self) -> bool {
        !matches!(self, Self::Tcp(_) | Self::Udp(_))
    }

    /// Returns the address of a Unix socket by its name as the kernel has it; `None` if it has no
    /// name.
    pub(crate) fn of_unix_socket(name: &[u8], is_datagram: bool) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt;
        Some(match name {
            [] => return None,
            [0, name @ ..] => {
                let name = AbstractName::new(name).ok()?;
                if is_datagram { Self::AbstractDatagram(name) } else { Self::Abstract(name) }
            }
            path => {
                let path = Path::new(std::ffi::OsStr::from_bytes(path)).to_owned();
                if is_datagram { Self::UnixDatagram(path) } else { Self::Unix(path) }
            }
        })
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
            Self::Abstract(name) | Self::AbstractDatagram(name) => {
                Endpoint::Abstract(name.as_bytes())
            }
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
            Self::Abstract(name) => write!(f, "unix:{name}"),
            Self::AbstractDatagram(name) => write!(f, "unix-dgram:{name}"),
        }
    }
}

/// A path as an address shows it. Two slashes at its beginning would be taken for those of a scheme, so
/// they follow two more. An `@` there would be taken for that of an abstract name.
struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.display();
        match self.0.as_os_str().as_encoded_bytes() {
            [b'/', b'/', ..] => f.write_str("//")?,
            [b'@', ..] => f.write_str("./")?,
            _ => {}
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
            if let Some(name) = path.strip_prefix('@') {
                return parse_abstract(name, is_datagram)
                    .map_err(|problem| AddressError::new(text, problem));
            }
            return match path.len() {
                0 => fail(Problem::NoPath),
                length if length > UNIX_PATH_MAX => fail(Problem::LongPath),
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

/// Returns the address of a Unix socket with an abstract name, which follows the `@`.
fn parse_abstract(name: &str, is_datagram: bool) -> Result<Address, Problem> {
    if name.is_empty() {
        return Err(Problem::NoName);
    }
    if name.contains('\0') {
        return Err(Problem::ZeroByte);
    }
    let name = AbstractName::unescape(name).ok_or(Problem::WrongEscape)?;
    let name = AbstractName::new(name).map_err(|_| Problem::LongName)?;
    Ok(if is_datagram { Address::AbstractDatagram(name) } else { Address::Abstract(name) })
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NoPath,
    LongPath,
    NoName,
    LongName,
    WrongEscape,
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
            Problem::NoName => write!(
                f,
                "an abstract name must follow \"{unix}@\", as in {unix}@name; the file \"@\" is \
                 written {unix}./@"
            ),
            Problem::LongName => write!(
                f,
                "the abstract name of a Unix socket may have {UNIX_PATH_MAX} bytes at most"
            ),
            Problem::WrongEscape => f.write_str(
                "in an abstract name, a backslash is written \\\\, and the byte with the value 31 \\x1f",
            ),
            Problem::ZeroByte => f.write_str("the name of a Unix socket cannot have a zero byte"),
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
            ("unix:@name", "unix:@name"),
            ("unix://@name", "unix:@name"),
            ("unix-dgram:@a b", "unix-dgram:@a b"),
            ("unix:@a\u{16}\u{85}", "unix:@a\\x16\\xc2\\x85"),
            ("unix:@\\x00\\xff\\\\\\x41", "unix:@\\x00\\xff\\\\A"),
            ("udp://127.0.0.1:8000", "udp://127.0.0.1:8000"),
            ("udp://[::1]:8000", "udp://[::1]:8000"),
            ("unix-dgram:/run/x.sock", "unix-dgram:/run/x.sock"),
            ("unix-dgram:///run/x.sock", "unix-dgram:/run/x.sock"),
        ] {
            assert_eq!(text.parse::<Address>().expect("it is an address").to_string(), shown);
        }
        assert_eq!(Address::Unix("@name".into()).to_string(), "unix:./@name");
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
            ("unix:@", "an abstract name must follow \"unix:@\""),
            ("unix-dgram:@", "as in unix-dgram:@name"),
            (&format!("unix:@{}", "x".repeat(108)), "may have 107 bytes at most"),
            ("unix:@a\0b", "cannot have a zero byte"),
            ("unix:@a\\b", "a backslash is written \\\\,"),
            (&format!("unix:/{}", "x".repeat(107)), "107 bytes at most"),
            ("", "a port must follow"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(hint) && error.contains(text), "{text}: {error}");
        }
    }
}
