//! Messages that try to do harm are refused where they are wrong, or read in bounded time.

use std::time::Instant;

use proptest::prelude::*;
use protocol::dns::{Class, Fault, Message, MessageError, POINTERS_MAX, Section};

use crate::messages::everything;

/// Returns a message with one question whose name has these bytes.
fn question(name: &[u8]) -> Vec<u8> {
    [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &[0, 1, 0, 1]].concat()
}

/// Returns a message with one answer that has this type and these data.
fn answer(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0x81, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 0, 9]);
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn fault(bytes: &[u8]) -> Result<(), Fault> {
    Message::parse(bytes).map(drop).map_err(|error| error.fault)
}

#[test]
fn names_without_an_end_are_refused() {
    // To itself, to its own middle, forwards, and in a circle of two.
    assert_eq!(fault(&question(&[0xc0, 12])), Err(Fault::ForwardPointer));
    assert_eq!(fault(&question(&[1, b'a', 0xc0, 12])), Err(Fault::ForwardPointer));
    assert_eq!(fault(&question(&[0xc0, 14, 0])), Err(Fault::ForwardPointer));
    assert_eq!(fault(&question(&[1, b'a', 0xc0, 16, 0xc0, 12])), Err(Fault::ForwardPointer));
    assert_eq!(fault(&question(&[0x40, 0])), Err(Fault::LabelType));
    assert_eq!(fault(&question(&[0x80, 0])), Err(Fault::LabelType));
    // A pointer may reach into the header, where zeros are the root.
    assert_eq!(fault(&question(&[1, b'a', 0xc0, 8])), Ok(()));
    let long = [&[63; 64][..]; 4].concat();
    assert_eq!(fault(&question(&[&long[..], &[0]].concat())), Err(Fault::NameTooLong));
}

#[test]
fn a_chain_of_pointers_has_a_limit() {
    let chain = |pointers: usize| {
        // Each pointer of the data of an unknown type points to the one before; the first to the root
        // at the end of the header.
        let mut bytes = vec![0, 1, 0x81, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0xff, 0, 0, 1, 0, 0, 0, 9];
        bytes.extend((2 * pointers as u16).to_be_bytes());
        let mut target = 12_u16;
        for _ in 0..pointers {
            let at = bytes.len() as u16;
            bytes.extend((0xc000 | target).to_be_bytes());
            target = at;
        }
        bytes.extend((0xc000 | target).to_be_bytes());
        bytes.extend([0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]);
        bytes
    };
    assert_eq!(fault(&chain(POINTERS_MAX - 1)), Ok(()));
    assert_eq!(fault(&chain(POINTERS_MAX)), Err(Fault::TooManyPointers));
}

#[test]
fn a_message_that_ends_anywhere_is_refused_there() {
    let bytes = everything();
    for size in 0..bytes.len() {
        let error = Message::parse(&bytes[..size]).expect_err("it is cut");
        assert!(error.at <= size, "{error} of {size}");
    }
    let longer = [&bytes[..], b"more"].concat();
    assert_eq!(Message::parse(&longer).map(|it| it.size()), Ok(bytes.len()));
}

#[test]
fn data_that_break_the_rules_of_their_type_are_refused() {
    use Fault::{DataSize, DataValue, Truncated};
    for (kind, data, expected) in [
        (1, &[1, 2, 3][..], DataSize),
        (1, &[1, 2, 3, 4, 5], DataSize),
        (28, &[0; 15], DataSize),
        (2, &[1, b'a'], Truncated),
        (2, &[0, 0], DataSize),
        (15, &[0], DataSize),
        (16, &[], DataSize),
        (16, &[3, b'a'], DataSize),
        (43, &[0, 1, 1, 1], DataSize),
        (47, &[0, 0, 0], DataValue),
        (47, &[0, 0, 33, 1], DataValue),
        (47, &[0, 0, 2, 1, 0], DataValue),
        (47, &[0, 1, 1, 1, 0, 1, 1], DataValue),
        (47, &[0, 0, 1], DataValue),
        (50, &[1, 0, 0, 1, 0, 0], DataValue),
        (64, &[0, 1, 0, 0, 3, 0, 1, 1], DataValue),
        (64, &[0, 1, 0, 0, 2, 0, 0, 0, 1, 0, 2, 1, b'a'], DataValue),
        (64, &[0, 1, 0, 0, 1, 0, 2, 2, b'a'], DataValue),
        (64, &[0, 1, 0, 0, 0, 0, 2, 0, 0], DataValue),
        (64, &[0, 1, 0, 0, 1, 0, 9], DataSize),
        (257, &[0, 0, b'x'], DataValue),
        (257, &[0, 1, b'-'], DataValue),
    ] {
        assert_eq!(fault(&answer(kind, data)), Err(expected), "type {kind}: {data:?}");
    }
    // A name in the data must not end behind them.
    let mut behind = answer(2, &[1, b'a', 0]);
    behind[22] = 2;
    assert!(fault(&behind).is_err());
}

