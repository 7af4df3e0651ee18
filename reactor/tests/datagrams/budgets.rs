//! Budgets, costs and limits: what a socket may do in a turn, and how a loop with one stops.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use protocol::Limits;
use protocol::codecs::Bytes;
use reactor::{
    Address, BackendKind, DatagramOptions, DatagramSocket, Datagrams, LoopLimits, Reactor,
};

use crate::common::{PATIENCE, serve_echo, turn_until};
use crate::{Told, Writer, bind, client, on_every, receive, serve, serve_socket};

fn reactor(kind: BackendKind, limits: LoopLimits) -> Reactor<Told> {
    let backend = kind.open().expect("the backend opens");
    Reactor::with_backend(backend, limits, Told::default()).expect("the reactor opens")
}

#[test]
fn a_flood_of_datagrams_leaves_other_sources_their_turns() {
    for kind in BackendKind::ALL {
        let limits = LoopLimits { datagrams_per_turn: 20, ..LoopLimits::DEFAULT };
        let mut reactor = reactor(kind, limits);
        let options =
            DatagramOptions { receive_buffer: Some(1 << 20), ..DatagramOptions::default() };
        let port = serve(&mut reactor, "127.0.0.1", &options);
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        turn_until(&mut reactor, |reactor| reactor.counters().accepts == 1);
        let flood = client("127.0.0.1");
        for _ in 0..400 {
            flood.send_to(b"flood", ("127.0.0.1", port)).expect("it is sent");
        }
        stream.write_all(b"ping").expect("it is sent");
        let before = reactor.counters();
        while reactor.counters().bytes_written
            - before.bytes_written
            - 5 * (reactor.counters().datagrams_sent - before.datagrams_sent)
            < 4
        {
            let received = reactor.counters().datagrams_received;
            reactor.run_once(Some(PATIENCE)).expect("it turns");
            let now = reactor.counters().datagrams_received;
            assert!(now - received <= 20, "{kind}: {} datagrams in one turn", now - received);
        }
        let received = reactor.counters().datagrams_received - before.datagrams_received;
        assert!(received <= 60, "{kind}: the stream waited for {received} datagrams");
        stream.read_exact(&mut [0; 4]).expect("it is answered");
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_received == 400);
    }
}

#[test]
fn the_bytes_of_a_turn_are_bounded() {
    on_every(|mut reactor| {
        let limits = Limits { read_budget: 10_000, ..Limits::DEFAULT };
        let options =
            DatagramOptions { receive_buffer: Some(1 << 20), ..DatagramOptions::default() };
        let socket = bind("udp://127.0.0.1:0", &options);
        let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
        serve_socket(&mut reactor, socket, limits);
        let client = client("127.0.0.1");
        for _ in 0..40 {
            client.send_to(&[7; 5000], address).expect("it is sent");
        }
        while reactor.counters().datagrams_received < 40 {
            let before = reactor.counters().bytes_read;
            reactor.run_once(Some(PATIENCE)).expect("it turns");
            let read = reactor.counters().bytes_read - before;
            // The size of a datagram is known when it has been received: one batch may be more.
            assert!(read <= 10_000 + 4 * 5000, "{read} bytes in one turn");
        }
    });
}

#[test]
fn a_batch_costs_one_call_to_receive_and_one_to_send() {
    on_every(|mut reactor| {
        let port = serve(&mut reactor, "127.0.0.1", &DatagramOptions::default());
        let client = client("127.0.0.1");
        let mut exchange = |count: u64| {
            for _ in 0..count {
                client.send_to(b"x", ("127.0.0.1", port)).expect("it is sent");
            }
            let before = reactor.counters();
            crate::turn_until_sent(&mut reactor, before, count);
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            let after = reactor.counters();
            (0..count).for_each(|_| _ = receive(&client));
            assert_eq!(after.ctl_calls, before.ctl_calls);
            let would_blocks = after.would_blocks - before.would_blocks;
            (after.reads - before.reads, after.writes - before.writes, would_blocks)
        };
        exchange(1);
        for _ in 0..100 {
            assert_eq!(exchange(1), (1, 1, 0));
            assert_eq!(exchange(3), (1, 1, 0));
        }
        // The first batch has four places, the next eight, and so on to 32.
        exchange(100);
        let (reads, writes, would_blocks) = exchange(128);
        assert!(reads <= 8 && writes <= 8, "{reads} reads and {writes} writes for 128 datagrams");
        assert!(would_blocks <= 1, "only the last batch may be full with nothing behind it");
    });
}

