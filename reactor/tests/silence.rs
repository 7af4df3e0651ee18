//! Law 8: silence is judged last, and time that the loop itself lost is not charged to peers.

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use reactor::sim::{Call, Script};
use reactor::{
    BackendKind, Cx, Event, Handler, LoopLimits, Reactor, Readiness, Reason, Registration, Role,
    Timeout, Token, Trigger,
};

const IDLE: Duration = Duration::from_secs(3);
const SECOND: Duration = Duration::from_secs(1);
const TRIGGERS: [Trigger; 2] = [Trigger::Edge, Trigger::Level];

/// What happened to the connections, with the time.
type Log = Vec<(Token, What, Instant)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Ran,
    TimedOut(Timeout),
}

/// Reads all input and records its calls. Ends at an idle limit.
struct Peer;

impl Handler<Log> for Peer {
    fn ready(&mut self, cx: &mut Cx<'_, Log>) -> io::Result<()> {
        while cx.read(&mut [0; 16])?.is_some_and(|count| count > 0) {}
        let (me, now) = (cx.me(), cx.now());
        cx.app.push((me, What::Ran, now));
        Ok(())
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, Log>) -> io::Result<()> {
        let (me, now) = (cx.me(), cx.now());
        cx.app.push((me, What::TimedOut(timeout), now));
        cx.end(Reason::TimedOut(timeout));
        Ok(())
    }
}

fn scripted(trigger: Trigger) -> (Script, Reactor<Log>) {
    let script = Script::new(trigger);
    let limits = LoopLimits { idle_timeout: Some(IDLE), ..LoopLimits::DEFAULT };
    let reactor = Reactor::with_backend(script.backend(), limits, Vec::new());
    (script, reactor.expect("the reactor opens"))
}

fn connect(reactor: &mut Reactor<Log>) -> (Token, UnixStream) {
    let (near, far) = UnixStream::pair().expect("there are descriptors");
    let registration = Registration::new(reactor::Interest::READ).role(Role::Connection);
    let token = reactor.cx().register(near.into(), registration, Peer).expect("it registers");
    (token, far)
}

fn readable(token: Token) -> Event {
    Event { tag: token.tag(), readiness: Readiness::READABLE }
}

/// Returns when `what` first happened to a connection, since `start`.
fn when(log: &Log, token: Token, what: What, start: Instant) -> Option<Duration> {
    log.iter().find(|it| (it.0, it.1) == (token, what)).map(|it| it.2 - start)
}

const IDLE_TIMEOUT: What = What::TimedOut(Timeout::Idle);

#[test]
fn bytes_that_arrived_during_a_stop_are_read_before_limits_expire() {
    for trigger in TRIGGERS {
        let (script, mut reactor) = scripted(trigger);
        let (token, _far) = connect(&mut reactor);
        // The process is stopped and continued: the wait is interrupted after the idle limit.
        script.interrupt(5 * SECOND);
        script.event(token, Readiness::READABLE);
        reactor.run_until(|log| !log.is_empty()).expect("it turns");
        assert_eq!(reactor.app[0].1, What::Ran);
    }
}

#[test]
fn the_time_of_a_stop_is_not_silence() {
    for trigger in TRIGGERS {
        for stop in [2 * SECOND, 60 * SECOND] {
            let (script, mut reactor) = scripted(trigger);
            let start = script.now();
            let (token, _far) = connect(&mut reactor);
            script.interrupt(stop);
            reactor.run_until(|log| !log.is_empty()).expect("it turns");
            let expired = when(&reactor.app, token, IDLE_TIMEOUT, start).expect("it is silent");
            assert!(expired >= stop + IDLE, "{expired:?} with a stop of {stop:?}");
        }
    }
}

#[test]
fn constant_signals_do_not_prevent_idle_limits() {
    for trigger in TRIGGERS {
        let (script, mut reactor) = scripted(trigger);
        let start = script.now();
        let (token, _far) = connect(&mut reactor);
        for _ in 0..1000 {
            script.interrupt(SECOND);
        }
        reactor.run_until(|log| !log.is_empty()).expect("it turns");
        let expired = when(&reactor.app, token, IDLE_TIMEOUT, start).expect("it is silent");
        assert!(expired < 100 * SECOND, "after {expired:?}");
    }
}

#[test]
fn no_limit_expires_between_incomplete_waits() {
    for trigger in TRIGGERS {
        let (script, mut reactor) = scripted(trigger);
        let peers: Vec<_> = (0..5).map(|_| connect(&mut reactor)).collect();
        // All peers have sent while time passed, and each wait reports one.
        script.advance(10 * SECOND);
        for (token, _) in &peers {
            script.some_events(&[readable(*token)]);
        }
        reactor.run_until(|log| log.len() >= 5).expect("it turns");
        assert!(reactor.app.iter().all(|it| it.1 == What::Ran), "{:?}", reactor.app);
    }
}

