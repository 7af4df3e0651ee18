//! Messages, their replies, and the addresses that they are sent from.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use protocol::codecs::{Bytes, Lines};
use protocol::{Context, Flow, Limits, Peer, Reply, Service};
use reactor::{Address, Counters, DatagramOptions, Datagrams};

use crate::common::{PATIENCE, turn_until};
use crate::{
    Echo, Told, Writer, bind, client, on_every, receive, serve, serve_socket, turn_until_sent,
};

#[test]
fn datagrams_of_all_sizes_come_back_whole() {
    on_every(|mut reactor| {
        let port = serve(&mut reactor, "127.0.0.1", &DatagramOptions::default());
        let client = client("127.0.0.1");
        for size in [0, 1, 2, 511, 1472, 1473, 9000, 65_000, 65_507, 0] {
            let sent: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
            let before = reactor.counters();
            client.send_to(&sent, ("127.0.0.1", port)).expect("it fits");
            turn_until_sent(&mut reactor, before, 1);
            assert!(receive(&client).0 == sent, "{size} bytes differ");
        }
        let counters = reactor.counters();
        assert_eq!((counters.datagrams_received, counters.datagrams_sent), (10, 10));
        assert_eq!((counters.datagrams_refused, counters.datagrams_unsent), (0, 0));
    });
}

#[test]
fn a_wildcard_server_answers_from_the_address_that_was_asked() {
    on_every(|mut reactor| {
        let port = serve(&mut reactor, "0.0.0.0", &DatagramOptions::default());
        let client = client("127.0.0.1");
        for host in ["127.0.0.2", "127.0.0.1", "127.0.0.77"] {
            let before = reactor.counters();
            client.send_to(b"who", (host, port)).expect("it is sent");
            turn_until_sent(&mut reactor, before, 1);
            let (bytes, from) = receive(&client);
            assert_eq!((&bytes[..], from.ip()), (&b"who"[..], host.parse::<IpAddr>().expect(host)));
            let asked = reactor.app.peers.last().and_then(Peer::asked).map(|it| it.0);
            assert_eq!(asked, Some(from.ip()));
        }
    });
}

#[test]
fn an_ipv6_wildcard_server_answers_ipv4_and_ipv6_from_the_address_that_was_asked() {
    if UdpSocket::bind("[::1]:0").is_err() {
        testkit::tell("SKIPPED", "this machine has no IPv6");
        return;
    }
    on_every(|mut reactor| {
        let options = DatagramOptions { dual_stack: true, ..DatagramOptions::default() };
        let port = serve(&mut reactor, "[::]", &options);
        for (own, host) in [("127.0.0.1", "127.0.0.2"), ("::1", "::1")] {
            let client = client(own);
            let before = reactor.counters();
            client.send_to(b"who", (host, port)).expect("it is sent");
            turn_until_sent(&mut reactor, before, 1);
            let (bytes, from) = receive(&client);
            assert_eq!((&bytes[..], from.ip()), (&b"who"[..], host.parse::<IpAddr>().expect(host)));
        }
    });
}

#[test]
fn multicast_is_joined_on_an_interface_and_answered_from_its_own_address() {
    on_every(|mut reactor| {
        let socket = bind("udp://0.0.0.0:0", &DatagramOptions::default());
        let group: IpAddr = [239, 255, 7, 9].into();
        socket.join_multicast(group, Some("lo")).expect("lo has multicast");
        let error = socket.join_multicast([10, 0, 0, 1].into(), None).expect_err("it is no group");
        assert!(error.to_string().contains("10.0.0.1"), "{error}");
        let error = socket.join_multicast(group, Some("none")).expect_err("there is none");
        assert!(error.to_string().contains("no network interface none"), "{error}");
        let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
        serve_socket(&mut reactor, socket, Limits::DEFAULT);

        let sender = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        sender.set_multicast_interface("lo").expect("it is there");
        let sender = sender.as_fd().try_clone_to_owned().expect("a descriptor is free");
        let sender = UdpSocket::from(sender);
        sender.set_nonblocking(false).expect("modes can be set");
        sender.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        let before = reactor.counters();
        sender.send_to(b"all", (group, address.port())).expect("it is sent");
        turn_until_sent(&mut reactor, before, 1);
        let (bytes, from) = receive(&sender);
        assert_eq!((&bytes[..], from.ip().to_string()), (&b"all"[..], "127.0.0.1".to_owned()));
    });
}

#[test]
fn a_multicast_group_of_ipv6_is_joined() {
    if UdpSocket::bind("[::1]:0").is_err() {
        testkit::tell("SKIPPED", "this machine has no IPv6");
        return;
    }
    let socket = bind("udp://[::]:0", &DatagramOptions::default());
    let group: IpAddr = "ff01::1234".parse().expect("it is an address");
    socket.join_multicast(group, Some("lo")).expect("lo has multicast");
    // Many machines have no route to groups over lo, so the kernel is asked what it has joined.
    let joined = std::fs::read_to_string("/proc/net/igmp6").expect("the kernel has IPv6");
    let is_it =
        |line: &str| line.contains("lo ") && line.contains("ff010000000000000000000000001234");
    assert!(joined.lines().any(is_it), "{joined}");
    drop(socket);
}

