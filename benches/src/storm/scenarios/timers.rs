//! A daemon with timers without delay, posts of other threads and wakes, beside connections: none of
//! them may keep the others from being served.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::Limits;
use reactor::sim::{Faults, HostId, Outcome, Sim};
use reactor::{
    Cx, Handler, Interest, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Reason,
    Registration, Remote, Role, Stream, Timeout, Token,
};

use super::ground::{Ground, Returned, demand_calm, open, server_at};
use super::loopback::{are_done, clients};

/// The limits of the daemon: small, so that each is reached.
const LIMITS: LoopLimits =
    LoopLimits { calls_per_turn: 8, remote_calls_per_turn: 4, ..LoopLimits::DEFAULT };
/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(10);
/// The time between two bursts of timers, in which each source arms its timer this many times.
const BURST: Duration = Duration::from_millis(250);
const BURST_SOURCES: usize = 10;
const BURST_ROUNDS: u32 = 8;
/// How many bursts may begin before a wake has to be noticed.
const BURSTS_MAX: u64 = 20;

/// The turns of ten seconds of bursts alone: each timer may take one.
const TURNS_MAX: u64 = 40 * (BURST_SOURCES as u64 + 1) * (BURST_ROUNDS as u64 + 1);

/// The state of the daemon.
#[derive(Default)]
struct Daemon {
    /// The number of the last post that was run.
    posted: u64,
    bursts: u64,
    /// Sources that are woken by posts.
    sleepers: Vec<Sleeper>,
}

struct Sleeper {
    token: Token,
    /// When it was woken first since it noticed a wake, in bursts.
    woken: Option<u64>,
}

/// Runs the daemon.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let hosts = clients(sim, &mut ground, |byte| byte, Rc::new(|| false))?;
    sim.set_faults(Faults::all());
    let mut posts = Posts::default();
    while sim.now() < STORM {
        sim.run_for(Duration::from_millis(1 + ground.random.below(400)))?;
        let count = 1 + ground.random.below(24);
        posts.post(sim, ground.server, count);
    }
    demand_calm::<Daemon>(sim, ground.server, "clients", |sim| are_done(sim, &hosts))?;
    for count in [1, 9, 1, 30, 1] {
        posts.post(sim, ground.server, count);
        sim.run_for(Duration::from_secs(1))?;
        posts.demand_all()?;
    }
    if sim.reactor::<Daemon>(ground.server).is_none_or(|it| it.app.bursts == 0) {
        return Err("no burst of timers has begun".into());
    }
    ground.demand_peace_with::<Daemon>(sim, TURNS_MAX)
}

fn build(backend: &str) -> io::Result<Reactor<Daemon>> {
    let mut reactor = open(backend, LIMITS, Daemon::default())?;
    let mut cx = reactor.cx();
    let listener = Listener::bind(&server_at(7), &ListenOptions::DEFAULT)?;
    let mut count = 0;
    listener.register(&mut cx, move |accepted, cx| {
        count += 1;
        if count % 2 == 0 {
            let limits = Arc::new(Limits::DEFAULT);
            let session = servers::echo::session();
            return Stream::new(session, limits).register(accepted, cx).map(drop);
        }
        let registration = Registration::new(Interest::READ).role(Role::Connection);
        let echo = Echo { returned: Returned::default() };
        let token = cx.register(accepted.into_fd(), registration, echo)?;
        cx.app.sleepers.push(Sleeper { token, woken: None });
        Ok(())
    })?;
    cx.every(BURST, |_, cx| burst(cx))?;
    Ok(reactor)
}

/// Begins a burst of timers without delay, and demands that wakes were noticed.
fn burst(cx: &mut LoopCx<'_, Daemon>) {
    cx.app.bursts += 1;
    let bursts = cx.app.bursts;
    let overdue = |it: &&Sleeper| it.woken.is_some_and(|at| at + BURSTS_MAX < bursts);
    let overdue = cx.app.sleepers.iter().filter(overdue).count();
    assert_eq!(overdue, 0, "{overdue} sources were woken long ago and were not told");
    for _ in 0..BURST_SOURCES {
        // A loop that is being dropped refuses.
        if let Ok(token) = cx.spawn(Zero { left: BURST_ROUNDS, last: u64::MAX }) {
            cx.wake(token);
        }
    }
}

/// Arms its timer without delay, again and again.
struct Zero {
    left: u32,
    /// The turn in which it was armed last.
    last: u64,
}

impl Zero {
    fn arm(&mut self, cx: &mut Cx<'_, Daemon>) {
        self.last = cx.counters().turns;
        cx.set_timeout(Some(Duration::ZERO));
    }
}

impl Handler<Daemon> for Zero {
    fn ready(&mut self, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        // A timer of this part of the turn may fire in the next part.
        cx.set_timeout(Some(Duration::ZERO));
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        let turn = cx.counters().turns;
        assert_ne!(turn, self.last, "a timer fired in the turn in which it was armed by another");
        self.left -= 1;
        match self.left {
            0 => cx.end(Reason::Finished),
            _ => self.arm(cx),
        }
        Ok(())
    }
}

/// Sends back what it receives. Posts wake it.
struct Echo {
    returned: Returned,
}

impl Handler<Daemon> for Echo {
    fn ready(&mut self, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        let (me, was_woken) = (cx.me(), cx.was_woken());
        if let Some(it) = cx.app.sleepers.iter_mut().find(|it| it.token == me) {
            let woken = it.woken.take();
            assert!(
                woken.is_none() || was_woken,
                "a source runs and is not told that it was woken"
            );
        }
        // Others may be queued for their own input.
        self.returned.proceed(cx, wake)
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, Daemon>) {
        let me = cx.me();
        cx.app.sleepers.retain(|it| it.token != me);
    }
}

/// Posts of another thread to the daemon.
#[derive(Default)]
struct Posts {
    /// The daemon that they went to, with the number of the last one, and of the last one run.
    remote: Option<Remote<Daemon>>,
    last: u64,
    run: Arc<AtomicU64>,
}

impl Posts {
    /// Posts to the daemon if it runs. Posts to one that was killed are lost.
    fn post(&mut self, sim: &mut Sim, server: HostId, count: u64) {
        if self.remote.as_ref().is_none_or(|remote| remote.wake().is_err()) {
            self.remote = sim.with(server, |cx: &mut LoopCx<'_, Daemon>| cx.remote());
            (self.last, self.run) = (0, Arc::default());
        }
        let Some(remote) = &self.remote else { return };
        for _ in 0..count {
            self.last += 1;
            let (number, run) = (self.last, Arc::clone(&self.run));
            // It runs here or not at all.
            let _ = remote.post(move |cx| {
                assert_eq!(cx.app.posted + 1, number, "a post is lost or out of order");
                cx.app.posted = number;
                run.store(number, Ordering::Relaxed);
                wake(cx);
            });
        }
    }

    fn demand_all(&self) -> Outcome {
        let run = self.run.load(Ordering::Relaxed);
        if run != self.last {
            return Err(format!("{run} of {} posts were run", self.last).into());
        }
        Ok(())
    }
}

/// Wakes all sources that notice it.
fn wake(cx: &mut LoopCx<'_, Daemon>) {
    let bursts = cx.app.bursts;
    let tokens: Vec<Token> = cx.app.sleepers.iter().map(|it| it.token).collect();
    for token in tokens {
        cx.wake(token);
    }
    cx.app.sleepers.iter_mut().for_each(|it| {
        it.woken.get_or_insert(bursts);
    });
}
