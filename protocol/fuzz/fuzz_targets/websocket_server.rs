//! Feeds any input to a server of WebSocket, whole and in pieces, with the settings that the first byte
//! chooses. Both must come to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The tests of WebSocket use more of it.
#[allow(dead_code)]
#[path = "../../tests/websocket/ends.rs"]
mod ends;

use ends::{Log, connect, fed, fuzzed};

fuzz_target!(|input: &[u8]| {
    let [settings, piece, input @ ..] = input else { return };
    let options = || fuzzed(*settings);
    let server = || connect(Log::default(), options(), Log::echo(), options()).1;
    let whole = fed(server(), &[input]);
    let pieces: Vec<&[u8]> = input.chunks(usize::from(*piece).max(1)).collect();
    assert_eq!(fed(server(), &pieces), whole);
});
