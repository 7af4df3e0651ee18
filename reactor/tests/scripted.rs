//! Rare orders of events, played from a script on a virtual clock.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reactor::sim::{Call, Script};
use reactor::{
    Cx, Event, Expired, Handler, Interest, LoopCx, LoopLimits, Reactor, Readiness, Reason,
    Registration, Role, Tag, Timeout, TimerId, Token, Trigger,
};

/// The allowed delay of a timer: a tick of the wheel.
const TICK: Duration = Duration::from_nanos(1 << 17);

fn scripted<A: 'static>(trigger: Trigger, app: A) -> (Script, Reactor<A>) {
    let script = Script::new(trigger);
    let reactor = Reactor::with_backend(script.backend(), LoopLimits::DEFAULT, app);
    (script, reactor.expect("the reactor opens"))
}

fn turn<A>(reactor: &mut Reactor<A>) {
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
}

/// A source on one end of a socket pair, and the other end.
fn register<A: 'static>(
    reactor: &mut Reactor<A>,
    interest: Interest,
    handler: impl Handler<A> + 'static,
) -> (Token, UnixStream) {
    let (near, far) = UnixStream::pair().expect("there are descriptors");
    let registration = Registration::new(interest);
    let token = reactor.cx().register(near.into(), registration, handler).expect("it registers");
    (token, far)
}

fn readable(token: Token) -> Event {
    Event { tag: token.tag(), readiness: Readiness::READABLE }
}

/// Records its runs, and reads all input.
struct Note;

impl Handler<Vec<Token>> for Note {
    fn ready(&mut self, cx: &mut Cx<'_, Vec<Token>>) -> io::Result<()> {
        let me = cx.me();
        cx.app.push(me);
        while cx.read(&mut [0; 16])?.is_some_and(|count| count > 0) {}
        Ok(())
    }
}

#[test]
fn events_of_ended_sources_are_dropped_and_counted() {
    for trigger in [Trigger::Edge, Trigger::Level] {
        let (script, mut reactor) = scripted(trigger, Vec::new());
        let (old, _far) = register(&mut reactor, Interest::READ, Note);
        reactor.cx().close(old);
        turn(&mut reactor);
        let (new, _far) = register(&mut reactor, Interest::READ, Note);
        assert_eq!(new.tag().slot(), old.tag().slot(), "the slot is used again");
        // A source that has ended, one that never existed, and one of a later generation.
        let future = Tag::new(new.tag().slot(), new.tag().generation() + 1);
        let tags = [old.tag(), Tag::NONE, Tag::new(1000, 0), future];
        script.events(&tags.map(|tag| Event { tag, readiness: Readiness::READABLE }));
        turn(&mut reactor);
        assert_eq!(reactor.counters().stale_events, 4);
        assert_eq!(reactor.app, []);
        script.event(new, Readiness::READABLE);
        turn(&mut reactor);
        assert_eq!(reactor.app, [new]);
    }
}

/// Closes `victim`, and registers a successor.
struct Replacer {
    victim: Token,
    successor: Option<Token>,
}

impl Handler<Vec<Token>> for Replacer {
    fn ready(&mut self, cx: &mut Cx<'_, Vec<Token>>) -> io::Result<()> {
        if self.successor.is_none() {
            cx.close(self.victim);
            let (near, _far) = UnixStream::pair()?;
            let token = cx.register(near.into(), Registration::new(Interest::READ), Note)?;
            self.successor = Some(token);
            assert_ne!(token.tag().slot(), self.victim.tag().slot(), "reused within the batch");
        }
        cx.try_io("nothing", Interest::READ, |_| {
            Err::<Option<()>, _>(ErrorKind::WouldBlock.into())
        })?;
        Ok(())
    }
}

#[test]
fn a_slot_is_reused_only_after_the_batch() {
    let (script, mut reactor) = scripted(Trigger::Edge, Vec::new());
    let (victim, _victim) = register(&mut reactor, Interest::READ, Note);
    let replacer = Replacer { victim, successor: None };
    let (replacer, _far) = register(&mut reactor, Interest::READ, replacer);
    script.events(&[readable(replacer), readable(victim)]);
    turn(&mut reactor);
    assert_eq!(reactor.app, [], "an event was delivered to the dead or to its successor");
    let (next, _far) = register(&mut reactor, Interest::READ, Note);
    assert_eq!(
        (next.tag().slot(), next.tag().generation()),
        (victim.tag().slot(), victim.tag().generation() + 1)
    );
}

