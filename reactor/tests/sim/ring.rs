//! Hosts whose loops have a ring, which moves the bytes of both sides of their connections.

use std::error::Error;
use std::io;
use std::time::Duration;

use protocol::codecs::Bytes;
use protocol::{Context, Conversation, Flow, Limits, Reason, Reply, Service};
use reactor::sim::{Fault, Faults, HostId, Outcome, Sim, Storm, Tracing};
use reactor::{
    Address, BackendKind, ConnectOptions, ListenOptions, Listener, LoopCx, LoopLimits, Reactor,
    Stream,
};

/// How many bytes a conversation has in each direction.
const TOTAL: usize = 60_000;
/// How many of them a client has on their way at most.
const AHEAD: usize = 40_000;
/// How many whole conversations a client wants.
const WANTED: usize = 3;

/// The server sends back what it receives.
struct Echo;

impl<A> Service<Bytes, A> for Echo {
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _: &mut Context<'_, A>,
    ) -> Flow {
        reply.send(bytes);
        Flow::Continue
    }
}

fn server(kind: BackendKind) -> io::Result<Reactor> {
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, ())?;
    let listener = Listener::bind(&Address::Tcp(([0; 4], 7).into()), &ListenOptions::DEFAULT)?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
        Conversation::new(Bytes, Echo)
    })?;
    Ok(reactor)
}

/// What a client has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asker {
    done: usize,
    is_connected: bool,
    /// How many conversations ended in order before they were whole.
    cut_in_order: usize,
    reasons: Vec<String>,
}

/// Returns what the client on a host has done. One that is down has done nothing.
fn asker(sim: &mut Sim, host: HostId) -> Asker {
    sim.reactor::<Asker>(host).map_or_else(Asker::default, |reactor| reactor.app.clone())
}

/// Builds a client, which has one conversation at a time.
fn client(kind: BackendKind) -> io::Result<Reactor<Asker>> {
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, Asker::default())?;
    reactor.cx().every(Duration::from_millis(100), |_, cx| tend(cx))?;
    Ok(reactor)
}

fn tend(cx: &mut LoopCx<'_, Asker>) {
    if cx.app.is_connected || cx.app.done == WANTED {
        return;
    }
    let stream = Stream::new(Conversation::new(Bytes, Ask::default()), Limits::DEFAULT);
    let address = Address::Tcp(([10, 0, 0, 1], 7).into());
    cx.app.is_connected = stream.connect(&address, &ConnectOptions::DEFAULT, cx).is_ok();
}

/// One conversation of a client.
#[derive(Default)]
struct Ask {
    sent: usize,
    verified: usize,
}

/// Returns the byte at a place of a conversation.
fn byte_at(place: usize) -> u8 {
    (place % 251) as u8
}

impl Ask {
    /// Sends parts of many sizes, also some that are too large to be copied by a ring.
    fn send_on(&mut self, reply: &mut Reply<'_, Bytes>) {
        while self.sent < TOTAL && self.sent - self.verified < AHEAD {
            let size = (self.sent * 7919 % 30_000 + 1).min(TOTAL - self.sent);
            let part: Vec<u8> = (self.sent..self.sent + size).map(byte_at).collect();
            reply.send(&part);
            self.sent += size;
        }
    }
}

impl Service<Bytes, Asker> for Ask {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, _: &mut Context<'_, Asker>) -> Flow {
        self.send_on(reply);
        Flow::Continue
    }

    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Asker>,
    ) -> Flow {
        for byte in &*bytes {
            assert_eq!(*byte, byte_at(self.verified), "at {}", self.verified);
            self.verified += 1;
        }
        assert!(self.verified <= self.sent, "{} bytes of {}", self.verified, self.sent);
        if self.verified == TOTAL {
            context.app.done += 1;
            return Flow::Close;
        }
        self.send_on(reply);
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Asker>) {
        context.app.is_connected = false;
        context.app.cut_in_order += usize::from(reason.is_orderly() && self.verified < TOTAL);
        context.app.reasons.push(reason.to_string());
    }
}

