//! The rules of TCP and of Unix sockets that a simulated kernel keeps.

use std::time::Duration;

use reactor::sim::{Fault, Faults, Sim};
use reactor::{BackendKind, ConnectOptions, ListenOptions, TcpOptions};

use crate::node::{Act, Node, PATIENT, Pair, act_on, dial, node};

#[test]
fn data_arrives_before_the_end_of_the_stream_and_each_side_ends_on_its_own() {
    for kind in BackendKind::ALL {
        let mut pair = Pair::with(kind, ListenOptions::DEFAULT);
        pair.dial();
        pair.act_near(Act::Write(b"question".to_vec()));
        pair.act_near(Act::Shut);
        pair.run(20);
        assert_eq!(pair.far(0).read, b"question", "{kind}");
        assert!(pair.far(0).at_end);
        assert!(!pair.near(0).at_end);
        pair.act_far(Act::Write(b"answer".to_vec()));
        pair.run(20);
        assert_eq!(pair.near(0).read, b"answer", "{kind}");
        assert!(!pair.near(0).at_end);
        pair.act_far(Act::Shut);
        pair.run(20);
        assert!(pair.near(0).at_end, "{kind}");
        assert_eq!((pair.near_end(), pair.far_end()), (String::new(), String::new()));
    }
}

#[test]
fn a_megabyte_arrives_in_order_through_small_windows_too() {
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|place| (place % 251) as u8).collect();
    for kind in BackendKind::ALL {
        let mut pair = Pair::with(kind, ListenOptions::DEFAULT);
        pair.dial();
        pair.act_near(Act::Write(bytes.clone()));
        pair.act_near(Act::Shut);
        pair.run(30_000);
        assert!(pair.near(0).would_blocks > 0, "{kind}: the buffers have bounds");
        assert!(pair.far(0).read == bytes, "{kind}: {} bytes", pair.far(0).read.len());
        assert!(pair.far(0).at_end);
    }
    let mut pair = Pair::new();
    pair.sim.set_faults(Faults::NONE.rate(Fault::SmallBuffer, 1_000_000));
    pair.dial();
    pair.act_near(Act::Write(bytes[..3_000].to_vec()));
    pair.run(60_000);
    assert_eq!(pair.far(0).read, &bytes[..3_000]);
}

#[test]
fn a_full_socket_takes_no_more_until_the_peer_reads() {
    let mut pair = Pair::connected();
    pair.act_far(Act::Read(false));
    pair.act_near(Act::Write(vec![1; 1_000_000]));
    pair.run(5_000);
    let stuck = pair.near(0).written;
    assert!((100_000..200_000).contains(&stuck), "{stuck} bytes fit into both buffers");
    pair.run(60_000);
    assert_eq!(pair.near(0).written, stuck);
    pair.act_far(Act::Read(true));
    pair.run(30_000);
    assert_eq!(pair.far(0).read.len(), 1_000_000);
}

#[test]
fn a_close_with_unread_bytes_resets() {
    let mut pair = Pair::connected();
    pair.act_far(Act::Read(false));
    pair.act_near(Act::Write(b"never read".to_vec()));
    pair.run(20);
    pair.act_far(Act::Close);
    pair.run(20);
    assert!(pair.near_end().contains("reset"), "{}", pair.near_end());
}

#[test]
fn bytes_to_a_closed_peer_are_answered_with_a_reset() {
    let mut pair = Pair::connected();
    pair.act_far(Act::Close);
    pair.run(20);
    assert!(pair.near(0).at_end, "it has ended in order so far");
    assert_eq!(pair.near_end(), "");
    pair.act_near(Act::Write(b"too late".to_vec()));
    pair.run(20);
    // The state was CLOSE_WAIT, and so the error is EPIPE.
    assert!(pair.near_end().contains("Broken pipe") || pair.near_end().is_empty());
    pair.act_near(Act::Write(b"again".to_vec()));
    pair.run(20);
    assert!(pair.near_end().contains("Broken pipe"), "{}", pair.near_end());
}

#[test]
fn what_was_held_back_does_not_overtake_what_is_on_its_way() {
    let mut pair = Pair::connected();
    pair.sim.set_latency(Duration::from_millis(500), Duration::from_millis(500));
    pair.act_near(Act::Write(b"first, ".to_vec()));
    pair.run(10);
    pair.sim.set_latency(Duration::from_millis(1), Duration::from_millis(1));
    pair.sim.hold(pair.client, pair.server);
    pair.act_near(Act::Write(b"second".to_vec()));
    pair.run(1);
    // With its socket gone, nothing but the segments themselves knows their order.
    pair.act_near(Act::Reset);
    pair.run(10);
    pair.sim.release(pair.client, pair.server);
    pair.run(100);
    assert_eq!(pair.far(0).read, b"");
    pair.run(1_000);
    assert_eq!(pair.far(0).read, b"first, second");
}