#[test]
fn several_events_of_one_source_cause_one_call() {
    let (script, mut reactor) = scripted(Trigger::Edge, Vec::new());
    let (token, _far) = register(&mut reactor, Interest::READ, Note);
    script.events(&[readable(token), readable(token), readable(token)]);
    turn(&mut reactor);
    turn(&mut reactor);
    assert_eq!(reactor.app, [token]);
    assert_eq!(reactor.counters().events, 3);
}

#[test]
fn sources_run_in_the_order_of_their_events() {
    let (script, mut reactor) = scripted(Trigger::Edge, Vec::new());
    let sources = [(); 4].map(|()| register(&mut reactor, Interest::READ, Note));
    let order = [2, 0, 3, 1].map(|index: usize| sources[index].0);
    script.events(&order.map(readable));
    turn(&mut reactor);
    assert_eq!(reactor.app, order);
}

#[test]
fn only_a_failing_wait_stops_the_run() {
    let (script, mut reactor) = scripted(Trigger::Edge, Vec::new());
    let (token, _far) = register(&mut reactor, Interest::READ, Note);
    script.event(token, Readiness::READABLE);
    script.fail_wait(libc::EBADF);
    let error = reactor.run().expect_err("the wait fails");
    assert!(error.to_string().starts_with("epoll_pwait failed: Bad file descriptor"), "{error}");
    assert_eq!(reactor.app, [token], "what came before the failure was dealt with");
    // The loop still works.
    script.event(token, Readiness::READABLE);
    turn(&mut reactor);
    assert_eq!(reactor.app, [token, token]);
    let error = reactor.run().expect_err("the script ends");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_descriptor_that_cannot_be_watched_causes_an_error_and_is_closed() {
    let (script, mut reactor) = scripted(Trigger::Edge, Vec::new());
    let live = reactor.counters().live();
    for role in [Role::Other, Role::Connection] {
        script.fail_add(libc::ENOSPC);
        let (near, mut far) = UnixStream::pair().expect("there are descriptors");
        let registration = Registration::new(Interest::READ).role(role);
        let error = reactor.cx().register(near.into(), registration, Note);
        assert_eq!(error.expect_err("it is refused").raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(far.read(&mut [0]).expect("it is closed"), 0);
    }
    assert_eq!(reactor.counters().live(), live);
    assert_eq!(reactor.cx().connections(), 0);
    turn(&mut reactor);
    // The next registration succeeds.
    register(&mut reactor, Interest::READ, Note);
}

/// Pauses and resumes itself alternately, at every wake.
struct Flip(u32);

impl Handler for Flip {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        for _ in 0..self.0 {
            let paused = cx.interest().is_none();
            cx.set_interest(if paused { Interest::READ } else { Interest::NONE });
        }
        Ok(())
    }
}

#[test]
fn a_level_triggered_backend_gets_only_interests_that_still_differ() {
    for (trigger, flips, modifies) in
        [(Trigger::Level, 2, 0), (Trigger::Level, 3, 1), (Trigger::Edge, 3, 0)]
    {
        let (script, mut reactor) = scripted(trigger, ());
        let (token, _far) = register(&mut reactor, Interest::READ, Flip(flips));
        reactor.cx().wake(token);
        script.take_calls();
        turn(&mut reactor);
        turn(&mut reactor);
        let calls = script.take_calls();
        let told = Call::Modify { tag: token.tag(), interest: Interest::NONE };
        assert_eq!(calls.iter().filter(|call| **call == told).count(), modifies, "{calls:?}");
        assert_eq!(calls.len(), 2 + modifies, "and two waits: {calls:?}");
    }
}

#[test]
fn a_descriptor_leaves_the_poller_exactly_once() {
    let (script, mut reactor) = scripted(Trigger::Level, Vec::new());
    let (token, _far) = register(&mut reactor, Interest::READ, Note);
    let added = script.take_calls();
    let Some(Call::Add { fd, .. }) = added.last().copied() else { panic!("{added:?}") };
    reactor.cx().close(token);
    reactor.cx().close(token);
    turn(&mut reactor);
    drop(reactor);
    let removes = script.take_calls();
    assert_eq!(removes.iter().filter(|call| **call == Call::Remove { fd }).count(), 1);
}

/// The log lines about handlers of this file.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Error
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOG.lock().expect("no thread panicked with it").push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// A planted bug: reads one byte, claims that it would block, and returns.
struct Hasty;

impl Handler<usize> for Hasty {
    fn ready(&mut self, cx: &mut Cx<'_, usize>) -> io::Result<()> {
        if cx.read(&mut [0])? == Some(1) {
            *cx.app += 1;
        }
        cx.try_io("claim", Interest::READ, |_| Ok(None::<()>))?;
        Ok(())
    }
}

#[test]
fn a_handler_that_left_data_unread_is_reported() {
    log::set_logger(&Logger).expect("no other test of this file logs");
    log::set_max_level(log::LevelFilter::Error);
    // With level triggering, the loop believes the claim, and this script does not report again.
    let (script, mut reactor) = scripted(Trigger::Level, 0);
    reactor.set_audit(true);
    let (token, mut far) = register(&mut reactor, Interest::READ, Hasty);
    far.write_all(b"more than one").expect("it fits");
    script.event(token, Readiness::READABLE);
    turn(&mut reactor);
    assert_eq!((reactor.app, reactor.counters().lost_edges), (1, 0));
    // Named before the loop sleeps, and once.
    for _ in 0..3 {
        reactor.run_once(Some(Duration::from_secs(1))).expect("it turns");
        assert_eq!(reactor.counters().lost_edges, 1);
    }
    let log = LOG.lock().expect("no thread panicked with it");
    assert!(log.iter().any(|line| line.contains("Hasty")), "{log:?}");
}

#[test]
fn a_would_block_is_checked_where_it_could_lose_an_edge() {
    let (script, mut reactor) = scripted(Trigger::Edge, 0);
    let (token, mut far) = register(&mut reactor, Interest::READ, Hasty);
    far.write_all(b"more than one").expect("it fits");
    // The only event.
    script.event(token, Readiness::READABLE);
    for _ in 0..20 {
        reactor.run_once(Some(Duration::from_secs(1))).expect("it turns");
    }
    assert_eq!((reactor.app, reactor.counters().lost_edges), (13, 0));
}

#[test]
fn the_auditor_does_not_report_correct_handlers() {
    for trigger in [Trigger::Edge, Trigger::Level] {
        let (script, mut reactor) = scripted(trigger, Vec::new());
        reactor.set_audit(true);
        let (token, mut far) = register(&mut reactor, Interest::READ, Note);
        for round in 1..=500_000 {
            // Sometimes the data arrives before its event.
            far.write_all(b"x").expect("it fits");
            script.event(token, Readiness::READABLE);
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
            assert_eq!((reactor.app.len(), reactor.counters().lost_edges), (round, 0));
        }
    }
}

/// The keys that fired, with the time.
type Fired = Vec<(u64, u64, Instant)>;

/// Calls `arm` when it is woken.
struct Timed<F> {
    arm: F,
}

/// The keys that stand for a deadline and an idle limit.
const DEADLINE: u64 = u64::MAX;
const IDLE: u64 = u64::MAX - 1;

impl<F: FnMut(&mut Cx<'_, Fired>)> Handler<Fired> for Timed<F> {
    fn ready(&mut self, cx: &mut Cx<'_, Fired>) -> io::Result<()> {
        if cx.was_woken() {
            (self.arm)(cx);
        }
        while cx.raw_fd().is_some() && cx.read(&mut [0; 16])?.is_some() {}
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Fired>) -> io::Result<()> {
        let now = cx.now();
        cx.app.push((timer.key, timer.ticks, now));
        Ok(())
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, Fired>) -> io::Result<()> {
        let key = if timeout == Timeout::Idle { IDLE } else { DEADLINE };
        self.timer_at(key, cx)
    }
}

impl<F> Timed<F> {
    fn timer_at(&self, key: u64, cx: &mut Cx<'_, Fired>) -> io::Result<()> {
        let now = cx.now();
        cx.app.push((key, 1, now));
        Ok(())
    }
}

/// Spawns a source that calls `arm`, and wakes it.
fn armed(arm: impl FnMut(&mut Cx<'_, Fired>) + 'static) -> (Script, Reactor<Fired>, Instant) {
    let (script, mut reactor) = scripted(Trigger::Edge, Vec::new());
    let token = reactor.cx().spawn(Timed { arm }).expect("it registers");
    reactor.cx().wake(token);
    turn(&mut reactor);
    let now = script.now();
    (script, reactor, now)
}

fn assert_at(at: Instant, wanted: Instant) {
    assert!(at >= wanted, "{:?} early", wanted - at);
    assert!(at < wanted + TICK, "{:?} late", at - wanted);
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn timers_fire_on_their_tick_and_in_order() {
    let delays =
        [900, 5, 1_000_000, 17, 4_000_000_000, 5, 86_400_000_000].map(Duration::from_micros);
    let (_script, mut reactor, started) = armed(move |cx| {
        for (key, delay) in delays.iter().enumerate() {
            cx.set_timer(*delay, None, key as u64);
        }
    });
    reactor.run_until(|fired| fired.len() == delays.len()).expect("it runs");
    for (key, ticks, at) in &reactor.app {
        assert_eq!(*ticks, 1);
        assert_at(*at, started + delays[*key as usize]);
    }
    assert!(reactor.app.is_sorted_by_key(|(.., at)| *at));
    assert_eq!(reactor.counters().timers, delays.len() as u64);
}

#[test]
fn a_short_timer_costs_one_wait() {
    let (script, mut reactor, started) = armed(|cx| {
        cx.set_timer(Duration::from_micros(900), None, 0);
    });
    script.take_calls();
    reactor.run_until(|fired| !fired.is_empty()).expect("it runs");
    assert_at(reactor.app[0].2, started + Duration::from_micros(900));
    let calls = script.take_calls();
    assert!(calls.len() <= 2, "{calls:?}");
}

#[test]
fn a_moved_deadline_fires_once_at_its_last_time() {
    for moves in [vec![10, 20], vec![20, 10], vec![5, 30, 2], vec![1, 100, 50]] {
        let last = *moves.last().expect("there is one");
        let (_script, mut reactor, started) = armed(move |cx| {
            moves.iter().for_each(|seconds| cx.set_timeout(Some(SECOND * *seconds)));
        });
        reactor.run_until(|fired| !fired.is_empty()).expect("it runs");
        assert_at(reactor.app[0].2, started + SECOND * last);
        // Nothing else is armed: a wait would last for ever.
        assert!(reactor.run().is_err());
        assert_eq!(reactor.app.len(), 1);
    }
}

#[test]
fn a_removed_deadline_never_fires() {
    let (_script, mut reactor, _) = armed(|cx| {
        cx.set_timeout(Some(SECOND));
        cx.set_timeout(None);
    });
    assert_eq!(reactor.run().expect_err("nothing is left").kind(), ErrorKind::UnexpectedEof);
    assert_eq!(reactor.app, []);
}

#[test]
fn activity_moves_the_idle_limit() {
    let (script, mut reactor) = scripted(Trigger::Edge, Fired::new());
    let arm = |cx: &mut Cx<'_, Fired>| {
        cx.set_idle_timeout(Some(SECOND * 10)).expect("it is not zero");
    };
    let timed = Timed { arm };
    let (token, _far) = register(&mut reactor, Interest::READ, timed);
    reactor.cx().wake(token);
    turn(&mut reactor);
    for _ in 0..5 {
        script.advance(SECOND * 9);
        script.event(token, Readiness::READABLE);
        turn(&mut reactor);
    }
    assert_eq!(reactor.app, []);
    let spoke = script.now();
    reactor.run_until(|fired| fired.len() == 2).expect("it runs");
    assert_eq!(reactor.app[0].0, IDLE);
    assert_at(reactor.app[0].2, spoke + SECOND * 10);
    // An event counts as activity: the limit starts again.
    assert_at(reactor.app[1].2, reactor.app[0].2 + SECOND * 10);
}

#[test]
fn a_periodic_timer_keeps_its_grid_even_if_the_loop_is_late() {
    let period = SECOND;
    let (script, mut reactor, started) = armed(move |cx| {
        cx.set_timer(period, Some(period), 3);
    });
    for _ in 0..4 {
        script.advance(period * 17 / 10);
        turn(&mut reactor);
    }
    let ticks: Vec<u64> = reactor.app.iter().map(|(_, ticks, _)| *ticks).collect();
    assert_eq!(ticks, [1, 2, 2, 1], "due at 1, 2, 3.. and asked at 1.7, 3.4, 5.1, 6.8");
    reactor.app.clear();
    reactor.run_until(|fired| !fired.is_empty()).expect("it runs");
    assert_at(reactor.app[0].2, started + period * 7);
}

/// Two periodic timers; the first to fire cancels the other.
#[derive(Default)]
struct Rivals {
    timers: Vec<TimerId>,
}

impl Handler<Fired> for Rivals {
    fn ready(&mut self, cx: &mut Cx<'_, Fired>) -> io::Result<()> {
        self.timers = (0..2).map(|key| cx.set_timer(SECOND, Some(SECOND), key)).collect();
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Fired>) -> io::Result<()> {
        let now = cx.now();
        cx.app.push((timer.key, timer.ticks, now));
        for other in std::mem::take(&mut self.timers) {
            assert!(other == timer.id || cx.cancel_timer(other), "it is periodic");
        }
        Ok(())
    }
}

#[test]
fn a_timer_cancelled_by_another_due_timer_does_not_fire() {
    let (script, mut reactor) = scripted(Trigger::Edge, Fired::new());
    let token = reactor.cx().spawn(Rivals::default()).expect("it registers");
    reactor.cx().wake(token);
    turn(&mut reactor);
    script.advance(SECOND * 2);
    turn(&mut reactor);
    script.advance(SECOND * 2);
    turn(&mut reactor);
    let keys: Vec<u64> = reactor.app.iter().map(|(key, ..)| *key).collect();
    assert_eq!(keys, [0, 0]);
}

#[test]
fn timers_of_ended_sources_do_not_fire() {
    let (script, mut reactor) = scripted(Trigger::Edge, Fired::new());
    let arm = |cx: &mut Cx<'_, Fired>| {
        cx.set_timer(SECOND, None, 1);
        cx.set_timer(SECOND, Some(SECOND), 2);
        cx.set_timeout(Some(SECOND));
        cx.set_idle_timeout(Some(SECOND)).expect("it is not zero");
    };
    let token = reactor.cx().spawn(Timed { arm }).expect("it registers");
    reactor.cx().wake(token);
    turn(&mut reactor);
    reactor.cx().close(token);
    turn(&mut reactor);
    // A new source in the same slot does not get them.
    let idle = Timed { arm: |_: &mut Cx<'_, Fired>| {} };
    assert_eq!(reactor.cx().spawn(idle).expect("it registers").tag().slot(), token.tag().slot());
    script.advance(SECOND * 5);
    turn(&mut reactor);
    assert_eq!(reactor.app, []);
    assert!(reactor.next_deadline().is_none(), "a timer without a source is armed");
}

#[test]
fn timers_of_ended_sources_are_freed_long_before_they_are_due() {
    let (_script, mut reactor) = scripted(Trigger::Edge, Fired::new());
    let arm = |cx: &mut Cx<'_, Fired>| {
        let tomorrow = SECOND * 86_400;
        for key in 0..10 {
            cx.set_timer(tomorrow, (key % 2 == 0).then_some(SECOND), key);
        }
    };
    for _ in 0..10_000 {
        let token = reactor.cx().spawn(Timed { arm }).expect("it registers");
        reactor.cx().wake(token);
        turn(&mut reactor);
        reactor.cx().close(token);
        turn(&mut reactor);
        let armed = reactor.timers();
        assert!(armed <= 1100, "{armed} timers without a source");
    }
}

#[test]
fn timers_cancelled_before_the_end_of_their_source_cost_nothing_later() {
    let (script, mut reactor) = scripted(Trigger::Edge, Fired::new());
    let arm = |cx: &mut Cx<'_, Fired>| {
        for key in 0..10 {
            cx.set_timer(SECOND, None, key);
        }
    };
    let stays = reactor.cx().spawn(Timed { arm }).expect("it registers");
    reactor.cx().wake(stays);
    turn(&mut reactor);
    let come_and_go = |cx: &mut Cx<'_, Fired>| {
        for key in 0..5000 {
            let timer = cx.set_timer(SECOND, None, key);
            assert!(cx.cancel_timer(timer) && !cx.cancel_timer(timer));
        }
    };
    for _ in 0..10 {
        let token = reactor.cx().spawn(Timed { arm: come_and_go }).expect("it registers");
        reactor.cx().wake(token);
        turn(&mut reactor);
        reactor.cx().close(token);
        turn(&mut reactor);
        assert_eq!(reactor.timers(), 10);
    }
    script.advance(SECOND);
    turn(&mut reactor);
    assert_eq!((reactor.app.len(), reactor.timers()), (10, 0));
}

