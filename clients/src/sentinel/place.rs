//! Where a server is, as sentinels say it.

use std::fmt;
use std::str::FromStr;

use super::ParseError;

/// The longest host name (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 255;

/// The host and the port of a server, as sentinels announce them. The host is an IP address or, if
/// the sentinels are configured so, a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    host: String,
    port: u16,
}

impl Place {
    /// Returns the place of a host and a port.
    ///
    /// # Errors
    /// When the host is empty, longer than 255 bytes, or contains a character that no address and no
    /// name has; or when the port is not a number from 1 to 65535.
    pub fn parse(host: &str, port: &str) -> Result<Self, ParseError> {
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_%".contains(&byte);
        if host.is_empty() || host.len() > HOST_MAX || !host.bytes().all(is_usual) {
            return Err(ParseError("the host is neither an address nor a name"));
        }
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if port > 0 && is_number => Ok(Self { host: host.to_owned(), port }),
            _ => Err(ParseError("the port is not a number from 1 to 65535")),
        }
    }

    /// Returns the host: an IP address or a name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address of the place for a client. It is one of TCP, so a sentinel that calls its
    /// host `unix` does not name the path of a socket.
    pub fn address(&self) -> String {
        format!("tcp://{self}")
    }
}

impl FromStr for Place {
    type Err = ParseError;

    /// Parses `HOST:PORT`. An IPv6 address is in brackets.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let missing = ParseError("the address has no port: it is HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or(missing)?;
        match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => Self::parse(host, port),
            None if host.contains(':') => Err(ParseError("an IPv6 address needs brackets")),
            None => Self::parse(host, port),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        // An IPv6 address, which may have a scope.
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_place_is_one_of_tcp_whatever_its_host_is_called() {
        let place: Place = "unix:26379".parse().expect("unix may be a name");
        let location: reactor::Location = place.address().parse().expect("a location");
        assert_eq!(location.to_string(), "tcp://unix:26379");
        assert_ne!(Ok(location), place.to_string().parse());
    }

    #[test]
    fn a_place_is_written_as_an_address() {
        for (host, port, text) in [
            ("127.0.0.1", "6379", "127.0.0.1:6379"),
            ("::1", "6379", "[::1]:6379"),
            ("fe80::1%eth0", "6379", "[fe80::1%eth0]:6379"),
            ("redis-1.example", "65535", "redis-1.example:65535"),
        ] {
            let place = Place::parse(host, port).expect(text);
            assert_eq!(place.to_string(), text);
            assert!(text.parse::<reactor::Location>().is_ok(), "{text}");
            assert_eq!(text.parse(), Ok(place));
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let long = "x".repeat(256);
        for (host, port) in [
            ("", "1"),
            ("a b", "1"),
            ("a\n", "1"),
            ("[::1]", "1"),
            (long.as_str(), "1"),
            ("a", "0"),
            ("a", "65536"),
            ("a", "-1"),
            ("a", "+1"),
            ("a", ""),
            ("a", " 1"),
        ] {
            assert!(Place::parse(host, port).is_err(), "{host:?} {port:?}");
        }
        for text in ["", "a", "a:", ":1", "::1:1", "[::1]", "[::1]:x"] {
            assert!(text.parse::<Place>().is_err(), "{text:?}");
        }
    }
}
