//! Properties of RESP that hold for any message, however it is split.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use protocol::resp::{Client, Item, Limits, Protocol, Request, Server, Value, Writer, text};
use protocol::{Codec, Decoded, Output, testing};

mod common;
use common::{cut, sizes};

/// Returns the parts of a request, each after its length.
fn describe(request: Request<'_>) -> Vec<u8> {
    of_parts(request.iter())
}

fn of_parts<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    parts.flat_map(|part| [&(part.len() as u32).to_be_bytes(), part].concat()).collect()
}

fn requests() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    vec(vec(vec(any::<u8>(), 0..40), 1..6), 0..10)
}

#[test]
fn requests_survive_the_round_trip() {
    proptest!(|(requests in requests(), sizes in sizes())| {
        let mut output = Output::new();
        for parts in &requests {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            Client::default().encode(&parts, &mut output);
        }
        let expected: Vec<Vec<u8>> =
            requests.iter().map(|parts| of_parts(parts.iter().map(Vec::as_slice))).collect();
        let bytes = output.to_vec();
        let seen = testing::check_pieces(Server::default, &cut(&bytes, &sizes), describe);
        prop_assert_eq!(seen, expected);
    });
}

/// A part as it may be written in a command line.
fn quoted(part: &[u8], style: u8) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
    let mut line = Vec::new();
    match style {
        0 if !part.is_empty() && part[0] != b'*' && part.iter().all(is_plain) => {
            line.extend_from_slice(part);
        }
        1 if part.iter().all(|byte| is_plain(byte) && *byte != b'\\') => {
            line.extend_from_slice(&[b"'", part, b"'"].concat());
        }
        _ => text::repr(part, &mut line),
    }
    line
}

#[test]
fn quoted_and_plain_command_lines_survive_the_round_trip() {
    let part = prop_oneof![vec(any::<u8>(), 0..10), vec(0x21_u8..0x7f, 0..300)];
    let lines = vec(vec((part, 0_u8..3, 1_usize..3), 1..8), 1..5);
    proptest!(|(lines in lines, sizes in sizes(), crlf in any::<bool>())| {
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for line in &lines {
            let start = input.len();
            for (part, style, spaces) in line {
                input.extend_from_slice(&quoted(part, *style));
                input.resize(input.len() + spaces, b' ');
            }
            let parts: Vec<&[u8]> = line.iter().map(|(part, ..)| part.as_slice()).collect();
            prop_assert_eq!(text::split(&input[start..]), Ok(parts.iter().map(|it| it.to_vec()).collect()));
            // The last space takes the place of the line end.
            input.pop();
            input.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
            expected.push(of_parts(parts.into_iter()));
        }
        let seen = testing::check_pieces(Server::default, &cut(&input, &sizes), describe);
        prop_assert_eq!(seen, expected);
    });
}

/// A generated value.
#[derive(Clone, Debug)]
enum Model {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Boolean(bool),
    Double(f64),
    BigNumber(String),
    BulkError(Vec<u8>),
    Verbatim(Vec<u8>),
    Array(Vec<Model>),
    Set(Vec<Model>),
    Push(Vec<Model>),
    Map(Vec<(Model, Model)>),
    Attributed(Vec<(Model, Model)>, Box<Model>),
}

fn models() -> impl Strategy<Value = Model> {
    let bytes = || vec(any::<u8>(), 0..20);
    let simple = prop_oneof![
        "[ -~]{0,20}".prop_map(Model::Simple),
        "[A-Z]+ [a-z ]{0,20}".prop_map(Model::Error),
        any::<i64>().prop_map(Model::Integer),
        bytes().prop_map(Model::Bulk),
        Just(Model::Null),
        any::<bool>().prop_map(Model::Boolean),
        any::<f64>().prop_map(Model::Double),
        "-?[0-9]{1,40}".prop_map(Model::BigNumber),
        bytes().prop_map(Model::BulkError),
        bytes().prop_map(Model::Verbatim),
    ];
    simple.prop_recursive(4, 40, 5, |inner| {
        let pairs = vec((inner.clone(), inner.clone()), 0..4);
        let attributes = vec((inner.clone(), inner.clone()), 1..3);
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Model::Array),
            vec(inner.clone(), 0..5).prop_map(Model::Set),
            vec(inner.clone(), 0..5).prop_map(Model::Push),
            pairs.prop_map(Model::Map),
            (attributes, inner).prop_map(|(pairs, value)| match value {
                // A reader sees nested attributes as one list.
                Model::Attributed(..) => value,
                value => Model::Attributed(pairs, Box::new(value)),
            }),
        ]
    })
}

