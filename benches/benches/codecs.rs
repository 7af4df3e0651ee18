//! Measures decoding with each codec, in bytes a second, and copying the same input for comparison;
//! and a server of HTTP that answers a small request and that of a browser.

use criterion::{Criterion, Throughput};
use protocol::codecs::{Bytes, Fixed, LengthField, LengthPrefixed, Lines, Packet, PacketMessage};
use protocol::http::{Clock, Options, RequestHead, Response, Server, Status};
use protocol::{
    Buffer, Codec, ConnectionId, Context, Decoded, Effects, Flow, Limits, Output, Session,
};
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Instant;

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

/// The head of a request as `wrk` sends it, and as a browser does.
const REQUESTS: [(&str, &[u8]); 2] = [
    ("a small request", b"GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"),
    (
        "a browser's request",
        b"GET /index.html HTTP/1.1\r\nHost: www.example.org\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
        Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
        Connection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\
        Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
        Sec-Fetch-Site: none\r\nPriority: u=0, i\r\n\r\n",
    ),
];

/// Measures a server that answers "Hello, World!".
fn serve_hello(criterion: &mut Criterion) {
    let clock = Some(Clock::new(reactor::time_of_day));
    let options = Options { clock, requests_max: u32::MAX, ..Options::default() };
    let options = options.shared().expect("the limits are right");
    let hello = |_: &RequestHead<'_>, response: &mut Response<'_>, _: &mut Context<'_>| {
        response.text(Status::OK, "Hello, World!");
        Flow::Continue
    };
    let (mut input, mut output) = (Buffer::with_capacity(4096), Output::new());
    let mut effects = Effects::default();
    let now = Instant::now();
    let mut group = criterion.benchmark_group("http");
    for (name, request) in REQUESTS {
        let mut server = Server::new(hello, options.clone());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                input.extend_from_slice(black_box(request));
                let (mut app, limits) = ((), &Limits::DEFAULT);
                let mut context =
                    Context::new(now, ConnectionId(1), &mut app, limits, &mut effects);
                let flow = server.advance(&mut input, &mut output, &mut context);
                assert!(matches!(flow, Ok(Flow::Continue)));
                output.consume(output.len());
            });
        });
    }
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
    serve_hello(criterion);
    criterion.final_summary();
}
