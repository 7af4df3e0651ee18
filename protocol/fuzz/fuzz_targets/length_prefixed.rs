//! Decodes any input as length-prefixed messages of every form, however it is split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::codecs::{ByteOrder, LengthCounts, LengthField, LengthPrefixed};
use protocol::testing::check_splits;

fuzz_target!(|input: &[u8]| {
    let Some((form, input)) = input.split_first() else { return };
    let fields = [LengthField::One, LengthField::Two, LengthField::Four, LengthField::Eight];
    let codec = LengthPrefixed {
        field: fields[usize::from(form & 3)],
        order: if form & 4 == 0 { ByteOrder::BigEndian } else { ByteOrder::LittleEndian },
        counts: if form & 8 == 0 { LengthCounts::Body } else { LengthCounts::HeaderAndBody },
        size_max: 20,
    };
    check_splits(|| codec, input, |message| message.to_vec());
});
