//! Messages in any fragments, with control frames between them.

use proptest::collection::vec;
use proptest::prelude::*;

use protocol::Random;
use protocol::websocket::Options;

use crate::ends::{Heard, Log, client, fed, masked, options, server, unmasked};
use crate::play;

/// A message, the sizes of its fragments, and a ping after each of them if there is to be one.
fn message() -> impl Strategy<Value = (Heard, Vec<usize>, bool)> {
    let content = prop_oneof![
        "\\PC{0,60}".prop_map(Heard::Text),
        vec(any::<u8>(), 0..200).prop_map(Heard::Binary),
    ];
    (content, vec(0_usize..40, 1..6), any::<bool>())
}

proptest! {
    #[test]
    fn messages_arrive_however_they_are_fragmented_and_split(
        messages in vec(message(), 1..8),
        cuts in vec(1_usize..30, 1..6),
        in_pieces: bool,
        is_client: bool,
    ) {
        let frame = if is_client { unmasked } else { masked };
        let (mut input, mut pings) = (Vec::new(), 0);
        for (content, sizes, pinged) in &messages {
            let (first, mut rest) = match content {
                Heard::Text(text) => (0x01, text.as_bytes()),
                Heard::Binary(bytes) => (0x02, &bytes[..]),
                _ => continue,
            };
            for (number, size) in sizes.iter().enumerate() {
                let is_last = number + 1 == sizes.len();
                let (now, later) = rest.split_at((*size).min(rest.len()));
                let now = if is_last { rest } else { now };
                let bits = if is_last { 0x80 } else { 0 } | if number == 0 { first } else { 0 };
                input.extend(frame(bits, now));
                rest = later;
                if *pinged {
                    pings += 1;
                    input.extend(frame(0x89, b"?"));
                }
            }
        }
        let make = if is_client { client } else { server };
        let end = make(Log::default(), Options { in_pieces, ..options() });
        let mut pieces = Vec::new();
        let (mut rest, mut sizes) = (&input[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let size = sizes.next().map_or(1, |size| *size).min(rest.len());
            let (piece, later) = rest.split_at(size);
            pieces.push(piece);
            rest = later;
        }
        let outcome = fed(end, &pieces);
        let expected: Vec<Heard> = messages.into_iter().map(|(content, ..)| content).collect();
        prop_assert_eq!(outcome.heard, expected);
        prop_assert_eq!(outcome.sent.len(), pings * (3 + if is_client { 4 } else { 0 }));
    }
}

/// Returns settings, the size of pieces, and frames that are mostly valid.
fn played(random: &mut Random, frame: fn(u8, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut all = random.bytes(2);
    for _ in 0..1 + random.index(6) {
        let size = random.index(140);
        let mut payload = random.bytes(size);
        if random.one_in(2) {
            payload.fill(b'a');
        }
        let opcodes = [&0x81, &0x82, &0x01, &0x02, &0x00, &0x80, &0x89, &0x8A, &0x88, &0xC1, &0x41];
        let opcode = *random.pick(&opcodes);
        if opcode & 0x40 != 0 && random.one_in(2) {
            // "Hello" (RFC 7692 section 7.2.3.1).
            payload = vec![0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        }
        if opcode & 0x08 != 0 {
            payload.truncate(100);
        }
        all.extend(frame(opcode, &payload));
        if random.one_in(8) {
            let at = random.index(all.len());
            all[at] ^= 1 << random.below(8);
        }
    }
    all
}

#[test]
fn any_bytes_come_to_the_same_whole_and_in_pieces() {
    let mut random = Random::new(11);
    for _ in 0..1000 {
        play::server(&played(&mut random, masked));
        play::client(&played(&mut random, unmasked));
    }
}

#[test]
fn a_fault_in_compressed_text_is_the_same_whole_and_in_pieces() {
    // The data are invalid, and what comes before that is no UTF-8. Found by fuzzing.
    play::client(&[3, 1, 0xC1, 0x2A, 0x2A, 0x5B, 0x82, 0x3E, 0x2A, 0x01]);
    let mut random = Random::new(12);
    for _ in 0..3000 {
        // Blocks with the fixed codes of DEFLATE, of which random bytes are mostly literals.
        let mut payload = random.bytes(20);
        payload[0] = payload[0] & !7 | 2;
        let opcode = *random.pick(&[&0xC1, &0xC2, &0x41]);
        let mut all = random.bytes(2);
        all[0] |= 1;
        all[1] = 1 + all[1] % 8;
        let settings = all.clone();
        all.extend(masked(opcode, &payload));
        play::server(&all);
        all.splice(2.., unmasked(opcode, &payload));
        assert_eq!(all[..2], settings);
        play::client(&all);
    }
}
