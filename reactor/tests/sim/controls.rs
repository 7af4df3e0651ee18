//! What a test does by hand: each control, and its effect.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::time::Duration;

use protocol::http::{Options, RequestHead, Response, Server, Status};
use protocol::{Flow, Limits};
use reactor::sim::{Faults, HostId, Sim, Tracing};
use reactor::{
    Address, ConnectOptions, Connector, Cx, Handler, Interest, ListenOptions, Listener, LoopCx,
    LoopLimits, Reactor, Readiness, Reason, Registration, Remote, Role, Signal, Stream,
};

use crate::node::{Act, Node, PATIENT, Pair, act_on, dial, node};

#[test]
fn a_partition_stops_both_directions_and_healing_repeats_what_was_lost() {
    let mut pair = Pair::connected();
    pair.sim.partition(pair.server, pair.client);
    pair.act_near(Act::Write(b"one way".to_vec()));
    pair.act_far(Act::Write(b"or the other".to_vec()));
    pair.run(60_000);
    assert_eq!((pair.near(0).read.len(), pair.far(0).read.len()), (0, 0));
    pair.sim.heal(pair.client, pair.server);
    pair.run(1_000);
    assert_eq!(pair.far(0).read, b"one way");
    assert_eq!(pair.near(0).read, b"or the other");
}

#[test]
fn a_cut_stops_one_direction() {
    let mut pair = Pair::connected();
    pair.sim.cut(pair.client, pair.server);
    pair.act_near(Act::Write(b"lost".to_vec()));
    pair.act_far(Act::Write(b"arrives".to_vec()));
    pair.run(10_000);
    assert_eq!(pair.near(0).read, b"arrives");
    assert_eq!(pair.far(0).read, b"");
    // Only a fault's own partition ends with its time.
    pair.run(600_000);
    assert_eq!(pair.far(0).read, b"");
    pair.sim.heal(pair.server, pair.client);
    pair.run(1_000);
    assert_eq!(pair.far(0).read, b"lost");
}

#[test]
fn what_is_held_arrives_in_order_when_it_is_released() {
    let mut pair = Pair::connected();
    pair.sim.hold(pair.client, pair.server);
    for part in [&b"one "[..], b"two ", b"three"] {
        pair.act_near(Act::Write(part.to_vec()));
        pair.run(100);
    }
    assert_eq!(pair.far(0).read, b"");
    pair.sim.release(pair.client, pair.server);
    pair.run(100);
    assert_eq!(pair.far(0).read, b"one two three");
}

#[test]
fn a_stopped_program_does_nothing_and_its_kernel_goes_on() {
    let mut pair = Pair::connected();
    pair.sim.stop(pair.server);
    let ticks = pair.nodes(pair.server).ticks;
    pair.act_near(Act::Write(b"taken by the kernel".to_vec()));
    pair.run(5_000);
    assert_eq!((pair.far(0).read.len(), pair.nodes(pair.server).ticks), (0, ticks));
    pair.sim.resume(pair.server);
    pair.run(1_500);
    assert_eq!(pair.far(0).read, b"taken by the kernel");
    assert!(pair.nodes(pair.server).ticks > ticks);
    assert!(pair.sim.trace().contains("wait: interrupted"), "a stop ends a wait (EINTR)");
}

#[test]
fn a_killed_program_ends_its_connections_and_starts_anew() {
    let mut pair = Pair::connected();
    pair.sim.kill(pair.server);
    pair.run(20);
    assert!(pair.near(0).at_end, "its kernel ends them in order");
    assert!(pair.sim.reactor::<Node>(pair.server).is_none());
    let index = pair.dial();
    pair.run(20);
    let ended = pair.near(index).ended.clone().unwrap_or_default();
    assert!(ended.contains("refused"), "{ended}");
    pair.sim.restart(pair.server).expect("it starts");
    let index = pair.dial();
    pair.run(20);
    assert!(pair.near(index).is_called);
    assert_eq!(pair.nodes(pair.server).conns.len(), 1);
}

#[test]
fn a_crashed_host_tells_no_peer_until_it_is_up() {
    let mut pair = Pair::connected();
    pair.sim.crash(pair.server);
    pair.run(60_000);
    assert!(!pair.near(0).at_end && pair.near(0).ended.is_none());
    pair.act_near(Act::Write(b"is it there?".to_vec()));
    pair.run(60_000);
    assert_eq!(pair.near_end(), "", "nothing answers");
    pair.sim.restart(pair.server).expect("it starts");
    pair.run(1_000);
    assert!(pair.near_end().contains("reset"), "{}", pair.near_end());
}

