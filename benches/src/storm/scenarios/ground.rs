//! What all scenarios stand on: a server that was built as `main` builds it, hosts for clients, and
//! the demands when the storm is over.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use reactor::sim::{Fault, Faults, HostId, Outcome, Sim};
use reactor::{
    Address, BackendKind, ConnectOptions, Connector, Counters, Cx, Handler, Interest, LoopCx,
    LoopLimits, Reactor, Reason, Registration, Token,
};
use testkit::Random;

/// The address of the host with the server.
pub(super) const SERVER: &str = "10.0.0.1";
/// How long a client stays connected without progress.
const CLIENT_PATIENCE: Duration = Duration::from_secs(20);
/// How long clients may take to finish once no fault is drawn.
const CALM: Duration = Duration::from_secs(600);
/// How long the server may take to lose all connections once the clients are done. A connection
/// whose peer has lost its power ends with the idle limit.
const LEAVING: Duration = Duration::from_secs(200);
/// The turns that a loop may take in ten seconds with nothing to do: `kv` has a timer for each 100
/// ms.
const IDLE_TURNS: u64 = 250;
/// The backends, as `--backend` names them.
const BACKENDS: [&str; 4] = ["epoll", "epoll", "epoll-lt", "poll"];
/// From this seed on, every other one has rings. Those before find the planted faults of readiness.
pub const RINGS_FROM: u64 = 1_000;

/// Faults that end the program of a host.
pub(super) const DEATHS: [Fault; 4] =
    [Fault::Kill, Fault::Crash, Fault::KillMany, Fault::KillStarting];
/// Faults after which the clocks of two hosts do not agree.
pub(super) const CLOCKS: [Fault; 3] = [Fault::ClockJump, Fault::WallClockJump, Fault::ClockDrift];

/// A server and its world.
pub(super) struct Ground {
    pub(super) server: HostId,
    pub(super) random: Random,
    /// The time at which the run started.
    pub(super) epoch: Instant,
    /// The name of the mechanism that its loops use.
    pub(super) backend: &'static str,
    /// How many sources the server has without connections.
    baseline: u64,
    hosts: u8,
}

impl Ground {
    /// Starts the program of a server, without faults. `build` gets the name of a backend.
    pub(super) fn new<A: 'static>(
        sim: &mut Sim,
        build: impl Fn(&str) -> io::Result<Reactor<A>> + 'static,
    ) -> Result<Self, io::Error> {
        sim.set_faults(Faults::NONE);
        let mut random = Random::new(sim.seed());
        let backend = BACKENDS[random.index(BACKENDS.len())];
        let has_ring = sim.seed() >= RINGS_FROM && sim.seed().is_multiple_of(2);
        let backend = if has_ring { "uring" } else { backend };
        let server = sim.host(SERVER);
        sim.start(server, move || audited(build(backend)))?;
        let baseline = counters::<A>(sim, server).map_or(0, |counters| counters.live());
        let epoch = sim.instant() - sim.now();
        Ok(Self { server, random, epoch, backend, baseline, hosts: 1 })
    }

    /// Starts a program of clients on a host of its own.
    pub(super) fn client<A: 'static>(
        &mut self,
        sim: &mut Sim,
        build: impl FnMut() -> io::Result<Reactor<A>> + 'static,
    ) -> io::Result<HostId> {
        self.hosts += 1;
        let host = sim.host(&format!("10.0.0.{}", self.hosts));
        let mut build = build;
        sim.start(host, move || audited(build()))?;
        Ok(host)
    }

    /// Demands, once all clients are done, that the server has no connection left and sleeps.
    pub(super) fn demand_peace<A: 'static>(&self, sim: &mut Sim) -> Outcome {
        self.demand_peace_with::<A>(sim, IDLE_TURNS)
    }

    /// Demands the same of a server that takes up to `turns` turns in ten seconds by itself.
    pub(super) fn demand_peace_with<A: 'static>(&self, sim: &mut Sim, turns_max: u64) -> Outcome {
        let live = move |sim: &mut Sim, server| counters::<A>(sim, server).map(|it| it.live());
        let (server, baseline) = (self.server, self.baseline);
        if !sim.run_until(LEAVING, |sim| live(sim, server) == Some(baseline))? {
            let text = format!("{:?} sources are left, of {baseline}", live(sim, server));
            return Err(text.into());
        }
        let counters = move |sim: &mut Sim| counters::<A>(sim, server).ok_or("the server is gone");
        let before = counters(sim)?;
        sim.run_for(Duration::from_secs(10))?;
        let after = counters(sim)?;
        let turns = after.turns - before.turns;
        if turns > turns_max {
            return Err(format!("{turns} turns in ten seconds with nothing to do").into());
        }
        plausible(&after)
    }
}

