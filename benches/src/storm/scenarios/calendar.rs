//! A daemon with timers by the clock of the wall, which is set forward and back: nothing is early, late or
//! due twice.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use reactor::sim::{Fault, Faults, Outcome, Sim};
use reactor::{LoopCx, LoopLimits, Occurrence, Reactor, Schedule};

use super::ground::{Ground, open};

/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(60);
/// How often the daemon looks whether a call is missing.
const LOOK: Duration = Duration::from_millis(100);
/// How many looks in a row may miss the same call: faults delay the loop between them.
const LOOKS_MAX: u32 = 5;

/// Steps back by more than three hours in all begin a schedule anew, even if a step forward follows. The
/// next time is minutes later.
const CORRECTED: Duration = Duration::from_secs(170 * 60);

/// The state of the daemon, with an entry for each schedule.
#[derive(Default)]
struct Daemon {
    entries: Vec<Entry>,
}

struct Entry {
    schedule: Schedule,
    /// The last time that was due, since 1970, and what the clock showed at that call.
    due: Duration,
    called: Duration,
    /// How many looks have missed a call.
    missing: u32,
}

/// Runs the daemon.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let ground = Ground::new(sim, build)?;
    sim.set_faults(Faults::all().rate(Fault::WallClockJump, 100_000));
    sim.run_for(STORM)?;
    sim.calm()?;
    sim.run_for(Duration::from_secs(5))?;
    let daemon = sim.reactor::<Daemon>(ground.server).ok_or("the daemon is gone")?;
    match daemon.app.entries.iter().any(|entry| entry.missing > LOOKS_MAX) {
        true => Err("a call is missing".into()),
        false => Ok(()),
    }
}

fn build(backend: &str) -> io::Result<Reactor<Daemon>> {
    let mut reactor = open(backend, LoopLimits::DEFAULT, Daemon::default())?;
    let mut cx = reactor.cx();
    let often = Schedule::every(Duration::from_secs(7), Duration::from_millis(300));
    let cron = Schedule::cron("*/3 * * * *").map_err(io::Error::other)?;
    for (index, schedule) in [often, cron].into_iter().enumerate() {
        let now = reactor::time_of_day();
        cx.app.entries.push(Entry { schedule, due: Duration::ZERO, called: now, missing: 0 });
        cx.on_schedule(schedule, move |occurrence, cx| called(index, occurrence, cx))?;
    }
    cx.every(LOOK, |_, cx| cx.app.entries.iter_mut().for_each(Entry::look))?;
    Ok(reactor)
}

fn called(index: usize, occurrence: Occurrence, cx: &mut LoopCx<'_, Daemon>) {
    let due = occurrence.due.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = reactor::time_of_day();
    let entry = &mut cx.app.entries[index];
    assert!(due <= now, "a call is {:?} early", due - now);
    let is_corrected = entry.called > due + CORRECTED;
    assert!(due > entry.due || is_corrected, "a time is due twice");
    (entry.due, entry.called, entry.missing) = (due, now, 0);
}

impl Entry {
    /// Counts the looks since a call was due.
    fn look(&mut self) {
        let next = self.schedule.next_after(UNIX_EPOCH + self.called);
        let is_due = next.is_some_and(|at| at <= UNIX_EPOCH + reactor::time_of_day());
        self.missing = if is_due { self.missing + 1 } else { 0 };
        assert!(self.missing <= LOOKS_MAX, "a call is missing for {} looks", self.missing);
    }
}
