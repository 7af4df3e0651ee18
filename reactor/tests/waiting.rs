//! Avoiding sleep and wake-ups: `LoopLimits::spin_max` and `LoopLimits::coalesce_for`.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use reactor::sim::{Call, Script};
use reactor::{
    Backend, BackendKind, Coverage, Cx, Event, Handler, Interest, LoopCx, LoopLimits, Reactor,
    Readiness, Reason, Registration, Tag, Token, Trigger,
};

const MICROSECOND: Duration = Duration::from_micros(1);

/// A script whose clock advances: each poll for events takes a microsecond.
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

    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        self.inner.add(fd, tag, interest)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        self.inner.modify(fd, tag, interest)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.inner.remove(fd)
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage> {
        if timeout == Some(Duration::ZERO) {
            self.script.advance(MICROSECOND);
        }
        self.inner.wait(events, timeout)
    }

    fn sleep(&mut self, time: Duration) {
        self.inner.sleep(time);
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
    fn ready(&mut self, cx: &mut Cx<'_, u32>) -> io::Result<()> {
        *cx.app += 1;
        cx.set_interest(Interest::NONE);
        Ok(())
    }
}

/// Returns a loop that polls for four microseconds, and the token of a source.
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

/// Returns the timeout of each wait of one turn.
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
fn a_loop_sleeps_for_the_rest_after_polling_in_vain() {
    let script = Script::new(Trigger::Edge);
    let (mut reactor, ..) = looking(&script, passing(&script));
    let waited = waits(&script, &mut reactor, Duration::from_millis(1));
    let looks = [Duration::ZERO; 4];
    assert_eq!(waited, [&looks[..], &[Duration::from_micros(996)]].concat());
    assert_eq!(reactor.counters().waits, 5);
}

#[test]
fn a_loop_does_not_sleep_when_polling_found_an_event() {
    let script = Script::new(Trigger::Edge);
    let (mut reactor, token, _far) = looking(&script, passing(&script));
    script.events(&[]);
    script.event(token, Readiness::READABLE);
    let waited = waits(&script, &mut reactor, Duration::from_millis(1));
    assert_eq!(waited, [Duration::ZERO; 2]);
    assert_eq!(reactor.app, 1);
}

#[test]
fn a_loop_polls_no_longer_than_it_may_wait() {
    let script = Script::new(Trigger::Edge);
    let (mut reactor, ..) = looking(&script, passing(&script));
    assert_eq!(waits(&script, &mut reactor, Duration::ZERO), [Duration::ZERO]);
    assert_eq!(waits(&script, &mut reactor, 2 * MICROSECOND), [Duration::ZERO; 3]);
}

#[test]
fn a_frozen_clock_does_not_keep_the_loop_polling() {
    let script = Script::new(Trigger::Edge);
    let (mut reactor, ..) = looking(&script, script.backend());
    let waited = waits(&script, &mut reactor, Duration::from_millis(1));
    assert_eq!(waited, [Duration::ZERO, Duration::from_millis(1)]);
}

/// Counts its calls. Each takes some time.
struct Work {
    script: Script,
    time: Duration,
}

impl Handler<u32> for Work {
    fn ready(&mut self, cx: &mut Cx<'_, u32>) -> io::Result<()> {
        self.script.advance(self.time);
        *cx.app += 1;
        // The input that the script announces does not exist.
        assert_eq!(cx.read(&mut [0])?, None);
        Ok(())
    }
}

/// Returns a loop that coalesces events for five microseconds.
struct Coalescer {
    script: Script,
    reactor: Reactor<u32>,
    tokens: Vec<Token>,
    _far: Vec<UnixStream>,
}

impl Coalescer {
    /// The loop has `count` sources, none of which has run. Each run takes a microsecond.
    fn new(sources: usize) -> Self {
        Self::working(sources, MICROSECOND)
    }

    fn working(sources: usize, time: Duration) -> Self {
        let script = Script::new(Trigger::Edge);
        let limits =
            LoopLimits { coalesce_for: 5 * MICROSECOND, idle_timeout: None, ..LoopLimits::DEFAULT };
        let mut reactor =
            Reactor::with_backend(script.backend(), limits, 0).expect("the reactor opens");
        let (mut tokens, mut far) = (Vec::new(), Vec::new());
        for _ in 0..sources {
            let (near, other) = UnixStream::pair().expect("a pair can be made");
            let registration = Registration::new(Interest::READ);
            let work = Work { script: script.clone(), time };
            let token = reactor.cx().register(near.into(), registration, work);
            tokens.push(token.expect("it registers"));
            far.push(other);
        }
        script.take_calls();
        Self { script, reactor, tokens, _far: far }
    }

