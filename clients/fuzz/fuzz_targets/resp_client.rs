//! A client of RESP and its server on simulated hosts. The input chooses what the server sends and what
//! the client asks for. Each command has to complete exactly once.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/peers/model.rs"]
mod model;

fuzz_target!(|bytes: &[u8]| {
    model::play(bytes);
});
