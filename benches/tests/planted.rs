//! Plants the faults of `reactor::planted` and `protocol::planted` one at a time, and shows that the
//! storm finds each of them within the seeds that its tests run.
//!
//! `RUSTC_WORKSPACE_WRAPPER=$PWD/.ci/rustc-planted cargo test -p myevent-benches --test planted --
//! --nocapture` prints which scenario and which seed find each fault.

#![cfg(planted)]

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use benches::storm::scenarios::{self, Scenario};
use protocol::planted as web;
use reactor::planted::{self, Planted};
use reactor::sim::Storm;

/// A fault that can be planted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// One of the loop.
    Loop(Planted),
    /// One of HTTP or WebSocket.
    Web(web::Planted),
}

impl Fault {
    fn all() -> Vec<Self> {
        let web = web::Planted::ALL.iter().copied().map(Self::Web);
        Planted::ALL.iter().copied().map(Self::Loop).chain(web).collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, name) = match self {
            Self::Loop(fault) => (format!("P{}", fault.requirement()), format!("{fault:?}")),
            Self::Web(fault) => (String::new(), format!("{fault:?}")),
        };
        write!(f, "{number:<4} {name:<18}")
    }
}

/// Plants a fault on this thread, in place of any other, or removes it.
fn plant(fault: Option<Fault>) {
    planted::plant(match fault {
        Some(Fault::Loop(fault)) => Some(fault),
        _ => None,
    });
    web::plant(match fault {
        Some(Fault::Web(fault)) => Some(fault),
        _ => None,
    });
}

/// A fault that was found.
struct Find {
    fault: Fault,
    scenario: &'static str,
    seed: u64,
    message: String,
    time: Duration,
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, scenario, seed, message, time } = self;
        let line = message.lines().next().unwrap_or_default();
        let seconds = time.as_secs_f64();
        write!(f, "{fault} {scenario:<12} {seed:>3} {seconds:>5.1}s  {line:.120}")
    }
}

/// Returns the scenario that is made for a fault. It runs first, which saves time only: all others
/// follow.
fn likeliest(fault: Fault) -> &'static str {
    match fault {
        Fault::Loop(fault) => likeliest_of_loop(fault),
        Fault::Web(
            web::Planted::LastMessageLost
            | web::Planted::PongUnawaited
            | web::Planted::FragmentsDropped,
        ) => "websocket",
        Fault::Web(_) => "http",
    }
}

fn likeliest_of_loop(fault: Planted) -> &'static str {
    match fault {
        Planted::GenerationIgnored | Planted::EndsForgotten | Planted::EndsUnbounded => "names",
        Planted::AcceptSpins | Planted::AcceptsUnbounded | Planted::RoomUnannounced => "crowd",
        Planted::TimersInOneTurn | Planted::NotificationStuck | Planted::WakeMerged => "timers",
        Planted::LastEventDropped => "timers",
        Planted::StepIgnored | Planted::DueTwice => "calendar",
        Planted::HookKept | Planted::WaitUnbounded => "hooks",
        Planted::LevelStarves | Planted::PriorityIgnored => "priorities",
        Planted::TimerEarly | Planted::PeriodDrifts => "clocks",
        Planted::PartialIsComplete | Planted::SilenceUnasked | Planted::LostTimeCharged => "limits",
        Planted::IdleDisarmed | Planted::DisputeForgotten => "idle",
        Planted::ConnectAssumed => "dials",
        Planted::FamiliesInRow | Planted::FailureWaits => "races",
        Planted::LosersKept | Planted::AttemptsForgotten => "races",
        Planted::SentRepeated | Planted::UnsentForgotten | Planted::SentDenied => "clients",
        Planted::AnswersDropped | Planted::DeadlineForgotten => "clients",
        Planted::PauseUnbounded | Planted::PauseMissing => "pools",
        Planted::MoveIgnored | Planted::StateIgnored => "pools",
        Planted::NeedForgotten => "subscribers",
        Planted::WaitingDropped => "departures",
        Planted::NoLinger | Planted::CutInOrder | Planted::HangUpSpins => "readers",
        Planted::SleepsBehind | Planted::CloseBeforeData => "readers",
        _ => "echo-strict",
    }
}

/// Runs a scenario with some seeds. Returns the first that fails, and its message.
fn first_failure(
    scenario: &Scenario,
    seeds: Range<u64>,
    fault: Option<Fault>,
) -> Option<(u64, String)> {
    plant(fault);
    let result = Storm::new(seeds).unreduced().hunt(scenario.run);
    plant(None);
    result.err().map(|failure| (failure.seed, failure.message))
}

/// Runs the seeds of all scenarios with a fault planted, until a run fails. It has to be the fault
/// that fails it: without it, the same seed passes.
fn hunt(fault: Fault) -> Option<Find> {
    let start = Instant::now();
    let first = likeliest(fault);
    let (mut order, rest): (Vec<&Scenario>, Vec<_>) =
        scenarios::ALL.iter().partition(|scenario| scenario.name == first);
    order.extend(rest);
    let find = order.into_iter().find_map(|scenario| {
        let (seed, message) = first_failure(scenario, 0..scenario.seeds, Some(fault))?;
        let name = scenario.name;
        let healthy = first_failure(scenario, seed..seed + 1, None);
        assert_eq!(healthy, None, "{name} fails without {fault:?}");
        Some((name, seed, message))
    });
    let (scenario, seed, message) = find?;
    Some(Find { fault, scenario, seed, message, time: start.elapsed() })
}

#[test]
fn every_planted_fault_is_found() {
    let all = Fault::all();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut lost = Vec::new();
        while let Some(fault) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            match hunt(*fault) {
                Some(find) => println!("{find}"),
                None => lost.push(*fault),
            }
        }
        lost
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let lost: Vec<Fault> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|it| it.join().expect("a hunt reports panics")).collect()
    });
    assert_eq!(lost, [], "no scenario finds these");
}