#[test]
fn bytes_are_refused_until_the_refusal_arrives() {
    let mut pair = Pair::connected();
    pair.sim.cut(pair.server, pair.client);
    pair.act_far(Act::Reset);
    pair.run(20);
    pair.act_near(Act::Write(b"to nothing".to_vec()));
    pair.run(20);
    assert_eq!(pair.near_end(), "", "neither the reset nor the refusal gets through");
    pair.sim.heal(pair.server, pair.client);
    pair.run(1_000);
    assert!(pair.near_end().contains("reset"), "{}", pair.near_end());
}

#[test]
fn bytes_come_before_the_reset_that_follows_them() {
    let mut pair = Pair::connected();
    pair.act_near(Act::Read(false));
    pair.run(10);
    pair.act_far(Act::Write(b"last words".to_vec()));
    pair.run(20);
    pair.act_far(Act::Reset);
    pair.run(20);
    pair.act_near(Act::Read(true));
    pair.run(20);
    assert_eq!(pair.near(0).read, b"last words");
    assert!(pair.near_end().contains("reset"), "{}", pair.near_end());
}

#[test]
fn what_a_server_says_first_does_not_overtake_the_handshake() {
    let mut pair = Pair::new();
    pair.nodes(pair.server).greeting = b"hello".to_vec();
    pair.sim.set_latency(Duration::ZERO, Duration::from_millis(20));
    for _ in 0..200 {
        pair.dial();
    }
    pair.run(1_000);
    for index in 0..200 {
        let near = pair.near(index);
        assert_eq!((&near.read[..], &near.ended), (&b"hello"[..], &None), "{index}");
    }
}

#[test]
fn a_connection_that_has_ended_in_order_is_not_reset_any_more() {
    let mut pair = Pair::connected();
    pair.act_near(Act::Shut);
    pair.act_far(Act::Shut);
    pair.run(20);
    assert!(pair.near(0).at_end && pair.far(0).at_end);
    pair.act_far(Act::Reset);
    pair.run(1_000);
    assert_eq!(pair.near_end(), "");
}

#[test]
fn a_port_without_a_listener_refuses_and_an_unknown_host_is_unreachable() {
    let mut pair = Pair::new();
    for (address, text) in [("10.0.0.1:8", "refused"), ("10.9.9.9:7", "host unreachable")] {
        let index = dial(&mut pair.sim, pair.client, address, PATIENT);
        pair.run(20);
        let ended = pair.near(index).ended.clone().unwrap_or_default();
        assert!(ended.contains(text), "{address}: {ended}");
        assert!(!pair.near(index).is_called);
    }
}

#[test]
fn an_attempt_that_is_never_answered_ends_after_seven_segments() {
    let mut pair = Pair::new();
    pair.sim.partition(pair.server, pair.client);
    pair.dial();
    pair.run(126_000);
    assert_eq!(pair.near_end(), "");
    pair.run(2_000);
    assert!(pair.near_end().contains("ETIMEDOUT"), "{}", pair.near_end());
    // The loop's own limit is earlier, unless it is told otherwise.
    let index = dial(&mut pair.sim, pair.client, "10.0.0.1:7", ConnectOptions::DEFAULT);
    pair.run(10_500);
    let ended = pair.near(index).ended.clone().unwrap_or_default();
    assert!(ended.contains("no answer in time: "), "{ended}");
}

#[test]
fn a_full_backlog_leaves_attempts_unanswered_until_there_is_room() {
    let options = ListenOptions { backlog: 1, ..ListenOptions::DEFAULT };
    let mut pair = Pair::with(BackendKind::Epoll, options);
    pair.sim.stop(pair.server);
    for _ in 0..6 {
        pair.dial();
        // Both the SYN and its answer are seen before the next one.
        pair.run(10);
    }
    let connected = |pair: &mut Pair| (0..6).filter(|index| pair.near(*index).is_called).count();
    // `sk_acceptq_is_full`: one more than the backlog.
    assert_eq!(connected(&mut pair), 2, "{}", pair.sim.trace());
    pair.sim.resume(pair.server);
    pair.run(20);
    assert_eq!(connected(&mut pair), 2, "the others wait for their next attempt");
    pair.run(20_000);
    assert_eq!(connected(&mut pair), 6, "{}", pair.sim.trace());
    assert!(pair.sim.trace().contains("turned away"));
}

