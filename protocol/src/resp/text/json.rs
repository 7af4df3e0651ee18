//! JSON, as `redis-cli` prints it.

use super::repr;
use crate::resp::{Item, Value};

/// How strings are written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonStrings {
    /// Unchanged, which is JSON only if they are UTF-8: `redis-cli --json`.
    Plain,
    /// In the quotes of `redis-cli`, whose backslashes are escaped once more, so that any byte can
    /// be expressed: `redis-cli --quoted-json`.
    Quoted,
}

/// Appends `value` as JSON in one line, without a line end, as `redis-cli` prints it.
///
/// As in `redis-cli`, an error is written as `error:` and a string, and a key that is an aggregate
/// as its JSON in quotes. Neither is valid JSON.
pub fn json(value: Value<'_>, strings: JsonStrings, text: &mut Vec<u8>) {
    match value.item() {
        Item::Null | Item::NullArray => text.extend_from_slice(b"null"),
        Item::Boolean(true) => text.extend_from_slice(b"true"),
        Item::Boolean(false) => text.extend_from_slice(b"false"),
        Item::Integer(_) | Item::Double(_) | Item::BigNumber(_) => {
            text.extend_from_slice(value.text());
        }
        Item::Error(words) | Item::BulkError(words) => {
            text.extend_from_slice(b"error:");
            string(words, strings, text);
        }
        Item::Simple(bytes) | Item::Bulk(bytes) | Item::Verbatim { text: bytes, .. } => {
            string(bytes, strings, text);
        }
        Item::Map(_) => {
            text.push(b'{');
            for (number, (name, value)) in value.pairs().enumerate() {
                text.extend_from_slice(if number == 0 { b"" } else { b"," });
                key(name, strings, text);
                text.push(b':');
                json(value, strings, text);
            }
            text.push(b'}');
        }
        Item::Array(_) | Item::Set(_) | Item::Push(_) => {
            text.push(b'[');
            for (number, element) in value.elements().enumerate() {
                text.extend_from_slice(if number == 0 { b"" } else { b"," });
                json(element, strings, text);
            }
            text.push(b']');
        }
    }
}

/// Appends a key, which has to be a string in JSON.
fn key(value: Value<'_>, strings: JsonStrings, text: &mut Vec<u8>) {
    let is_string = matches!(
        value.item(),
        Item::Simple(_) | Item::Bulk(_) | Item::Verbatim { .. } | Item::Error(_)
    );
    if is_string {
        return json(value, strings, text);
    }
    text.push(b'"');
    json(value, strings, text);
    text.push(b'"');
}

fn string(bytes: &[u8], strings: JsonStrings, text: &mut Vec<u8>) {
    match strings {
        JsonStrings::Plain => json_string(bytes, text),
        JsonStrings::Quoted => {
            let mut quoted = Vec::new();
            repr(bytes, &mut quoted);
            for byte in quoted {
                text.extend_from_slice(if byte == b'\\' { b"\\" } else { b"" });
                text.push(byte);
            }
        }
    }
}

/// Appends `bytes` as a JSON string (RFC 8259, section 7). Bytes that are not UTF-8 are kept.
pub fn json_string(bytes: &[u8], text: &mut Vec<u8>) {
    text.push(b'"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend_from_slice(&[b'\\', *byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\x0c' => text.extend_from_slice(b"\\f"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            b'\x08' => text.extend_from_slice(b"\\b"),
            0..=0x1f => text.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => text.push(*byte),
        }
    }
    text.push(b'"');
}

/// Appends `value` as comma separated values in one line, without a line end, as `redis-cli --csv`
/// prints it: aggregates are flat lists.
pub fn csv(value: Value<'_>, text: &mut Vec<u8>) {
    match value.item() {
        Item::Null | Item::NullArray => text.extend_from_slice(b"NULL"),
        Item::Boolean(true) => text.extend_from_slice(b"true"),
        Item::Boolean(false) => text.extend_from_slice(b"false"),
        Item::Integer(_) | Item::Double(_) | Item::BigNumber(_) => {
            text.extend_from_slice(value.text());
        }
        Item::Error(words) | Item::BulkError(words) => {
            text.extend_from_slice(b"ERROR,");
            repr(words, text);
        }
        Item::Simple(bytes) | Item::Bulk(bytes) | Item::Verbatim { text: bytes, .. } => {
            repr(bytes, text);
        }
        Item::Array(_) | Item::Set(_) | Item::Push(_) | Item::Map(_) => {
            for (number, element) in value.elements().enumerate() {
                text.extend_from_slice(if number == 0 { b"" } else { b"," });
                csv(element, text);
            }
        }
    }
}
