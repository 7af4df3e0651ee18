//! Plays what the input chooses, for fuzzers and for tests with seeds: any bytes to a server and to a
//! client, whole and in pieces, with settings of its own. Both must come to the same.

use protocol::websocket::{Deflate, Options};

use crate::ends::{Heard, Log, connect, fed, options};

/// Returns the options that a byte chooses. The limits are small, so that they are reached.
fn chosen(settings: u8) -> Options {
    let bit = |place: u8| settings & (1 << place) != 0;
    let deflate = Deflate {
        size_min: 1,
        context_takeover: bit(1),
        peer_context_takeover: bit(2),
        window_bits: if bit(3) { 9 } else { 15 },
        peer_window_bits: if bit(4) { 9 } else { 15 },
        ..Deflate::default()
    };
    Options {
        message_size_max: if bit(5) { 300 } else { 100_000 },
        fragments_max: 10,
        controls_per_second_max: 20,
        in_pieces: bit(6),
        deflate: bit(0).then_some(deflate),
        ..options()
    }
}

/// Plays a server. The first byte has the settings, the second one the size of the pieces.
pub(crate) fn server(input: &[u8]) {
    let [settings, piece, input @ ..] = input else { return };
    let options = || chosen(*settings);
    let server = || connect(Log::default(), options(), Log::echo(), options()).1;
    let whole = fed(server(), &[input]);
    let pieces: Vec<&[u8]> = input.chunks(usize::from(*piece).max(1)).collect();
    assert_eq!(fed(server(), &pieces), whole);
}

/// Plays a client in the same way. The keys of what it sends are random, so the size is compared.
pub(crate) fn client(input: &[u8]) {
    let [settings, piece, input @ ..] = input else { return };
    let whole = outcome(*settings, &[input]);
    let pieces: Vec<&[u8]> = input.chunks(usize::from(*piece).max(1)).collect();
    assert_eq!(outcome(*settings, &pieces), whole);
}

fn outcome(settings: u8, pieces: &[&[u8]]) -> (Vec<Heard>, usize, Option<String>) {
    let options = || chosen(settings);
    let (mut client, _) = connect(Log::echo(), options(), Log::default(), options());
    for piece in pieces {
        client.feed(piece, &mut ());
    }
    client.end_input(&mut ());
    let size = client.take_sent().len();
    let log = client.session_mut().service_mut().expect("it did not panic");
    (std::mem::take(&mut log.heard), size, log.ended.take())
}