#[test]
fn options_stand_once_in_their_place() {
    let options = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let with = |counts: [u8; 3], records: &[&[u8]]| {
        let header = [0, 1, 1, 0, 0, 0, 0, counts[0], 0, counts[1], 0, counts[2]];
        [&header[..], &records.concat()].concat()
    };
    assert_eq!(fault(&with([0, 0, 1], &[&options])), Ok(()));
    assert_eq!(fault(&with([0, 0, 2], &[&options, &options])), Err(Fault::Options));
    assert_eq!(fault(&with([1, 0, 0], &[&options])), Err(Fault::Options));
    assert_eq!(fault(&with([0, 1, 0], &[&options])), Err(Fault::Options));
    let named = [&[1, b'a'][..], &options].concat();
    assert_eq!(fault(&with([0, 0, 1], &[&named])), Err(Fault::Options));
    let cut = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 5, 0, 10, 0, 2, 1];
    assert_eq!(fault(&with([0, 0, 1], &[&cut])), Err(Fault::DataSize));
}

#[test]
fn counts_that_promise_more_than_there_is_end_at_once() {
    let bytes = [0, 1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let expected = MessageError { at: 12, fault: Fault::Truncated };
    assert_eq!(Message::parse(&bytes).map(drop), Err(expected));
}

#[test]
fn the_worst_message_takes_bounded_steps() {
    // Thousands of records, each with a name of as many pieces as are allowed.
    let mut bytes = vec![0, 1, 0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([0, 0xff, 0, 0, 1, 0, 0, 0, 9]);
    bytes.extend((2 * 126_u16).to_be_bytes());
    let mut target = 12_u16;
    for _ in 0..126 {
        let at = bytes.len() as u16;
        bytes.extend((0xc000 | target).to_be_bytes());
        target = at;
    }
    let mut count = 1_u16;
    while bytes.len() + 12 <= 65_535 {
        bytes.extend((0xc000 | target).to_be_bytes());
        bytes.extend([0xff, 0, 0, 1, 0, 0, 0, 9, 0, 0]);
        count += 1;
    }
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    let started = Instant::now();
    let message = Message::parse(&bytes).expect("it keeps the rules");
    assert_eq!(message.answers().filter(|it| it.name.is_root()).count(), usize::from(count));
    // 700,000 steps; minutes would mean that they multiply.
    assert!(started.elapsed().as_secs() < 60);
}

/// Reads everything that a message has.
fn read_all(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    message.questions().for_each(|it| drop(it.name.to_string()));
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        let mut count = 0;
        for record in message.records(section) {
            count += 1;
            let _ = (record.data.address(), record.data.name(), record.data.soa());
            let own = record.to_record();
            assert_eq!(own.view(), record);
            // Neither is in a zone.
            let is_any = matches!(record.class, Class::ANY | Class::NONE);
            if !record.kind.is_meta() && !is_any {
                let text = own.to_string();
                let again = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(own, again, "{text}");
            }
        }
        assert_eq!(count, message.count(section));
    }
    let _ = (message.edns().map(|it| it.options().count()), message.response_code());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read_all(&bytes);
    }

    #[test]
    fn a_message_with_some_bytes_changed_is_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = everything();
        for (at, byte) in changes {
            let place = at.index(bytes.len());
            bytes[place] = byte;
        }
        read_all(&bytes);
    }
}
