//! Measures round trips to a server over loopback, on each backend: one message of 64 bytes, and
//! 100 lines in flight at once.

mod common;

use common::Server;
use criterion::{Criterion, Throughput};
use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Reply, Service};
use reactor::BackendKind;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The number of lines that are sent before any answer is read.
const LINES: usize = 100;

/// Returns each line in upper case.
struct Upper;

impl Service<Lines> for Upper {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_>,
    ) -> Flow {
        line.make_ascii_uppercase();
        reply.send(line);
        Flow::Continue
    }
}

fn upper() -> Conversation<Lines, Upper> {
    Conversation::new(Lines::default(), Upper)
}

/// Repeatedly sends `message` and reads the answer of the same length.
fn exchange(criterion: &mut Criterion, name: &str, count: usize, server: &Server, message: &[u8]) {
    let mut client = TcpStream::connect(server.address).expect("it accepts");
    client.set_nodelay(true).expect("options can be set");
    let mut answer = vec![0; message.len()];
    client.write_all(message).expect("it takes bytes");
    client.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, message.to_ascii_uppercase(), "{name}");
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("exchange", |bencher| {
        bencher.iter(|| {
            client.write_all(message).expect("it takes bytes");
            client.read_exact(&mut answer).expect("it answers");
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let line = [&[b'x'; 63][..], b"\n"].concat();
    for kind in BackendKind::ALL {
        let echo = Server::start(kind, servers::echo::session);
        exchange(&mut criterion, &format!("round trip on {kind}"), 1, &echo, &[b'X'; 64]);
        let lines = Server::start(kind, upper);
        let name = format!("{LINES} lines in flight on {kind}");
        exchange(&mut criterion, &name, LINES, &lines, &line.repeat(LINES));
    }
    criterion.final_summary();
}
