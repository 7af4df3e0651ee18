//! Properties that hold for whatever messages, however they are split.

use std::io::IoSlice;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use protocol::codecs::{LengthField, LengthPrefixed, Lines, Packet, PacketMessage};
use protocol::{Buffer, Codec, Decoded, Output};

/// Decodes `bytes` in pieces of the given sizes, over and over.
fn decode<C: Codec>(
    mut codec: C,
    bytes: &[u8],
    sizes: &[usize],
    copy: impl for<'a> Fn(C::In<'a>) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let (mut buffer, mut output, mut messages) = (Buffer::new(), Output::new(), Vec::new());
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(1, |size| *size).min(rest.len());
        let (piece, later) = rest.split_at(size);
        rest = later;
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() {
            let taken = match codec.decode(buffer.filled_mut(), &mut output) {
                Ok(Decoded::Message { message, consumed }) => {
                    messages.push(copy(message));
                    consumed
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => panic!("{error}"),
            };
            buffer.consume(taken);
        }
    }
    assert!(buffer.is_empty(), "{} bytes were left", buffer.len());
    messages
}

/// What waits in memory, as a driver sees it.
fn gathered(output: &Output) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 256];
    let filled = output.gather(&mut slices);
    slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(1_usize..20, 1..10)
}

proptest! {
    #[test]
    fn lines_survive_the_round_trip(
        lines in vec(vec(any::<u8>().prop_filter("no line end", |it| !b"\r\n".contains(it)), 0..100), 0..20),
        sizes in sizes(),
    ) {
        let mut output = Output::new();
        for line in &lines {
            Lines::default().encode(line, &mut output);
        }
        prop_assert_eq!(decode(Lines::default(), &output.to_vec(), &sizes, |it| it.to_vec()), lines);
    }

    #[test]
    fn length_prefixed_messages_survive_the_round_trip(
        messages in vec(vec(any::<u8>(), 0..300), 0..20),
        sizes in sizes(),
    ) {
        let mut codec = LengthPrefixed::new(LengthField::Two, 300);
        let mut output = Output::new();
        for message in &messages {
            codec.encode(message, &mut output);
        }
        prop_assert_eq!(decode(codec, &output.to_vec(), &sizes, |it| it.to_vec()), messages);
    }

    #[test]
    fn packets_survive_the_round_trip(
        packets in vec((any::<u32>(), vec(any::<u8>(), 0..100)), 0..20),
        sizes in sizes(),
    ) {
        let mut output = Output::new();
        for (kind, body) in &packets {
            Packet::default().encode(PacketMessage { kind: *kind, body }, &mut output);
        }
        let expected: Vec<Vec<u8>> =
            packets.iter().map(|(kind, body)| [&kind.to_be_bytes(), &body[..]].concat()).collect();
        let seen = decode(Packet::default(), &output.to_vec(), &sizes, |packet| {
            [&packet.kind.to_be_bytes(), &*packet.body].concat()
        });
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn an_output_sends_what_was_put_in_and_in_that_order(
        steps in vec((0_u8..4, vec(any::<u8>(), 0..50)), 1..200),
    ) {
        let (mut output, mut model) = (Output::new(), Vec::new());
        for (step, bytes) in steps {
            match step {
                0 => {
                    output.append(&bytes);
                    model.extend_from_slice(&bytes);
                }
                1 => {
                    output.share(Arc::from(bytes.as_slice()));
                    model.extend_from_slice(&bytes);
                }
                2 => {
                    let count = bytes.len().min(model.len());
                    output.consume(count as u64);
                    model.drain(..count);
                }
                _ => {
                    let mut moved = Output::new();
                    output.move_into(&mut moved);
                    prop_assert!(output.is_empty());
                    output = moved;
                }
            }
            prop_assert_eq!(output.len(), model.len() as u64);
            prop_assert_eq!(&output.to_vec(), &model);
            prop_assert!(model.starts_with(&gathered(&output)));
        }
    }
}
