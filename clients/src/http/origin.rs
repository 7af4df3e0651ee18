//! Where a request goes: its origin, and the host and port of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use reactor::{Address, Location, Transport};
use url::{Host, Url};

use super::{Error, ErrorKind};

/// The origin of a URL (RFC 6454 section 4): the scheme, the host and the port. Connections are
/// shared by requests of one origin, and credentials never leave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether the scheme is `https`.
    pub is_secure: bool,
    /// The host: a name in lower case, in its form for the DNS (punycode), or an IP address without
    /// brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Origin {
    /// Returns the origin of a URL.
    ///
    /// # Errors
    /// When the scheme is neither `http` nor `https`, or there is no host.
    pub fn of(url: &Url) -> Result<Self, Error> {
        let is_secure = match url.scheme() {
            "http" => false,
            "https" => true,
            other => {
                let text =
                    format!("{url}: the scheme {other} is not supported, only http and https");
                return Err(Error::new(ErrorKind::Url, text));
            }
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => return Err(Error::new(ErrorKind::Url, format!("{url}: there is no host"))),
        };
        let port = url.port_or_known_default().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(Self { is_secure, host, port })
    }

    /// Returns the host and the port, as in a request of `CONNECT`: `one.example:443`, `[::1]:80`.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Returns the value of the field `Host`: the port is left out if it is that of the scheme
    /// (RFC 9110 section 7.2).
    pub fn host_field(&self) -> String {
        let usual = if self.is_secure { 443 } else { 80 };
        match (self.port == usual, self.host.contains(':')) {
            (true, true) => format!("[{}]", self.host),
            (true, false) => self.host.clone(),
            (false, _) => self.authority(),
        }
    }

    /// Returns where its server is.
    pub(super) fn location(&self) -> Location {
        location(&self.host, self.port)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host_field())
    }
}

/// Returns the location of a host and a port.
pub(super) fn location(host: &str, port: u16) -> Location {
    match host.parse::<IpAddr>() {
        Ok(ip) => Location::Address(Address::Tcp(SocketAddr::new(ip, port))),
        Err(_) => Location::Host {
            name: host.to_owned(),
            service: port.to_string(),
            transport: Transport::Tcp,
        },
    }
}

/// Parses a URL that a user or a program gives. A text without a scheme is one of `http`, as in
/// `localhost:8080/path`.
///
/// # Errors
/// When it is no URL, has no host, has the port 0 or a control character, or its scheme is neither
/// `http` nor `https`.
pub fn parse_url(text: &str) -> Result<Url, Error> {
    let refuse = |why: &str| -> Result<Url, Error> {
        let shown = text.escape_debug();
        Err(Error::new(ErrorKind::Url, format!("{shown}: this is no URL: {why}")))
    };
    if text.is_empty() {
        return Err(Error::new(ErrorKind::Url, "the URL is empty".to_owned()));
    }
    // The parser would leave out tabulators and line ends, wherever they are.
    if text.contains(char::is_control) {
        return refuse("it has a control character");
    }
    let has_scheme = text.contains("://");
    let whole = if has_scheme { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).or_else(|error| refuse(&error.to_string()))?;
    if Origin::of(&url)?.port == 0 {
        return refuse("no server has the port 0");
    }
    Ok(url)
}

/// Returns a URL as messages show it: without its password.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // It fails only for a URL without a host, which has no password.
    if url.password().is_some() {
        let _ = url.set_password(Some("***"));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_an_origin() {
        for (text, origin, host) in [
            ("http://one.example/x?y#z", "http://one.example", "one.example"),
            ("one.example", "http://one.example", "one.example"),
            ("localhost:8080/path", "http://localhost:8080", "localhost:8080"),
            ("https://One.Example:443/", "https://one.example", "one.example"),
            ("https://one.example:80/", "https://one.example:80", "one.example:80"),
            ("http://[::1]/", "http://[::1]", "[::1]"),
            ("http://[::1]:81/", "http://[::1]:81", "[::1]:81"),
            ("http://bücher.example/", "http://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let url = parse_url(text).expect(text);
            let found = Origin::of(&url).expect(text);
            assert_eq!((found.to_string().as_str(), found.host_field().as_str()), (origin, host));
        }
    }

    #[test]
    fn what_is_no_url_of_http_is_refused() {
        for (text, hint) in [
            ("ftp://one.example/", "the scheme ftp is not supported"),
            ("http://", "no URL"),
            ("http://a b/", "no URL"),
            ("http://one.example:70000/", "invalid port"),
            ("", "the URL is empty"),
            ("http://one.example:0/", "the port 0"),
            ("http://one.example/\r\nX: y", "a control character"),
            ("http://one.exa\tmple/", "a control character"),
            ("http://one.example/\u{85}", "a control character"),
        ] {
            let error = parse_url(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Url);
            let error = error.to_string();
            assert!(error.contains(hint) && !error.contains(char::is_control), "{error}");
        }
    }

    #[test]
    fn messages_do_not_show_a_password() {
        for (text, expected) in [
            ("http://me:p@w@one.example/a", "http://me:***@one.example/a"),
            ("http://:secret@one.example/", "http://:***@one.example/"),
            ("http://me@one.example/", "http://me@one.example/"),
        ] {
            assert_eq!(shown(&parse_url(text).expect(text)), expected);
        }
    }
}
