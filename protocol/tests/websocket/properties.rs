//! Messages in any fragments, with control frames between them.

use proptest::collection::vec;
use proptest::prelude::*;

use protocol::websocket::Options;

use crate::ends::{Heard, Log, client, fed, masked, options, server, unmasked};

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
