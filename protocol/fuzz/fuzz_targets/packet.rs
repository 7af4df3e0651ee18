//! Decodes any input as packets, however it is split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::codecs::Packet;
use protocol::testing::check_splits;

fuzz_target!(|input: &[u8]| {
    check_splits(|| Packet::with_size_max(20), input, |packet| {
        [&packet.kind.to_be_bytes(), &*packet.body].concat()
    });
});
