//! Proxies, and which requests go through one.

use std::fmt;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::origin::location;
use super::{Error, ErrorKind, Origin};

/// The protocol of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// HTTP: requests of `https` go through a tunnel (`CONNECT`, RFC 9110 section 9.3.6), those of
    /// `http` are sent to the proxy with their whole URL.
    Http,
    /// SOCKS5 (RFC 1928). The proxy resolves names.
    Socks5,
}

/// A proxy.
///
/// ```
/// use clients::http::Proxy;
///
/// let proxy: Proxy = "socks5://user:word@127.0.0.1:1080".parse()?;
/// assert_eq!(proxy.to_string(), "socks5://127.0.0.1:1080");
/// # Ok::<(), clients::http::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// The protocol.
    pub kind: ProxyKind,
    /// The host of the proxy.
    pub host: String,
    /// The port of the proxy.
    pub port: u16,
    /// The user and the password, if it asks for them.
    pub user: Option<(String, String)>,
}

impl Proxy {
    /// Returns where the proxy is.
    pub(super) fn location(&self) -> reactor::Location {
        location(&self.host, self.port)
    }
}

impl std::str::FromStr for Proxy {
    type Err = Error;

    /// Parses `http://HOST:PORT`, `socks5://HOST:PORT` or `socks5h://HOST:PORT`, with
    /// `USER:PASSWORD@` before the host if needed. Without a scheme it is a proxy of HTTP. The port
    /// is 1080 if none is given, as for curl.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: String| {
            Error::new(ErrorKind::Url, format!("{text}: this is no address of a proxy: {why}"))
        };
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let (scheme, rest) = whole.split_once("://").unwrap_or(("", &whole));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyKind::Http,
            "socks5" | "socks5h" => ProxyKind::Socks5,
            other => {
                let known = "http, socks5 and socks5h are supported";
                return Err(refuse(format!("of its scheme {other:?} nothing is known; {known}")));
            }
        };
        // Of a scheme that is not special, `url` takes the host as it is.
        let url = Url::parse(&format!("http://{rest}")).map_err(|it| refuse(it.to_string()))?;
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => return Err(refuse("it has no host".to_owned())),
        };
        let is_80 = || rest.trim_end_matches('/').ends_with(":80");
        let port = url.port().unwrap_or_else(|| if is_80() { 80 } else { 1080 });
        Ok(Self { kind, host, port, user: user_of(&url) })
    }
}

/// Returns the user and the password of a URL.
pub(crate) fn user_of(url: &Url) -> Option<(String, String)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let is_there = !url.username().is_empty() || url.password().is_some();
    is_there.then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    /// Leaves out the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The proxies for all requests, and the hosts that are reached without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy for requests of `http`.
    pub http: Option<Proxy>,
    /// The proxy for requests of `https`.
    pub https: Option<Proxy>,
    /// Hosts that are reached without a proxy: `one.example` with everything below it, an IP address,
    /// a network (`10.0.0.0/8`), or `*` for all.
    pub except: Vec<String>,
}

impl Proxies {
    /// Returns this proxy for everything.
    pub fn all(proxy: Proxy) -> Self {
        Self { http: Some(proxy.clone()), https: Some(proxy), except: Vec::new() }
    }

    /// Returns what the environment says: `http_proxy` (in lower case only: a CGI program is given
    /// the field `Proxy` of a request as `HTTP_PROXY`), `https_proxy`, `all_proxy` and `no_proxy`,
    /// the last three in upper case too. `variable` reads one of them.
    ///
    /// # Errors
    /// When one of them is no address of a proxy.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| variable(name).filter(|it| !it.is_empty()))
        };
        let proxy = |names: &[&str]| first(names).map(|text| text.parse()).transpose();
        let except = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        Ok(Self {
            http: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"])?,
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            except: split(&except),
        })
    }

    /// Returns the proxy for an origin, if there is one.
    pub fn for_origin(&self, origin: &Origin) -> Option<&Proxy> {
        if self.except.iter().any(|it| covers(it, &origin.host)) {
            return None;
        }
        if origin.is_secure { self.https.as_ref() } else { self.http.as_ref() }
    }
}