fn audited<A>(reactor: io::Result<Reactor<A>>) -> io::Result<Reactor<A>> {
    let mut reactor = reactor?;
    reactor.set_audit(true);
    Ok(reactor)
}

/// Finds contradictions in the counters of a loop without connections.
fn plausible(counters: &Counters) -> Outcome {
    let wrong = match counters {
        Counters { connections: 1.., .. } => "connections are left",
        Counters { waiting: 1.., .. } => "connections wait",
        Counters { idle_spins: 1.., .. } => "a source spins",
        it if it.closes.iter().sum::<u64>() + it.refused < it.accepts => {
            "more were accepted than have ended"
        }
        _ => return Ok(()),
    };
    Err(format!("{wrong}: {counters}").into())
}

/// Returns the counters of the program of a host, if it runs.
pub(super) fn counters<A: 'static>(sim: &mut Sim, host: HostId) -> Option<Counters> {
    sim.reactor::<A>(host).map(|reactor| reactor.counters())
}

/// Ends the storm, and demands that all clients finish and the server finds no data that no event
/// announces.
pub(super) fn demand_calm<A: 'static>(
    sim: &mut Sim,
    server: HostId,
    what: &str,
    mut done: impl FnMut(&mut Sim) -> bool,
) -> Outcome {
    sim.calm()?;
    // What was reported late while faults were drawn looks lost to the auditor.
    sim.run_for(Duration::from_secs(1))?;
    let before = counters::<A>(sim, server).map_or(0, |counters| counters.lost_edges);
    if !sim.run_until(CALM, &mut done)? {
        let counters = counters::<A>(sim, server).map(|it| it.to_string()).unwrap_or_default();
        return Err(format!("{what} do not finish; server: {counters}").into());
    }
    let after = counters::<A>(sim, server).map_or(0, |counters| counters.lost_edges);
    if after > before {
        return Err(format!("{} edges were lost", after - before).into());
    }
    Ok(())
}

/// Opens a loop on the backend of a name.
pub(super) fn open<A: 'static>(
    backend: &str,
    limits: LoopLimits,
    app: A,
) -> io::Result<Reactor<A>> {
    let kind: BackendKind = backend.parse().map_err(io::Error::other)?;
    Reactor::with_backend(kind.open()?, limits, app)
}

/// Opens the loop of a program of clients.
pub(super) fn client_loop<A: 'static>(backend: &str, app: A) -> io::Result<Reactor<A>> {
    let limits = LoopLimits { idle_timeout: Some(CLIENT_PATIENCE), ..LoopLimits::DEFAULT };
    open(backend, limits, app)
}

/// Connects a client that is being built to port 7 of the server.
pub(super) fn dial<A: 'static>(
    reactor: &mut Reactor<A>,
    registration: Registration,
    handler: impl Handler<A> + 'static,
) -> io::Result<Token> {
    let connector = Connector::new(server_at(7), &ConnectOptions::DEFAULT);
    connector.register(registration, handler, &mut reactor.cx())
}

/// The bytes of a connection that sends back what it receives.
#[derive(Default)]
pub(super) struct Returned {
    unsent: Vec<u8>,
    has_ended: bool,
}

impl Returned {
    /// Reads and sends back until the connection blocks or ends. Calls `read` after each read with
    /// bytes.
    pub(super) fn proceed<A>(
        &mut self,
        cx: &mut Cx<'_, A>,
        mut read: impl FnMut(&mut LoopCx<'_, A>),
    ) -> io::Result<()> {
        loop {
            while !self.unsent.is_empty() {
                cx.set_interest(Interest::WRITE);
                let Some(count) = cx.write(&[IoSlice::new(&self.unsent)])? else { return Ok(()) };
                self.unsent.drain(..count);
            }
            if self.has_ended {
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
            cx.set_interest(Interest::READ);
            let mut bytes = [0; 4096];
            match cx.read(&mut bytes)? {
                None => return Ok(()),
                Some(0) => self.has_ended = true,
                Some(count) => {
                    self.unsent.extend(&bytes[..count]);
                    read(&mut cx.outside());
                }
            }
        }
    }
}

/// Returns the address of a port of the server.
pub(super) fn server_at(port: u16) -> Address {
    Address::Tcp(([10, 0, 0, 1], port).into())
}

/// Counts something that happens in a turn. Returns how often it has happened in this one.
pub(super) fn bump(count: &mut (u64, usize), turn: u64) -> usize {
    if count.0 != turn {
        *count = (turn, 0);
    }
    count.1 += 1;
    count.1
}
