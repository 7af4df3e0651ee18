//! Text for people: the quoting and the output of `redis-cli`.

mod json;

pub use super::quote::{UnbalancedQuotes, repr, split};

pub use json::{JsonStrings, csv, json, json_string};

use super::{Elements, Item, Value};

/// Appends `value` as `redis-cli` prints it on a terminal, line ends included.
///
/// Attributes are left out. Big numbers and blob errors, at which `redis-cli` 7.0 gives up, are
/// printed like integers and simple errors.
pub fn human(value: Value<'_>, text: &mut Vec<u8>) {
    human_at(0, value, text);
}

/// Appends what [`human`] does, indented by `indent` columns. The first line is already indented.
fn human_at(indent: usize, value: Value<'_>, text: &mut Vec<u8>) {
    let (elements, empty, separator) = match value.item() {
        Item::Array(elements) => (elements, "(empty array)", b')'),
        Item::Push(elements) => (elements, "(empty push)", b')'),
        Item::Set(elements) => (elements, "(empty set)", b'~'),
        Item::Map(pairs) => (pairs, "(empty hash)", b'#'),
        _ => return human_simple(value, text),
    };
    if elements == 0 {
        text.extend_from_slice(empty.as_bytes());
        text.push(b'\n');
        return;
    }
    let width = elements.to_string().len();
    let inner = indent + width + 2;
    let mut rest = value.elements();
    for number in 1..=elements {
        let before = if number == 1 { 0 } else { indent };
        text.resize(text.len() + before, b' ');
        text.extend_from_slice(format!("{number:width$}").as_bytes());
        text.extend_from_slice(&[separator, b' ']);
        next_human(inner, &mut rest, text);
        if separator == b'#' {
            // Replaces the line end of the key.
            text.pop();
            text.extend_from_slice(b" => ");
            if rest.clone().next().is_some_and(is_multiline) {
                text.push(b'\n');
                text.resize(text.len() + inner, b' ');
            }
            next_human(inner, &mut rest, text);
        }
    }
}

fn next_human(indent: usize, rest: &mut Elements<'_>, text: &mut Vec<u8>) {
    if let Some(value) = rest.next() {
        human_at(indent, value, text);
    }
}

fn human_simple(value: Value<'_>, text: &mut Vec<u8>) {
    match value.item() {
        Item::Null | Item::NullArray => text.extend_from_slice(b"(nil)"),
        Item::Boolean(true) => text.extend_from_slice(b"(true)"),
        Item::Boolean(false) => text.extend_from_slice(b"(false)"),
        Item::Bulk(bytes) => repr(bytes, text),
        item => {
            text.extend_from_slice(match item {
                Item::Error(_) | Item::BulkError(_) => b"(error) ",
                Item::Integer(_) => b"(integer) ",
                Item::Double(_) => b"(double) ",
                Item::BigNumber(_) => b"(big number) ",
                _ => b"",
            });
            text.extend_from_slice(value.text());
        }
    }
    text.push(b'\n');
}

/// Returns whether the value of a pair is printed on its own line.
fn is_multiline(value: Value<'_>) -> bool {
    let (elements, last) = match value.item() {
        Item::Array(elements) | Item::Push(elements) | Item::Set(elements) => (elements, 0),
        Item::Map(pairs) => (pairs, 1),
        _ => return false,
    };
    match elements {
        0 => false,
        1 => value.elements().nth(last).is_some_and(is_multiline),
        _ => true,
    }
}

