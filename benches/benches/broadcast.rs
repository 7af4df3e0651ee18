//! Sends one message, encoded once and shared, to 10,000 connections, or to as many as the
//! descriptor limit allows.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::{measure, net};
use criterion::{Criterion, Throughput};
use protocol::codecs::Bytes;
use protocol::{ConnectionId, Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{Address, BackendKind, ListenOptions, Listener, LoopLimits, Reactor, Stream};

/// The intended number of connections.
const CONNECTIONS: usize = 10_000;
/// Descriptors for other purposes.
const OTHERS: usize = 64;
/// The number of connections that are started before the bench waits for them.
const BATCH: usize = 256;

struct App {
    connections: Vec<ConnectionId>,
    message: Arc<[u8]>,
    sent: usize,
}

struct Listens;

impl Service<Bytes, App> for Listens {
    fn open(&mut self, _reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, App>) -> Flow {
        context.app.connections.push(context.me);
        Flow::Continue
    }

    fn call(
        &mut self,
        _bytes: &mut [u8],
        _reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, App>,
    ) -> Flow {
        Flow::Continue
    }

    fn resume(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, App>) -> Flow {
        reply.share(Arc::clone(&context.app.message));
        context.app.sent += 1;
        Flow::Continue
    }
}

fn connect_all(reactor: &mut Reactor<App>, count: usize) -> io::Result<Vec<TcpStream>> {
    let any: Address = "127.0.0.1:0".parse().map_err(io::Error::other)?;
    let listener = Listener::bind(&any, &ListenOptions::default())?;
    let address = listener.address().to_string();
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_| {
        Conversation::new(Bytes, Listens)
    })?;
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        for _ in 0..BATCH.min(count - clients.len()) {
            let client = TcpStream::connect(&address)?;
            client.set_nonblocking(true)?;
            clients.push(client);
        }
        reactor.run_until(|app| app.connections.len() == clients.len())?;
    }
    Ok(clients)
}

/// Sends the message to all connections. Returns the time that the server took.
fn broadcast(reactor: &mut Reactor<App>) -> io::Result<Duration> {
    let start = Instant::now();
    reactor.app.sent = 0;
    let connections = std::mem::take(&mut reactor.app.connections);
    let mut cx = reactor.cx();
    connections.iter().for_each(|connection| cx.wake(*connection));
    reactor.app.connections = connections;
    reactor.run_until(|app| app.sent == app.connections.len())?;
    Ok(start.elapsed())
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    // Each connection has two descriptors in this process.
    let count = CONNECTIONS.min(measure::descriptors_max().saturating_sub(OTHERS) / 2);
    let backend = BackendKind::Epoll.open().expect("epoll opens");
    let app = App { connections: Vec::new(), message: Arc::from([7; 1024]), sent: 0 };
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(backend, limits, app).expect("the limits make sense");
    let clients = connect_all(&mut reactor, count).expect("the connections can be made");
    let mut group = criterion.benchmark_group("broadcast");
    group.throughput(Throughput::Elements(count as u64));
    group.sample_size(20);
    group.bench_function(format!("1 KiB to {count} connections"), |bencher| {
        bencher.iter_custom(|repeats| {
            let mut elapsed = Duration::ZERO;
            let mut buffer = [0; 2048];
            for _ in 0..repeats {
                elapsed += broadcast(&mut reactor).expect("the loop runs");
                for client in &clients {
                    // Bytes that are not read now are read after the next broadcast.
                    net::read(client, &mut buffer).expect("the connection stands");
                }
            }
            elapsed
        });
    });
    group.finish();
    criterion.final_summary();
}
