//! Priorities of sources: the order of calls in a turn, and what keeps low ones alive. The tests
//! count calls.

mod common;

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::on_every_backend;
use reactor::sim::{Script, Sim};
use reactor::{
    Cx, Expired, Handler, Interest, LoopLimits, Priority, Reactor, Reason, Registration, Timeout,
    Token, Trigger,
};

use Priority::{High, Low, Normal};

/// The calls, in order: what was called, and for what.
type Calls = Vec<(&'static str, char)>;

const LIMITS: LoopLimits = LoopLimits { calls_per_turn: 16, ..LoopLimits::DEFAULT };

/// Records its calls: `r` for a ready descriptor, `w` for a wake, `t` for a timer, `d` for a
/// deadline.
struct Note(&'static str);

impl Handler<Calls> for Note {
    fn ready(&mut self, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        let mut buffer = [0; 16];
        let what = if cx.was_woken() { 'w' } else { 'r' };
        if cx.raw_fd().is_some() {
            while cx.read(&mut buffer)?.is_some() {}
        }
        cx.app.push((self.0, what));
        Ok(())
    }

    fn timer(&mut self, _timer: Expired, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        cx.app.push((self.0, 't'));
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        cx.app.push((self.0, 'd'));
        Ok(())
    }
}

fn note(reactor: &mut Reactor<Calls>, name: &'static str, priority: Priority) -> Token {
    let token = reactor.cx().spawn(Note(name)).expect("it registers");
    reactor.cx().set_priority(token, priority);
    token
}

fn turn<A>(reactor: &mut Reactor<A>) {
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
}

#[test]
fn sources_that_are_ready_together_are_called_in_the_order_of_their_priorities() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let mut far_ends = Vec::new();
        for (name, priority) in [("low", Low), ("normal", Normal), ("high", High)] {
            let (ours, theirs) = UnixStream::pair().expect("a pair can be made");
            let registration = Registration::new(Interest::READ).priority(priority);
            let registered = reactor.cx().register(OwnedFd::from(ours), registration, Note(name));
            registered.expect("it registers");
            far_ends.push(theirs);
        }
        let woken = [("low wake", Low), ("normal wake", Normal), ("high wake", High)]
            .map(|(name, priority)| note(&mut reactor, name, priority));
        turn(&mut reactor);
        assert_eq!(reactor.app, [], "nothing is ready");
        for mut far in &far_ends {
            far.write_all(b"x").expect("the kernel takes a byte");
        }
        woken.iter().for_each(|token| reactor.cx().wake(*token));
        turn(&mut reactor);
        // Wakes came first within each level.
        let expected = [
            ("high wake", 'w'),
            ("high", 'r'),
            ("normal wake", 'w'),
            ("normal", 'r'),
            ("low wake", 'w'),
            ("low", 'r'),
        ];
        assert_eq!(reactor.app, expected);
    });
}

/// Arms timers and a deadline when it is woken, all due at once, and then notes its calls.
struct Arms(&'static str, Duration);

impl Handler<Calls> for Arms {
    fn ready(&mut self, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        cx.set_timeout(Some(self.1));
        cx.set_timer(self.1, None, 0);
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        Note(self.0).timer(timer, cx)
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        Note(self.0).timeout(timeout, cx)
    }
}

#[test]
fn timers_that_are_due_together_fire_in_the_order_of_the_priorities_of_their_sources() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let second = Duration::from_millis(1);
        for (name, priority, delay) in
            [("low", Low, second), ("normal", Normal, second), ("high", High, 2 * second)]
        {
            let token = reactor.cx().spawn(Arms(name, delay)).expect("it registers");
            reactor.cx().set_priority(token, priority);
            reactor.cx().wake(token);
        }
        turn(&mut reactor);
        std::thread::sleep(Duration::from_millis(5));
        turn(&mut reactor);
        let expected = [
            ("high", 'd'),
            ("high", 't'),
            ("normal", 'd'),
            ("normal", 't'),
            ("low", 'd'),
            ("low", 't'),
        ];
        assert_eq!(reactor.app, expected);
    });
}

/// Arms a timer that is due again before it fires.
struct Repeats(&'static str);

impl Handler<Calls> for Repeats {
    fn ready(&mut self, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        let often = Duration::from_millis(1);
        cx.set_timer(often, Some(often), 0);
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        Note(self.0).timer(timer, cx)
    }
}

#[test]
fn timers_of_a_low_level_fire_under_a_permanent_load_of_higher_ones() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        // More are due in each turn than it fires.
        for index in 0..40 {
            let (name, priority) = if index == 0 { ("low", Low) } else { ("high", High) };
            let token = reactor.cx().spawn(Repeats(name)).expect("it registers");
            reactor.cx().set_priority(token, priority);
            reactor.cx().wake(token);
        }
        for _ in 0..20 {
            turn(&mut reactor);
            std::thread::sleep(Duration::from_millis(2));
        }
        let low = reactor.app.iter().filter(|(name, _)| *name == "low").count();
        assert!(low >= 3, "{low} of {} calls", reactor.app.len());
    });
}

