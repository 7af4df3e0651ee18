//! Refusals of the network, and errors that concern one datagram alone.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use protocol::codecs::Bytes;
use protocol::{Limits, Peer};
use reactor::{
    Address, BackendKind, DatagramOptions, DatagramSocket, Datagrams, LoopLimits, Reactor,
};

use crate::common::{PATIENCE, turn_until};
use crate::{Told, Writer, bind, client, on_every, receive, serve};

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("it is bound")
}

/// How many refusals a server survives.
const REFUSALS: u64 = 10_000;

#[test]
fn ten_thousand_refusals_are_survived_by_a_server_that_is_not_connected() {
    on_every(|mut reactor| {
        let port = serve(&mut reactor, "127.0.0.1", &DatagramOptions::default());
        for round in 1..=REFUSALS / 50 {
            // Each takes no more datagrams when it is answered, but keeps its port.
            let gone = client("127.0.0.1");
            for size in 1..=50 {
                // Answers of different lengths are not sent together, which would be refused once.
                gone.send_to(&vec![7; size], ("127.0.0.1", port)).expect("it fits");
            }
            gone.connect(address(&gone)).expect("it is there");
            turn_until(&mut reactor, |reactor| {
                reactor.counters().datagrams_undelivered >= round * 50
            });
        }
        let counters = reactor.counters();
        assert_eq!(counters.datagrams_undelivered, REFUSALS, "{counters}");
        assert_eq!((counters.live(), counters.datagrams_unsent), (1, 0), "{counters}");
        let refused = "Connection refused";
        assert_eq!(reactor.app.failures.len() as u64, REFUSALS);
        assert!(reactor.app.failures.iter().all(|it| it.contains(refused)));
        assert!(reactor.app.failures[0].starts_with("127.0.0.1:"), "{}", reactor.app.failures[0]);

        let (client, before) = (client("127.0.0.1"), reactor.counters());
        client.send_to(b"still there", ("127.0.0.1", port)).expect("it is sent");
        crate::turn_until_sent(&mut reactor, before, 1);
        assert_eq!(receive(&client).0, b"still there");
        assert_sleeps(&mut reactor);
    });
}

#[test]
fn ten_thousand_refusals_are_survived_by_a_client_that_is_connected() {
    let hosts = ["127.0.0.1", "::1"].into_iter();
    for host in hosts.filter(|host| UdpSocket::bind((*host, 0)).is_ok()) {
        on_every(|mut reactor| {
            let server = testkit::refusing_udp_socket(host);
            let peer = Address::Udp(address(&server));
            let socket = DatagramSocket::connect(&peer, &DatagramOptions::default());
            let socket = socket.expect("connecting exchanges nothing");
            let Address::Udp(own) = *socket.address() else { unreachable!("it is a UDP socket") };
            // Each is longer than the one before, so that they are refused one by one.
            let service = Writer::unasked((1..=50).map(|size| (None, size)));
            let token =
                Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
                    .expect("it registers");
            for round in 1..=REFUSALS / 50 {
                turn_until(&mut reactor, |reactor| {
                    reactor.counters().datagrams_undelivered >= round * 50
                });
                if round < REFUSALS / 50 {
                    reactor.cx().wake(token);
                }
            }
            assert_sleeps(&mut reactor);
            let counters = reactor.counters();
            assert_eq!(counters.datagrams_undelivered, REFUSALS, "{host}: {counters}");
            assert_eq!((counters.datagrams_sent, counters.datagrams_unsent), (REFUSALS, 0));
            assert_eq!(reactor.app.failures.len() as u64, REFUSALS);
            assert!(reactor.app.failures.iter().all(|it| it.contains("Connection refused")));
            server.connect(own).expect("it is there");
            server.send(b"still there").expect("it is sent");
            turn_until(&mut reactor, |reactor| reactor.app.messages == [b"still there"]);
        });
    }
}

/// Checks that the loop has nothing to do.
fn assert_sleeps(reactor: &mut Reactor<Told>) {
    for _ in 0..5 {
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    }
    let before = reactor.counters();
    for _ in 0..10 {
        reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
    }
    let after = reactor.counters();
    assert_eq!(after.runs, before.runs, "it does not sleep: {after}");
    assert_eq!(after.idle_spins, 0, "{after}");
}