/// Splits a list of hosts at commas and spaces.
pub fn split(list: &str) -> Vec<String> {
    let parts = list.split([',', ' ']).map(str::trim).filter(|it| !it.is_empty());
    parts.map(|it| it.to_ascii_lowercase()).collect()
}

/// Returns whether an entry of such a list covers a host.
fn covers(entry: &str, host: &str) -> bool {
    if entry == "*" {
        return true;
    }
    let entry = entry.trim_start_matches('.').trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = host.parse::<IpAddr>() {
        let (network, bits) = entry.split_once('/').unwrap_or((entry, ""));
        return network.parse::<IpAddr>().is_ok_and(|it| is_in(ip, it, bits));
    }
    let host = host.trim_end_matches('.');
    host.strip_suffix(entry).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Returns whether an address is in a network.
fn is_in(ip: IpAddr, network: IpAddr, bits: &str) -> bool {
    let number = |ip| match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), 32_u32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let ((ip, size), (network, network_size)) = (number(ip), number(network));
    let bits = if bits.is_empty() { Some(size) } else { bits.parse::<u32>().ok() };
    let Some(bits) = bits.filter(|bits| *bits <= size && size == network_size) else {
        return false;
    };
    let shift = size - bits;
    bits == 0 || ip >> shift == network >> shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_url;

    #[test]
    fn addresses_of_proxies_are_parsed() {
        for (text, expected, user) in [
            ("127.0.0.1:3128", "http://127.0.0.1:3128", None),
            ("http://p.example", "http://p.example:1080", None),
            ("http://p.example:80/", "http://p.example:80", None),
            ("socks5://[::1]:9050", "socks5://[::1]:9050", None),
            ("socks5h://u:p%40w@p.example:1", "socks5://p.example:1", Some(("u", "p@w"))),
        ] {
            let proxy: Proxy = text.parse().expect(text);
            assert_eq!(proxy.to_string(), expected);
            let found = proxy.user.as_ref().map(|(user, word)| (user.as_str(), word.as_str()));
            assert_eq!(found, user);
            assert!(!format!("{proxy:?}").contains("p@w"), "the password is not shown");
        }
        for text in ["https://p.example:1", "ftp://p.example", "http://", "p:99999"] {
            assert!(text.parse::<Proxy>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_environment_names_proxies_and_exceptions() {
        let proxies = Proxies::from_environment(|name| {
            let value = match name {
                "HTTP_PROXY" => "attacker.example:1",
                "all_proxy" => "all.example:1",
                "HTTPS_PROXY" => "secure.example:2",
                "no_proxy" => "one.example, .two.example,10.0.0.0/8,::1,192.0.2.7",
                _ => return None,
            };
            Some(value.to_owned())
        })
        .expect("they can be used");
        for (url, proxy) in [
            ("http://three.example", Some("http://all.example:1")),
            ("https://three.example", Some("http://secure.example:2")),
            ("http://one.example:81", None),
            ("http://www.one.example", None),
            ("http://notone.example", Some("http://all.example:1")),
            ("http://two.example", None),
            ("http://a.two.example.", None),
            ("http://10.1.2.3", None),
            ("http://11.1.2.3", Some("http://all.example:1")),
            ("http://[::1]", None),
            ("http://[::2]", Some("http://all.example:1")),
            ("http://192.0.2.7", None),
            ("http://192.0.2.71", Some("http://all.example:1")),
        ] {
            let origin = Origin::of(&parse_url(url).expect(url)).expect(url);
            let found = proxies.for_origin(&origin).map(ToString::to_string);
            assert_eq!(found.as_deref(), proxy, "{url}");
        }
        let all = Proxies { except: split("*"), ..proxies };
        let origin = Origin::of(&parse_url("three.example").expect("a URL")).expect("an origin");
        assert_eq!(all.for_origin(&origin), None);
    }
}
