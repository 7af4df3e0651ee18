//! Feeds any input to a client of WebSocket, whole and in pieces, with the settings that the first byte
//! chooses. Both must come to the same. The keys of what it sends are random, so the size counts.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The tests of WebSocket use more of it.
#[allow(dead_code)]
#[path = "../../tests/websocket/ends.rs"]
mod ends;

use ends::{Heard, Log, connect, fuzzed};

fn play(settings: u8, pieces: &[&[u8]]) -> (Vec<Heard>, usize, Option<String>) {
    let options = || fuzzed(settings);
    let (mut client, _) = connect(Log::echo(), options(), Log::default(), options());
    for piece in pieces {
        client.feed(piece, &mut ());
    }
    client.end_input(&mut ());
    let size = client.take_sent().len();
    let log = client.session_mut().service_mut().expect("it did not panic");
    (std::mem::take(&mut log.heard), size, log.ended.take())
}

fuzz_target!(|input: &[u8]| {
    let [settings, piece, input @ ..] = input else { return };
    let whole = play(*settings, &[input]);
    let pieces: Vec<&[u8]> = input.chunks(usize::from(*piece).max(1)).collect();
    assert_eq!(play(*settings, &pieces), whole);
});