#[test]
fn a_broadcast_is_received_and_answered() {
    on_every(|mut reactor| {
        let port = serve(&mut reactor, "0.0.0.0", &DatagramOptions::default());
        let client = client("127.0.0.1");
        client.set_broadcast(true).expect("options can be set");
        let before = reactor.counters();
        client.send_to(b"all", ("127.255.255.255", port)).expect("lo has a broadcast address");
        turn_until_sent(&mut reactor, before, 1);
        let (bytes, from) = receive(&client);
        assert_eq!((&bytes[..], from.ip().to_string()), (&b"all"[..], "127.0.0.1".to_owned()));
    });
}

#[test]
fn a_socket_broadcasts_only_if_it_was_asked_for() {
    on_every(|mut reactor| {
        let target = client("0.0.0.0");
        let port = target.local_addr().expect("it is bound").port();
        let receiver = Peer::from(SocketAddr::from(([127, 255, 255, 255], port)));
        for broadcast in [false, true] {
            let options = DatagramOptions { broadcast, ..DatagramOptions::default() };
            let socket = bind("udp://127.0.0.1:0", &options);
            let service = Writer::unasked([(Some(receiver.clone()), 4)]);
            Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
                .expect("it registers");
            let done =
                |counters: Counters| counters.datagrams_sent + counters.datagrams_undelivered;
            let before = done(reactor.counters());
            turn_until(&mut reactor, |reactor| done(reactor.counters()) > before);
            assert_eq!(reactor.counters().datagrams_sent, u64::from(broadcast));
        }
        assert!(
            reactor.app.failures[0].contains("Permission denied"),
            "{:?}",
            reactor.app.failures
        );
        assert_eq!(receive(&target).0, [0; 4]);
    });
}

#[test]
fn a_datagram_above_the_limit_is_reported_and_dropped() {
    on_every(|mut reactor| {
        let limits = Limits { message_size_max: 100, ..Limits::DEFAULT };
        let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
        serve_socket(&mut reactor, socket, limits);
        let client = client("127.0.0.1");
        for size in [101, 100, 5000] {
            client.send_to(&vec![7; size], address).expect("it is sent");
        }
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_refused == 2);
        assert_eq!(receive(&client).0, [7; 100]);
        let own = client.local_addr().expect("it is bound");
        let expected: Vec<String> = [101, 5000]
            .map(|size| format!("{own} a datagram of {size} bytes is larger than the limit"))
            .into();
        assert_eq!(reactor.app.failures, expected);
        assert_eq!(reactor.counters().datagrams_sent, 1);
    });
}

#[test]
fn a_datagram_that_is_not_exactly_one_message_is_refused_alone() {
    on_every(|mut reactor| {
        let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
        Datagrams::serve(socket, Lines::default(), Echo, Limits::DEFAULT, &mut reactor.cx())
            .expect("it registers");
        let client = client("127.0.0.1");
        for text in ["one\n", "no end", "two\nthree\n", "", "four\n", "x", "five\n"] {
            client.send_to(text.as_bytes(), address).expect("it is sent");
        }
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent == 3);
        for text in ["one\n", "four\n", "five\n"] {
            assert_eq!(receive(&client).0, text.as_bytes());
        }
        let failures = &reactor.app.failures;
        assert_eq!(reactor.counters().datagrams_refused, 4);
        assert!(failures[0].contains("its 6 bytes are an incomplete message"), "{failures:?}");
        assert!(failures[1].contains("6 of its 10 bytes follow a message"), "{failures:?}");
    });
}

/// Sends each word of a message as a datagram of its own, and pauses after "pause".
struct Words;

impl Service<Bytes, Told> for Words {
    fn call(
        &mut self,
        message: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, Told>,
    ) -> Flow {
        for word in message.split(|byte| *byte == b' ') {
            reply.send(word);
        }
        if message == b"pause" { Flow::Pause } else { Flow::Continue }
    }
}

#[test]
fn each_message_of_a_reply_is_a_datagram() {
    on_every(|mut reactor| {
        let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
        Datagrams::serve(socket, Bytes, Words, Limits::DEFAULT, &mut reactor.cx())
            .expect("it registers");
        let client = client("127.0.0.1");
        client.send_to(b"one two  four", address).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent == 4);
        for word in ["one", "two", "", "four"] {
            assert_eq!(receive(&client).0, word.as_bytes());
        }
    });
}