#[test]
fn a_timer_fires_at_its_last_time_unless_it_is_cancelled() {
    let (_script, mut reactor, started) = armed(|cx| {
        cx.set_timer(SECOND * 2, None, 2);
        let moved = cx.set_timer(SECOND, None, 3);
        assert!(cx.move_timer(moved, SECOND * 3));
        let gone = cx.set_timer(SECOND, None, 4);
        assert!(cx.cancel_timer(gone) && !cx.move_timer(gone, SECOND));
        cx.set_timer(Duration::MAX, None, 5);
    });
    reactor.run_until(|fired| fired.len() == 2).expect("it runs");
    for (fired, seconds) in reactor.app.iter().zip([2, 3]) {
        assert_eq!(fired.0, u64::from(seconds));
        assert_at(fired.2, started + SECOND * seconds);
    }
    assert_eq!(reactor.timers(), 1, "for ever is not now");
}

#[test]
fn a_cancelled_timer_costs_no_wait() {
    let (script, mut reactor, started) = armed(|cx| {
        let timers: Vec<_> = (1..=10).map(|key| cx.set_timer(SECOND, None, key)).collect();
        cx.set_timer(SECOND * 3600, None, 11);
        assert!(timers.into_iter().all(|timer| cx.cancel_timer(timer)));
    });
    assert_eq!(reactor.next_deadline(), Some(started + SECOND * 3600));
    script.take_calls();
    reactor.run_until(|fired| !fired.is_empty()).expect("it runs");
    let calls = script.take_calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
}

