//! Feeds any input to a server of WebSocket, whole and in pieces, with the settings that its first byte
//! chooses. Both must come to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The tests of WebSocket use more of them.
#[allow(dead_code)]
#[path = "../../tests/websocket/ends.rs"]
mod ends;
#[allow(dead_code)]
#[path = "../../tests/websocket/play.rs"]
mod play;

fuzz_target!(|input: &[u8]| play::server(input));
