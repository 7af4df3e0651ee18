//! A daemon whose sources are named after they have ended, and end each other.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use reactor::sim::{Faults, Outcome, Sim};
use reactor::{Cx, Expired, Handler, LoopCx, LoopLimits, Reactor, Reason, Token};
use testkit::Random;

use super::ground::{Ground, bump, open};

/// Few ends a turn, so that some wait for the next one.
const LIMITS: LoopLimits = LoopLimits { ends_per_turn: 2, ..LoopLimits::DEFAULT };
/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(4);
/// How long the daemon has for the rest. It may be in the middle of a stall.
const CALM: Duration = Duration::from_secs(10);
/// How long a timer is armed that its source leaves behind.
const LEFT_BEHIND: Duration = Duration::from_millis(30);
/// How many sources live at a time.
const SOURCES_MAX: usize = 20;
/// How many names of ended sources are kept.
const STALE_MAX: usize = 50;

/// The state of the daemon.
#[derive(Default)]
struct Daemon {
    /// The number of the last source.
    last: u64,
    /// The sources that were not told of their end yet.
    sources: BTreeMap<u64, Known>,
    /// The names of sources that have ended.
    stale: Vec<Token>,
    /// The last turn in which a source was told of its end, and how many were.
    ended: (u64, usize),
}

/// What a source may be told.
struct Known {
    token: Token,
    is_woken: bool,
    is_leaving: bool,
    is_closed: bool,
}

impl Daemon {
    fn known(&mut self, number: u64) -> &mut Known {
        self.sources.get_mut(&number).expect("no source is called after it was told of its end")
    }

    /// Returns the number of a source that has not ended.
    fn any(&self, random: &mut Random) -> Option<u64> {
        let open: Vec<u64> = self
            .sources
            .iter()
            .filter(|(_, it)| !it.is_closed)
            .map(|(number, _)| *number)
            .collect();
        (!open.is_empty()).then(|| open[random.index(open.len())])
    }
}

/// Runs the daemon.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    sim.set_faults(Faults::all());
    while sim.now() < STORM {
        sim.run_for(Duration::from_millis(ground.random.below(10)))?;
        let count = 1 + ground.random.below(6);
        let random = &mut ground.random;
        sim.with(ground.server, |cx: &mut LoopCx<'_, Daemon>| {
            (0..count).try_for_each(|_| act(cx, random))
        })
        .transpose()?;
    }
    sim.calm()?;
    sim.run_for(CALM)?;
    let app = &sim.reactor::<Daemon>(ground.server).ok_or("the daemon is gone")?.app;
    let owed = |it: &&Known| it.is_closed || it.is_woken;
    match app.sources.values().filter(owed).count() {
        0 => Ok(()),
        count => Err(format!("{count} sources were not told of their wake or their end").into()),
    }
}

fn build(backend: &str) -> io::Result<Reactor<Daemon>> {
    open(backend, LIMITS, Daemon::default())
}

/// Does one thing to one source.
fn act(cx: &mut LoopCx<'_, Daemon>, random: &mut Random) -> io::Result<()> {
    let any = cx.app.any(random);
    match (random.below(8), any) {
        (0..3, _) if cx.app.sources.len() < SOURCES_MAX => {
            cx.app.last += 1;
            let (number, heir) = (cx.app.last, any.filter(|_| random.one_in(3)));
            let token = cx.spawn(Numbered { number, heir })?;
            let known = Known { token, is_woken: false, is_leaving: false, is_closed: false };
            cx.app.sources.insert(number, known);
        }
        (0..4, Some(number)) => close(cx, number),
        (4 | 5, Some(number)) => {
            let leaves = random.one_in(2);
            let known = cx.app.known(number);
            known.is_woken = true;
            known.is_leaving |= leaves;
            let token = known.token;
            cx.wake(token);
        }
        _ if !cx.app.stale.is_empty() => {
            let token = cx.app.stale[random.index(cx.app.stale.len())];
            if random.one_in(2) { cx.wake(token) } else { cx.close(token) }
        }
        _ => {}
    }
    Ok(())
}

fn close(cx: &mut LoopCx<'_, Daemon>, number: u64) {
    let known = cx.app.known(number);
    known.is_closed = true;
    let token = known.token;
    cx.close(token);
}

/// A source that knows its number. When it ends, it ends its heir.
struct Numbered {
    number: u64,
    heir: Option<u64>,
}

impl Handler<Daemon> for Numbered {
    fn ready(&mut self, cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        let known = cx.app.known(self.number);
        assert!(std::mem::take(&mut known.is_woken), "a source runs that was not woken");
        assert!(!known.is_closed, "a source runs that was closed");
        if known.is_leaving {
            known.is_closed = true;
            cx.set_timer(LEFT_BEHIND, None, self.number);
            cx.end(Reason::Finished);
        }
        Ok(())
    }

    fn timer(&mut self, timer: Expired, _cx: &mut Cx<'_, Daemon>) -> io::Result<()> {
        panic!("source {} is told of the timer of source {}", self.number, timer.key);
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Daemon>) {
        // A loop that is dropped ends everything at once.
        if cx.is_stopping() {
            return;
        }
        let known = cx.app.sources.remove(&self.number).expect("a source ends once");
        assert!(known.is_closed, "a source was ended that was not closed: {reason}");
        if cx.app.stale.len() == STALE_MAX {
            cx.app.stale.remove(0);
        }
        cx.app.stale.push(known.token);
        let turn = cx.counters().turns;
        let count = bump(&mut cx.app.ended, turn);
        assert!(count <= LIMITS.ends_per_turn, "{count} sources ended in a turn");
        if let Some(heir) = self.heir.filter(|heir| cx.app.sources.contains_key(heir)) {
            close(cx, heir);
        }
    }
}
