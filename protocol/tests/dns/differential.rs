//! Against hickory-proto, another implementation. What it reads in a message, it reads in the same
//! message after ours has read it and written it again.

use hickory_proto::op::Message as Theirs;
use proptest::prelude::*;
use protocol::dns::{Builder, Message, RecordType, Section};

use crate::messages::message_of;
use crate::texts::RECORDS;

/// Returns a message with every type, except for data without a byte, which hickory-proto refuses.
fn everything() -> Vec<u8> {
    message_of(RECORDS.iter().copied().filter(|it| !it.ends_with("\\# 0")))
}

/// Reads a message, and builds it again from what was read.
fn rebuilt(message: &Message<'_>) -> Vec<u8> {
    let mut builder = Builder::new(message.header(), 65_535);
    for question in message.questions() {
        builder.question(question.name, question.kind, question.class).expect("it fits");
    }
    for section in [Section::Answer, Section::Authority, Section::Additional] {
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
    let again = rebuilt(&ours);
    let again = Theirs::from_vec(&again).unwrap_or_else(|error| panic!("{error}: {theirs}"));
    assert_eq!(again.queries, theirs.queries);
    assert_eq!(again.answers, theirs.answers);
    assert_eq!(again.authorities, theirs.authorities);
    assert_eq!(again.additionals, theirs.additionals);
    assert_eq!(again.metadata, theirs.metadata);
    true
}

#[test]
fn both_read_the_same_in_a_message_with_every_type() {
    assert!(check(&everything()), "{:?}", Theirs::from_vec(&everything()).err());
}

proptest! {
    #[test]
    fn both_read_the_same_in_messages_with_some_bytes_changed(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = everything();
        for (at, byte) in changes {
            let place = at.index(bytes.len());
            bytes[place] = byte;
        }
        check(&bytes);
    }
}
