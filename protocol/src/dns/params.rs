//! The parameters of a service: SVCB and HTTPS records (RFC 9460).

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;

use super::text::{write_byte, write_text};

pub(super) const MANDATORY: u16 = 0;
pub(super) const ALPN: u16 = 1;
pub(super) const NO_DEFAULT_ALPN: u16 = 2;
pub(super) const PORT: u16 = 3;
pub(super) const IPV4_HINT: u16 = 4;
pub(super) const ECH: u16 = 5;
pub(super) const IPV6_HINT: u16 = 6;
pub(super) const DOH_PATH: u16 = 7;
pub(super) const OHTTP: u16 = 8;

/// The names of the parameters (RFC 9460 section 14.3.2, RFC 9461, RFC 9540).
const NAMES: &[&str] = &[
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
    "dohpath",
    "ohttp",
];
/// The key that is never assigned.
const INVALID: u16 = 65535;

/// A parameter of a service: its key, and the bytes of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The key (RFC 9460 section 14.3.2).
    pub key: u16,
    /// The value, in the form of the key.
    pub value: &'a [u8],
}

/// The key of a parameter, in its text form.
pub(super) struct Key(pub(super) u16);

impl Key {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if let Some(key) = NAMES.iter().position(|name| name.as_bytes() == text) {
            return Some(Self(key as u16));
        }
        let digits = std::str::from_utf8(text.strip_prefix(b"key")?).ok()?;
        let is_canonical = digits == "0" || !digits.starts_with(['0', '+']);
        is_canonical.then(|| digits.parse().ok().map(Self)).flatten()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "key{}", self.0),
        }
    }
}

/// Returns whether the value of a parameter has the form of its key.
pub(super) fn is_valid(key: u16, value: &[u8]) -> bool {
    match key {
        MANDATORY => {
            let keys = value.as_chunks::<2>().0;
            // The key itself is no mandatory one (RFC 9460 section 8).
            !value.is_empty()
                && value.len().is_multiple_of(2)
                && keys.is_sorted_by(|a, b| a < b)
                && keys[0] != MANDATORY.to_be_bytes()
        }
        ALPN => !value.is_empty() && protocols(value).all(|id| id.is_some_and(|id| !id.is_empty())),
        NO_DEFAULT_ALPN | OHTTP => value.is_empty(),
        PORT => value.len() == 2,
        IPV4_HINT => !value.is_empty() && value.len().is_multiple_of(4),
        IPV6_HINT => !value.is_empty() && value.len().is_multiple_of(16),
        DOH_PATH => std::str::from_utf8(value).is_ok(),
        INVALID => false,
        _ => true,
    }
}

/// Returns the protocols of an `alpn` parameter. `None` stands for one that exceeds the value.
pub(super) fn protocols(value: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let (size, after) = rest.split_first()?;
        let id = after.get(..usize::from(*size));
        rest = id.map_or(&[][..], |id| &after[id.len()..]);
        Some(id)
    })
}

/// Writes a parameter (RFC 9460 section 2.1).
pub(super) fn write(f: &mut fmt::Formatter<'_>, param: &Param<'_>) -> fmt::Result {
    let Param { key, value } = *param;
    write!(f, "{}", Key(key))?;
    if value.is_empty() {
        return Ok(());
    }
    f.write_char('=')?;
    match key {
        MANDATORY => write_list(f, value.as_chunks::<2>().0, |f, key| {
            write!(f, "{}", Key(u16::from_be_bytes(*key)))
        }),
        PORT => write!(f, "{}", value.iter().fold(0, |port, byte| port << 8 | u32::from(*byte))),
        IPV4_HINT => write_list(f, value.as_chunks::<4>().0, |f, address| {
            write!(f, "{}", Ipv4Addr::from(*address))
        }),
        IPV6_HINT => write_list(f, value.as_chunks::<16>().0, |f, address| {
            write!(f, "{}", Ipv6Addr::from(*address))
        }),
        ECH => f.write_str(&BASE64.encode(value)),
        ALPN => {
            f.write_char('"')?;
            for (index, id) in protocols(value).flatten().enumerate() {
                if index > 0 {
                    f.write_char(',')?;
                }
                id.iter().try_for_each(|byte| match byte {
                    // A comma is part of the list, so its escape sequence is escaped again (RFC 9460
                    // appendix A.1).
                    b',' => f.write_str("\\\\,"),
                    b'\\' => f.write_str("\\\\\\\\"),
                    _ => write_byte(f, *byte),
                })?;
            }
            f.write_char('"')
        }
        _ => write_text(f, value),
    }
}

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_char(',')?;
        }
        write(f, item)?;
    }
    Ok(())
}

/// Reads a parameter: a key, and an equals sign with a value if it has one. `text` has the escape
/// sequences of a text resolved.
pub(super) fn parse(text: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (key, value) = match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    let Key(key) = Key::parse(key)?;
    let mut bytes = Vec::new();
    let as_text = || std::str::from_utf8(value).ok();
    match key {
        MANDATORY => {
            let keys: Option<Vec<u16>> = value
                .split(|byte| *byte == b',')
                .map(|key| Key::parse(key).map(|key| key.0))
                .collect();
            let mut keys = keys?;
            keys.sort_unstable();
            bytes.extend(keys.iter().flat_map(|key| key.to_be_bytes()));
        }
        ALPN => {
            for id in split_list(value)? {
                bytes.push(u8::try_from(id.len()).ok()?);
                bytes.extend(id);
            }
        }
        PORT => bytes.extend(as_text()?.parse::<u16>().ok()?.to_be_bytes()),
        IPV4_HINT => {
            for address in as_text()?.split(',') {
                bytes.extend(address.parse::<Ipv4Addr>().ok()?.octets());
            }
        }
        IPV6_HINT => {
            for address in as_text()?.split(',') {
                bytes.extend(address.parse::<Ipv6Addr>().ok()?.octets());
            }
        }
        ECH => bytes = BASE64.decode(value).ok()?,
        _ => bytes.extend(value),
    }
    is_valid(key, &bytes).then_some((key, bytes))
}

/// Divides a list at its commas. A backslash takes the meaning from the byte after it.
fn split_list(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut items, mut item, mut bytes) = (Vec::new(), Vec::new(), value.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => item.push(*bytes.next()?),
            b',' => items.push(std::mem::take(&mut item)),
            _ => item.push(*byte),
        }
    }
    items.push(item);
    Some(items)
}
