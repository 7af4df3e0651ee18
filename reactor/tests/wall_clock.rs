//! Timers by the clock of the wall. The clock of this machine stays as it is: where it is set, the host
//! is simulated.

mod common;

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::on_every_backend;
use reactor::sim::{HostId, Sim};
use reactor::{
    BackendKind, Clock, Cx, Handler, LoopCx, LoopLimits, Occurrence, Reactor, Reason, Schedule,
    Token,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_time_of_the_wall_clock_is_never_early() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Vec<SystemTime>>| {
        let start = SystemTime::now();
        let times = [30, 10, 20, 0].map(|ms| start + Duration::from_millis(ms));
        for when in times {
            let call = move |cx: &mut LoopCx<'_, Vec<SystemTime>>| {
                assert!(SystemTime::now() >= when);
                cx.app.push(when);
            };
            reactor.cx().at(when, call).expect("it registers");
        }
        // It has passed.
        let long_ago = UNIX_EPOCH - SECOND;
        reactor.cx().at(long_ago, move |cx| cx.app.push(long_ago)).expect("it registers");
        reactor.run_until(|calls| calls.len() == 5).expect("it runs");
        assert_eq!(reactor.app[2..], [times[1], times[2], times[0]]);
        // The descriptor for them goes with the last.
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        assert_eq!((reactor.counters().live(), reactor.timers()), (0, 0));
    });
}

#[test]
fn a_schedule_is_aligned_to_the_wall_clock() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Vec<SystemTime>>| {
        let often = Schedule::every(Duration::from_millis(5), Duration::from_millis(2));
        let token = reactor
            .cx()
            .on_schedule(often, |occurrence, cx| {
                assert!(SystemTime::now() >= occurrence.due);
                cx.app.push(occurrence.due);
            })
            .expect("it registers");
        reactor.run_until(|calls| calls.len() == 4).expect("it runs");
        for due in &reactor.app {
            let since = due.duration_since(UNIX_EPOCH).expect("it is later");
            assert_eq!(since.as_nanos() % 5_000_000, 2_000_000);
        }
        assert!(reactor.app.is_sorted_by(|earlier, later| earlier < later), "{:?}", reactor.app);
        reactor.cx().close(token);
        reactor.run_for(Duration::from_millis(20)).expect("it runs");
        assert_eq!((reactor.app.len(), reactor.counters().live()), (4, 0));
    });
}

#[test]
fn what_becomes_due_during_a_call_is_called_for_after_it() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Vec<[SystemTime; 2]>>| {
        let often = Schedule::every(Duration::from_millis(20), Duration::ZERO);
        let slow = |occurrence: Occurrence, cx: &mut LoopCx<'_, Vec<[SystemTime; 2]>>| {
            std::thread::sleep(Duration::from_millis(50));
            cx.app.push([occurrence.due, SystemTime::now()]);
        };
        reactor.cx().on_schedule(often, slow).expect("it registers");
        reactor.run_until(|calls| calls.len() == 3).expect("it runs");
        for calls in reactor.app.windows(2) {
            let ([before, end], [due, _]) = (calls[0], calls[1]);
            assert!(before < due && due <= end, "{due:?} is not between {before:?} and {end:?}");
        }
    });
}

#[test]
fn a_timer_of_boottime_fires_once_and_is_cancelled_as_others() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<u32>| {
        let ms = Duration::from_millis;
        let start = reactor::now();
        reactor.cx().after_on(Clock::Boottime, ms(5), |cx| *cx.app += 1).expect("it registers");
        reactor.cx().after_on(Clock::Monotonic, ms(5), |cx| *cx.app += 1).expect("it registers");
        reactor.cx().after_on(Clock::Boottime, ms(0), |cx| *cx.app += 1).expect("it registers");
        let cancelled =
            reactor.cx().after_on(Clock::Boottime, ms(1), |_| panic!("it was cancelled"));
        reactor.cx().close(cancelled.expect("it registers"));
        reactor.run_until(|calls| *calls == 3).expect("it runs");
        assert!(start.elapsed() >= ms(5));
        reactor.run_for(ms(5)).expect("it runs");
        assert_eq!((reactor.app, reactor.counters().live()), (3, 0));
    });
}