#[test]
fn signals_reach_the_programs_that_listen_to_them() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    sim.start(host, || {
        let mut reactor = Reactor::new(Vec::new())?;
        reactor.cx().on_signals(&[Signal::USER_1, Signal::TERMINATE], |signal, cx| {
            cx.app.push(signal.number());
            if signal == Signal::TERMINATE {
                cx.stop();
            }
        })?;
        Ok(reactor)
    })
    .expect("it starts");
    assert!(sim.signal(host, Signal::USER_1));
    assert!(!sim.signal(host, Signal::USER_2));
    sim.run_for(Duration::from_secs(1)).expect("it runs");
    let seen = &sim.reactor::<Vec<i32>>(host).expect("it runs").app;
    assert_eq!(seen, &[Signal::USER_1.number()]);
    assert!(sim.signal(host, Signal::TERMINATE));
    sim.run_for(Duration::from_secs(1)).expect("it runs");
    assert!(!sim.signal(host, Signal::USER_1), "the program has ended");
    sim.restart(host).expect("it starts");
    assert!(sim.signal(host, Signal::USER_1));
}

#[test]
fn calm_ends_everything_that_lasts() {
    let mut pair = Pair::connected();
    pair.sim.set_faults(Faults::all());
    pair.sim.partition(pair.server, pair.client);
    pair.sim.hold(pair.client, pair.server);
    pair.sim.stop(pair.client);
    pair.sim.crash(pair.server);
    pair.sim.calm().expect("they start");
    let before = pair.sim.drawn().len();
    pair.run(60_000);
    assert_eq!(pair.sim.drawn().len(), before);
    let index = pair.dial();
    pair.run(10);
    assert!(pair.near(index).is_called);
}

#[test]
fn latency_and_deadlines_are_kept_to_the_microsecond() {
    let mut pair = Pair::new();
    let half = Duration::from_millis(500);
    pair.sim.set_latency(half, half);
    pair.dial();
    let client = pair.client;
    let is_called = |sim: &mut Sim| {
        sim.reactor::<Node>(client).is_some_and(|reactor| reactor.app.conns[0].is_called)
    };
    let start = pair.sim.now();
    assert!(pair.sim.run_until(Duration::from_secs(5), is_called).expect("it runs"));
    let took = pair.sim.now() - start;
    assert!(took >= 2 * half && took < 2 * half + Duration::from_micros(100), "{took:?}");
    let done = pair.sim.run_until(Duration::from_secs(5), |_| false);
    assert!(!done.expect("it runs"), "the limit has passed");
    assert_eq!(pair.sim.now(), start + took + Duration::from_secs(5));
    assert_eq!(pair.sim.with::<u32, _>(client, |_| ()), None, "its state is another");
}

#[test]
fn an_idle_daemon_takes_no_turns_for_ten_minutes_but_its_own() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    sim.start(host, || node(Default::default(), &["0.0.0.0:7"], ListenOptions::DEFAULT))
        .expect("it listens");
    sim.run_for(Duration::from_secs(600)).expect("it runs");
    let reactor = sim.reactor::<Node>(host).expect("it runs");
    // The first tick comes a second after the program has started.
    assert_eq!(reactor.app.ticks, 599);
    let turns = reactor.counters().turns;
    assert!((599..=610).contains(&turns), "{turns} turns");
}

/// Does nothing with its descriptor, which stays ready.
struct Spins;

impl Handler for Spins {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        cx.set_interest(Interest::WRITE);
        Ok(())
    }
}

#[test]
fn a_loop_that_spins_is_reported() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    sim.start(host, || {
        let mut reactor = Reactor::new(())?;
        let (_, writer) = io::pipe()?;
        reactor.cx().register(writer.into(), Registration::new(Interest::WRITE), Spins)?;
        Ok(reactor)
    })
    .expect("it starts");
    let error = sim.run_for(Duration::from_secs(60)).expect_err("it spins");
    assert!(error.to_string().contains("spins"), "{error}");
}

/// Reads whatever comes from a descriptor of the system.
struct Reads;

