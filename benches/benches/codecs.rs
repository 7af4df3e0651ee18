//! Decoding, in bytes a second, beside copying the same input.

use criterion::{Criterion, Throughput};
use protocol::codecs::Lines;
use protocol::{Codec, Decoded, Output};
use std::hint::black_box;

/// Decodes all of `input`; returns how many messages there were.
fn decode_all<C: Codec>(mut codec: C, input: &mut [u8]) -> usize {
    let (mut from, mut count) = (0, 0);
    let mut output = Output::new();
    while let Ok(Decoded::Message { consumed, .. }) = codec.decode(&mut input[from..], &mut output)
    {
        from += consumed;
        count += 1;
    }
    count
}

fn lines(criterion: &mut Criterion) {
    for length in [16, 1024] {
        let mut input = [vec![b'x'; length], vec![b'\n']].concat().repeat(60_000 / length);
        let mut copy = vec![0; input.len()];
        let mut group = criterion.benchmark_group(format!("lines of {length} bytes"));
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function("decode", |bencher| {
            bencher.iter(|| decode_all(Lines::default(), black_box(&mut input)));
        });
        group.bench_function("copy", |bencher| {
            bencher.iter(|| copy.copy_from_slice(black_box(&input)));
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lines(&mut criterion);
    criterion.final_summary();
}
