//! Decodes any input as lines, however it is split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::codecs::Lines;
use protocol::testing::check_splits;

fuzz_target!(|input: &[u8]| {
    check_splits(|| Lines::with_size_max(20), input, |line| line.to_vec());
});