impl Model {
    fn say(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Simple(text) => writer.simple(text),
            Self::Error(text) => writer.error(text),
            Self::Integer(value) => writer.integer(*value),
            Self::Bulk(bytes) => writer.bulk(bytes),
            Self::Null => writer.null(),
            Self::Boolean(value) => writer.boolean(*value),
            Self::Double(value) => writer.double(*value),
            Self::BigNumber(digits) => writer.big_number(digits),
            Self::BulkError(bytes) => writer.bulk_error(bytes),
            Self::Verbatim(bytes) => writer.verbatim(*b"txt", bytes),
            Self::Array(elements) => {
                writer.array(elements.len());
                elements.iter().for_each(|element| element.say(writer));
            }
            Self::Set(elements) => {
                writer.set(elements.len());
                elements.iter().for_each(|element| element.say(writer));
            }
            Self::Push(elements) => {
                writer.push(elements.len());
                elements.iter().for_each(|element| element.say(writer));
            }
            Self::Map(pairs) => {
                writer.map(pairs.len());
                say_pairs(pairs, writer);
            }
            Self::Attributed(pairs, value) => {
                writer.attribute(pairs.len(), |writer| say_pairs(pairs, writer));
                value.say(writer);
            }
        }
    }

    /// Returns whether `value` equals the generated one.
    fn is(&self, value: Value<'_>) -> bool {
        let all = |models: &[Model]| {
            models.len() == value.elements().len()
                && models.iter().zip(value.elements()).all(|(model, element)| model.is(element))
        };
        match (self, value.item()) {
            (Self::Simple(text), Item::Simple(seen)) | (Self::Error(text), Item::Error(seen)) => {
                text.as_bytes() == seen
            }
            (Self::Integer(value), Item::Integer(seen)) => *value == seen,
            (Self::Bulk(bytes), Item::Bulk(seen))
            | (Self::BulkError(bytes), Item::BulkError(seen))
            | (Self::Verbatim(bytes), Item::Verbatim { format: [b't', b'x', b't'], text: seen }) => {
                bytes == seen
            }
            (Self::Null, Item::Null) => true,
            (Self::Boolean(value), Item::Boolean(seen)) => *value == seen,
            (Self::Double(value), Item::Double(seen)) => {
                value.to_bits() == seen.to_bits() || value.is_nan() && seen.is_nan()
            }
            (Self::BigNumber(digits), Item::BigNumber(seen)) => digits.as_bytes() == seen,
            (Self::Array(elements), Item::Array(_))
            | (Self::Set(elements), Item::Set(_))
            | (Self::Push(elements), Item::Push(_)) => all(elements),
            (Self::Map(pairs), Item::Map(count)) => {
                pairs.len() == count && are(pairs, value.pairs())
            }
            (Self::Attributed(pairs, model), _) => {
                are(pairs, value.attributes()) && model.is(value)
            }
            _ => false,
        }
    }
}

fn say_pairs(pairs: &[(Model, Model)], writer: &mut Writer<'_>) {
    for (key, value) in pairs {
        key.say(writer);
        value.say(writer);
    }
}

fn are<'a>(
    pairs: &[(Model, Model)],
    seen: impl ExactSizeIterator<Item = (Value<'a>, Value<'a>)>,
) -> bool {
    pairs.len() == seen.len()
        && pairs
            .iter()
            .zip(seen)
            .all(|((key, value), (seen_key, seen_value))| key.is(seen_key) && value.is(seen_value))
}

#[test]
fn values_survive_the_round_trip() {
    proptest!(|(models in vec(models(), 1..4), sizes in sizes())| {
        let mut output = Output::new();
        for model in &models {
            model.say(&mut Writer::new(&mut output, Protocol::Resp3));
        }
        let bytes = output.to_vec();
        let (mut client, mut rest) = (Client::default(), bytes.clone());
        for model in &models {
            let decoded = client.decode(&mut rest, &mut Output::new());
            let Ok(Decoded::Message { message, consumed }) = decoded else {
                panic!("{decoded:?}");
            };
            prop_assert!(model.is(message), "{:?} became {:?}", model, message);
            rest.drain(..consumed);
        }
        prop_assert!(rest.is_empty());
        let pieces = cut(&bytes, &sizes);
        testing::check_pieces(Client::default, &pieces, |value| value.encoded().to_vec());
    });
}

#[test]
fn replies_in_resp2_have_only_types_of_resp2() {
    proptest!(|(model in models())| {
        let mut output = Output::new();
        model.say(&mut Writer::new(&mut output, Protocol::Resp2));
        let bytes = output.to_vec();
        let seen = testing::check_pieces(Client::default, &[&bytes], |value| {
            vec![u8::from(is_resp2(value))]
        });
        prop_assert_eq!(seen, [[1]]);
    });
}

fn is_resp2(value: Value<'_>) -> bool {
    let simple = matches!(value.encoded()[0], b'+' | b'-' | b':' | b'$' | b'*');
    simple && value.elements().all(is_resp2)
}

#[test]
fn decoding_does_not_depend_on_how_the_input_is_split() {
    let words: Vec<&[u8]> = vec![
        b"*1\r\n",
        b"*2\r\n",
        b"%1\r\n",
        b"|1\r\n",
        b"$2\r\n",
        b"$-1\r\n",
        b"a",
        b"\r\n",
        b"\r",
        b"\n",
        b"+",
        b"-",
        b":1",
        b"#t",
        b"_\r\n",
        b",1.5\r\n",
        b"(1\r\n",
        b"=5\r\ntxt:",
        b"\"",
        b"'",
        b"\\",
        b" ",
        b"~",
        b">",
        b"\xff",
    ];
    let limits = Limits { line_size_max: 20, bulk_size_max: 20, elements_max: 10, depth_max: 3 };
    proptest!(|(words in vec(select(words), 0..60), sizes in sizes())| {
        let input = words.concat();
        let pieces = cut(&input, &sizes);
        testing::check_pieces(|| Server::with_limits(limits), &pieces, describe);
        testing::check_pieces(|| Client::with_limits(limits), &pieces, |value| {
            let mut text = value.encoded().to_vec();
            text::human(value, &mut text);
            text::raw(value, b"\n", &mut text);
            text
        });
    });
}
