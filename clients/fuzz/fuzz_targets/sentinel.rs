//! Reads any bytes as what sentinels and servers say of masters and replicas.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The tests also count what is valid.
#[allow(dead_code)]
#[path = "../../tests/peers/answers.rs"]
mod answers;

fuzz_target!(|bytes: &[u8]| {
    answers::check(bytes, &mut answers::Valid::default());
});