impl Handler<Vec<u8>> for Reads {
    fn ready(&mut self, cx: &mut Cx<'_, Vec<u8>>) -> io::Result<()> {
        let mut bytes = [0; 100];
        while let Some(count) = cx.read(&mut bytes)?.filter(|count| *count > 0) {
            cx.app.extend(&bytes[..count]);
        }
        Ok(())
    }
}

#[test]
fn pipes_are_watched_as_they_are_also_after_a_restart() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    let (sender, pipes) = std::sync::mpsc::channel();
    sim.start(host, move || {
        let mut reactor = Reactor::new(Vec::new())?;
        let (reader, writer) = io::pipe()?;
        reactor.cx().register(reader.into(), Registration::new(Interest::READ), Reads)?;
        sender.send(writer).map_err(io::Error::other)?;
        Ok(reactor)
    })
    .expect("it starts");
    for text in ["first", "second"] {
        let mut writer = pipes.recv().expect("a pipe");
        writer.write_all(text.as_bytes()).expect("the pipe has room");
        sim.run_for(Duration::from_secs(1)).expect("it runs");
        assert_eq!(sim.reactor::<Vec<u8>>(host).expect("it runs").app, text.as_bytes());
        sim.kill(host);
        assert!(writer.write_all(b"x").is_err(), "no copy of the other end is left");
        sim.restart(host).expect("it starts");
    }
}

#[test]
fn a_file_is_always_ready() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    let path = std::env::temp_dir().join(format!("sim-file-{}", std::process::id()));
    std::fs::write(&path, b"the whole file").expect("a temporary file");
    let name = path.clone();
    sim.start(host, move || {
        let mut reactor = Reactor::new(Vec::new())?;
        let file = File::open(&name)?;
        reactor.cx().register(file.into(), Registration::new(Interest::READ), Reads)?;
        Ok(reactor)
    })
    .expect("it starts");
    let result = sim.run_for(Duration::from_secs(1));
    let mut text = String::new();
    File::open(&path).and_then(|mut file| file.read_to_string(&mut text)).expect("it is there");
    std::fs::remove_file(&path).expect("it is there");
    result.expect("it runs");
    assert_eq!(sim.reactor::<Vec<u8>>(host).expect("it runs").app, text.as_bytes());
}

/// Builds a program that passes a number on to another one every second.
fn relay(to: Option<Remote<u32>>) -> io::Result<Reactor<u32>> {
    let mut reactor = Reactor::new(0)?;
    reactor.cx().every(Duration::from_secs(1), move |_, _| {
        if let Some(to) = &to {
            let _ = to.post(|cx| *cx.app += 1);
        }
    })?;
    Ok(reactor)
}

#[test]
fn calls_come_from_other_hosts_and_from_other_threads() {
    let mut sim = Sim::new(1);
    let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    sim.start(one, || relay(None)).expect("it starts");
    let remote = sim.with::<u32, _>(one, |cx| cx.remote()).expect("it runs");
    let far = remote.clone();
    sim.start(other, move || relay(Some(far.clone()))).expect("it starts");
    let count = |sim: &mut Sim, host: HostId| sim.reactor::<u32>(host).expect("it runs").app;
    sim.run_for(Duration::from_millis(10_500)).expect("it runs");
    assert_eq!(count(&mut sim, one), 10);
    std::thread::spawn(move || remote.post(|cx| *cx.app += 100))
        .join()
        .expect("ends")
        .expect("open");
    sim.run_for(Duration::from_millis(100)).expect("it runs");
    assert_eq!(count(&mut sim, one), 110);
}

#[test]
fn a_loop_that_polls_before_it_sleeps_misses_nothing() {
    let mut sim = Sim::new(1);
    sim.set_tracing(Tracing::Recent);
    let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    let spin = LoopLimits { spin_max: Duration::from_micros(50), ..LoopLimits::DEFAULT };
    sim.start(one, || node(Default::default(), &["0.0.0.0:7"], ListenOptions::DEFAULT))
        .expect("it listens");
    sim.start(other, move || {
        let backend = reactor::BackendKind::Epoll.open()?;
        let mut reactor = Reactor::with_backend(backend, spin, Node::default())?;
        // A deadline far away, so that its waits have a timeout.
        reactor.cx().after(Duration::from_secs(1_000), |_| ())?;
        Ok(reactor)
    })
    .expect("it starts");
    dial(&mut sim, other, "10.0.0.1:7", PATIENT);
    for round in 1..=20 {
        let host = one_connection(&mut sim, one);
        act_on(&mut sim, host, 0, Act::Write(vec![b'x'; 10]));
        sim.run_for(Duration::from_secs(2)).expect("it runs");
        let state = &sim.reactor::<Node>(other).expect("it runs").app;
        assert_eq!(state.conns[0].read.len(), 10 * round, "{}", sim.trace());
    }
}