    /// Makes the next wait report these sources.
    fn script(&self, sources: impl IntoIterator<Item = usize>) {
        let event = |source: usize| Event {
            tag: self.tokens[source % self.tokens.len()].tag(),
            readiness: Readiness::READABLE,
        };
        let events: Vec<Event> = sources.into_iter().map(event).collect();
        self.script.events(&events);
    }

    /// Runs a turn in which these sources are ready. Returns whether it coalesced events.
    fn hear(&mut self, sources: impl IntoIterator<Item = usize>) -> bool {
        self.script(sources);
        let before = self.reactor.counters().coalesced_waits;
        self.reactor.run_once(Some(SECOND)).expect("it turns");
        self.reactor.counters().coalesced_waits > before
    }

    /// Runs turns in each of which the next `heard` sources are ready. Returns in how many of them
    /// events coalesced.
    fn coalesced_waits(&mut self, turns: usize, heard: usize) -> usize {
        (0..turns).filter(|turn| self.hear(turn * heard..(turn + 1) * heard)).count()
    }
}

const SECOND: Duration = Duration::from_secs(1);
const SLEEP: Call = Call::Sleep { time: Duration::from_micros(5) };

fn wait(timeout: Duration) -> Call {
    Call::Wait { timeout: Some(timeout) }
}

#[test]
fn a_busy_loop_sleeps_first_and_then_polls() {
    let mut coalescer = Coalescer::new(8);
    // No source has run yet: the loop waits.
    assert!(!coalescer.hear([0]));
    assert_eq!(coalescer.script.take_calls(), [wait(SECOND)]);
    assert!(coalescer.hear([1, 2, 3]));
    assert_eq!(coalescer.script.take_calls(), [SLEEP, wait(Duration::ZERO)]);
    assert_eq!(coalescer.reactor.app, 4);
}

#[test]
fn a_loop_waits_for_the_rest_when_no_event_has_come() {
    let mut coalescer = Coalescer::new(8);
    coalescer.hear([0]);
    // No event arrives during the sleep, and one after it.
    coalescer.script.take_calls();
    coalescer.script([]);
    assert!(coalescer.hear([1]));
    let rest = wait(SECOND - 5 * MICROSECOND);
    assert_eq!(coalescer.script.take_calls(), [SLEEP, wait(Duration::ZERO), rest]);
    assert_eq!(coalescer.reactor.app, 2);
}

#[test]
fn a_loop_coalesces_while_several_of_many_sources_are_busy() {
    let mut coalescer = Coalescer::new(50);
    // The first rounds show how many sources are busy.
    coalescer.coalesced_waits(200, 10);
    assert_eq!(coalescer.coalesced_waits(100, 10), 100);
}

#[test]
fn a_few_clients_that_wait_for_replies_are_rarely_delayed() {
    // All of them are ready in each turn: each waits for its answer.
    for clients in [1, 2, 8] {
        let coalesced = Coalescer::new(clients).coalesced_waits(5000, clients);
        assert!((2..20).contains(&coalesced), "{clients} clients: {coalesced}");
    }
}

#[test]
fn a_rare_client_does_not_make_a_few_look_like_many() {
    let mut coalescer = Coalescer::new(5);
    // One is alone at first, and then runs a tenth as often as four others.
    for _ in 0..2000 {
        coalescer.hear([0]);
    }
    let others = |turn: usize| if turn.is_multiple_of(10) { 0..5 } else { 1..5 };
    let coalesced = (0..5000).filter(|turn| coalescer.hear(others(*turn))).count();
    assert!(coalesced < 50, "{coalesced}");
}

#[test]
fn a_busy_client_does_not_make_many_look_like_few() {
    let mut coalescer = Coalescer::new(51);
    // One source is ready each time, with nine of fifty others.
    let heard = |turn: usize| (turn * 9..turn * 9 + 9).map(|it| 1 + it % 50).chain([0]);
    for turn in 0..500 {
        coalescer.hear(heard(turn));
    }
    let coalesced = (500..1000).filter(|turn| coalescer.hear(heard(*turn))).count();
    assert!(coalesced > 300, "{coalesced}");
}

#[test]
fn a_loop_with_little_work_sleeps_as_usual() {
    // Each run takes a tenth of a microsecond: ten runs take a fifth of the sleep.
    let mut coalescer = Coalescer::working(50, MICROSECOND / 10);
    let coalesced = coalescer.coalesced_waits(5000, 10);
    assert!(coalesced < 20, "{coalesced}");
}