#[test]
fn a_timer_cancelled_between_two_turns_costs_no_wait() {
    let name = Rc::new(Cell::new(None));
    let told = name.clone();
    let (script, mut reactor, started) = armed(move |cx| {
        told.set(Some(cx.set_timer(SECOND, None, 1)));
        cx.set_timer(SECOND * 3600, None, 2);
    });
    assert_eq!(reactor.next_deadline(), Some(started + SECOND));
    let timer = name.get().expect("it is armed");
    assert!(reactor.cx().cancel_timer(timer));
    script.take_calls();
    reactor.run_until(|fired| !fired.is_empty()).expect("it runs");
    let calls = script.take_calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_at(reactor.app[0].2, started + SECOND * 3600);
}

/// Sets a timer without delay whenever one fires.
struct Restless;

impl Handler<u64> for Restless {
    fn ready(&mut self, cx: &mut Cx<'_, u64>) -> io::Result<()> {
        cx.set_timeout(Some(Duration::ZERO));
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, u64>) -> io::Result<()> {
        *cx.app += 1;
        self.ready(cx)
    }
}

#[test]
fn a_chain_of_zero_timers_asks_the_kernel_between_any_two() {
    let (script, mut reactor) = scripted(Trigger::Edge, 0);
    let token = reactor.cx().spawn(Restless).expect("it registers");
    reactor.cx().wake(token);
    script.take_calls();
    reactor.run_until(|fired| *fired == 1000).expect("it runs");
    let calls = script.take_calls();
    assert!(calls.len() >= 1000, "{} waits", calls.len());
}

#[test]
fn an_error_is_delivered_once_even_to_a_paused_source() {
    struct Paused;
    impl Handler<u32> for Paused {
        fn ready(&mut self, cx: &mut Cx<'_, u32>) -> io::Result<()> {
            assert!(cx.readiness().contains(Readiness::ERROR));
            *cx.app += 1;
            Ok(())
        }

        fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_, u32>) {
            assert!(matches!(reason, Reason::Stopped));
        }
    }
    let (script, mut reactor) = scripted(Trigger::Edge, 0);
    let (token, _far) = register(&mut reactor, Interest::NONE, Paused);
    script.event(token, Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE);
    for _ in 0..5 {
        turn(&mut reactor);
    }
    assert_eq!(reactor.app, 1);
}
