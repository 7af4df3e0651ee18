//! A daemon that only has timers: none fires early, and a period keeps its rhythm after every delay.

use std::io;
use std::time::{Duration, Instant};

use reactor::sim::{Fault, Faults, Outcome, Sim};
use reactor::{Cx, Expired, Handler, LoopLimits, Reactor};
use testkit::Random;

use super::ground::{Ground, open};

/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(4);
/// The period of the timer that repeats.
const PERIOD: Duration = Duration::from_millis(10);
/// How late a timer may fire once no fault is drawn: timers have a resolution of a millisecond.
const LATE_MAX: Duration = Duration::from_millis(2);
/// The number of the timer that repeats. The others have the numbers below.
const REPEATED: u64 = 20;

/// The state of the daemon.
#[derive(Default)]
struct Daemon {
    /// How late the timer that repeats was last.
    late: Duration,
    ticks: u64,
}

/// Runs the daemon.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let seed = sim.seed();
    let ground = Ground::new(sim, move |backend| build(backend, seed))?;
    sim.set_faults(Faults::all().rate(Fault::Stall, 50_000));
    sim.run_for(STORM)?;
    sim.calm()?;
    // What a fault has delayed is made up for meanwhile.
    sim.run_for(Duration::from_secs(5))?;
    let ticks = |sim: &mut Sim| sim.reactor::<Daemon>(ground.server).map_or(0, |it| it.app.ticks);
    let before = ticks(sim);
    sim.run_for(Duration::from_secs(1))?;
    let count = ticks(sim) - before;
    if !(99..=101).contains(&count) {
        return Err(format!("{count} ticks of {PERIOD:?} in a second").into());
    }
    let late = sim.reactor::<Daemon>(ground.server).map(|it| it.app.late);
    match late.filter(|late| *late > LATE_MAX) {
        Some(late) => Err(format!("a period is {late:?} behind its rhythm").into()),
        None => Ok(()),
    }
}

fn build(backend: &str, seed: u64) -> io::Result<Reactor<Daemon>> {
    let mut reactor = open(backend, LoopLimits::DEFAULT, Daemon::default())?;
    let mut cx = reactor.cx();
    let start = cx.now();
    let clocks = Clocks { random: Random::new(seed), due: vec![start; REPEATED as usize], start };
    let token = cx.spawn(clocks)?;
    cx.wake(token);
    Ok(reactor)
}

/// Arms its timers again and again.
struct Clocks {
    random: Random,
    /// The earliest time at which each may fire.
    due: Vec<Instant>,
    /// When the timer that repeats was armed.
    start: Instant,
}

impl Clocks {
    fn arm(&mut self, key: u64, cx: &mut Cx<'_, Daemon>) {
        let after = Duration::from_micros(1 + self.random.below(30_000));
        self.due[key as usize] = cx.now() + after;
        cx.set_timer(after, None, key);
    }
}

impl Handler<Daemon> for Clocks {
    fn ready(&mut self, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        for key in 0..REPEATED {
            self.arm(key, cx);
        }
        self.start = cx.now();
        cx.set_timer(PERIOD, Some(PERIOD), REPEATED);
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        let now = cx.now();
        if timer.key < REPEATED {
            let early = self.due[timer.key as usize].saturating_duration_since(now);
            assert_eq!(early, Duration::ZERO, "a timer fires {early:?} early");
            self.arm(timer.key, cx);
            return Ok(());
        }
        cx.app.ticks += timer.ticks;
        let due = self.start + PERIOD * cx.app.ticks as u32;
        let early = due.saturating_duration_since(now);
        assert_eq!(early, Duration::ZERO, "a period ends {early:?} early");
        cx.app.late = now - due;
        Ok(())
    }
}