#[test]
fn a_service_that_pauses_gets_the_rest_of_the_batch_when_it_is_woken() {
    on_every(|mut reactor| {
        let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
        let token = Datagrams::serve(socket, Bytes, Words, Limits::DEFAULT, &mut reactor.cx())
            .expect("it registers");
        let client = client("127.0.0.1");
        for text in ["a", "pause", "b", "c", "d", "e"] {
            client.send_to(text.as_bytes(), address).expect("it is sent");
        }
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent == 2);
        for _ in 0..20 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert_eq!(reactor.counters().datagrams_sent, 2, "it pauses");
        let turns = reactor.counters().turns;
        reactor.run_once(Some(Duration::from_millis(20))).expect("it turns");
        assert_eq!(reactor.counters().turns, turns + 1, "it sleeps");
        reactor.cx().wake(token);
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent == 6);
        for text in ["a", "pause", "b", "c", "d", "e"] {
            assert_eq!(receive(&client).0, text.as_bytes());
        }
    });
}

#[test]
fn datagrams_of_one_length_to_one_peer_are_sent_by_one_call_and_arrive_one_by_one() {
    let mut cases = vec![
        vec![100; 64],
        vec![100; 200],
        [vec![100; 10], vec![7], vec![100; 10], vec![0, 0], vec![101; 3]].concat(),
        vec![1, 2, 3, 3, 2, 1],
        vec![30_000; 3],
        vec![65_507; 2],
        vec![1; 70],
    ];
    cases.push((1..60).chain((1..60).rev()).collect());
    for lengths in cases {
        on_every(|mut reactor| {
            let socket = bind("udp://0.0.0.0:0", &DatagramOptions::default());
            let Address::Udp(address) = *socket.address() else { unreachable!("it is of UDP") };
            let service = Writer::answering(lengths.clone());
            Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
                .expect("it registers");
            let client = client("127.0.0.1");
            client.send_to(b"go", ("127.0.0.3", address.port())).expect("it is sent");
            for (number, length) in lengths.iter().enumerate() {
                let wanted = number as u64 + 1;
                turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent >= wanted);
                let (bytes, from) = receive(&client);
                assert!(bytes == vec![number as u8; *length], "datagram {number} of {lengths:?}");
                assert_eq!(from.ip().to_string(), "127.0.0.3");
            }
            let counters = reactor.counters();
            let (sum, count) = (lengths.iter().sum::<usize>() as u64, lengths.len() as u64);
            assert_eq!((counters.bytes_written, counters.datagrams_sent), (sum, count));
            if lengths == vec![100; 64] {
                assert_eq!(counters.writes, 1);
            }
        });
    }
}

#[test]
fn datagrams_that_arrive_together_are_separate_messages() {
    let hosts = ["127.0.0.1", "[::1]"].into_iter();
    let hosts: Vec<&str> = hosts.filter(|host| UdpSocket::bind((*host, 0)).is_ok()).collect();
    for lengths in [vec![100; 60], [vec![1200; 20], vec![9]].concat(), vec![1, 2, 0, 3]] {
        for (host, coalesced) in hosts.iter().flat_map(|host| [(host, false), (host, true)]) {
            on_every(|mut reactor| {
                let options = DatagramOptions { coalesced, ..DatagramOptions::default() };
                let any = format!("udp://{host}:0");
                let socket = bind(&any, &options);
                let Address::Udp(address) = *socket.address() else { unreachable!("of UDP") };
                let keeps = Writer::default();
                Datagrams::serve(socket, Bytes, keeps, Limits::DEFAULT, &mut reactor.cx())
                    .expect("it registers");
                // This socket sends its datagrams together.
                let sender = bind(&any, &DatagramOptions::default());
                let peer = Some(Peer::from(address));
                let letters = lengths.iter().map(|length| (peer.clone(), *length));
                let service = Writer::unasked(letters);
                Datagrams::serve(sender, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
                    .expect("it registers");
                let wanted = lengths.len();
                turn_until(&mut reactor, |reactor| reactor.app.messages.len() >= wanted);
                let expected = lengths.iter().enumerate();
                let expected: Vec<Vec<u8>> =
                    expected.map(|(number, length)| vec![number as u8; *length]).collect();
                assert!(reactor.app.messages == expected, "{lengths:?}");
                let counters = reactor.counters();
                assert_eq!(counters.datagrams_received, wanted as u64);
                if lengths == vec![100; 60] {
                    // Both sockets look for datagrams and refusals first.
                    let came_together = counters.reads <= 5;
                    assert_eq!(came_together, coalesced, "{host}: {counters}");
                }
            });
        }
    }
}

#[test]
fn datagrams_of_one_sender_in_a_batch_are_handled_together_and_in_order() {
    on_every(|mut reactor| {
        let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
        Datagrams::serve(socket, Bytes, Writer::default(), Limits::DEFAULT, &mut reactor.cx())
            .expect("it registers");
        let clients = [client("127.0.0.1"), client("127.0.0.1")];
        for number in 0..6 {
            clients[usize::from(number % 2)].send_to(&[number], address).expect("it is sent");
        }
        turn_until(&mut reactor, |reactor| reactor.app.messages.len() == 6);
        assert_eq!(reactor.app.messages, [[0], [2], [4], [1], [3], [5]]);
    });
}
