//! Reads any input as a DNS message, and what it has once more from its text form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::dns::{Class, Message, Record, Section};

fuzz_target!(|input: &[u8]| {
    let Ok(message) = Message::parse(input) else { return };
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        assert_eq!(message.records(section).count(), message.count(section));
        for view in message.records(section) {
            let record = view.to_record();
            assert_eq!(record.view(), view);
            // Neither is in a zone.
            if !view.kind.is_meta() && !matches!(view.class, Class::ANY | Class::NONE) {
                let text = record.to_string();
                assert_eq!(text.parse::<Record>(), Ok(record), "{text}");
            }
        }
    }
});
