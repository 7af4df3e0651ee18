//! A daemon that limits the silence of its peers, and loses more time than that: it is stopped
//! (`SIGSTOP`), and what came meanwhile is in time, or its clock jumps, and no peer was silent.

use std::io::{self, IoSlice};
use std::time::Duration;

use reactor::sim::{Fault, Faults, HostId, Outcome, Sim};
use reactor::{
    Cx, Expired, Handler, Interest, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Reason,
    Registration, Role, Timeout,
};

use super::ground::{Ground, client_loop, demand_calm, dial, open, server_at};

/// The limit, and the time between two messages of a peer.
const LIMIT: Duration = Duration::from_secs(3);
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the daemon loses time, and how many messages a peer sends: more than meanwhile.
const LOSSES: u32 = 6;
const MESSAGES: u32 = 60;
const PEERS: usize = 6;

/// Faults that neither lose nor delay what a peer sends.
const MILD: [Fault; 4] = [Fault::Split, Fault::Merge, Fault::ShortRead, Fault::Reorder];
/// Faults after which a wait has not reported everything.
const PARTIAL: [Fault; 2] = [Fault::FullArray, Fault::Interrupt];

/// What the daemon limits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The time to the next message, with a deadline.
    Deadline,
    /// The silence of a connection.
    Idle,
}

/// Runs the daemon and its peers.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let kind = if sim.seed().is_multiple_of(2) { Kind::Deadline } else { Kind::Idle };
    let mut ground = Ground::new(sim, move |backend| build(backend, kind))?;
    let backend = ground.backend;
    let peers = ground.client(sim, move || start(backend))?;
    let rated = |faults: Faults, all: &[Fault], rate| {
        all.iter().fold(faults, |faults, fault| faults.rate(*fault, rate))
    };
    let faults = rated(rated(Faults::NONE, &MILD, 20_000), &PARTIAL, 400_000);
    sim.set_faults(faults.clone());
    for _ in 0..LOSSES {
        sim.run_for(Duration::from_millis(1_000 + ground.random.below(1_500)))?;
        match kind {
            Kind::Deadline => {
                sim.stop(ground.server);
                sim.run_for(LIMIT + Duration::from_millis(ground.random.below(2_000)))?;
                sim.resume(ground.server);
            }
            Kind::Idle => {
                sim.set_faults(faults.clone().rate(Fault::ClockJump, 100_000));
                sim.run_for(Duration::from_secs(2))?;
                sim.set_faults(faults.clone());
            }
        }
    }
    demand_calm::<()>(sim, ground.server, "peers", |sim| is_done(sim, peers))?;
    ground.demand_peace::<()>(sim)
}

fn is_done(sim: &mut Sim, peers: HostId) -> bool {
    sim.reactor::<Peers>(peers).is_some_and(|it| it.app.left == 0)
}

fn build(backend: &str, limited: Kind) -> io::Result<Reactor> {
    let mut reactor = open(backend, LoopLimits::DEFAULT, ())?;
    let listener = Listener::bind(&server_at(7), &ListenOptions::DEFAULT)?;
    listener.register(&mut reactor.cx(), move |accepted, cx| {
        let idle = (limited == Kind::Idle).then_some(LIMIT);
        let registration =
            Registration::new(Interest::READ).role(Role::Connection).idle_timeout(idle);
        let strict = Strict { deadline: (limited == Kind::Deadline).then_some(LIMIT) };
        cx.register(accepted.into_fd(), registration, strict).map(drop)
    })?;
    Ok(reactor)
}

/// Reads messages, each of which has to come in time.
struct Strict {
    deadline: Option<Duration>,
}

impl Handler<()> for Strict {
    fn ready(&mut self, cx: &mut Cx<'_, ()>) -> io::Result<()> {
        let mut bytes = [0; 64];
        while let Some(count) = cx.read(&mut bytes)? {
            if count == 0 {
                cx.end(Reason::PeerClosed);
                break;
            }
            cx.set_timeout(self.deadline);
        }
        Ok(())
    }

    fn timeout(&mut self, timeout: Timeout, _cx: &mut Cx<'_, ()>) -> io::Result<()> {
        panic!("a peer that speaks every second has passed a limit: {timeout:?}");
    }
}

/// The peers of one host.
struct Peers {
    left: usize,
}

fn start(backend: &str) -> io::Result<Reactor<Peers>> {
    let mut reactor = client_loop(backend, Peers { left: PEERS })?;
    for _ in 0..PEERS {
        let registration =
            Registration::new(Interest::READ).role(Role::Connection).idle_timeout(None);
        let peer = Peer { is_connected: false, left: MESSAGES };
        dial(&mut reactor, registration, peer)?;
    }
    Ok(reactor)
}

/// Sends a message every second, then ends the stream.
struct Peer {
    is_connected: bool,
    left: u32,
}

impl Handler<Peers> for Peer {
    fn ready(&mut self, cx: &mut Cx<'_, Peers>) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_connected, true) {
            cx.set_timer(INTERVAL, Some(INTERVAL), 0);
        }
        if cx.read(&mut [0; 1])? == Some(0) {
            assert_eq!(self.left, 0, "a peer that speaks every second was closed");
            cx.end(Reason::PeerClosed);
        }
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Peers>) -> io::Result<()> {
        self.left -= 1;
        if self.left == 0 {
            cx.cancel_timer(timer.id);
            return cx.shutdown_write();
        }
        cx.write(&[IoSlice::new(b"m")])?;
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Peers>) {
        assert!(matches!(reason, Reason::PeerClosed | Reason::Stopped), "closed: {reason}");
        cx.app.left -= 1;
    }
}
