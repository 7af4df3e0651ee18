//! Datagrams between simulated hosts.

use std::io;
use std::time::Duration;

use protocol::codecs::Bytes;
use protocol::{Context, DatagramFailure, Flow, Limits, Reply, Service};
use reactor::sim::{Fault, Faults, HostId, Sim, Storm};
use reactor::{Address, DatagramOptions, DatagramSocket, Datagrams, LoopCx, Reactor};

/// What a program has seen.
#[derive(Default)]
struct Seen {
    sent: u32,
    /// The numbers that were received, in order, each with its sender.
    received: Vec<(u32, String)>,
    failures: Vec<String>,
    missed: u32,
}

/// Sends back what it receives.
struct Echo;

impl Service<Bytes, Seen> for Echo {
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Seen>,
    ) -> Flow {
        record(bytes, reply, context);
        reply.send(bytes);
        Flow::Continue
    }

    fn failed(
        &mut self,
        failure: &DatagramFailure,
        _reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Seen>,
    ) -> Flow {
        if let DatagramFailure::Missed { count } = failure {
            context.app.missed += count;
        }
        Flow::Continue
    }
}

fn record(bytes: &[u8], reply: &Reply<'_, Bytes>, context: &mut Context<'_, Seen>) {
    let number =
        bytes.get(..4).map_or(u32::MAX, |it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]));
    let peer = reply.peer().map_or_else(String::new, |peer| {
        let asked = peer.asked().map(|(address, _)| format!(" asks {address}")).unwrap_or_default();
        format!("{peer}{asked}")
    });
    context.app.received.push((number, peer));
}

/// Sends a number every millisecond.
struct Count {
    most: u32,
    to: Option<protocol::Peer>,
}

impl Service<Bytes, Seen> for Count {
    fn open(&mut self, _reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, Seen>) -> Flow {
        context.effects.set_timeout(0, Some(Duration::from_millis(1)));
        Flow::Continue
    }

    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Seen>,
    ) -> Flow {
        record(bytes, reply, context);
        Flow::Continue
    }

    fn timeout(
        &mut self,
        _key: u8,
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Seen>,
    ) -> Flow {
        if let Some(peer) = &self.to {
            reply.to(peer);
        }
        if context.app.sent < self.most {
            reply.send(&mut context.app.sent.to_be_bytes());
            context.app.sent += 1;
            context.effects.set_timeout(0, Some(Duration::from_millis(1)));
        }
        Flow::Continue
    }

    fn failed(
        &mut self,
        failure: &DatagramFailure,
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Seen>,
    ) -> Flow {
        let peer = reply.peer().map(|peer| format!(" to {peer}")).unwrap_or_default();
        context.app.failures.push(format!("{failure}{peer}"));
        Flow::Continue
    }
}

fn address(text: &str) -> Address {
    text.parse().expect("it is an address")
}

fn echo(text: &'static str) -> io::Result<Reactor<Seen>> {
    let mut reactor = Reactor::new(Seen::default())?;
    let socket = DatagramSocket::bind(&address(text), &DatagramOptions::default())?;
    Datagrams::serve(socket, Bytes, Echo, Limits::DEFAULT, &mut reactor.cx())?;
    Ok(reactor)
}

/// Builds a program that sends numbers from a connected socket.
fn count(most: u32) -> io::Result<Reactor<Seen>> {
    let mut reactor = Reactor::new(Seen::default())?;
    connect(most, "udp://10.0.0.1:7", &mut reactor.cx())?;
    Ok(reactor)
}

fn connect(most: u32, to: &str, cx: &mut LoopCx<'_, Seen>) -> io::Result<()> {
    let socket = DatagramSocket::connect(&address(to), &DatagramOptions::default())?;
    let service = Count { most, to: None };
    Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, cx).map(drop)
}

struct Pair {
    sim: Sim,
    server: HostId,
    client: HostId,
}

impl Pair {
    fn new(most: u32) -> Self {
        let mut sim = Sim::new(1);
        let (server, client) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
        sim.start(server, || echo("udp://0.0.0.0:7")).expect("it binds");
        sim.start(client, move || count(most)).expect("it connects");
        Self { sim, server, client }
    }

