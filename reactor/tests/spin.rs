//! Looking for events before sleeping: `LoopLimits::spin_max`.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use reactor::testing::{Call, Script};
use reactor::{
    Backend, Cx, Event, Handler, Interest, LoopLimits, Next, Reactor, Readiness, Registration,
    Token, Trigger,
};

const MICROSECOND: Duration = Duration::from_micros(1);

/// A script whose time passes: each look for events takes a microsecond.
struct Passing {
    script: Script,
    inner: Box<dyn Backend>,
}

impl Backend for Passing {
    fn name(&self) -> &'static str {
        "passing"
    }

    fn trigger(&self) -> Trigger {
        self.inner.trigger()
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        self.inner.add(fd, token, interest)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        self.inner.modify(fd, token, interest)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.inner.remove(fd)
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            self.script.advance(MICROSECOND);
        }
        self.inner.wait(events, timeout)
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn ctl_calls(&self) -> u64 {
        self.inner.ctl_calls()
    }
}

/// Counts its calls.
struct Count;

impl Handler<u32> for Count {
    fn ready(&mut self, cx: &mut Cx<'_, u32>) -> io::Result<Next> {
        *cx.app += 1;
        cx.set_interest(Interest::NONE);
        Ok(Next::Continue)
    }
}

/// A loop that looks for four microseconds, and the token of a source.
fn looking(script: &Script, backend: Box<dyn Backend>) -> (Reactor<u32>, Token, UnixStream) {
    let limits = LoopLimits { spin_max: 4 * MICROSECOND, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(backend, limits, 0).expect("the reactor opens");
    let (near, far) = UnixStream::pair().expect("a pair can be made");
    let registration = Registration::new(Interest::READ);
    let token = reactor.cx().register(near.into(), registration, Count).expect("it registers");
    script.take_calls();
    (reactor, token, far)
}

fn passing(script: &Script) -> Box<dyn Backend> {
    Box::new(Passing { script: script.clone(), inner: script.backend() })
}

/// How long each wait of one turn was to take.
fn waits(script: &Script, reactor: &mut Reactor<u32>, limit: Duration) -> Vec<Duration> {
    reactor.run_once(Some(limit)).expect("it turns");
    let calls = script.take_calls().into_iter();
    let waits = calls.filter_map(|call| match call {
        Call::Wait { timeout } => timeout,
        _ => None,
    });
    waits.collect()
}

#[test]
fn a_loop_sleeps_for_the_rest_when_it_has_looked_in_vain() {
    let script = Script::new(Trigger::Edge);
    let (mut reactor, ..) = looking(&script, passing(&script));
    let waited = waits(&script, &mut reactor, Duration::from_millis(1));
    let looks = [Duration::ZERO; 4];
    assert_eq!(waited, [&looks[..], &[Duration::from_micros(996)]].concat());
    assert_eq!(reactor.counters().waits, 5);
}

#[test]
fn a_loop_does_not_sleep_when_it_has_found_something() {
    let script = Script::new(Trigger::Edge);
    let (mut reactor, token, _far) = looking(&script, passing(&script));
    script.events(&[]);
    script.event(token, Readiness::READABLE);
    let waited = waits(&script, &mut reactor, Duration::from_millis(1));
    assert_eq!(waited, [Duration::ZERO; 2]);
    assert_eq!(reactor.app, 1);
}

#[test]
fn a_loop_looks_no_longer_than_it_may_wait() {
    let script = Script::new(Trigger::Edge);
    let (mut reactor, ..) = looking(&script, passing(&script));
    assert_eq!(waits(&script, &mut reactor, Duration::ZERO), [Duration::ZERO]);
    assert_eq!(waits(&script, &mut reactor, 2 * MICROSECOND), [Duration::ZERO; 3]);
}

#[test]
fn a_clock_that_stands_still_keeps_no_loop_awake() {
    let script = Script::new(Trigger::Edge);
    let (mut reactor, ..) = looking(&script, script.backend());
    let waited = waits(&script, &mut reactor, Duration::from_millis(1));
    assert_eq!(waited, [Duration::ZERO, Duration::from_millis(1)]);
}
