//! A daemon with another library in its loop, which has timers of its own: the loop never waits longer
//! than the library can, and calls no hook that was removed.

use std::io;
use std::time::{Duration, Instant};

use reactor::sim::{Fault, Faults, Outcome, Sim};
use reactor::{Cx, Found, Handler, Hook, LoopLimits, Reactor};
use testkit::Random;

use super::ground::{Ground, open};

/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(4);
/// How late the library may be called once no fault is drawn.
const LATE_MAX: Duration = Duration::from_millis(2);
/// The hooks of the source that adds and removes its own.
const FICKLE: [Hook; 2] = [Hook::Prepare, Hook::Check];

/// The state of the daemon.
#[derive(Default)]
struct Daemon {
    /// How late the library was last, and how often it was called in time.
    late: Duration,
    calls: u64,
}

/// Runs the daemon.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let seed = sim.seed();
    let ground = Ground::new(sim, move |backend| build(backend, seed))?;
    sim.set_faults(Faults::all().rate(Fault::Stall, 50_000));
    sim.run_for(STORM)?;
    sim.calm()?;
    sim.run_for(Duration::from_secs(5))?;
    let app = |sim: &mut Sim| {
        let reactor = sim.reactor::<Daemon>(ground.server).ok_or("the daemon is gone")?;
        Ok::<_, &str>((reactor.app.calls, reactor.app.late))
    };
    let (before, _) = app(sim)?;
    sim.run_for(Duration::from_secs(1))?;
    let (calls, late) = app(sim)?;
    if calls - before < 10 {
        return Err(format!("the library was called {} times in a second", calls - before).into());
    }
    if late > LATE_MAX {
        return Err(format!("the library was called {late:?} late").into());
    }
    Ok(())
}

fn build(backend: &str, seed: u64) -> io::Result<Reactor<Daemon>> {
    let mut reactor = open(backend, LoopLimits::DEFAULT, Daemon::default())?;
    let mut cx = reactor.cx();
    let library = Library { random: Random::new(seed), due: cx.now() };
    let fickle = Fickle { random: Random::new(!seed), has: [false; FICKLE.len()] };
    for token in [cx.spawn(library)?, cx.spawn(fickle)?] {
        cx.wake(token);
    }
    Ok(reactor)
}

/// A library with one timer at a time.
struct Library {
    random: Random,
    due: Instant,
}

impl Handler<Daemon> for Library {
    fn ready(&mut self, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        cx.add_hook(Hook::Prepare);
        cx.add_hook(Hook::Check);
        Ok(())
    }

    fn prepare(
        &mut self,
        _wait: Option<Duration>,
        cx: &mut Cx<'_, Daemon>,
    ) -> io::Result<Option<Duration>> {
        Ok(Some(self.due.saturating_duration_since(cx.now())))
    }

    fn check(&mut self, _found: Found, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        let now = cx.now();
        if now >= self.due {
            cx.app.late = now - self.due;
            cx.app.calls += 1;
            self.due = now + Duration::from_micros(1 + self.random.below(50_000));
        }
        Ok(())
    }
}

/// Adds and removes its hooks at random, and knows which it has.
struct Fickle {
    random: Random,
    has: [bool; FICKLE.len()],
}

impl Fickle {
    fn change(&mut self, cx: &mut Cx<'_, Daemon>) {
        let index = self.random.index(FICKLE.len());
        self.has[index] = !self.has[index];
        match self.has[index] {
            true => cx.add_hook(FICKLE[index]),
            false => cx.remove_hook(FICKLE[index]),
        }
    }

    fn called(&mut self, hook: Hook, cx: &mut Cx<'_, Daemon>) {
        let index = FICKLE.iter().position(|it| *it == hook).expect("it has no other");
        assert!(self.has[index], "a hook that was removed is called");
        self.change(cx);
    }
}

impl Handler<Daemon> for Fickle {
    fn ready(&mut self, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        cx.set_timeout(Some(Duration::from_millis(20)));
        Ok(())
    }

    fn timeout(&mut self, _timeout: reactor::Timeout, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        self.change(cx);
        cx.set_timeout(Some(Duration::from_millis(20)));
        Ok(())
    }

    fn prepare(
        &mut self,
        _wait: Option<Duration>,
        cx: &mut Cx<'_, Daemon>,
    ) -> io::Result<Option<Duration>> {
        self.called(Hook::Prepare, cx);
        Ok(None)
    }

    fn check(&mut self, _found: Found, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        self.called(Hook::Check, cx);
        Ok(())
    }
}