/// Appends `value` as `redis-cli --raw` prints it, with `delimiter` between elements and nothing
/// after the last. `redis-cli` prints a line feed in both places.
pub fn raw(value: Value<'_>, delimiter: &[u8], text: &mut Vec<u8>) {
    match value.item() {
        Item::Null | Item::NullArray => {}
        Item::Boolean(true) => text.extend_from_slice(b"(true)"),
        Item::Boolean(false) => text.extend_from_slice(b"(false)"),
        Item::Error(words) | Item::BulkError(words) => {
            text.extend_from_slice(words);
            text.push(b'\n');
        }
        Item::Map(_) => {
            for (number, (key, value)) in value.pairs().enumerate() {
                text.extend_from_slice(if number == 0 { b"" } else { delimiter });
                raw(key, delimiter, text);
                text.push(b' ');
                raw(value, delimiter, text);
            }
        }
        Item::Array(_) | Item::Set(_) | Item::Push(_) => {
            for (number, element) in value.elements().enumerate() {
                text.extend_from_slice(if number == 0 { b"" } else { delimiter });
                raw(element, delimiter, text);
            }
        }
        _ => text.extend_from_slice(value.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Client;
    use crate::{Codec, Decoded, Output};

    /// Returns the text that `print` makes of a value.
    fn printed(encoded: &str, print: impl Fn(Value<'_>, &mut Vec<u8>)) -> String {
        let mut input = encoded.as_bytes().to_vec();
        let decoded = Client::default().decode(&mut input, &mut Output::new());
        let Ok(Decoded::Message { message, .. }) = decoded else { panic!("{encoded:?}") };
        let mut text = Vec::new();
        print(message, &mut text);
        String::from_utf8(text).expect("it is text")
    }

    #[test]
    fn simple_values_are_printed_as_redis_cli_prints_them() {
        let values = [
            ("+OK\r\n", "OK\n", "OK"),
            ("-ERR no\r\n", "(error) ERR no\n", "ERR no\n"),
            ("!6\r\nERR no\r\n", "(error) ERR no\n", "ERR no\n"),
            (":-7\r\n", "(integer) -7\n", "-7"),
            ("$4\r\na\"\n\0\r\n", "\"a\\\"\\n\\x00\"\n", "a\"\n\0"),
            ("$-1\r\n", "(nil)\n", ""),
            ("*-1\r\n", "(nil)\n", ""),
            ("_\r\n", "(nil)\n", ""),
            ("#t\r\n", "(true)\n", "(true)"),
            ("#f\r\n", "(false)\n", "(false)"),
            (",3.10\r\n", "(double) 3.10\n", "3.10"),
            (",inf\r\n", "(double) inf\n", "inf"),
            ("(-123\r\n", "(big number) -123\n", "-123"),
            ("=7\r\ntxt:a\nb\r\n", "a\nb\n", "a\nb"),
            ("*0\r\n", "(empty array)\n", ""),
            ("%0\r\n", "(empty hash)\n", ""),
            ("~0\r\n", "(empty set)\n", ""),
            (">0\r\n", "(empty push)\n", ""),
            ("|1\r\n+a\r\n+b\r\n+c\r\n", "c\n", "c"),
        ];
        for (encoded, on_terminal, plain) in values {
            assert_eq!(printed(encoded, human), on_terminal);
            assert_eq!(printed(encoded, |value, text| raw(value, b"\n", text)), plain);
        }
    }

    #[test]
    fn programs_get_json_or_flat_lists() {
        let encoded = "%3\r\n:1\r\n*2\r\n_\r\n#t\r\n$4\r\na\"\n\u{1}\r\n,1.50\r\n-E\r\n-F x\r\n";
        let plain = |value: Value<'_>, text: &mut Vec<u8>| json(value, JsonStrings::Plain, text);
        let expected = r#"{"1":[null,true],"a\"\n\u0001":1.50,error:"E":error:"F x"}"#;
        assert_eq!(printed(encoded, plain), expected);
        let quoted = |value: Value<'_>, text: &mut Vec<u8>| json(value, JsonStrings::Quoted, text);
        assert!(printed(encoded, quoted).contains(r#""a\\"\\n\\x01":1.50"#));
        let expected = r#"1,NULL,true,"a\"\n\x01",1.50,ERROR,"E",ERROR,"F x""#;
        assert_eq!(printed(encoded, csv), expected);
    }

    #[test]
    fn aggregates_are_indented_under_their_numbers() {
        let encoded =
            "*2\r\n*2\r\n:1\r\n~2\r\n+a\r\n*1\r\n:2\r\n%2\r\n+k\r\n:1\r\n+l\r\n*2\r\n+x\r\n+y\r\n";
        let on_terminal = "\
1) 1) (integer) 1
   2) 1~ a
      2~ 1) (integer) 2
2) 1# k => (integer) 1
   2# l => \n      1) x
      2) y
";
        assert_eq!(printed(encoded, human), on_terminal);
        let plain = "1,a,2,k 1,l x,y";
        assert_eq!(printed(encoded, |value, text| raw(value, b",", text)), plain);
        let ten = format!("*10\r\n{}", "_\r\n".repeat(10));
        assert!(printed(&ten, human).starts_with(" 1) (nil)\n 2) (nil)\n"));
        assert!(printed(&ten, human).ends_with("\n10) (nil)\n"));
    }
}
