//! A daemon that takes few connections at a time, and closes all of them at once now and then.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{Fault, Faults, Outcome, Sim};
use reactor::{
    Cx, Handler, Interest, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Reason,
    Registration, Role, Token,
};

use super::ground::{Ground, Returned, bump, counters, demand_calm, open, server_at};
use super::loopback::{are_done, clients};

/// The limits of the daemon: fewer than there are clients.
const LIMITS: LoopLimits = LoopLimits {
    connections_max: 4,
    accepts_per_turn: 2,
    ends_per_turn: 2,
    calls_per_turn: 8,
    ..LoopLimits::DEFAULT
};
/// How long faults are drawn, and how often all connections end.
const STORM: Duration = Duration::from_secs(8);
const EXIT: Duration = Duration::from_millis(700);
/// How long the daemon has no descriptor, and how often its loop may turn meanwhile. Where nothing
/// else happens, the simulation ends a loop that does not pause sooner.
const WITHOUT: Duration = Duration::from_secs(2);
const TURNS_MAX: u64 = 60_000;

/// The state of the daemon.
#[derive(Default)]
struct Daemon {
    members: Vec<Token>,
    /// The last turn in which a connection was accepted, and how many were.
    accepted: (u64, usize),
    /// The last turn in which a connection ended, and how many did.
    ended: (u64, usize),
    /// Mass exits.
    exits: u64,
}

/// Runs the daemon.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let hosts = clients(sim, &mut ground, |byte| byte, Rc::new(|| false))?;
    let until = Duration::from_millis(ground.random.below(3_000));
    sim.set_faults(Faults::all());
    sim.run_for(until)?;
    let before = counters::<Daemon>(sim, ground.server).map(|it| it.turns);
    sim.set_faults(Faults::NONE.rate(Fault::AcceptNoDescriptor, 1_000_000));
    sim.run_for(WITHOUT)?;
    let after = counters::<Daemon>(sim, ground.server).map(|it| it.turns);
    // It may have been killed and started again.
    if let (Some(before), Some(after)) = (before, after)
        && after.saturating_sub(before) > TURNS_MAX
    {
        return Err(format!("{} turns without a descriptor", after - before).into());
    }
    sim.set_faults(Faults::all());
    let rest = STORM.saturating_sub(sim.now());
    sim.run_for(rest)?;
    demand_calm::<Daemon>(sim, ground.server, "clients", |sim| are_done(sim, &hosts))?;
    ground.demand_peace::<Daemon>(sim)
}

fn build(backend: &str) -> io::Result<Reactor<Daemon>> {
    let mut reactor = open(backend, LIMITS, Daemon::default())?;
    let mut cx = reactor.cx();
    let listener = Listener::bind(&server_at(7), &ListenOptions::DEFAULT)?;
    listener.register(&mut cx, |accepted, cx| {
        let turn = cx.counters().turns;
        let count = bump(&mut cx.app.accepted, turn);
        assert!(count <= LIMITS.accepts_per_turn, "{count} connections were accepted in a turn");
        let registration = Registration::new(Interest::READ).role(Role::Connection);
        let member = Member { returned: Returned::default() };
        let token = cx.register(accepted.into_fd(), registration, member)?;
        cx.app.members.push(token);
        let count = cx.connections();
        assert!(count <= LIMITS.connections_max, "there are {count} connections");
        Ok(())
    })?;
    let start = cx.now();
    cx.every(EXIT, move |_, cx| {
        if cx.now().duration_since(start) < STORM {
            exit(cx);
        }
    })?;
    Ok(reactor)
}

/// Closes all connections at once.
fn exit(cx: &mut LoopCx<'_, Daemon>) {
    cx.app.exits += 1;
    for token in std::mem::take(&mut cx.app.members) {
        cx.close(token);
    }
}

/// A connection, which sends back what it receives.
struct Member {
    returned: Returned,
}

impl Handler<Daemon> for Member {
    fn ready(&mut self, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        self.returned.proceed(cx, |_| {})
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, Daemon>) {
        let me = cx.me();
        cx.app.members.retain(|token| *token != me);
        // A loop that is dropped ends everything at once.
        if cx.is_stopping() {
            return;
        }
        let turn = cx.counters().turns;
        let count = bump(&mut cx.app.ended, turn);
        assert!(count <= LIMITS.ends_per_turn, "{count} connections ended in a turn");
    }
}