/// Waits until a host has accepted a connection.
fn one_connection(sim: &mut Sim, host: HostId) -> HostId {
    let accepted = |sim: &mut Sim| {
        sim.reactor::<Node>(host).is_some_and(|reactor| !reactor.app.conns.is_empty())
    };
    assert!(sim.run_until(Duration::from_secs(5), accepted).expect("it runs"));
    host
}

/// A connection with output that it does not send. It stops its loop.
struct Owes;

impl Handler for Owes {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        cx.write(&[IoSlice::new(b"part")])?;
        cx.set_unsent(true);
        cx.stop();
        Ok(())
    }
}

/// Sends a request, and records how its connection ends.
struct Learns(&'static [u8]);

impl Handler<String> for Learns {
    fn ready(&mut self, cx: &mut Cx<'_, String>) -> io::Result<()> {
        if cx.readiness().contains(Readiness::WRITABLE) && !self.0.is_empty() {
            cx.write(&[IoSlice::new(std::mem::take(&mut self.0))])?;
        }
        let mut bytes = [0; 16];
        while let Some(count) = cx.read(&mut bytes)? {
            if count == 0 {
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, String>) {
        *cx.app = reason.to_string();
    }
}

#[test]
fn a_loop_that_ends_resets_what_it_has_not_sent() {
    let mut sim = Sim::new(1);
    let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    let address = Address::Tcp(([10, 0, 0, 1], 7).into());
    let served = address.clone();
    let started = sim.start(one, move || {
        let mut reactor = Reactor::new(())?;
        let listener = Listener::bind(&served, &ListenOptions::DEFAULT)?;
        listener.register(&mut reactor.cx(), |accepted, cx| {
            let registration = Registration::new(Interest::WRITE).role(Role::Connection);
            cx.register(accepted.into_fd(), registration, Owes).map(drop)
        })?;
        Ok(reactor)
    });
    started.expect("it listens");
    let end = learn(&mut sim, other, &address, b"");
    assert!(end.starts_with("read: Connection reset by peer"), "{end}");
}

/// Sends a request to a server, and returns how the connection ends.
fn learn(sim: &mut Sim, host: HostId, address: &Address, request: &'static [u8]) -> String {
    let address = address.clone();
    let dialled = sim.start(host, move || {
        let mut reactor = Reactor::new(String::new())?;
        let connector = Connector::new(&address, &ConnectOptions::DEFAULT);
        let registration = Registration::new(Interest::BOTH);
        connector.register(registration, Learns(request), &mut reactor.cx())?;
        Ok(reactor)
    });
    dialled.expect("it dials");
    sim.run_for(Duration::from_secs(1)).expect("it runs");
    sim.reactor::<String>(host).expect("it runs").app.clone()
}

/// Begins a response whose end is that of the connection, and closes before or after its end.
fn stream(
    head: &RequestHead<'_>,
    response: &mut Response<'_>,
    _: &mut protocol::Context<'_>,
) -> Flow {
    response.head(Status::OK).streamed();
    response.write(b"part");
    if head.path() == "/whole" {
        response.finish();
    }
    Flow::Close
}

#[test]
fn a_response_without_a_length_that_is_cut_ends_in_a_reset() {
    let mut sim = Sim::new(1);
    let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| sim.host(address));
    let address = Address::Tcp(([10, 0, 0, 1], 80).into());
    let served = address.clone();
    let started = sim.start(hosts[0], move || {
        let mut reactor = Reactor::new(())?;
        let listener = Listener::bind(&served, &ListenOptions::DEFAULT)?;
        let options = Options::default().shared().map_err(io::Error::other)?;
        Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), move |_| {
            Server::new(stream, options.clone())
        })?;
        Ok(reactor)
    });
    started.expect("it listens");
    let end = learn(&mut sim, hosts[1], &address, b"GET /whole HTTP/1.0\r\n\r\n");
    assert_eq!(end, "peer closed");
    let end = learn(&mut sim, hosts[2], &address, b"GET /cut HTTP/1.0\r\n\r\n");
    assert!(end.starts_with("read: Connection reset by peer"), "{end}");
}
