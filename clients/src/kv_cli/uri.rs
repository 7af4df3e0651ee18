//! Parses URIs of a server, a user and a database: `redis://user:password@host:port/database`. With
//! `rediss://`, the connection is encrypted.

use super::options::integer;

/// The parts of a URI. Settings for missing parts do not change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Uri {
    /// Whether the connection is encrypted.
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) database: Option<i64>,
}

/// Parses a URI as `redis-cli -u` does. All parts after the scheme are optional. A single word
/// before `@` is a password. An empty user counts as missing. An IPv6 address is in brackets.
///
/// # Errors
/// Returns the message for the user. It is the one of `redis-cli` if that has one.
pub(super) fn parse(text: &str) -> Result<Uri, String> {
    let (scheme, rest) = text.split_once("://").ok_or("Invalid URI scheme")?;
    // The other tools and the servers call it tls://.
    let tls = ["rediss", "tls"].iter().any(|it| scheme.eq_ignore_ascii_case(it));
    if !tls && !scheme.eq_ignore_ascii_case("redis") {
        return Err("Invalid URI scheme".to_owned());
    }
    let mut uri = Uri { tls, ..Uri::default() };
    // A password may contain a slash. The last @ ends it.
    let rest = match rest.rsplit_once('@') {
        Some((credentials, rest)) => {
            let (user, password) = credentials.split_once(':').unwrap_or(("", credentials));
            uri.user = some(decode(user)?);
            uri.password = some(decode(password)?);
            rest
        }
        None => rest,
    };
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = split_place(place)?;
    uri.host = some(decode(host)?);
    if let Some(port) = port.filter(|port| !port.is_empty()) {
        let number = u16::try_from(integer(port)).map_err(|_| "Invalid server port.")?;
        uri.port = Some(number);
    }
    uri.database = (!path.is_empty()).then(|| integer(path));
    Ok(uri)
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Splits `host:port` or `[address]:port`.
fn split_place(place: &str) -> Result<(&str, Option<&str>), String> {
    let Some(inner) = place.strip_prefix('[') else {
        return match place.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                Err(format!("An IPv6 address in a URI needs brackets: [{place}]"))
            }
            Some((host, port)) => Ok((host, Some(port))),
            None => Ok((place, None)),
        };
    };
    let (host, rest) = inner.split_once(']').ok_or("The URI has a bracket that is not closed")?;
    match rest.strip_prefix(':') {
        None if !rest.is_empty() => Err(format!("The URI needs a port after [{host}]")),
        port => Ok((host, port)),
    }
}

/// Replaces each `%` with two hexadecimal digits by the byte that they encode (RFC 3986, 2.1).
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        if after.is_empty() {
            return Err("Incomplete URI encoding".to_owned());
        }
        let digits = after.get(..2).filter(|it| it.iter().all(u8::is_ascii_hexdigit));
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or("Illegal character in URI encoding")?;
        bytes.push(byte);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| "Illegal character in URI encoding".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(
        user: Option<&str>,
        password: Option<&str>,
        host: Option<&str>,
        port: Option<u16>,
        database: Option<i64>,
    ) -> Uri {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (user, password, host) = (owned(user), owned(password), owned(host));
        Uri { tls: false, user, password, host, port, database }
    }

    #[test]
    fn every_part_after_the_scheme_is_optional() {
        for (text, expected) in [
            ("redis://", uri(None, None, None, None, None)),
            ("redis://h", uri(None, None, Some("h"), None, None)),
            ("REDIS://h:7000", uri(None, None, Some("h"), Some(7000), None)),
            ("redis://h:/", uri(None, None, Some("h"), None, None)),
            ("redis:///3", uri(None, None, None, None, Some(3))),
            ("redis://:7000/3?x=1", uri(None, None, None, Some(7000), Some(3))),
            ("redis://u:p@h:1/2", uri(Some("u"), Some("p"), Some("h"), Some(1), Some(2))),
            ("redis://:p@h", uri(None, Some("p"), Some("h"), None, None)),
            ("redis://p@h", uri(None, Some("p"), Some("h"), None, None)),
            ("redis://u:@h", uri(Some("u"), None, Some("h"), None, None)),
            ("redis://:p@/1", uri(None, Some("p"), None, None, Some(1))),
            ("redis://[::1]:7000/1", uri(None, None, Some("::1"), Some(7000), Some(1))),
            ("redis://[::1]", uri(None, None, Some("::1"), None, None)),
            ("redis://[fe80::1%25lo]", uri(None, None, Some("fe80::1%lo"), None, None)),
            ("redis://u%3A:p%40%2f%c3%a9@h", uri(Some("u:"), Some("p@/é"), Some("h"), None, None)),
            ("redis://u:p@s/s@h", uri(Some("u"), Some("p@s/s"), Some("h"), None, None)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn the_scheme_says_whether_the_connection_is_encrypted() {
        for (scheme, tls) in [("redis", false), ("rediss", true), ("RedisS", true), ("tls", true)] {
            let uri = parse(&format!("{scheme}://u:p@h:7/1")).expect(scheme);
            assert_eq!((uri.tls, uri.port, uri.database), (tls, Some(7), Some(1)), "{scheme}");
        }
    }

    #[test]
    fn invalid_uris_are_refused_with_a_message() {
        for (text, words) in [
            ("127.0.0.1", "Invalid URI scheme"),
            ("http://h", "Invalid URI scheme"),
            ("redis://a%zz:b@h", "Illegal character in URI encoding"),
            ("redis://a%2:b@h", "Illegal character in URI encoding"),
            ("redis://a%é:b@h", "Illegal character in URI encoding"),
            ("redis://a:%ff@h", "Illegal character in URI encoding"),
            ("redis://a%:b@h", "Incomplete URI encoding"),
            ("redis://h:70000", "Invalid server port."),
            ("redis://h:-1", "Invalid server port."),
            ("redis://::1", "[::1]"),
            ("redis://[::1", "not closed"),
            ("redis://[::1]7000", "port"),
        ] {
            let message = parse(text).expect_err(text);
            assert!(message.contains(words), "{text}: {message}");
        }
    }
}
