//! Properties that hold for any messages, however they are split.

use std::io::IoSlice;
use std::num::NonZeroUsize;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use protocol::codecs::{
    ByteOrder, Fixed, LengthCounts, LengthField, LengthPrefixed, LineEnd, Lines, Packet,
    PacketMessage, PacketView,
};
use protocol::{Codec, Output, testing};

mod common;
use common::{cut, sizes};

fn messages(size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), size), 0..20)
}

/// Encodes messages, decodes them in pieces of `sizes`, and returns them.
fn round_trip<C>(make: impl Fn() -> C, sent: &[Vec<u8>], sizes: &[usize]) -> Vec<Vec<u8>>
where
    C: for<'a> Codec<In<'a> = &'a mut [u8], Out<'a> = &'a [u8]>,
{
    let (mut codec, mut output) = (make(), Output::new());
    for message in sent {
        codec.encode(message, &mut output);
    }
    testing::check_pieces(make, &cut(&output.to_vec(), sizes), |message| message.to_vec())
}

#[test]
fn lines_survive_the_round_trip() {
    let byte = any::<u8>().prop_filter("no line end", |byte| !b"\r\n".contains(byte));
    let ends = select(vec![LineEnd::Lf, LineEnd::CrLf]);
    proptest!(|(lines in vec(vec(byte, 0..100), 0..20), end in ends, sizes in sizes())| {
        let make = || Lines::default().ending_with(end);
        prop_assert_eq!(round_trip(make, &lines, &sizes), lines);
    });
}

#[test]
fn messages_of_one_length_survive_the_round_trip() {
    let messages = (1_usize..50).prop_flat_map(|length| {
        let length = NonZeroUsize::new(length).expect("the range starts at one");
        (Just(length), messages(length.get()..length.get() + 1))
    });
    proptest!(|((length, messages) in messages, sizes in sizes())| {
        prop_assert_eq!(round_trip(|| Fixed::new(length), &messages, &sizes), messages);
    });
}

#[test]
fn length_prefixed_messages_of_every_form_survive_the_round_trip() {
    let form = (
        select(vec![LengthField::One, LengthField::Two, LengthField::Four, LengthField::Eight]),
        select(vec![ByteOrder::BigEndian, ByteOrder::LittleEndian]),
        select(vec![LengthCounts::Body, LengthCounts::HeaderAndBody]),
    );
    proptest!(|(messages in messages(0..250), form in form, sizes in sizes())| {
        let (field, order, counts) = form;
        let codec = LengthPrefixed { field, order, counts, size_max: 250 };
        prop_assert_eq!(round_trip(|| codec, &messages, &sizes), messages);
    });
}

/// A packet as bytes: its type, then its body.
fn describe(packet: PacketView<'_>) -> Vec<u8> {
    [&packet.kind.to_be_bytes(), &*packet.body].concat()
}

#[test]
fn packets_survive_the_round_trip() {
    let packets = vec((any::<u32>(), vec(any::<u8>(), 0..100)), 0..20);
    proptest!(|(packets in packets, sizes in sizes())| {
        let mut output = Output::new();
        for (kind, body) in &packets {
            Packet::default().encode(PacketMessage { kind: *kind, body }, &mut output);
        }
        let expected: Vec<Vec<u8>> =
            packets.iter().map(|(kind, body)| [&kind.to_be_bytes(), &body[..]].concat()).collect();
        let pieces = output.to_vec();
        let seen = testing::check_pieces(Packet::default, &cut(&pieces, &sizes), describe);
        prop_assert_eq!(seen, expected);
    });
}

#[test]
fn decoding_does_not_depend_on_how_the_input_is_split() {
    // Small bytes and line ends are more likely to be valid than other bytes.
    let byte = prop_oneof![0_u8..4, select(vec![b'\r', b'\n']), any::<u8>()];
    proptest!(|(input in vec(byte, 0..300), sizes in sizes())| {
        let pieces = cut(&input, &sizes);
        testing::check_pieces(|| Lines::with_size_max(20), &pieces, |line| line.to_vec());
        testing::check_pieces(|| Packet::with_size_max(20), &pieces, describe);
        for field in [LengthField::One, LengthField::Two] {
            let make = || LengthPrefixed::new(field, 20);
            testing::check_pieces(make, &pieces, |message| message.to_vec());
        }
    });
}

/// Returns the bytes that wait in memory, as a driver sees them.
fn gathered(output: &Output) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 256];
    let filled = output.gather(&mut slices);
    slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
}

/// One operation on an output, and on the bytes that it should hold.
fn step(output: &mut Output, model: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    match kind {
        0 => {
            output.append(bytes);
            model.extend_from_slice(bytes);
        }
        1 => {
            output.share(Arc::from(bytes));
            model.extend_from_slice(bytes);
        }
        2 => {
            let count = bytes.len().min(model.len());
            output.consume(count as u64);
            model.drain(..count);
        }
        3 => {
            output.append(bytes);
            output.insert(bytes.len() as u64, b"head");
            model.extend_from_slice(&[b"head", bytes].concat());
        }
        _ => {
            let taken = output.take();
            assert!(output.is_empty());
            *output = taken;
        }
    }
}

#[test]
fn an_output_sends_all_bytes_in_order() {
    proptest!(|(steps in vec((0_u8..5, vec(any::<u8>(), 0..50)), 1..200))| {
        let (mut output, mut model) = (Output::new(), Vec::new());
        for (kind, bytes) in steps {
            step(&mut output, &mut model, kind, &bytes);
            prop_assert_eq!(output.len(), model.len() as u64);
            prop_assert_eq!(output.is_empty(), model.is_empty());
            prop_assert_eq!(&output.to_vec(), &model);
            prop_assert_eq!(&gathered(&output), &model);
        }
    });
}