#[test]
fn an_idle_socket_makes_no_turns() {
    on_every(|mut reactor| {
        serve(&mut reactor, "127.0.0.1", &DatagramOptions::default());
        for _ in 0..3 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        let before = reactor.counters();
        reactor.cx().after(Duration::from_millis(50), |cx| cx.stop()).expect("it is armed");
        reactor.run().expect("it runs");
        let after = reactor.counters();
        assert!(after.turns - before.turns <= 4, "{after}");
        assert_eq!(after.reads, before.reads);
    });
}

#[test]
fn a_peer_that_receives_an_answer_does_not_wake_the_loop() {
    on_every(|mut reactor| {
        let port = serve(&mut reactor, "127.0.0.1", &DatagramOptions::default());
        let client = client("127.0.0.1");
        for _ in 0..20 {
            let before = reactor.counters();
            client.send_to(b"x", ("127.0.0.1", port)).expect("it is sent");
            crate::turn_until_sent(&mut reactor, before, 1);
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            let before = reactor.counters().events;
            // Now the kernel has room to send again.
            receive(&client);
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            assert_eq!(reactor.counters().events, before);
        }
    });
}

#[test]
fn sockets_with_different_limits_share_a_loop() {
    on_every(|mut reactor| {
        let client = client("127.0.0.1");
        let limits = [2000, 10, 60_000, 100];
        let addresses = limits.map(|message_size_max| {
            let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
            let Address::Udp(address) = *socket.address() else { unreachable!("it is of UDP") };
            let limits = Limits { message_size_max, ..Limits::DEFAULT };
            serve_socket(&mut reactor, socket, limits);
            address
        });
        for (address, limit) in addresses.into_iter().zip(limits) {
            client.send_to(&vec![7; limit + 1], address).expect("it is sent");
            client.send_to(&vec![7; limit], address).expect("it is sent");
        }
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_refused == 4);
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent == 4);
        let mut got: Vec<usize> = limits.map(|_| receive(&client).0.len()).into();
        got.sort_unstable();
        assert_eq!(got, [10, 100, 2000, 60_000]);
    });
}

#[test]
fn nothing_is_received_while_too_much_waits_to_be_sent() {
    on_every(|mut reactor| {
        let limits = Limits { output_high: 20_000, output_low: 5000, ..Limits::DEFAULT };
        let folder = testkit::Folder::new("dgram");
        let path = folder.path().join("server");
        let server = std::os::unix::net::UnixDatagram::bind(&path).expect("it is free");
        let socket =
            DatagramSocket::connect(&Address::UnixDatagram(path), &DatagramOptions::default())
                .expect("it is there");
        let Address::UnixDatagram(own) = socket.address().clone() else {
            unreachable!("it is a Unix socket")
        };
        // The peer takes a few hundred datagrams at most (net.unix.max_dgram_qlen).
        Datagrams::serve(socket, Bytes, Writer::answering([1000; 1000]), limits, &mut reactor.cx())
            .expect("it registers");
        server.send_to(b"go", &own).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_received == 1);
        server.send_to(b"go", &own).expect("it is sent");
        for _ in 0..5 {
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        }
        assert_eq!(reactor.counters().datagrams_received, 1, "it is full");
        server.set_nonblocking(true).expect("modes can be set");
        let mut got = 0;
        turn_until(&mut reactor, |_| {
            while server.recv(&mut [0; 2000]).is_ok() {
                got += 1;
            }
            got == 2000
        });
        assert_eq!(reactor.app.drained, 2, "it drained twice");
        assert_eq!(reactor.counters().datagrams_unsent, 0);
    });
}

#[test]
fn the_datagrams_that_a_turn_sends_are_bounded() {
    for kind in BackendKind::ALL {
        let limits = LoopLimits { datagrams_per_turn: 20, ..LoopLimits::DEFAULT };
        let mut reactor = reactor(kind, limits);
        let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
        let service = Writer::answering([1000; 500]);
        Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
            .expect("it registers");
        // It does not read, but it is there: nothing is refused.
        let client = client("127.0.0.1");
        client.send_to(b"go", address).expect("it is sent");
        let mut before = 0;
        while before < 500 {
            reactor.run_once(Some(PATIENCE)).expect("it turns");
            let after = reactor.counters().datagrams_sent;
            assert!(after - before <= 20, "{kind}: {} datagrams in one turn", after - before);
            before = after;
        }
    }
}

#[test]
fn the_oldest_are_dropped_beyond_the_limit_of_what_waits() {
    on_every(|mut reactor| {
        let limits = Limits { output_max: 300_000, ..Limits::DEFAULT };
        let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
        let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
        Datagrams::serve(socket, Bytes, Writer::answering([1000; 1000]), limits, &mut reactor.cx())
            .expect("it registers");
        let client = client("127.0.0.1");
        client.send_to(b"go", address).expect("it is sent");
        turn_until(&mut reactor, |reactor| {
            let counters = reactor.counters();
            counters.datagrams_sent + counters.datagrams_unsent == 1000
        });
        // Each counts its bytes and 256 more.
        let unsent = reactor.counters().datagrams_unsent;
        assert_eq!(unsent, 1000 - 300_000 / 1256);
    });
}

