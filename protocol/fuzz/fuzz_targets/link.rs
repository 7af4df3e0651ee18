//! Plays connections as the bytes of the input choose: splits, marks, causes, times, stops, errors.
//! Links have to do what the model of their tests says: nothing is lost or comes twice, each session is
//! told once that its connection is closed, no link spins, and what a link keeps is limited.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The tests of links use more of it.
#[allow(dead_code)]
#[path = "../../tests/link/driver.rs"]
mod driver;
#[path = "../../tests/link/model.rs"]
mod model;

fuzz_target!(|input: &[u8]| {
    model::play(input.to_vec());
});