    fn run(&mut self, milliseconds: u64) {
        self.sim.run_for(Duration::from_millis(milliseconds)).expect("it runs");
    }

    fn seen(&mut self, host: HostId) -> &mut Seen {
        &mut self.sim.reactor::<Seen>(host).expect("it runs").app
    }

    fn numbers(&mut self, host: HostId) -> Vec<u32> {
        self.seen(host).received.iter().map(|(number, _)| *number).collect()
    }
}

#[test]
fn without_faults_every_datagram_arrives_once_and_in_order() {
    let mut pair = Pair::new(200);
    pair.run(1_000);
    let all: Vec<u32> = (0..200).collect();
    let (server, client) = (pair.server, pair.client);
    assert_eq!(pair.numbers(server), all);
    assert_eq!(pair.numbers(client), all);
    let peer = pair.seen(server).received[0].1.clone();
    assert!(peer.starts_with("10.0.0.2:") && peer.ends_with(" asks 10.0.0.1"), "{peer}");
}

#[test]
fn datagrams_get_lost_arrive_twice_and_overtake_each_other() {
    for (fault, rate, arrived) in [
        (Fault::DatagramLost, 1_000_000, 0..=0),
        (Fault::DatagramLost, 500_000, 50..=150),
        (Fault::DatagramTwice, 1_000_000, 400..=400),
        (Fault::DatagramLate, 500_000, 200..=200),
    ] {
        let mut pair = Pair::new(200);
        pair.sim.set_faults(Faults::NONE.rate(fault, rate));
        pair.run(2_000);
        let server = pair.server;
        let mut numbers = pair.numbers(server);
        assert!(arrived.contains(&numbers.len()), "{fault}: {}", numbers.len());
        assert_eq!(numbers.is_sorted(), fault != Fault::DatagramLate, "{fault}");
        numbers.sort_unstable();
        numbers.dedup();
        assert!(fault == Fault::DatagramLost || numbers.len() == 200, "{fault}");
    }
}

#[test]
fn a_closed_port_refuses_datagrams_and_the_socket_goes_on() {
    let mut pair = Pair::new(30);
    pair.run(10);
    let (server, client) = (pair.server, pair.client);
    pair.sim.kill(server);
    pair.run(100);
    let before = pair.numbers(client).len();
    assert!(before > 3 && before < 12, "{before}");
    let refused = pair.seen(client).failures.len();
    assert!(refused >= 15, "{refused} datagrams were refused");
    assert!(pair.seen(client).failures[0].contains("refused"));

    // An unconnected socket is told which receiver it was.
    let other = pair.sim.host("10.0.0.3");
    let build = || {
        let mut reactor = Reactor::new(Seen::default())?;
        let socket =
            DatagramSocket::bind(&address("udp://0.0.0.0:9"), &DatagramOptions::default())?;
        let peer = std::net::SocketAddr::from(([10, 0, 0, 1], 7)).into();
        let service = Count { most: 10, to: Some(peer) };
        Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())?;
        Ok(reactor)
    };
    pair.sim.start(other, build).expect("it binds");
    pair.run(100);
    let failures = &pair.seen(other).failures;
    assert_eq!(failures.len(), 10);
    assert!(failures[0].ends_with(" to 10.0.0.1:7"), "{}", failures[0]);
}