#[test]
fn failed_tries_to_coalesce_become_rarer() {
    let mut coalescer = Coalescer::new(8);
    coalescer.hear([0]);
    let mut turns_until_coalesced = || {
        let coalesced_waits = |turn: &usize| coalescer.hear([*turn]);
        (1..10_000).find(coalesced_waits).expect("it tries again one day")
    };
    let turns: Vec<usize> = (0..12).map(|_| turns_until_coalesced()).collect();
    assert_eq!(turns, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024]);
}

#[test]
fn a_loop_without_events_does_not_coalesce() {
    let mut coalescer = Coalescer::new(8);
    for _ in 0..100 {
        assert!(!coalescer.hear([]));
    }
}

#[test]
fn the_loop_does_not_sleep_past_a_deadline() {
    let mut coalescer = Coalescer::new(8);
    coalescer.hear([0]);
    coalescer.script.take_calls();
    coalescer.reactor.cx().after(3 * MICROSECOND, |_| {}).expect("it is armed");
    assert!(!coalescer.hear([1]));
    assert_eq!(coalescer.script.take_calls(), [wait(3 * MICROSECOND)]);
}

#[test]
fn a_deadline_after_the_sleep_is_met() {
    let mut coalescer = Coalescer::new(8);
    coalescer.hear([0]);
    coalescer.script.take_calls();
    coalescer.reactor.cx().after(7 * MICROSECOND, |cx| *cx.app += 100).expect("it is armed");
    coalescer.script([]);
    // A wait that is not scripted takes its whole timeout.
    coalescer.reactor.run_once(Some(SECOND)).expect("it turns");
    let waits = [SLEEP, wait(Duration::ZERO), wait(2 * MICROSECOND)];
    assert_eq!(coalescer.script.take_calls(), waits);
    assert_eq!(coalescer.reactor.app, 101);
}

#[test]
fn a_hosted_loop_never_sleeps() {
    let mut coalescer = Coalescer::new(50);
    for turn in 0..100 {
        coalescer.script(turn * 10..turn * 10 + 10);
        coalescer.reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    }
    assert_eq!(coalescer.reactor.counters().coalesced_waits, 0);
}

/// Answers each byte.
struct Echo;

impl Handler<u32> for Echo {
    fn ready(&mut self, cx: &mut Cx<'_, u32>) -> io::Result<()> {
        let mut byte = [0; 16];
        while let Some(count) = cx.read(&mut byte)? {
            if count == 0 {
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
            cx.write(&[IoSlice::new(&byte[..count])])?;
        }
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, u32>) {
        *cx.app += 1;
    }
}

#[test]
fn events_coalesce_on_every_backend() {
    for kind in BackendKind::ALL {
        let limits = LoopLimits {
            spin_max: MICROSECOND,
            coalesce_for: 5 * MICROSECOND,
            ..LoopLimits::DEFAULT
        };
        let backend = kind.open().expect("the backend opens");
        if backend.coalesces() {
            // It does that itself, and the loop does not count it.
            continue;
        }
        let mut reactor = Reactor::with_backend(backend, limits, 0).expect("the reactor opens");
        let mut clients = Vec::new();
        for _ in 0..32 {
            let (near, far) = UnixStream::pair().expect("a pair can be made");
            let registration = Registration::new(Interest::READ);
            reactor.cx().register(near.into(), registration, Echo).expect("it registers");
            clients.push(far);
        }
        // The loop is busy, then it has nothing to do.
        clients[0].write_all(b"x").expect("it can be written");
        reactor.run_once(None).expect("it turns");
        assert_eq!(reactor.counters().coalesced_waits, 0, "{kind}");
        reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        assert_eq!(reactor.counters().coalesced_waits, 1, "{kind}");
        clients[0].read_exact(&mut [0]).expect("it is answered");

        // How often events coalesce from here on depends on the machine.
        let client = std::thread::spawn(move || {
            for round in 0..100 {
                for client in &mut clients {
                    client.write_all(&[round]).expect("it can be written");
                }
                for client in &mut clients {
                    let mut byte = [0];
                    client.read_exact(&mut byte).expect("it is answered");
                    assert_eq!(byte, [round]);
                }
            }
        });
        reactor.run_until(|closed| *closed == 32).expect("the loop runs");
        client.join().expect("every byte came back");
    }
}
