//! A daemon whose sources have different priorities: in each turn the higher ones are called first, and
//! the low ones are called in time even while many others are always ready.

use std::io;
use std::time::Duration;

use reactor::sim::{Faults, Outcome, Sim};
use reactor::{Cx, Handler, LoopCx, LoopLimits, Priority, Reactor, Token};

use super::ground::{Ground, open};

/// Fewer calls than sources, so that turns leave some.
const LIMITS: LoopLimits = LoopLimits { calls_per_turn: 8, ..LoopLimits::DEFAULT };
/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(5);
/// The time between two bursts.
const BURST: Duration = Duration::from_millis(200);
/// The sources of each level, and how often a burst has each of them called.
const SOURCES: [(Priority, usize, u32); 3] =
    [(Priority::High, 20, 30), (Priority::Normal, 4, 20), (Priority::Low, 2, 10)];
/// How many turns a source may wait that was woken. A turn has half a call for the two low ones.
const TURNS_MAX: u64 = 24;

/// The state of the daemon.
#[derive(Default)]
struct Daemon {
    sources: Vec<(Token, u32)>,
    /// The turn of the last call, and the level that was called then.
    last: (u64, usize),
    /// The calls of all bursts that are left.
    left: u64,
    bursts: u64,
    /// The turn in which the last burst began.
    began: u64,
}

/// Runs the daemon.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let ground = Ground::new(sim, build)?;
    sim.set_faults(Faults::all());
    sim.run_for(STORM)?;
    sim.calm()?;
    sim.run_for(Duration::from_secs(1))?;
    let daemon = sim.reactor::<Daemon>(ground.server).ok_or("the daemon is gone")?;
    if daemon.app.bursts == 0 || daemon.app.left > 0 {
        return Err(format!("{} calls are left", daemon.app.left).into());
    }
    Ok(())
}

fn build(backend: &str) -> io::Result<Reactor<Daemon>> {
    let mut reactor = open(backend, LIMITS, Daemon::default())?;
    let mut cx = reactor.cx();
    for (level, (priority, count, rounds)) in SOURCES.into_iter().enumerate() {
        for _ in 0..count {
            let token = cx.spawn(Worker { level, left: 0, rounds, woken: 0 })?;
            cx.set_priority(token, priority);
            cx.app.sources.push((token, rounds));
        }
    }
    cx.every(BURST, |_, cx| burst(cx))?;
    Ok(reactor)
}

/// Begins a burst, if the last one is over.
fn burst(cx: &mut LoopCx<'_, Daemon>) {
    if cx.app.left > 0 {
        return;
    }
    cx.app.bursts += 1;
    cx.app.began = cx.counters().turns;
    for index in 0..cx.app.sources.len() {
        let (token, rounds) = cx.app.sources[index];
        cx.app.left += u64::from(rounds);
        cx.wake(token);
    }
}

/// Wakes itself until it has been called often enough.
struct Worker {
    level: usize,
    rounds: u32,
    left: u32,
    /// The turn in which it woke itself.
    woken: u64,
}

impl Handler<Daemon> for Worker {
    fn ready(&mut self, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        let turn = cx.counters().turns;
        let (last, level) = cx.app.last;
        assert!(last < turn || level <= self.level, "a source of level {level} was called before");
        cx.app.last = (turn, self.level);
        if self.left == 0 {
            (self.left, self.woken) = (self.rounds, cx.app.began);
        }
        let waited = turn - self.woken;
        assert!(waited <= TURNS_MAX, "a source of level {} waited {waited} turns", self.level);
        self.left -= 1;
        cx.app.left -= 1;
        if self.left > 0 {
            self.woken = turn;
            cx.wake(cx.me());
        }
        Ok(())
    }
}
