//! The loop under a scripted backend and a virtual clock: what the kernel can not be made to do
//! on demand, without a sleep.

use std::cell::Cell;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use reactor::testing::{Call, Script, Step};
use reactor::{
    Cx, Event, Handler, Interest, LoopLimits, Next, Reactor, Readiness, Registration, Timeout,
    Token, Trigger,
};

type Log = Vec<String>;

fn reactor(script: &Script) -> Reactor<Log> {
    let reactor = Reactor::with_backend(script.backend(), LoopLimits::DEFAULT, Log::new())
        .expect("the reactor opens");
    script.take_calls();
    reactor
}

/// Logs its calls under a name, and reads all there is.
struct Named(&'static str);

impl Handler<Log> for Named {
    fn ready(&mut self, cx: &mut Cx<'_, Log>) -> io::Result<Next> {
        cx.app.push(format!("{} ready", self.0));
        while cx.read(&mut [0; 64])?.is_some_and(|count| count > 0) {}
        Ok(Next::Continue)
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, Log>) -> io::Result<Next> {
        cx.app.push(format!("{} {timeout:?}", self.0));
        Ok(Next::Continue)
    }

    fn closed(self: Box<Self>, reason: reactor::Reason, cx: &mut Cx<'_, Log>) {
        cx.app.push(format!("{} closed: {reason}", self.0));
    }
}

fn register(reactor: &mut Reactor<Log>, name: &'static str) -> (Token, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair can be made");
    let registration = Registration::new(Interest::READ);
    let token =
        reactor.cx().register(ours.into(), registration, Named(name)).expect("it registers");
    (token, theirs)
}

fn readable(token: Token) -> Event {
    Event { token, readiness: Readiness::READABLE }
}

#[test]
fn events_run_in_the_order_they_came_and_duplicates_run_once() {
    let script = Script::new(Trigger::Edge);
    let mut reactor = reactor(&script);
    let (one, _one) = register(&mut reactor, "one");
    let (two, _two) = register(&mut reactor, "two");
    script.push(Step::Events(vec![readable(two), readable(one), readable(two)]));
    reactor.run_once(None).expect("it turns");
    assert_eq!(reactor.app, ["two ready", "one ready"]);
}

#[test]
fn events_for_the_dead_are_dropped_and_counted() {
    let script = Script::new(Trigger::Edge);
    let mut reactor = reactor(&script);
    let (old, _peer) = register(&mut reactor, "old");
    reactor.cx().close(old);
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    let (new, _peer) = register(&mut reactor, "new");
    assert_eq!(new.slot(), old.slot());
    script.push(Step::Events(vec![readable(old), readable(Token::new(99, 0))]));
    reactor.run_once(None).expect("it turns");
    assert_eq!(reactor.app, ["old closed: cancelled"]);
    assert_eq!(reactor.counters().stale_events, 2);
}

#[test]
fn a_slot_is_used_again_only_after_the_batch() {
    /// Closes another and registers a third.
    struct Replace(Token, Rc<Cell<Option<Token>>>);
    impl Handler<Log> for Replace {
        fn ready(&mut self, cx: &mut Cx<'_, Log>) -> io::Result<Next> {
            cx.close(self.0);
            self.1.set(Some(cx.spawn(Named("third"))?));
            Ok(Next::Continue)
        }
    }
    let script = Script::new(Trigger::Edge);
    let mut reactor = reactor(&script);
    let (victim, _peer) = register(&mut reactor, "victim");
    let third = Rc::new(Cell::new(None));
    let replace = reactor.cx().spawn(Replace(victim, Rc::clone(&third))).expect("it registers");
    reactor.cx().wake(replace);
    script.push(Step::Events(vec![readable(victim), readable(victim)]));
    reactor.run_once(None).expect("it turns");
    assert_ne!(third.get().expect("it was registered").slot(), victim.slot());
    assert_eq!(reactor.app, ["victim closed: cancelled"]);
}

#[test]
fn only_a_failing_wait_stops_the_loop() {
    let script = Script::new(Trigger::Edge);
    let mut reactor = reactor(&script);
    script.push(Step::Fail(22));
    assert_eq!(reactor.run().expect_err("it fails").raw_os_error(), Some(22));
}

#[test]
fn a_descriptor_that_is_refused_is_closed_and_forgotten() {
    let script = Script::new(Trigger::Edge);
    let mut reactor = reactor(&script);
    let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
    let no_space = 28;
    script.refuse(no_space);
    let registration = Registration::new(Interest::READ);
    let refused = reactor.cx().register(ours.into(), registration, Named("refused"));
    assert_eq!(refused.expect_err("it is refused").raw_os_error(), Some(no_space));
    assert!(theirs.write_all(b"x").is_err(), "the descriptor is still open");
    assert_eq!(reactor.counters().live(), 1);
}

#[test]
fn a_pause_that_is_taken_back_tells_a_level_triggered_backend_nothing() {
    struct Toggle;
    impl Handler<Log> for Toggle {
        fn ready(&mut self, cx: &mut Cx<'_, Log>) -> io::Result<Next> {
            cx.set_interest(Interest::NONE);
            cx.set_interest(Interest::READ);
            Ok(Next::Continue)
        }
    }
    let script = Script::new(Trigger::Level);
    let mut reactor = reactor(&script);
    let (ours, _theirs) = UnixStream::pair().expect("a pair can be made");
    let registration = Registration::new(Interest::READ);
    let token = reactor.cx().register(ours.into(), registration, Toggle).expect("it registers");
    for _ in 0..10 {
        reactor.cx().wake(token);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    }
    let calls = script.take_calls();
    assert!(!calls.iter().any(|call| matches!(call, Call::Modify(..))), "{calls:?}");
}

#[test]
fn an_idle_limit_moves_with_every_event_and_is_met_when_it_does_not() {
    let script = Script::new(Trigger::Edge);
    let mut reactor = reactor(&script);
    let (ours, _theirs) = UnixStream::pair().expect("a pair can be made");
    let limit = Duration::from_secs(10);
    let registration = Registration::new(Interest::READ).idle_timeout(Some(limit));
    let token =
        reactor.cx().register(ours.into(), registration, Named("quiet")).expect("it registers");
    for _ in 0..5 {
        script.advance(Duration::from_secs(9));
        script.push(Step::Events(vec![readable(token)]));
        reactor.run_once(None).expect("it turns");
    }
    assert!(!reactor.app.iter().any(|line| line.contains("Idle")), "{:?}", reactor.app);
    let begin = reactor.cx().now();
    reactor.run_until(|log| log.iter().any(|line| line == "quiet Idle")).expect("it runs");
    let silent = reactor.cx().now() - begin;
    assert!(silent >= limit && silent < limit + Duration::from_millis(1), "{silent:?}");
}

#[test]
fn the_auditor_names_who_left_data_that_no_event_announces() {
    /// Says that it would block without having tried.
    struct Liar;
    impl Handler<Log> for Liar {
        fn ready(&mut self, cx: &mut Cx<'_, Log>) -> io::Result<Next> {
            // A level-triggered loop takes its word, since the kernel would report again; this
            // script does not.
            cx.try_io("lie", Interest::READ, |_fd| -> io::Result<()> {
                Err(io::ErrorKind::WouldBlock.into())
            })?;
            Ok(Next::Continue)
        }
    }
    let script = Script::new(Trigger::Level);
    let mut reactor = reactor(&script);
    reactor.set_audit(true);
    let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
    let registration = Registration::new(Interest::READ);
    let token = reactor.cx().register(ours.into(), registration, Liar).expect("it registers");
    theirs.write_all(b"unread").expect("the kernel takes bytes");
    script.push(Step::Events(vec![readable(token)]));
    reactor.run_once(None).expect("it turns");
    reactor.run_once(Some(Duration::from_secs(1))).expect("it turns");
    assert_eq!(reactor.counters().lost_edges, 1);

    let (honest, mut theirs) = register(&mut reactor, "honest");
    for _ in 0..10_000 {
        theirs.write_all(b"read").expect("the kernel takes bytes");
        script.push(Step::Events(vec![readable(honest)]));
        reactor.run_once(None).expect("it turns");
        reactor.run_once(Some(Duration::from_secs(1))).expect("it turns");
    }
    assert_eq!(reactor.counters().lost_edges, 1);
}