/// Delays the loop once, for the given time.
struct Slow(Script, Duration);

impl Handler<Log> for Slow {
    fn ready(&mut self, cx: &mut Cx<'_, Log>) -> io::Result<()> {
        self.0.advance(self.1);
        cx.set_interest(reactor::Interest::NONE);
        Ok(())
    }
}

#[test]
fn a_slow_handler_does_not_count_as_silence_of_others() {
    for trigger in TRIGGERS {
        let (script, mut reactor) = scripted(trigger);
        let start = script.now();
        let (token, _far) = connect(&mut reactor);
        let slow = Slow(script.clone(), 10 * SECOND);
        let slow = reactor.cx().spawn(slow).expect("it spawns");
        reactor.cx().wake(slow);
        reactor.run_until(|log| !log.is_empty()).expect("it turns");
        let expired = when(&reactor.app, token, IDLE_TIMEOUT, start).expect("it is silent");
        assert!(expired >= 10 * SECOND + IDLE, "{expired:?}");
        assert!(expired <= 10 * SECOND + IDLE + SECOND, "{expired:?}");
    }
}

#[test]
fn a_deadline_of_a_connection_is_judged_after_a_complete_wait() {
    struct Deadline;
    impl Handler<Log> for Deadline {
        fn ready(&mut self, cx: &mut Cx<'_, Log>) -> io::Result<()> {
            if cx.was_woken() {
                cx.set_timeout(Some(SECOND));
                return Ok(());
            }
            cx.set_timeout(None);
            Peer.ready(cx)
        }

        fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, Log>) -> io::Result<()> {
            Peer.timeout(timeout, cx)
        }
    }
    for trigger in TRIGGERS {
        let (script, mut reactor) = scripted(trigger);
        let (near, _far) = UnixStream::pair().expect("there are descriptors");
        let registration = Registration::new(reactor::Interest::READ);
        let token = reactor.cx().register(near.into(), registration, Deadline);
        let token = token.expect("it registers");
        reactor.cx().wake(token);
        script.events(&[]);
        script.interrupt(5 * SECOND);
        script.event(token, Readiness::READABLE);
        reactor.run_until(|log| !log.is_empty()).expect("it turns");
        assert_eq!(reactor.app[0].1, What::Ran);
    }
}

#[test]
fn silence_is_detected_in_time_and_costs_one_more_wait() {
    for trigger in TRIGGERS {
        let (script, mut reactor) = scripted(trigger);
        let start = script.now();
        let (token, _far) = connect(&mut reactor);
        script.take_calls();
        reactor.run_until(|log| !log.is_empty()).expect("it turns");
        let expired = when(&reactor.app, token, IDLE_TIMEOUT, start).expect("it is silent");
        assert!(expired >= IDLE && expired < IDLE + SECOND / 100, "{expired:?}");
        let waits = script.take_calls().iter().filter(|it| matches!(it, Call::Wait { .. })).count();
        assert_eq!(waits, 2);
    }
}

