//! Against hickory-proto, another implementation. What it reads in a message, it reads in the same
//! message after ours has read it and written it again.

use hickory_proto::op::Message as Theirs;
use hickory_proto::rr::{RData, Record};
use proptest::prelude::*;
use protocol::dns::{Builder, Message, RecordType, Section};

use crate::messages::{SECTIONS, message_of};
use crate::texts::RECORDS;

/// Returns a message with every type in each of the sections, except for what hickory-proto refuses: data
/// without a byte, and a SIG record outside of the additional section.
fn every_type(sections: &[Section]) -> Vec<u8> {
    let is_read = |it: &&str| !it.ends_with("\\# 0") && !it.contains(" SIG ");
    message_of(RECORDS.iter().copied().filter(is_read), sections)
}

/// Reads a message, and builds it again from what was read.
fn rebuilt(message: &Message<'_>) -> Vec<u8> {
    let mut builder = Builder::new(message.header(), 65_535);
    for question in message.questions() {
        builder.question(question.name, question.kind, question.class).expect("it fits");
    }
    for section in SECTIONS {
        for record in message.records(section) {
            match (record.kind, message.edns()) {
                (RecordType::OPT, Some(edns)) => builder.edns(&edns).expect("it fits"),
                _ => builder.record(section, &record.to_record().view()).expect("it fits"),
            }
        }
    }
    builder.finish()
}

/// Checks that the other implementation sees no difference. Returns whether both accept the message.
fn check(bytes: &[u8]) -> bool {
    let (Ok(ours), Ok(theirs)) = (Message::parse(bytes), Theirs::from_vec(bytes)) else {
        return false;
    };
    let bytes = rebuilt(&ours);
    let again = Theirs::from_vec(&bytes).unwrap_or_else(|error| panic!("{error}: {theirs}"));
    assert_eq!(again.queries, theirs.queries);
    assert_same(&again.answers, &theirs.answers);
    assert_same(&again.authorities, &theirs.authorities);
    assert_same(&again.additionals, &theirs.additionals);
    assert_eq!(again.metadata, theirs.metadata);
    let again = Message::parse(&bytes).expect("it was just built");
    for section in SECTIONS {
        // The reserved bits of an OPT record are not repeated.
        let [again, ours] =
            [&again, &ours].map(|it| it.records(section).filter(|it| it.kind != RecordType::OPT));
        assert!(again.eq(ours), "{theirs}");
    }
    true
}

/// Checks that records are equal, but for data that hickory-proto does not read: it keeps their bytes, and
/// names in them may have been compressed.
fn assert_same(left: &[Record], right: &[Record]) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        match (&left.data, &right.data) {
            (RData::Unknown { .. }, RData::Unknown { .. }) => {
                let key = |it: &Record| (it.name.clone(), it.record_type(), it.dns_class);
                assert_eq!(key(left), key(right));
            }
            _ => assert_eq!(left, right),
        }
    }
}

#[test]
fn both_read_the_same_in_a_message_with_every_type() {
    let bytes = every_type(&SECTIONS);
    assert!(check(&bytes), "{:?}", Theirs::from_vec(&bytes).err());
}

proptest! {
    #[test]
    fn both_read_the_same_in_messages_with_some_bytes_changed(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = every_type(&SECTIONS);
        for (at, byte) in changes {
            let place = at.index(bytes.len());
            bytes[place] = byte;
        }
        check(&bytes);
    }
}

#[test]
fn both_read_the_same_wherever_a_byte_leads_elsewhere() {
    let mut bytes = every_type(&[Section::Answer]);
    let mut accepted = 0;
    for place in 0..bytes.len() {
        // No label, a label of 30 bytes or the low byte of a pointer into the first record, a pointer.
        for byte in [0, 30, 0xc0] {
            let before = std::mem::replace(&mut bytes[place], byte);
            accepted += usize::from(check(&bytes));
            bytes[place] = before;
        }
    }
    assert!(accepted > 500, "{accepted}");
}