#[test]
fn an_interval_of_zero_is_refused() {
    let mut reactor = Reactor::new(()).expect("the reactor opens");
    let never = Schedule::every(Duration::ZERO, SECOND);
    let error = reactor.cx().on_schedule(never, |_, _| ()).expect_err("zero is refused");
    assert!(error.to_string().contains("longer than zero"), "{error}");
    assert_eq!(reactor.counters().live(), 0);
}

/// The calls of a simulated program: what was called, and what its clock showed then, in seconds since
/// the start of the run.
type Calls = Vec<(&'static str, u64)>;

/// What the clock of a host shows when a run starts.
fn begin() -> Duration {
    let mut sim = Sim::new(0);
    let host = sim.host("10.0.0.1");
    clock_of(&mut sim, host)
}

fn clock_of(sim: &mut Sim, host: HostId) -> Duration {
    sim.start(host, || Reactor::new(())).expect("it starts");
    sim.with(host, |_: &mut LoopCx<'_>| reactor::time_of_day()).expect("it runs")
}

fn note(name: &'static str, cx: &mut LoopCx<'_, Calls>) {
    let shows = reactor::time_of_day() - begin();
    cx.app.push((name, shows.as_secs()));
}

/// A world with one host on which a loop runs, on each kind of backend.
fn on_a_host(
    build: fn(&mut LoopCx<'_, Calls>) -> std::io::Result<()>,
    test: impl Fn(&mut Sim, HostId),
) {
    for backend in BackendKind::ALL {
        let mut sim = Sim::new(1);
        let host = sim.host("10.0.0.1");
        sim.start(host, move || {
            let backend = backend.open()?;
            let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, Calls::new())?;
            build(&mut reactor.cx())?;
            Ok(reactor)
        })
        .expect("it starts");
        test(&mut sim, host);
    }
}

fn calls(sim: &mut Sim, host: HostId) -> Calls {
    sim.reactor::<Calls>(host).map(|it| it.app.clone()).expect("it runs")
}

/// Sets the clock of a host, to a time since the start of the run.
fn set(sim: &mut Sim, host: HostId, to: Duration) {
    sim.set_time_of_day(host, begin() + to);
}

#[test]
fn a_clock_that_is_put_forward_makes_what_it_has_passed_due_once() {
    let build = |cx: &mut LoopCx<'_, Calls>| {
        let at = UNIX_EPOCH + begin() + HOUR;
        cx.at(at, |cx| note("at", cx))?;
        let minutes = Schedule::every(MINUTE, Duration::ZERO);
        cx.on_schedule(minutes, |_, cx| note("minute", cx)).map(drop)
    };
    on_a_host(build, |sim, host| {
        sim.run_for(Duration::from_secs(90)).expect("it runs");
        assert_eq!(calls(sim, host), [("minute", 60)]);
        set(sim, host, 2 * HOUR + 30 * SECOND);
        sim.run_for(SECOND).expect("it runs");
        // 119 minutes have passed at once.
        let mut found = calls(sim, host).split_off(1);
        found.sort_unstable();
        assert_eq!(found, [("at", 7230), ("minute", 7230)]);
        sim.run_for(MINUTE).expect("it runs");
        assert_eq!(calls(sim, host)[3..], [("minute", 7260)]);
    });
}

#[test]
fn a_clock_that_is_put_back_makes_nothing_due_twice() {
    let build = |cx: &mut LoopCx<'_, Calls>| {
        let at = UNIX_EPOCH + begin() + 200 * SECOND;
        cx.at(at, |cx| note("at", cx))?;
        cx.on_schedule("*/1 * * * *".parse().expect("it is valid"), |_, cx| note("minute", cx))
            .map(drop)
    };
    on_a_host(build, |sim, host| {
        sim.run_for(Duration::from_secs(150)).expect("it runs");
        set(sim, host, 10 * SECOND);
        // Until the clock shows again what it has shown, nothing is due.
        sim.run_for(Duration::from_secs(140)).expect("it runs");
        assert_eq!(calls(sim, host), [("minute", 60), ("minute", 120)]);
        sim.run_for(Duration::from_secs(60)).expect("it runs");
        assert_eq!(calls(sim, host)[2..], [("minute", 180), ("at", 200)]);
    });
}