#[test]
fn a_late_host_does_not_count_as_silence() {
    for held_up in [Duration::ZERO, 10 * SECOND] {
        let (script, mut reactor) = scripted(Trigger::Edge);
        let start = script.now();
        let (token, _far) = connect(&mut reactor);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        script.advance(held_up);
        while reactor.app.is_empty() {
            let deadline = reactor.next_deadline().expect("an idle limit is armed");
            script.advance(deadline.saturating_duration_since(script.now()));
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        let expired = when(&reactor.app, token, IDLE_TIMEOUT, start).expect("it is silent");
        assert!(expired >= held_up + IDLE, "{expired:?}");
        assert!(expired <= held_up + IDLE + SECOND, "{expired:?}");
    }
}

#[test]
fn a_stop_does_not_count_for_the_time_limit_of_winding_down() {
    let (script, mut reactor) = scripted(Trigger::Edge);
    let (token, _far) = connect(&mut reactor);
    reactor.cx().stop_gracefully(2 * SECOND);
    script.events(&[]);
    script.interrupt(30 * SECOND);
    script.event(token, Readiness::READABLE);
    reactor.run().expect("it ends");
    assert_eq!(reactor.app.first().map(|it| it.1), Some(What::Ran));
}

#[test]
fn a_failed_wait_that_may_succeed_later_is_repeated_after_a_pause() {
    let (script, mut reactor) = scripted(Trigger::Edge);
    let (token, mut far) = connect(&mut reactor);
    far.write_all(b"x").expect("it is sent");
    let start = script.now();
    for _ in 0..20 {
        script.fail_wait(libc::ENOMEM);
    }
    script.event(token, Readiness::READABLE);
    reactor.run_until(|log| !log.is_empty()).expect("ENOMEM is no reason to end");
    assert_eq!(reactor.app[0].1, What::Ran, "nothing expires while the kernel was not asked");
    let sleeps: Vec<Duration> = script
        .take_calls()
        .iter()
        .filter_map(|call| if let Call::Sleep { time } = call { Some(*time) } else { None })
        .collect();
    assert_eq!(sleeps.len(), 20, "it does not spin");
    assert_eq!(sleeps[..3], [10, 20, 40].map(Duration::from_millis));
    assert!(script.now() - start > 10 * SECOND);
}

#[test]
fn a_failing_wait_is_reported_with_the_call_and_a_hint() {
    let (script, mut reactor) = scripted(Trigger::Edge);
    script.fail_wait(libc::EINVAL);
    let error = reactor.run().expect_err("it ends");
    let text = error.to_string();
    assert!(text.starts_with("epoll_pwait failed: Invalid argument"), "{text}");
    assert!(text.contains("ulimit -n"), "{text}");
    let source = error.get_ref().and_then(Error::source).expect("it says why");
    let source: &io::Error = source.downcast_ref().expect("it is the kernel's error");
    assert_eq!(source.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn peers_that_sent_while_the_loop_was_delayed_are_all_answered() {
    struct Sleeps;
    impl Handler<Log> for Sleeps {
        fn ready(&mut self, cx: &mut Cx<'_, Log>) -> io::Result<()> {
            std::thread::sleep(Duration::from_millis(600));
            cx.set_interest(reactor::Interest::NONE);
            Ok(())
        }
    }
    for kind in BackendKind::ALL {
        let limits =
            LoopLimits { idle_timeout: Some(Duration::from_millis(300)), ..LoopLimits::DEFAULT };
        let backend = kind.open().expect("the backend opens");
        let mut reactor = Reactor::with_backend(backend, limits, Log::new()).expect("it opens");
        let mut peers: Vec<_> = (0..300).map(|_| connect(&mut reactor)).collect();
        let sleeps = reactor.cx().spawn(Sleeps).expect("it spawns");
        reactor.cx().wake(sleeps);
        peers.iter_mut().for_each(|(_, far)| far.write_all(b"x").expect("it is sent"));
        reactor.run_until(|log| log.len() >= 300).expect("it turns");
        let ran = reactor.app.iter().take(300).filter(|it| it.1 == What::Ran).count();
        assert_eq!(ran, 300, "on {kind}");
        for (_, far) in &mut peers {
            far.set_nonblocking(true).expect("it is set");
            let error = far.read(&mut [0]).expect_err("nothing was sent, and nothing closed");
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }
}

#[test]
fn a_deadline_is_judged_after_the_queue_of_the_last_turn() {
    /// It must run within a second of its wake. Each run takes half a second.
    struct Hurried(Script);
    impl Handler<Log> for Hurried {
        fn ready(&mut self, cx: &mut Cx<'_, Log>) -> io::Result<()> {
            if cx.was_woken() {
                cx.set_timeout(Some(SECOND));
                return Ok(());
            }
            cx.set_timeout(None);
            self.0.advance(SECOND / 2);
            Peer.ready(cx)
        }

        fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, Log>) -> io::Result<()> {
            Peer.timeout(timeout, cx)
        }
    }
    for trigger in TRIGGERS {
        let script = Script::new(trigger);
        let limits = LoopLimits { calls_per_turn: 1, ..LoopLimits::DEFAULT };
        let reactor = Reactor::with_backend(script.backend(), limits, Vec::new());
        let mut reactor = reactor.expect("the reactor opens");
        let mut peers = Vec::new();
        for _ in 0..5 {
            let (near, far) = UnixStream::pair().expect("there are descriptors");
            let registration = Registration::new(reactor::Interest::READ);
            let token = reactor.cx().register(near.into(), registration, Hurried(script.clone()));
            let token = token.expect("it registers");
            reactor.cx().wake(token);
            peers.push((token, far));
        }
        for _ in 0..5 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        // The ones that have to run first are the last in the queue.
        script.events(&peers.iter().rev().map(|(token, _)| readable(*token)).collect::<Vec<_>>());
        reactor.run_until(|log| log.len() >= 5).expect("it turns");
        assert!(reactor.app.iter().all(|it| it.1 == What::Ran), "{:?}", reactor.app);
    }
}