#[test]
fn a_partition_loses_datagrams_and_what_is_held_arrives_later() {
    let mut pair = Pair::new(100);
    let (server, client) = (pair.server, pair.client);
    pair.sim.partition(server, client);
    pair.run(50);
    pair.sim.heal(server, client);
    pair.run(500);
    let arrived = pair.numbers(server);
    assert!(arrived.len() < 60 && arrived.ends_with(&[99]), "{arrived:?}");

    let mut pair = Pair::new(100);
    let (server, client) = (pair.server, pair.client);
    pair.sim.hold(client, server);
    pair.run(500);
    assert_eq!(pair.numbers(server), []);
    pair.sim.release(client, server);
    pair.run(500);
    assert_eq!(pair.numbers(server), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_full_buffer_drops_datagrams_and_says_how_many() {
    let mut pair = Pair::new(1_000);
    let server = pair.server;
    pair.run(10);
    pair.sim.stop(server);
    pair.run(900);
    pair.sim.resume(server);
    pair.run(1_000);
    let received = pair.numbers(server).len();
    let missed = pair.seen(server).missed as usize;
    assert!(missed > 100, "{missed} were dropped");
    assert_eq!(received + missed, 1_000);
}

#[test]
fn a_group_reaches_the_hosts_that_have_joined_it() {
    let mut sim = Sim::new(1);
    let hosts = [sim.host("10.0.0.1"), sim.host("10.0.0.2"), sim.host("10.0.0.3")];
    for (number, host) in hosts.into_iter().enumerate() {
        let build = move || {
            let mut reactor = Reactor::new(Seen::default())?;
            let socket =
                DatagramSocket::bind(&address("udp://0.0.0.0:7"), &DatagramOptions::default())?;
            if number < 2 {
                socket.join_multicast([239, 0, 0, 1].into(), None)?;
            }
            Datagrams::serve(socket, Bytes, Echo, Limits::DEFAULT, &mut reactor.cx())?;
            Ok(reactor)
        };
        sim.start(host, build).expect("it binds");
    }
    let sender = sim.host("10.0.0.4");
    let build = || {
        let mut reactor = Reactor::new(Seen::default())?;
        let socket =
            DatagramSocket::bind(&address("udp://0.0.0.0:9"), &DatagramOptions::default())?;
        let peer = std::net::SocketAddr::from(([239, 0, 0, 1], 7)).into();
        let service = Count { most: 5, to: Some(peer) };
        Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())?;
        Ok(reactor)
    };
    sim.start(sender, build).expect("it binds");
    sim.run_for(Duration::from_secs(1)).expect("it runs");
    let mut received =
        |host| sim.reactor::<Seen>(host).map_or(0, |reactor| reactor.app.received.len());
    assert_eq!(hosts.map(&mut received), [5, 5, 0]);
    assert_eq!(received(sender), 10, "both have answered");
}

#[test]
fn unix_datagrams_stay_on_their_host() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    let build = || {
        let mut reactor = echo("unix-dgram:/run/echo")?;
        connect(20, "unix-dgram:/run/echo", &mut reactor.cx())?;
        Ok(reactor)
    };
    sim.start(host, build).expect("it binds");
    sim.run_for(Duration::from_secs(1)).expect("it runs");
    let seen = &sim.reactor::<Seen>(host).expect("it runs").app;
    // Each number is received by the server, and then by the client.
    assert_eq!(seen.received.len(), 40, "{:?}", seen.failures);
}

#[test]
fn a_storm_of_datagrams_repeats_itself() {
    let storm = Storm::new(0..40).repeated();
    let run = |sim: &mut Sim| {
        let (server, client) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
        sim.start(server, || echo("udp://0.0.0.0:7"))?;
        sim.start(client, || count(500))?;
        sim.run_for(Duration::from_secs(5))?;
        sim.calm()?;
        sim.run_for(Duration::from_secs(10))?;
        // Whatever has happened, what is sent now comes back.
        sim.with(client, |cx: &mut LoopCx<'_, Seen>| {
            cx.app.sent = 1_000;
            cx.app.received.clear();
            connect(1_010, "udp://10.0.0.1:7", cx)
        })
        .transpose()?;
        sim.run_for(Duration::from_secs(10))?;
        let seen = sim.reactor::<Seen>(client).ok_or("the client is gone")?;
        let back = seen.app.received.iter().filter(|(number, _)| *number >= 1_000).count();
        if back == 10 { Ok(()) } else { Err(format!("{back} of 10 came back").into()) }
    };
    let summary = storm.run(run);
    for fault in [Fault::DatagramLost, Fault::DatagramTwice, Fault::DatagramLate] {
        assert!(summary.drawn.get(&fault).is_some_and(|count| *count > 0), "{fault}");
    }
}