#[test]
fn a_hundred_connections_live_at_once() {
    let mut pair = Pair::new();
    for index in 0..100 {
        pair.dial();
        act_on(&mut pair.sim, pair.client, index, Act::Write(vec![index as u8; 100]));
    }
    pair.run(1_000);
    let mut seen: Vec<Vec<u8>> =
        pair.nodes(pair.server).conns.iter().map(|conn| conn.read.clone()).collect();
    seen.sort();
    let sent: Vec<Vec<u8>> = (0..100).map(|index| vec![index; 100]).collect();
    assert_eq!(seen, sent);
}

fn with_tcp(tcp: TcpOptions) -> (Pair, usize) {
    let mut pair = Pair::new();
    let options = ConnectOptions { tcp, ..PATIENT };
    let index = dial(&mut pair.sim, pair.client, "10.0.0.1:7", options);
    pair.run(10);
    (pair, index)
}

#[test]
fn unacknowledged_bytes_end_a_connection_after_the_user_timeout() {
    let timeout = Some(Duration::from_secs(30));
    let (mut pair, _) = with_tcp(TcpOptions { user_timeout: timeout, keepalive: None });
    pair.sim.partition(pair.server, pair.client);
    pair.run(60_000);
    assert_eq!(pair.near_end(), "", "nothing was sent");
    pair.act_near(Act::Write(b"into the void".to_vec()));
    pair.run(29_000);
    assert_eq!(pair.near_end(), "");
    pair.run(2_000);
    assert!(pair.near_end().contains("timed out"), "{}", pair.near_end());
    // What the connection has given up is not sent any more.
    pair.sim.heal(pair.server, pair.client);
    pair.run(10_000);
    assert_eq!(pair.far(0).read, b"");
}

#[test]
fn keepalive_ends_a_silent_connection_after_ten_probes_and_no_other() {
    let keepalive = Some(Duration::from_secs(20));
    let (mut pair, _) = with_tcp(TcpOptions { user_timeout: None, keepalive });
    pair.run(200_000);
    assert_eq!(pair.near_end(), "", "the peer answers");
    // A short cut does no harm, wherever it falls.
    pair.sim.partition(pair.server, pair.client);
    pair.run(15_000);
    pair.sim.heal(pair.server, pair.client);
    pair.run(100_000);
    assert_eq!(pair.near_end(), "");
    pair.sim.partition(pair.server, pair.client);
    pair.run(19_000);
    assert_eq!(pair.near_end(), "");
    pair.run(22_000);
    assert!(pair.near_end().contains("timed out"), "{}", pair.near_end());
}

#[test]
fn unix_sockets_connect_at_once_within_a_host_alone() {
    let mut sim = Sim::new(3);
    let (host, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    let options = ListenOptions::DEFAULT;
    sim.start(host, move || node(BackendKind::Epoll, &["unix:/run/x"], options))
        .expect("it listens");
    sim.start(other, move || node(BackendKind::Epoll, &[], options)).expect("it starts");
    dial(&mut sim, other, "unix:/run/x", PATIENT);
    dial(&mut sim, host, "unix:/run/x", PATIENT);
    act_on(&mut sim, host, 0, Act::Write(b"here".to_vec()));
    sim.run_for(Duration::from_millis(10)).expect("it runs");
    let state = &mut sim.reactor::<Node>(other).expect("it runs").app;
    let refused = state.conns[0].ended.clone().unwrap_or_default();
    assert!(refused.contains("refused"), "{refused}");
    let state = &mut sim.reactor::<Node>(host).expect("it runs").app;
    assert_eq!(state.conns.len(), 2);
    assert_eq!(state.conns[1].read, b"here");
    // The end of one end is the end of both directions.
    act_on(&mut sim, host, 1, Act::Close);
    sim.run_for(Duration::from_millis(10)).expect("it runs");
    act_on(&mut sim, host, 0, Act::Write(b"more".to_vec()));
    sim.run_for(Duration::from_millis(10)).expect("it runs");
    let state = &mut sim.reactor::<Node>(host).expect("it runs").app;
    assert!(state.conns[0].at_end);
    let ended = state.conns[0].ended.clone().unwrap_or_default();
    assert!(ended.contains("Broken pipe"), "{ended}");
}
