//! Measures decoding pipelined RESP requests and visiting all their parts, in bytes a second, and
//! copying the same input for comparison. Also measures writing replies.

use criterion::{Criterion, Throughput};
use protocol::resp::{Protocol, Server, Writer};
use protocol::{Codec, Decoded, Output};
use std::hint::black_box;

/// Decodes all of `input` and visits all parts of all requests. Returns their total size in bytes.
fn decode_all(server: &mut Server, input: &mut [u8]) -> usize {
    let (mut from, mut size) = (0, 0);
    let mut output = Output::new();
    while let Ok(Decoded::Message { message, consumed }) =
        server.decode(&mut input[from..], &mut output)
    {
        size += message.iter().map(<[u8]>::len).sum::<usize>();
        from += consumed;
    }
    size
}

/// Returns repetitions of `command`, about as many bytes as one read returns.
fn pipeline(command: &[&[u8]]) -> (Vec<u8>, usize) {
    let mut output = Output::new();
    let mut count = 0;
    while output.len() < 60_000 {
        Writer::new(&mut output, Protocol::Resp2).command(command.iter());
        count += 1;
    }
    (output.to_vec(), count)
}

fn requests(criterion: &mut Criterion) {
    let value = [b'x'; 1024];
    let commands: [(&str, &[&[u8]]); 4] = [
        ("PING", &[b"PING"]),
        ("GET", &[b"GET", b"key:000000000042"]),
        ("SET of 16 bytes", &[b"SET", b"key:000000000042", &value[..16]]),
        ("SET of 1 KiB", &[b"SET", b"key:000000000042", &value]),
    ];
    for (name, command) in commands {
        let (mut input, count) = pipeline(command);
        let mut copy = vec![0; input.len()];
        let mut group = criterion.benchmark_group(format!("requests {name} x{count}"));
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function("decode and walk", |bencher| {
            let mut server = Server::default();
            bencher.iter(|| decode_all(&mut server, black_box(&mut input)));
        });
        group.bench_function("copy", |bencher| {
            bencher.iter(|| copy.copy_from_slice(black_box(&input)));
        });
        group.finish();
    }
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replies x1000");
    group.throughput(Throughput::Elements(1000));
    let mut output = Output::new();
    let value = [b'x'; 16];
    group.bench_function("bulk of 16 bytes", |bencher| {
        bencher.iter(|| {
            output.clear();
            let mut writer = Writer::new(&mut output, Protocol::Resp2);
            (0..1000).for_each(|_| writer.bulk(black_box(&value)));
        });
    });
    group.bench_function("integer", |bencher| {
        bencher.iter(|| {
            output.clear();
            let mut writer = Writer::new(&mut output, Protocol::Resp2);
            (0..1000).for_each(|number| writer.integer(black_box(number)));
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    replies(&mut criterion);
    criterion.final_summary();
}
