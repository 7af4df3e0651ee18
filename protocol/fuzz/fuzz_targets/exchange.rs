//! Plays connections of a client as the bytes of the input choose: requests, deadlines, bytes of the
//! peer, ends. Each request has to end exactly once, and be reported as sent if and only if the peer has
//! seen it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/calls/model.rs"]
mod model;

fuzz_target!(|input: &[u8]| {
    model::play(input.to_vec());
});
