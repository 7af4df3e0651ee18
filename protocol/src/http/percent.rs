//! Percent-encoding (RFC 3986 section 2.1).

use std::borrow::Cow;

/// Decodes the percent-encoded bytes of a part of a URI. Returns `None` if a `%` is not followed by
/// two hexadecimal digits, or if the result is not UTF-8.
///
/// Decode a path after it was split at its slashes: `%2F` is a slash that does not separate.
///
/// ```
/// use protocol::http::decode_percent;
///
/// assert_eq!(decode_percent("a%20b").as_deref(), Some("a b"));
/// assert_eq!(decode_percent("100%"), None);
/// ```
pub fn decode_percent(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let (mut decoded, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, rest @ ..] => {
                let high = char::from(*high).to_digit(16)?;
                let low = char::from(*low).to_digit(16)?;
                decoded.push((high << 4 | low) as u8);
                rest
            }
            [b'%', ..] => return None,
            [byte, rest @ ..] => {
                decoded.push(*byte);
                rest
            }
        };
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Returns the names and values of a query, or of a form in a body
/// (`application/x-www-form-urlencoded`), decoded. A part that cannot be decoded is returned as it
/// is.
///
/// ```
/// use protocol::http::query_pairs;
///
/// let pairs: Vec<_> = query_pairs("name=J%C3%BCrgen+M&all").collect();
/// assert_eq!(pairs, [("name".into(), "J\u{fc}rgen M".into()), ("all".into(), "".into())]);
/// ```
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_form(name), decode_form(value))
    })
}

fn decode_form(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return decode_percent(text).unwrap_or(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    match decode_percent(&spaced) {
        Some(decoded) => Cow::Owned(decoded.into_owned()),
        None => Cow::Borrowed(text),
    }
}
