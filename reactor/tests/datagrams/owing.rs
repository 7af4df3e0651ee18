//! Services whose answers come later: what becomes of these when another process goes on with the socket, and
//! when the loop winds down.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use protocol::codecs::Bytes;
use protocol::{Context, Flow, Limits, Peer, Reply, Service};
use reactor::{Address, DatagramOptions, Datagrams, Reactor, Token};

use super::common::PATIENCE;
use super::{Told, bind, client, on_every, receive, turn_until};

/// How long an answer takes: longer than a connection may be silent while the loop winds down, in these
/// tests.
const TAKES: Duration = Duration::from_millis(100);
const LIMITS: Limits = Limits { stopping_quiet: Duration::from_millis(10), ..Limits::DEFAULT };

/// Answers each message a while later.
#[derive(Default)]
struct Later {
    owed: Vec<(Peer, Vec<u8>)>,
    is_stopping: bool,
}

impl Service<Bytes, Told> for Later {
    fn call(
        &mut self,
        message: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Told>,
    ) -> Flow {
        context.app.messages.push(message.to_vec());
        let peer = reply.peer().expect("a datagram has a sender").clone();
        self.owed.push((peer, message.to_vec()));
        context.effects.set_timeout(0, Some(TAKES));
        if self.is_stopping {
            context.effects.set_busy(true);
        }
        Flow::Continue
    }

    fn timeout(
        &mut self,
        _: u8,
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Told>,
    ) -> Flow {
        for (peer, message) in self.owed.drain(..) {
            reply.to(&peer).send(&message);
        }
        context.effects.set_busy(false);
        Flow::Continue
    }

    fn stopping(&mut self, _: &mut Reply<'_, Bytes>, context: &mut Context<'_, Told>) -> Flow {
        self.is_stopping = true;
        context.effects.set_busy(!self.owed.is_empty());
        Flow::Continue
    }

    fn closed(&mut self, _: &protocol::Reason, context: &mut Context<'_, Told>) {
        context.app.closed += 1;
    }
}

/// Serves on a free port. Returns the source, and the port.
fn serve(reactor: &mut Reactor<Told>) -> (Token, u16) {
    let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
    let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
    let service = Later::default();
    let token = Datagrams::serve(socket, Bytes, service, LIMITS, &mut reactor.cx());
    (token.expect("it registers"), address.port())
}

/// P11: what is asked before is answered by this process, and what is asked afterwards is left to the other.
#[test]
fn a_socket_that_another_process_goes_on_with_sends_what_it_owes_and_ends() {
    on_every(|mut reactor| {
        let (token, port) = serve(&mut reactor);
        let client = client("127.0.0.1");
        client.send_to(b"before", ("127.0.0.1", port)).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.app.messages.len() == 1);
        let other = reactor.cx().duplicate_fd(token).expect("a descriptor is left");
        let other = UdpSocket::from(other.expect("it has one"));
        reactor.cx().retire(token);
        turn_until(&mut reactor, |reactor| reactor.listeners() == 0);
        assert_eq!(reactor.counters().connections, 1, "it is waited for");
        client.send_to(b"afterwards", ("127.0.0.1", port)).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.app.closed == 1);
        assert_eq!(receive(&client).0, b"before");
        assert_eq!(reactor.app.messages, [b"before"]);
        assert_eq!(reactor.counters().live(), 0);
        let mut buffer = [0; 64];
        let (length, _) = other.recv_from(&mut buffer).expect("it is left");
        assert_eq!(&buffer[..length], b"afterwards");
    });
}

#[test]
fn a_socket_that_owes_nothing_ends_when_another_process_goes_on_with_it() {
    on_every(|mut reactor| {
        let (token, port) = serve(&mut reactor);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        let other = reactor.cx().duplicate_fd(token).expect("a descriptor is left");
        let other = UdpSocket::from(other.expect("it has one"));
        reactor.cx().retire(token);
        turn_until(&mut reactor, |reactor| reactor.app.closed == 1);
        let client = client("127.0.0.1");
        client.send_to(b"hello", ("127.0.0.1", port)).expect("it is sent");
        let mut buffer = [0; 64];
        let (length, _) = other.recv_from(&mut buffer).expect("it is left");
        assert_eq!(&buffer[..length], b"hello");
        let error = other.recv_from(&mut buffer).expect_err("there is no other");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn answers_under_way_are_sent_before_a_graceful_stop() {
    on_every(|mut reactor| {
        let (_, port) = serve(&mut reactor);
        let client = client("127.0.0.1");
        client.send_to(b"first", ("127.0.0.1", port)).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.app.messages.len() == 1);
        // This one has arrived when the loop begins to wind down.
        client.send_to(b"second", ("127.0.0.1", port)).expect("it is sent");
        reactor.cx().stop_gracefully(PATIENCE);
        reactor.run().expect("it stops");
        assert_eq!(receive(&client).0, b"first");
        assert_eq!(receive(&client).0, b"second");
        assert_eq!((reactor.app.closed, reactor.counters().live()), (1, 0));
    });
}