#[test]
fn what_has_arrived_is_answered_before_a_graceful_stop() {
    on_every(|mut reactor| {
        let port = serve(&mut reactor, "127.0.0.1", &DatagramOptions::default());
        let client = client("127.0.0.1");
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        for _ in 0..100 {
            client.send_to(b"last", ("127.0.0.1", port)).expect("it is sent");
        }
        assert_eq!(reactor.listeners(), 1);
        reactor.cx().stop_gracefully(PATIENCE);
        reactor.run().expect("it stops");
        for _ in 0..100 {
            assert_eq!(receive(&client).0, b"last");
        }
        assert_eq!(reactor.app.closed, 1);
        assert_eq!(reactor.counters().live(), 0);
    });
}

#[test]
fn a_connected_socket_is_closed_when_it_is_silent_for_too_long() {
    for kind in BackendKind::ALL {
        let limits =
            LoopLimits { idle_timeout: Some(Duration::from_millis(30)), ..LoopLimits::DEFAULT };
        let mut reactor = reactor(kind, limits);
        let target = client("127.0.0.1");
        let peer = Address::Udp(target.local_addr().expect("it is bound"));
        let socket = DatagramSocket::connect(&peer, &DatagramOptions::default()).expect("it is");
        serve_socket(&mut reactor, socket, Limits::DEFAULT);
        let port = serve(&mut reactor, "127.0.0.1", &DatagramOptions::default());
        assert_eq!(reactor.cx().connections(), 1);
        turn_until(&mut reactor, |reactor| reactor.app.closed == 1);
        assert_eq!((reactor.cx().connections(), reactor.listeners()), (0, 1), "{port}");
    }
}

/// Sends more than the small buffer of a receiver takes while its loop is held. Returns how many
/// datagrams the kernel lists as dropped.
fn overfill(sender: &UdpSocket, receiver: SocketAddr) -> u64 {
    for _ in 0..500 {
        sender.send_to(&[7; 100], receiver).expect("it is sent");
    }
    let dropped = testkit::udp_drops(&[receiver]);
    assert!(dropped > 0, "the buffer is larger than expected");
    dropped
}

#[test]
fn the_drops_of_the_kernel_are_counted_and_told() {
    on_every(|mut reactor| {
        let options = DatagramOptions { receive_buffer: Some(4096), ..DatagramOptions::default() };
        let port = serve(&mut reactor, "127.0.0.1", &options);
        let client = client("127.0.0.1");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let dropped = overfill(&client, address);
        // The counters of a bound socket are the kernel's, and up to date.
        assert_eq!(reactor.counters().datagrams_missed, dropped);
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_received == 500 - dropped);
        // The kernel tells the service with the next datagram.
        client.send_to(b"next", address).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_received == 501 - dropped);
        let counters = reactor.counters();
        assert_eq!(counters.datagrams_missed, dropped);
        assert_eq!(testkit::udp_drops(&[address]), dropped);
        let told = reactor.app.failures.last().expect("it was told");
        assert!(told.contains(&format!("the kernel dropped {dropped} datagrams")), "{told}");
    });
}

#[test]
fn the_drops_at_a_connected_socket_are_counted_with_the_next_datagram() {
    on_every(|mut reactor| {
        let server = client("127.0.0.1");
        let options = DatagramOptions { receive_buffer: Some(4096), ..DatagramOptions::default() };
        let peer = Address::Udp(server.local_addr().expect("it is bound"));
        let socket = DatagramSocket::connect(&peer, &options).expect("it exchanges nothing");
        let Address::Udp(own) = *socket.address() else { unreachable!("it is a UDP socket") };
        serve_socket(&mut reactor, socket, Limits::DEFAULT);
        let mut sum = 0;
        for _ in 0..3 {
            let received = reactor.counters().datagrams_received;
            let dropped = overfill(&server, own) - sum;
            sum += dropped;
            turn_until(&mut reactor, |reactor| {
                reactor.counters().datagrams_received == received + 500 - dropped
            });
            server.send_to(b"next", own).expect("it is sent");
            turn_until(&mut reactor, |reactor| {
                reactor.counters().datagrams_received == received + 501 - dropped
            });
            assert_eq!(reactor.counters().datagrams_missed, sum);
            let told = reactor.app.failures.last().expect("it was told");
            assert!(told.contains(&format!("the kernel dropped {dropped} datagrams")), "{told}");
        }
    });
}