/// Counts its calls by level, and wakes itself: it is always ready.
struct Busy(usize);

impl Handler<[u64; 3]> for Busy {
    fn ready(&mut self, cx: &mut Cx<'_, [u64; 3]>) -> io::Result<()> {
        cx.app[self.0] += 1;
        cx.wake(cx.me());
        Ok(())
    }
}

fn busy(reactor: &mut Reactor<[u64; 3]>, counts: [usize; 3]) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (level, priority) in Priority::ALL.into_iter().enumerate() {
        for _ in 0..counts[level] {
            let token = reactor.cx().spawn(Busy(level)).expect("it registers");
            reactor.cx().set_priority(token, priority);
            reactor.cx().wake(token);
            tokens.push(token);
        }
    }
    tokens
}

#[test]
fn no_level_starves_under_a_permanent_load_of_higher_ones() {
    for budget in [1, 2, 3, 16, 50] {
        let limits = LoopLimits { calls_per_turn: budget, ..LoopLimits::DEFAULT };
        on_every_backend(limits, |mut reactor: Reactor<[u64; 3]>| {
            busy(&mut reactor, [60; 3]);
            let before = reactor.counters().waits;
            (0..160).for_each(|_| turn(&mut reactor));
            let calls = 160 * budget as u64;
            // 11, 4 and 1 of 16. When a turn has one call and owes two, one comes in the next turn.
            let late = u64::from(budget == 1);
            let shares = [calls / 16 * 11 + late, calls / 4, calls / 16 - late];
            assert_eq!(reactor.app, shares, "of {budget} a turn");
            assert_eq!(reactor.counters().waits - before, 160, "each turn asks the kernel");
        });
    }
}

#[test]
fn sources_of_one_level_take_turns() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let names = ["a", "b", "c", "d", "e"];
        let limits = 5 * 16;
        let tokens: Vec<Token> =
            (0..limits).map(|it| note(&mut reactor, names[it / 16], Low)).collect();
        let others: Vec<Token> = (0..limits).map(|_| note(&mut reactor, "high", High)).collect();
        tokens.iter().chain(&others).for_each(|token| reactor.cx().wake(*token));
        // The first turns call one of the low ones each.
        for called in 1..=5 {
            turn(&mut reactor);
            assert_eq!(reactor.app.iter().filter(|(name, _)| *name == "a").count(), called);
        }
        while reactor.app.len() < 2 * limits {
            turn(&mut reactor);
        }
        let order: Vec<&str> = reactor.app.iter().map(|(name, _)| *name).collect();
        let low: Vec<&str> = order.into_iter().filter(|name| *name != "high").collect();
        assert!(low.is_sorted(), "{low:?}");
    });
}

#[test]
fn a_priority_changes_while_sources_wait() {
    on_every_backend(LIMITS, |mut reactor: Reactor<[u64; 3]>| {
        let tokens = busy(&mut reactor, [60, 60, 0]);
        (0..16).for_each(|_| turn(&mut reactor));
        assert_eq!(reactor.app, [192, 64, 0]);
        // All are as important as others now: they take turns.
        tokens.iter().for_each(|token| reactor.cx().set_priority(*token, Normal));
        (0..120).for_each(|_| turn(&mut reactor));
        let [first, second, _] = reactor.app;
        assert!(first - 192 >= 900 && second - 64 >= 900, "{first} {second}");
    });
}

#[test]
fn a_source_that_has_ended_leaves_no_priority_behind() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let high = note(&mut reactor, "high", High);
        reactor.cx().close(high);
        turn(&mut reactor);
        // The next one in its slot has a priority of its own.
        let first = note(&mut reactor, "first", Normal);
        let second = note(&mut reactor, "second", Normal);
        reactor.cx().set_priority(high, Low);
        for token in [first, second] {
            reactor.cx().wake(token);
        }
        turn(&mut reactor);
        assert_eq!(reactor.app, [("first", 'w'), ("second", 'w')]);
    });
}

