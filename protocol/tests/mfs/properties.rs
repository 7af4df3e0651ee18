//! What holds for all messages.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

use protocol::mfs::{
    CLIENT_MARK, Changes, Data, DownloadData, Form, Kind, List, Message, Name, describe,
};

/// The longest text form of a message, in bytes.
const TEXT_SIZE_MAX: usize = 2000;

/// Returns bodies that are likely to be messages: small numbers, which are lengths and forms, beside any
/// bytes.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(0), 3 => 0_u8..8, 1 => 50_u8..70, 2 => any::<u8>()];
    prop_oneof![vec(byte.clone(), 0..100), vec(byte, 100..700)]
}

#[test]
fn the_table_has_each_type_once_and_in_order() {
    let kinds: Vec<Kind> = Form::all().iter().map(Form::kind).collect();
    assert!(kinds.is_sorted_by(|a, b| a < b), "{kinds:?}");
    let names: HashSet<&str> = Form::all().iter().map(Form::name).collect();
    assert_eq!(names.len(), kinds.len());
}

#[test]
fn what_is_read_is_encoded_to_the_same_bytes_and_nothing_panics() {
    let form = (0..Form::all().len()).prop_map(|place| &Form::all()[place]);
    let mut config = ProptestConfig::with_cases(1_000);
    config.failure_persistence = None;
    proptest!(config, |(form in form, mut body in bodies(), marks in any::<bool>())| {
        if marks && form.kind() == Kind::CLIENT_REGISTER {
            body.splice(..0, CLIENT_MARK.iter().copied());
        }
        let text = describe(form.kind(), &body);
        prop_assert!(text.starts_with(form.name()), "{text}");
        prop_assert!(text.len() <= TEXT_SIZE_MAX, "{text}");
        prop_assert!(!text.contains('\n'), "{text}");
        if let Ok(again) = form.encode_again(&body) {
            prop_assert_eq!(again, body, "{}", text);
        }
    });
}

/// Returns whether a body of zeros is read, with one other byte at most: a count of groups or of counters.
fn is_read(form: &Form) -> bool {
    let reads = |body: &[u8]| form.encode_again(body).is_ok();
    let reads_with = |size: usize, place: usize, byte: u8| {
        let mut body = vec![0; size];
        body[place] = byte;
        reads(&body)
    };
    let mut bodies = (0..=150).map(|size| vec![0; size]);
    let mut places = (1..=150).flat_map(|size| (0..size.min(40)).map(move |place| (size, place)));
    bodies.any(|body| reads(&body))
        || places.any(|(size, place)| [1, 16].iter().any(|byte| reads_with(size, place, *byte)))
}

#[test]
fn each_message_is_read_from_a_simple_body_of_its_size_or_has_a_mark() {
    let others: Vec<Kind> = Form::all().iter().filter(|it| !is_read(it)).map(Form::kind).collect();
    // The golden bytes have these.
    assert_eq!(others, [Kind::CHANGES, Kind::REGISTER, Kind::CLIENT_REGISTER]);
}

#[test]
fn errors_name_the_type_the_size_and_the_field() {
    for form in Form::all() {
        // No message has all of its numbers this large.
        if let Err(error) = form.encode_again(&[0xff; 3]) {
            assert_eq!((error.kind, error.size), (form.kind(), 3));
            assert!(error.to_string().starts_with(form.name()), "{error}");
        }
    }
    let text = describe(Kind::READ_STATUS, &[0; 10]);
    assert_eq!(text, "READ_STATUS with 10 bytes: more follows after the field \"status\"");
    let text = describe(Kind::LOOKUP, &[0, 0, 0, 1, 0, 0, 0, 1, 9, b'a']);
    assert_eq!(text, "LOOKUP with 10 bytes: it ends within the field \"name\"");
}

#[test]
fn data_with_a_wrong_crc_are_a_message_that_is_not_intact() {
    proptest!(|(bytes in vec(any::<u8>(), 1..200), place in any::<prop::sample::Index>(), bit in 0..8_u8)| {
        let message = DownloadData { offset: 7, data: Data::new(&bytes) };
        let mut body = message.body();
        prop_assert_eq!(DownloadData::parse(&body), Ok(message));
        let start = body.len() - bytes.len();
        body[start + place.index(bytes.len())] ^= 1 << bit;
        let damaged = DownloadData::parse(&body).expect("it is a message");
        prop_assert!(!damaged.data.is_intact());
    });
}

#[test]
fn a_change_is_one_line() {
    let parse = |text: &[u8]| {
        let body = [&[0xff][..], &7_u64.to_be_bytes(), text].concat();
        Changes::parse(&body).is_ok()
    };
    assert!(parse(b"1|CREATE(1):2\0") && parse(b"\0"));
    for text in [&b""[..], b"no end", b"two\nlines\0", b"two\0texts\0"] {
        assert!(!parse(text), "{text:?}");
    }
    assert_eq!(Changes::parse(&[0x55]), Ok(Changes::Rotate));
    assert!(Changes::parse(&[0x55, 0]).is_err() && Changes::parse(&[0]).is_err());
}

#[test]
fn lists_and_names_are_bounded_by_the_body() {
    assert!(List::<u32>::new(&[0; 6]).is_none());
    let list = List::<u32>::new(&[0, 0, 0, 1, 0, 0, 0, 2]).expect("it has two numbers");
    assert_eq!(list.iter().collect::<Vec<_>>(), [1, 2]);
    assert!(Name::new(&[b'a'; 255]).is_some() && Name::new(&[b'a'; 256]).is_none());
    // A count of groups that does not fit the body allocates nothing.
    let body = [&[0; 4 + 1 + 1 + 4][..], &[0xff; 4], &[0; 100]].concat();
    let lookup = Form::of(Kind::LOOKUP).expect("it is known");
    assert!(lookup.encode_again(&body).is_err());
}
