//! Prints replies as text.

use protocol::resp::text::{self, JsonStrings};
use protocol::resp::{Item, Value};

use super::options::Settings;

/// The form in which replies are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A form for users, with types, quotes and numbers.
    Human,
    /// Raw bytes.
    Raw,
    /// Comma separated values.
    Csv,
    /// JSON. Strings are expected to be UTF-8.
    Json,
    /// JSON in which strings may contain any bytes.
    QuotedJson,
}

/// Appends a reply in the form of the settings. If the reply `is_text` for users already, it is
/// appended in raw form without a delimiter.
pub(super) fn reply(value: Value<'_>, settings: &Settings, is_text: bool, to: &mut Vec<u8>) {
    let delimiter = settings.element_delimiter.as_slice();
    match settings.form {
        _ if is_text => return text::raw(value, delimiter, to),
        Form::Human => return text::human(value, to),
        Form::Raw => {
            text::raw(value, delimiter, to);
            to.extend_from_slice(&settings.reply_delimiter);
            return;
        }
        Form::Csv => text::csv(value, to),
        Form::Json => text::json(value, JsonStrings::Plain, to),
        Form::QuotedJson => text::json(value, JsonStrings::Quoted, to),
    }
    to.push(b'\n');
}

/// Appends a push.
pub(super) fn push(value: Value<'_>, settings: &Settings, to: &mut Vec<u8>) {
    match invalidated(value) {
        Some(keys) if settings.form == Form::Human => {
            to.extend_from_slice(b"-> invalidate: ");
            for (number, key) in keys.elements().enumerate() {
                to.extend_from_slice(if number == 0 { b"'" } else { b", '" });
                to.extend_from_slice(key.text());
                to.push(b'\'');
            }
            to.push(b'\n');
        }
        _ => reply(value, settings, false, to),
    }
}

/// Returns the keys that the push invalidates, if it is an invalidation.
fn invalidated(value: Value<'_>) -> Option<Value<'_>> {
    let mut elements = value.elements();
    let is_that = matches!(elements.next()?.item(), Item::Bulk(b"invalidate"));
    let keys = elements.next()?;
    let is_list = matches!(keys.item(), Item::Array(_));
    (is_that && is_list && elements.next().is_none()).then_some(keys)
}

/// Returns whether the reply to `command` is a text for users, which is printed unchanged.
pub(super) fn is_text(command: &[Vec<u8>]) -> bool {
    let word = |index: usize| command.get(index).map(|it| it.to_ascii_lowercase());
    let (name, sub) = (word(0).unwrap_or_default(), word(1).unwrap_or_default());
    let count = command.len();
    match (name.as_slice(), sub.as_slice()) {
        (b"info" | b"lolwut", _) => true,
        (b"debug", b"htstats" | b"htstats-key" | b"client-eviction") => true,
        (b"memory", b"malloc-stats" | b"doctor") => true,
        (b"cluster", b"nodes" | b"info") => count == 2,
        (b"client", b"list" | b"info") => true,
        (b"latency", b"graph") => count == 3,
        (b"latency", b"doctor") => count == 2,
        (b"proxy", b"info") => true,
        _ => false,
    }
}