#[test]
fn a_connected_client_is_told_that_it_is_refused_and_goes_on() {
    on_every(|mut reactor| {
        let server = testkit::refusing_udp_socket("127.0.0.1");
        let peer = Address::Udp(address(&server));
        let socket = DatagramSocket::connect(&peer, &DatagramOptions::default());
        let socket = socket.expect("connecting exchanges nothing");
        let Address::Udp(own) = *socket.address() else { unreachable!("it is a UDP socket") };
        let service = Writer::unasked([(None, 3)]);
        let token = Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
            .expect("it registers");
        turn_until(&mut reactor, |reactor| reactor.app.failures.len() == 1);
        assert!(
            reactor.app.failures[0].contains("Connection refused"),
            "{:?}",
            reactor.app.failures
        );
        assert_sleeps(&mut reactor);

        server.connect(own).expect("it is there");
        server.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        reactor.cx().wake(token);
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent == 2);
        assert_eq!(receive(&server), (vec![0; 3], own));
        server.send_to(b"answer", own).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.app.messages == [b"answer"]);
    });
}

#[test]
fn a_datagram_that_cannot_be_sent_does_not_hold_up_the_others() {
    on_every(|mut reactor| {
        let target = client("127.0.0.1");
        let good = Peer::from(target.local_addr().expect("it is bound"));
        let refusing = testkit::refusing_udp_socket("127.0.0.1");
        let closed = Peer::from(address(&refusing));
        // Without permission to broadcast.
        let forbidden = Peer::from(SocketAddr::from(([127, 255, 255, 255], 9)));
        let service = Writer::unasked([
            (None, 1),
            (Some(good.clone()), 1),
            (Some(forbidden.clone()), 2),
            (Some(good.clone()), 65_508),
            (Some(closed.clone()), 3),
            (Some(good.clone()), 4),
            (Some(Peer::unix(b"")), 5),
            (Some(good.clone()), 6),
        ]);
        let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
            .expect("it registers");
        turn_until(&mut reactor, |reactor| reactor.app.failures.len() == 3);
        for (number, size) in [(1, 1), (5, 4), (7, 6)] {
            assert_eq!(receive(&target).0, vec![number; size]);
        }
        let counters = reactor.counters();
        assert_eq!((counters.datagrams_sent, counters.datagrams_unsent), (4, 2), "{counters}");
        let mut failures = reactor.app.failures.clone();
        failures.sort();
        let told = |peer: &Peer, error: &str| {
            assert!(
                failures.iter().any(|it| it.starts_with(&peer.to_string()) && it.contains(error)),
                "{peer}, {error}: {failures:?}"
            );
        };
        told(&forbidden, "Permission denied");
        told(&good, "Message too long");
        told(&closed, "Connection refused");
        assert_sleeps(&mut reactor);
    });
}

#[test]
fn a_service_that_answers_every_failure_does_not_hold_the_loop() {
    on_every(|mut reactor| {
        let refusing = testkit::refusing_udp_socket("127.0.0.1");
        for host in [[127, 0, 0, 1], [127, 255, 255, 255]] {
            let peer = Peer::from(SocketAddr::from((host, address(&refusing).port())));
            let mut insists = Writer::unasked([(Some(peer), 6)]);
            insists.complaints = insists.unasked.clone();
            let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
            Datagrams::serve(socket, Bytes, insists, Limits::DEFAULT, &mut reactor.cx())
                .expect("it registers");
        }
        for _ in 0..10 {
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        }
        let failures = reactor.app.failures.len();
        assert!((10..5000).contains(&failures), "{failures} failures in 10 turns");
    });
}

#[test]
fn refusals_are_taken_within_the_budget_of_a_turn() {
    for kind in BackendKind::ALL {
        let limits = LoopLimits { datagrams_per_turn: 8, ..LoopLimits::DEFAULT };
        let backend = kind.open().expect("the backend opens");
        let mut reactor =
            Reactor::with_backend(backend, limits, Told::default()).expect("the reactor opens");
        let refusing = testkit::refusing_udp_socket("127.0.0.1");
        let closed = Peer::from(address(&refusing));
        // Each is longer than the one before, so that the kernel gets them one by one.
        let service = Writer::unasked((1..=100).map(|size| (Some(closed.clone()), size)));
        let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
            .expect("it registers");
        let mut before = 0;
        while reactor.app.failures.len() < 100 {
            reactor.run_once(Some(PATIENCE)).expect("it turns");
            let after = reactor.app.failures.len();
            // In the turn of readiness, and in that of a timer.
            assert!(after - before <= 2 * 8, "{kind}: {} in one turn", after - before);
            before = after;
        }
        assert_sleeps(&mut reactor);
        assert_eq!(reactor.app.failures.len(), 100, "{kind}: each is told once");
    }
}