/// Wakes others, and stops the loop in one way or another.
struct Stops(Vec<Token>, fn(&mut Cx<'_, Calls>));

impl Handler<Calls> for Stops {
    fn ready(&mut self, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        self.0.drain(..).for_each(|token| cx.wake(token));
        (self.1)(cx);
        Ok(())
    }
}

/// Returns a loop in which 40 low sources and 40 others are woken, and one of the highest priority
/// calls `call`.
fn stopped_by(reactor: &mut Reactor<Calls>, call: fn(&mut Cx<'_, Calls>)) {
    for _ in 0..40 {
        for (name, priority) in [("low", Low), ("normal", Normal)] {
            let token = note(reactor, name, priority);
            reactor.cx().wake(token);
        }
    }
    let stops = reactor.cx().spawn(Stops(Vec::new(), call)).expect("it registers");
    reactor.cx().set_priority(stops, High);
    reactor.cx().wake(stops);
}

#[test]
fn a_loop_that_stops_runs_what_is_ready_whatever_its_priority() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        stopped_by(&mut reactor, |cx| cx.stop());
        reactor.run().expect("it runs");
        assert_eq!(reactor.app.len(), 80);
    });
}

#[test]
fn a_loop_that_stops_at_once_or_panics_goes_on_where_it_was() {
    let ways: [fn(&mut Cx<'_, Calls>); 2] = [|cx| cx.stop_now(), |_| panic!("on purpose")];
    for way in ways {
        on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
            stopped_by(&mut reactor, way);
            let ran = catch_unwind(AssertUnwindSafe(|| reactor.run()));
            assert!(ran.is_err() || ran.is_ok_and(|result| result.is_ok()));
            assert_eq!(reactor.app, [], "the first call ended the turn");
            turn(&mut reactor);
            let first: Vec<&str> = reactor.app.iter().map(|(name, _)| *name).collect();
            assert_eq!(first, [&["normal"; 15][..], &["low"]].concat());
            (0..5).for_each(|_| turn(&mut reactor));
            assert_eq!(reactor.app.len(), 80);
        });
    }
}

#[test]
fn a_limit_of_time_waits_for_a_source_that_the_budget_has_left() {
    // Law 8: what a source of low priority was told of in time is not taken for silence.
    for trigger in [Trigger::Edge, Trigger::Level] {
        let script = Script::new(trigger);
        let limits = LoopLimits { calls_per_turn: 1, ..LoopLimits::DEFAULT };
        let reactor = Reactor::with_backend(script.backend(), limits, [0; 3]);
        let mut reactor = reactor.expect("the reactor opens");
        busy(&mut reactor, [3, 0, 0]);
        let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
        let registration = Registration::new(Interest::READ)
            .priority(Low)
            .idle_timeout(Some(Duration::from_secs(1)));
        /// Reads, and counts at the lowest level.
        struct Reads;
        impl Handler<[u64; 3]> for Reads {
            fn ready(&mut self, cx: &mut Cx<'_, [u64; 3]>) -> io::Result<()> {
                while cx.read(&mut [0; 8])?.is_some() {}
                cx.app[2] += 1;
                Ok(())
            }

            fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, [u64; 3]>) -> io::Result<()> {
                cx.end(Reason::Refused("it was taken for silent".into()));
                Ok(())
            }
        }
        let registered = reactor.cx().register(OwnedFd::from(ours), registration, Reads);
        let token = registered.expect("it registers");
        theirs.write_all(b"x").expect("the kernel takes a byte");
        script.advance(Duration::from_millis(900));
        script.event(token, reactor::Readiness::READABLE);
        turn(&mut reactor);
        script.advance(Duration::from_millis(2000));
        (0..20).for_each(|_| turn(&mut reactor));
        assert_eq!(reactor.app[2], 1);
        assert_eq!(reactor.counters().live(), 4);
    }
}

#[test]
fn priorities_hold_on_a_simulated_host() {
    for backend in reactor::BackendKind::ALL {
        let mut sim = Sim::new(1);
        let host = sim.host("10.0.0.1");
        let build = move || {
            let backend = backend.open()?;
            let mut reactor = Reactor::with_backend(backend, LIMITS, Calls::new())?;
            for (name, priority) in [("low", Low), ("normal", Normal), ("high", High)] {
                let token = reactor.cx().spawn(Arms(name, Duration::from_secs(1)))?;
                reactor.cx().set_priority(token, priority);
                reactor.cx().wake(token);
            }
            Ok(reactor)
        };
        sim.start(host, build).expect("it starts");
        sim.run_for(Duration::from_secs(2)).expect("it runs");
        let calls = sim.reactor::<Calls>(host).map(|it| it.app.clone()).expect("it runs");
        let order: Vec<&str> = calls.iter().map(|(name, _)| *name).collect();
        assert_eq!(order, ["high", "high", "normal", "normal", "low", "low"]);
    }
}
