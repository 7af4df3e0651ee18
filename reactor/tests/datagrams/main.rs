//! Datagrams: UDP and Unix sockets that drive a codec and a service, on every backend.

#[path = "../common/mod.rs"]
mod common;

mod budgets;
mod messages;
mod network;
mod options;
mod order;
mod owing;
mod refusals;
mod unix;

use std::net::{SocketAddr, UdpSocket};

use common::{PATIENCE, on_every_backend, turn_until};
use protocol::codecs::Bytes;
use protocol::{Codec, Context, DatagramFailure, Flow, Limits, Peer, Reply, Service};
use reactor::{
    Address, Counters, DatagramOptions, DatagramSocket, Datagrams, LoopLimits, Reactor, Token,
};

/// What a service was told, in order.
#[derive(Default)]
struct Told {
    failures: Vec<String>,
    peers: Vec<Peer>,
    messages: Vec<Vec<u8>>,
    resumed: u32,
    drained: u32,
    closed: u32,
}

impl Told {
    fn note(&mut self, failure: &DatagramFailure, peer: Option<&Peer>) {
        let peer = peer.map(Peer::to_string).unwrap_or_default();
        self.failures.push(format!("{peer} {failure}"));
    }
}

/// Echoes each message, and remembers what it was told.
struct Echo;

impl<C> Service<C, Told> for Echo
where
    C: for<'a> Codec<In<'a> = &'a mut [u8], Out<'a> = &'a [u8]>,
{
    fn call(
        &mut self,
        message: &mut [u8],
        reply: &mut Reply<'_, C>,
        context: &mut Context<'_, Told>,
    ) -> Flow {
        context.app.peers.extend(reply.peer().cloned());
        reply.send(message);
        Flow::Continue
    }

    fn resume(&mut self, _reply: &mut Reply<'_, C>, context: &mut Context<'_, Told>) -> Flow {
        context.app.resumed += 1;
        Flow::Continue
    }

    fn failed(
        &mut self,
        failure: &DatagramFailure,
        reply: &mut Reply<'_, C>,
        context: &mut Context<'_, Told>,
    ) -> Flow {
        context.app.note(failure, reply.peer());
        Flow::Continue
    }

    fn closed(&mut self, _reason: &protocol::Reason, context: &mut Context<'_, Told>) {
        context.app.closed += 1;
    }
}

fn bind(address: &str, options: &DatagramOptions) -> DatagramSocket {
    DatagramSocket::bind(&address.parse().expect("it is an address"), options).expect("it is free")
}

fn serve_socket(reactor: &mut Reactor<Told>, socket: DatagramSocket, limits: Limits) -> Token {
    Datagrams::serve(socket, Bytes, Echo, limits, &mut reactor.cx()).expect("it registers")
}

/// Serves an echo on a free port of `host`. Returns its port.
fn serve(reactor: &mut Reactor<Told>, host: &str, options: &DatagramOptions) -> u16 {
    let socket = bind(&format!("udp://{host}:0"), options);
    let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
    serve_socket(reactor, socket, Limits::DEFAULT);
    address.port()
}

/// Returns a socket of a client that waits for answers for a limited time.
fn client(host: &str) -> UdpSocket {
    let socket = UdpSocket::bind((host, 0)).expect("a port is free");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    socket
}

/// Turns until the kernel has taken `count` more datagrams than at `before`.
fn turn_until_sent(reactor: &mut Reactor<Told>, before: Counters, count: u64) {
    turn_until(reactor, |reactor| {
        reactor.counters().datagrams_sent >= before.datagrams_sent + count
    });
}

fn receive(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 70_000];
    let (length, from) = testkit::receive_udp(client, &mut buffer).expect("it is answered");
    buffer.truncate(length);
    (buffer, from)
}

fn on_every(test: impl Fn(Reactor<Told>)) {
    on_every_backend(LoopLimits::DEFAULT, test);
}

/// Datagrams to send: the receiver, if it is not the peer that is answered, and the length. Each byte
/// is the place of the datagram in the list.
type Letters = Vec<(Option<Peer>, usize)>;

/// Remembers what it is told, and sends datagrams on each occasion.
#[derive(Default)]
struct Writer {
    /// When it opens, and when it is woken.
    unasked: Letters,
    /// For each message.
    answers: Letters,
    /// For each failure.
    complaints: Letters,
}

impl Writer {
    fn unasked(letters: impl IntoIterator<Item = (Option<Peer>, usize)>) -> Self {
        Self { unasked: letters.into_iter().collect(), ..Self::default() }
    }

    fn answering(lengths: impl IntoIterator<Item = usize>) -> Self {
        let answers = lengths.into_iter().map(|length| (None, length)).collect();
        Self { answers, ..Self::default() }
    }

    fn send(letters: &Letters, reply: &mut Reply<'_, Bytes>) -> Flow {
        for (number, (peer, length)) in letters.iter().enumerate() {
            if let Some(peer) = peer {
                reply.to(peer);
            }
            reply.send(&vec![number as u8; *length]);
        }
        Flow::Continue
    }
}

impl Service<Bytes, Told> for Writer {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, _context: &mut Context<'_, Told>) -> Flow {
        Self::send(&self.unasked, reply)
    }

    fn call(
        &mut self,
        message: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Told>,
    ) -> Flow {
        context.app.peers.extend(reply.peer().cloned());
        context.app.messages.push(message.to_vec());
        Self::send(&self.answers, reply)
    }

    fn resume(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, Told>) -> Flow {
        assert!(reply.peer().is_none(), "it answers no datagram");
        context.app.resumed += 1;
        Self::send(&self.unasked, reply)
    }

    fn drained(&mut self, _reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, Told>) -> Flow {
        context.app.drained += 1;
        Flow::Continue
    }

    fn failed(
        &mut self,
        failure: &DatagramFailure,
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Told>,
    ) -> Flow {
        context.app.note(failure, reply.peer());
        Self::send(&self.complaints, reply)
    }
}