/// Runs a server and two clients in a storm. After it, the clients finish and the server has nothing
/// left.
fn talk(
    sim: &mut Sim,
    kinds: [BackendKind; 2],
    is_strict: bool,
) -> Result<Vec<Asker>, Box<dyn Error>> {
    let hosts = [sim.host("10.0.0.1"), sim.host("10.0.0.2"), sim.host("10.0.0.3")];
    sim.start(hosts[0], move || server(kinds[0]))?;
    let sources = |sim: &mut Sim| sim.reactor::<()>(hosts[0]).map(|it| it.counters().live());
    let before = sources(sim);
    for host in &hosts[1..] {
        sim.start(*host, move || client(kinds[1]))?;
    }
    let are_done = |sim: &mut Sim| hosts[1..].iter().all(|it| asker(sim, *it).done == WANTED);
    sim.run_until(Duration::from_secs(30), are_done)?;
    sim.calm()?;
    if !sim.run_until(Duration::from_secs(600), are_done)? {
        let all = [asker(sim, hosts[1]), asker(sim, hosts[2])];
        return Err(format!("clients do not finish: {all:?}").into());
    }
    for host in &hosts[1..] {
        let it = asker(sim, *host);
        if is_strict && it.cut_in_order > 0 {
            return Err(format!("a stream was cut, and ended in order: {it:?}").into());
        }
    }
    if !sim.run_until(Duration::from_secs(600), |sim| sources(sim) == before)? {
        return Err(format!("{:?} sources are left", sources(sim)).into());
    }
    Ok(hosts[1..].iter().map(|host| asker(sim, *host)).collect())
}

/// [`talk`], as a storm runs it.
fn storm(sim: &mut Sim, kinds: [BackendKind; 2], is_strict: bool) -> Outcome {
    talk(sim, kinds, is_strict).map(drop)
}

const RINGS: [BackendKind; 2] = [BackendKind::Uring; 2];

#[test]
fn sessions_on_rings_talk_without_faults() {
    let mut results = Vec::new();
    for kind in BackendKind::ALL {
        let mut sim = Sim::new(1);
        sim.set_tracing(Tracing::All);
        let clients = talk(&mut sim, [kind; 2], true).expect("they talk");
        let trace = sim.trace();
        let is_moved = trace.contains("sends ") && trace.contains("receives ");
        assert_eq!(is_moved, kind == BackendKind::Uring, "{kind}");
        results.push(clients);
    }
    assert!(results.iter().all(|it| *it == results[0]), "{results:?}");
}

#[test]
fn sessions_on_rings_get_every_byte_in_a_storm() {
    let summary = Storm::new(0..120).run(|sim| storm(sim, RINGS, false));
    println!("{summary}");
    let swarm = Storm::new(120..200).swarm().run(|sim| storm(sim, RINGS, false));
    println!("{swarm}");
    assert!(summary.coincidences.reused_descriptors > 0, "{summary}");
    assert!(summary.coincidences.merged_events > 0, "{summary}");
}

#[test]
fn a_ring_and_a_backend_of_readiness_understand_each_other_in_a_storm() {
    for kinds in [[BackendKind::Uring, BackendKind::Epoll], [BackendKind::Poll, BackendKind::Uring]]
    {
        Storm::new(200..230).run(|sim| storm(sim, kinds, false));
    }
}

#[test]
fn nothing_that_a_ring_has_cut_ends_in_order() {
    // These end a stream in order in place of the two programs.
    let endings = [Fault::Finish, Fault::HalfClose, Fault::WatchRefused];
    let deaths = [Fault::Kill, Fault::Crash, Fault::KillMany, Fault::KillStarting];
    let faults = Faults::all().without(&endings).without(&deaths);
    Storm::new(0..60).faults(faults).run(|sim| storm(sim, RINGS, true));
}

#[test]
fn a_run_on_rings_repeats_itself() {
    Storm::new(0..5).swarm().repeated().run(|sim| storm(sim, RINGS, false));
    Storm::new(5..10).repeated().run(|sim| storm(sim, RINGS, false));
}

#[test]
fn each_fault_of_reads_and_writes_alone_loses_nothing_on_a_ring() {
    for (fault, rate) in [
        (Fault::ShortRead, 1_000_000),
        (Fault::ShortWrite, 1_000_000),
        (Fault::SmallBuffer, 1_000_000),
        (Fault::Spurious, 300_000),
        (Fault::Late, 1_000_000),
        (Fault::Interrupt, 500_000),
        (Fault::FalseWouldBlock, 300_000),
        (Fault::WaitNoMemory, 300_000),
        (Fault::NoMemory, 3_000),
        (Fault::NetworkError, 3_000),
        (Fault::Reset, 3_000),
        (Fault::ResetOneSide, 3_000),
    ] {
        let mut drawn = 0;
        for seed in 0..4 {
            let mut sim = Sim::new(seed);
            sim.set_faults(Faults::NONE.rate(fault, rate));
            talk(&mut sim, RINGS, true).unwrap_or_else(|error| panic!("{fault}, {seed}: {error}"));
            drawn += sim.drawn().len();
        }
        assert!(drawn > 0, "{fault}");
    }
}
