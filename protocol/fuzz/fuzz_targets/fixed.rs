//! Decodes any input as messages of a fixed length, however it is split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::codecs::Fixed;
use protocol::testing::check_splits;
use std::num::NonZeroUsize;

fuzz_target!(|input: &[u8]| {
    let length = input.first().and_then(|first| NonZeroUsize::new(usize::from(*first)));
    if let Some(length) = length {
        check_splits(|| Fixed::new(length), &input[1..], |message| message.to_vec());
    }
});
