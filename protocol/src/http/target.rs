//! Request targets, and hosts.

use super::Refusal;
use crate::search::find_byte;

/// What a request is about (RFC 9112 section 3.2). Nothing in it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A path with an optional query: the usual form.
    Origin {
        /// The path, which begins with `/`.
        path: &'a str,
        /// What follows the first `?`.
        query: Option<&'a str>,
    },
    /// A whole URI, as it is sent to proxies.
    Absolute {
        /// The scheme, such as `http`.
        scheme: &'a str,
        /// The host, with an optional port.
        authority: &'a str,
        /// The path: `/` if the URI has none.
        path: &'a str,
        /// What follows the first `?`.
        query: Option<&'a str>,
    },
    /// A host and a port, for `CONNECT` alone.
    Authority(&'a str),
    /// `*`: the server itself, for `OPTIONS` alone.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Parses a target. Its bytes have been checked.
    pub(super) fn parse(text: &'a str, method: &str) -> Result<Self, Refusal> {
        if method == "CONNECT" {
            let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !port.is_empty() && is_port(port.as_bytes())
            });
            let is_valid = has_port && is_host(text.as_bytes());
            return if is_valid { Ok(Self::Authority(text)) } else { Err(Refusal::Target) };
        }
        if text.starts_with('/') {
            let (path, query) = split_query(text);
            return Ok(Self::Origin { path, query });
        }
        if text == "*" && method == "OPTIONS" {
            return Ok(Self::Asterisk);
        }
        Self::parse_absolute(text).ok_or(Refusal::Target)
    }

    fn parse_absolute(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (first, others) = scheme.as_bytes().split_first()?;
        let is_scheme = first.is_ascii_alphabetic()
            && others.iter().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(it));
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if !is_scheme || authority.is_empty() || !is_host(authority.as_bytes()) {
            return None;
        }
        let (path, query) = split_query(rest);
        let path = if path.is_empty() { "/" } else { path };
        Some(Self::Absolute { scheme, authority, path, query })
    }

    /// Returns the path: `*` for the asterisk form, and empty for `CONNECT`.
    pub fn path(&self) -> &'a str {
        match *self {
            Self::Origin { path, .. } | Self::Absolute { path, .. } => path,
            Self::Authority(_) => "",
            Self::Asterisk => "*",
        }
    }

    /// Returns the query, without its `?`.
    pub fn query(&self) -> Option<&'a str> {
        match *self {
            Self::Origin { query, .. } | Self::Absolute { query, .. } => query,
            Self::Authority(_) | Self::Asterisk => None,
        }
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match find_byte(text.as_bytes(), b'?') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Returns whether `bytes` are a port, or empty: up to five digits.
fn is_port(bytes: &[u8]) -> bool {
    if bytes.len() > 5 {
        return false;
    }
    let number = bytes.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { Some(number * 10 + u32::from(digit)) }
    });
    number.is_some_and(|number| number <= u16::MAX.into())
}

/// The bytes of a registered name or an address of IPv4 (RFC 3986 section 3.2.2).
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let it = byte as u8;
        table[byte] = it.is_ascii_alphanumeric()
            || matches!(
                it,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    table
};

/// Returns whether `bytes` are a host with an optional port, or empty (RFC 3986 section 3.2.2).
pub(super) fn is_host(bytes: &[u8]) -> bool {
    let rest = match bytes {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|it| *it == b']') else { return false };
            let is_valid = |it: &u8| it.is_ascii_alphanumeric() || b":.-_~".contains(it);
            if end == 0 || !rest[..end].iter().all(is_valid) {
                return false;
            }
            &rest[end + 1..]
        }
        _ => {
            let mut end = 0;
            while end < bytes.len() && NAME[usize::from(bytes[end])] {
                end += 1;
            }
            &bytes[end..]
        }
    };
    match rest {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    }
}