#[test]
fn a_clock_that_was_wrong_by_hours_is_corrected() {
    let build = |cx: &mut LoopCx<'_, Calls>| {
        cx.on_schedule("@hourly".parse().expect("it is valid"), |_, cx| note("hour", cx)).map(drop)
    };
    on_a_host(build, |sim, host| {
        set(sim, host, 1000 * HOUR);
        sim.run_for(HOUR + SECOND).expect("it runs");
        set(sim, host, 30 * MINUTE);
        sim.run_for(HOUR).expect("it runs");
        let hours = [("hour", 3_600_000), ("hour", 3_603_600), ("hour", 3600)];
        assert_eq!(calls(sim, host), hours);
    });
}

#[test]
fn a_timer_far_away_is_on_time_although_the_clock_drifts() {
    use reactor::sim::{Fault, Faults};
    for seed in 0..4 {
        let mut sim = Sim::new(seed);
        let host = sim.host("10.0.0.1");
        sim.set_faults(Faults::NONE.rate(Fault::ClockDrift, 1_000_000));
        let build = || {
            let mut reactor = Reactor::new(Vec::new())?;
            let due = reactor::time_of_day() + HOUR / 2;
            reactor.cx().at(UNIX_EPOCH + due, move |cx: &mut LoopCx<'_, Vec<Duration>>| {
                cx.app.push(reactor::time_of_day().checked_sub(due).expect("it is not early"));
            })?;
            Ok(reactor)
        };
        sim.start(host, build).expect("it starts");
        // A thousandth of half an hour is two seconds.
        sim.run_for(HOUR / 2 + MINUTE).expect("it runs");
        let reactor = sim.reactor::<Vec<Duration>>(host).expect("it runs");
        let late = reactor.app.first().copied().expect("it was called");
        assert!(late < Duration::from_millis(5), "{late:?}");
        assert!(reactor.counters().turns < 40, "{}", reactor.counters());
    }
}

/// Ends another source, and sets a timer.
struct Ends(Token);

impl Handler<u32> for Ends {
    fn ready(&mut self, cx: &mut Cx<'_, u32>) -> std::io::Result<()> {
        cx.close(self.0);
        cx.at(UNIX_EPOCH, |cx| *cx.app += 1)?;
        cx.end(Reason::Finished);
        Ok(())
    }
}

#[test]
fn the_descriptor_for_the_clock_comes_and_goes_with_the_timers() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<u32>| {
        for _ in 0..50 {
            let far = SystemTime::now() + HOUR;
            let token = reactor.cx().at(far, |_| panic!("it is cancelled")).expect("it registers");
            let ends = reactor.cx().spawn(Ends(token)).expect("it registers");
            reactor.cx().wake(ends);
            let before = reactor.app;
            reactor.run_until(|calls| *calls > before).expect("it runs");
            (0..4).for_each(|_| {
                reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            });
            assert_eq!(reactor.counters().live(), 0);
        }
    });
}

#[test]
fn local_times_are_those_of_the_time_zone_of_the_process() {
    // The zone is that of a process, so each zone gets one: this test again.
    const VARIABLE: &str = "WALL_CLOCK_TEST_ZONE";
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    if std::env::var_os(VARIABLE).is_some() {
        let noon: Schedule = "30 2 * * *".parse().expect("it is valid");
        // In winter, in the night in which the clocks go forward, and in which they go back.
        let start = [1_767_225_600, 1_774_740_000, 1_792_882_800];
        for after in start {
            let next = noon.local().next_after(at(after)).expect("there is one");
            println!("{}", next.duration_since(UNIX_EPOCH).expect("it is later").as_secs());
        }
        return;
    }
    for (zone, expected) in [
        ("UTC0", [1_767_234_600, 1_774_751_400, 1_792_895_400]),
        // Berlin: 2:30 is 1:30 UTC; left out on 2026-03-29; twice on 2026-10-25.
        ("CET-1CEST,M3.5.0,M10.5.0/3", [1_767_231_000, 1_774_746_000, 1_792_888_200]),
    ] {
        let me = std::env::current_exe().expect("the test has a path");
        let output = Command::new(me)
            .args(["local_times_are_those", "--nocapture"])
            .envs([(VARIABLE, "1"), ("TZ", zone)])
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let found: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(found, expected, "{zone}: {text}");
    }
}
