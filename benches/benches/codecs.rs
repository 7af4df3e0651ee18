//! Measures decoding with each codec, in bytes a second, and copying the same input for comparison.

use criterion::{Criterion, Throughput};
use protocol::codecs::{Bytes, Fixed, LengthField, LengthPrefixed, Lines, Packet, PacketMessage};
use protocol::{Codec, Decoded, Output};
use std::hint::black_box;
use std::num::NonZeroUsize;

/// The bytes that are decoded at a time: about as many as one read returns.
const INPUT_SIZE: usize = 60_000;
/// The lengths of messages: a short request, and a page of text.
const LENGTHS: [usize; 2] = [16, 1024];

/// Decodes all of `input`. Returns the number of messages.
fn decode_all<C: Codec>(mut codec: C, input: &mut [u8]) -> usize {
    let (mut from, mut count) = (0, 0);
    let mut output = Output::new();
    // No input is an empty message of some codecs.
    while from < input.len()
        && let Ok(Decoded::Message { consumed, .. }) = codec.decode(&mut input[from..], &mut output)
    {
        from += consumed;
        count += 1;
    }
    count
}

/// Measures `codec` on repetitions of `message`.
fn compare<C: Codec + Copy>(criterion: &mut Criterion, name: &str, codec: C, message: &[u8]) {
    let mut input = message.repeat(INPUT_SIZE / message.len());
    let mut copy = vec![0; input.len()];
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(input.len() as u64));
    assert!(decode_all(codec, &mut input) > 0, "{name}: nothing is decoded");
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode_all(codec, black_box(&mut input)));
    });
    group.bench_function("copy", |bencher| {
        bencher.iter(|| copy.copy_from_slice(black_box(&input)));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let criterion = &mut criterion;
    compare(criterion, "bytes", Bytes, &[b'x'; 1024]);
    for length in LENGTHS {
        let body = vec![b'x'; length];
        let line = [&body[..], b"\n"].concat();
        compare(criterion, &format!("lines of {length} bytes"), Lines::default(), &line);
        let fixed = Fixed::new(NonZeroUsize::new(length).expect("it is not zero"));
        compare(criterion, &format!("messages of {length} bytes"), fixed, &body);
        let prefixed = LengthPrefixed::new(LengthField::Four, length);
        let mut message = Output::new();
        let mut encoder = prefixed;
        encoder.encode(&body, &mut message);
        let name = format!("{length} bytes after their length");
        compare(criterion, &name, prefixed, &message.to_vec());
        let mut packet = Packet::with_size_max(length as u32);
        let message = packet.encode_shared(PacketMessage { kind: 7, body: &body });
        compare(criterion, &format!("packets of {length} bytes"), packet, &message);
    }
    criterion.final_summary();
}
