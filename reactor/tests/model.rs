//! Random operations, from outside and from inside every callback, checked against a simple model.
//!
//! The model knows nothing about queues, slots or wheels. It knows the promises to each source: it
//! is called if and only if there is a reason, it is told its end exactly once, and its timers are
//! neither early nor lost.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use reactor::sim::Script;
use reactor::{
    Cx, Event, Expired, Handler, Interest, LoopCx, LoopLimits, Reactor, Readiness, Reason,
    Registration, Timeout, TimerId, Token, Trigger,
};
use testkit::Random;

/// The operations from outside for each of three runs, a million in all. A turn follows each, with
/// a few operations from inside every callback.
const STEPS: u32 = 350_000;
const SOURCES_MAX: usize = 40;

/// A time that was set.
struct Armed {
    owner: Token,
    at: Instant,
    period: Option<Duration>,
    /// The turn in which it was set.
    turn: u32,
}

impl Armed {
    /// Whether it is too late for it to fire in this turn.
    fn is_overdue(&self, now: Instant, turn: u32) -> bool {
        self.turn < turn && self.at <= now
    }
}

/// The model of a live source.
struct Known {
    interest: Interest,
    ready: Readiness,
    woken: bool,
    idle: Option<Duration>,
    last_active: Instant,
    deadline: Option<Armed>,
    /// The turn in which it ran last.
    ran: u32,
}

impl Known {
    fn is_runnable(&self) -> bool {
        self.woken || self.ready.intersects(self.interest.mask() | Readiness::ERROR)
    }
}

/// The application state is the model, so that every callback can check it.
struct Model {
    random: Random,
    script: Script,
    /// Never readable: its peer is silent.
    silent: UnixStream,
    _other: UnixStream,
    live: BTreeMap<Token, Known>,
    /// Sources that have ended and were not told yet, with the index of the reason.
    ended: BTreeMap<Token, usize>,
    /// Sources that were told their end.
    dead: Vec<Token>,
    timers: BTreeMap<u64, (TimerId, Armed)>,
    next_key: u64,
    registered: u64,
    told: u64,
    turn: u32,
    calls: [u64; 4],
}

impl Model {
    fn descriptor(&self) -> OwnedFd {
        self.silent.try_clone().expect("there are descriptors").into()
    }

    fn any_interest(&mut self) -> Interest {
        [Interest::NONE, Interest::READ, Interest::PRIORITY, Interest::READ | Interest::PRIORITY]
            [self.random.below(4) as usize]
    }

    /// Returns any source, sometimes one that has ended.
    fn any_source(&mut self) -> Token {
        let dead = self.random.below(8) == 0 && !self.dead.is_empty();
        let count = if dead { self.dead.len() } else { self.live.len() };
        if count == 0 {
            return Token::NONE;
        }
        let index = self.random.below(count as u64) as usize;
        if dead { self.dead[index] } else { *self.live.keys().nth(index).expect("in range") }
    }

    fn any_timer(&mut self) -> Option<u64> {
        let count = self.timers.len() as u64;
        let index = if count == 0 { return None } else { self.random.below(count) };
        self.timers.keys().nth(index as usize).copied()
    }

    /// Returns a time up to about 40 ms, often zero.
    fn any_delay(&mut self) -> Duration {
        let scale = 1 << self.random.below(26);
        Duration::from_nanos(self.random.below(scale))
    }

    fn armed(&self, owner: Token, at: Instant) -> Armed {
        Armed { owner, at, period: None, turn: self.turn }
    }

    /// Ends a source. The first reason counts.
    fn end(&mut self, token: Token, reason: &Reason) {
        if self.live.remove(&token).is_some() {
            self.ended.insert(token, reason.index());
        }
    }
}

/// Performs an operation that is allowed anywhere.
fn act_on_any<P>(cx: &mut Cx<'_, Model, P>) {
    let now = cx.now();
    match cx.app.random.below(10) {
        0 | 1 if cx.app.live.len() < SOURCES_MAX => {
            let interest = cx.app.any_interest();
            let with_descriptor = cx.app.random.below(4) > 0;
            let token = if with_descriptor {
                let (fd, registration) = (cx.app.descriptor(), Registration::new(interest));
                cx.register(fd, registration.known_nonblocking(), Probe)
            } else {
                cx.spawn(Probe)
            }
            .expect("it registers");
            let known = Known {
                interest: if with_descriptor { interest } else { Interest::NONE },
                ready: Readiness::NONE,
                woken: false,
                idle: None,
                last_active: now,
                deadline: None,
                ran: 0,
            };
            cx.app.registered += 1;
            let previous = cx.app.live.insert(token, known);
            assert!(previous.is_none() && !cx.app.ended.contains_key(&token), "{token} twice");
            assert!(!cx.app.dead.contains(&token), "{token} names another now");
        }
        2 => {
            let token = cx.app.any_source();
            cx.close(token);
            cx.app.end(token, &Reason::Cancelled);
        }
        3..=5 => {
            let token = cx.app.any_source();
            cx.wake(token);
            if let Some(known) = cx.app.live.get_mut(&token) {
                known.woken = true;
            }
        }
        6 => {
            let Some(key) = cx.app.any_timer() else { return };
            let (id, timer) = cx.app.timers.remove(&key).expect("it was found");
            let ended = !cx.app.live.contains_key(&timer.owner);
            assert!(cx.cancel_timer(id) || ended, "timer {key} was forgotten");
        }
        7 => {
            let Some(key) = cx.app.any_timer() else { return };
            let (id, timer) = &cx.app.timers[&key];
            let (id, ended) = (*id, !cx.app.live.contains_key(&timer.owner));
            let delay = cx.app.any_delay();
            let at = now + delay;
            assert!(cx.move_timer(id, delay) || ended, "timer {key} was forgotten");
            let turn = cx.app.turn;
            let timer = &mut cx.app.timers.get_mut(&key).expect("it was found").1;
            (timer.at, timer.turn) = (at, turn);
        }
        _ => {}
    }
}

/// Performs an operation of a live source on itself.
fn act_on_me(cx: &mut Cx<'_, Model>) {
    let (me, now) = (cx.me(), cx.now());
    let delay = cx.app.any_delay();
    match cx.app.random.below(6) {
        0 => {
            let interest = cx.app.any_interest();
            cx.set_interest(interest);
            cx.app.live.get_mut(&me).expect("it is live").interest = interest;
        }
        1 => {
            let armed = cx.app.armed(me, now + delay);
            let wanted = cx.app.random.below(4) > 0;
            cx.set_timeout(wanted.then_some(delay));
            cx.app.live.get_mut(&me).expect("it is live").deadline = wanted.then_some(armed);
        }
        2 => {
            let limit = (cx.app.random.below(2) == 0).then_some(delay + Duration::from_millis(1));
            cx.set_idle_timeout(limit).expect("it is not zero");
            cx.app.live.get_mut(&me).expect("it is live").idle = limit;
        }
        3 | 4 if cx.app.timers.len() < 2 * SOURCES_MAX => {
            let key = cx.app.next_key;
            cx.app.next_key += 1;
            let mut armed = cx.app.armed(me, now + delay);
            armed.period = key.is_multiple_of(2).then_some(delay + Duration::from_micros(10));
            let id = cx.set_timer(delay, armed.period, key);
            cx.app.timers.insert(key, (id, armed));
        }
        _ => {}
    }
}

/// The handler of every source: it checks each call against the model, and performs random
/// operations.
struct Probe;

impl Probe {
    fn act(&self, kind: usize, cx: &mut Cx<'_, Model>) -> io::Result<()> {
        cx.app.calls[kind] += 1;
        for _ in 0..cx.app.random.below(3) {
            act_on_me(cx);
        }
        let end = cx.app.random.below(40);
        for _ in 0..cx.app.random.below(3) {
            act_on_any(cx);
        }
        // It may just have closed itself; its interest makes no difference after that.
        let me = cx.me();
        match end {
            0 => {
                cx.app.end(me, &Reason::Finished);
                cx.end(Reason::Finished);
                Ok(())
            }
            1 => {
                let error = io::Error::from(ErrorKind::Other);
                cx.app.end(me, &Reason::Failed { operation: "", error });
                Err(ErrorKind::Other.into())
            }
            _ => Ok(()),
        }
    }

    fn known<'a>(&self, cx: &'a mut Cx<'_, Model>) -> &'a mut Known {
        let me = cx.me();
        cx.app.live.get_mut(&me).unwrap_or_else(|| panic!("{me} has ended and is called"))
    }
}

impl Handler<Model> for Probe {
    fn ready(&mut self, cx: &mut Cx<'_, Model>) -> io::Result<()> {
        let (now, turn, woken) = (cx.now(), cx.app.turn, cx.was_woken());
        let readiness = cx.readiness();
        let known = self.known(cx);
        assert!(known.is_runnable(), "called for nothing");
        assert_eq!(known.woken, woken);
        let facts = Readiness::READABLE | Readiness::PRIORITY | Readiness::ERROR;
        assert_eq!(readiness.and(facts), known.ready);
        assert_ne!(known.ran, turn, "called twice in a turn");
        known.ran = turn;
        known.woken = false;
        let once = known.interest.mask().and(Readiness::PRIORITY) | Readiness::ERROR;
        let told = known.ready.and(once);
        known.ready = known.ready.without(Readiness::ERROR);
        for interest in [Interest::READ, Interest::PRIORITY] {
            let choice = cx.app.random.below(4);
            if cx.raw_fd().is_none() || choice == 0 {
                // Returning early: it is called again.
                continue;
            }
            if choice == 1 {
                let something = cx.try_io("something", interest, |_| Ok(Some(())))?;
                let known = self.known(cx);
                if something.is_some() {
                    known.last_active = now;
                    if interest == Interest::PRIORITY {
                        known.ready = known.ready.without(Readiness::PRIORITY);
                    }
                } else {
                    assert!(!known.ready.intersects(interest.mask()), "it was told that it is");
                }
            } else {
                // The two results for an operation that would block mean the same.
                let nothing = match choice {
                    2 => Ok(None::<()>),
                    _ => Err(ErrorKind::WouldBlock.into()),
                };
                assert_eq!(cx.try_io("nothing", interest, |_| nothing)?, None);
                let known = self.known(cx);
                known.ready = known.ready.without(interest.mask());
            }
        }
        let known = self.known(cx);
        known.ready = known.ready.without(told);
        self.act(0, cx)
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, Model>) -> io::Result<()> {
        let now = cx.now();
        let known = self.known(cx);
        match timeout {
            Timeout::Deadline => {
                let deadline = known.deadline.take().expect("there was none");
                assert!(deadline.at <= now, "{:?} early", deadline.at - now);
            }
            Timeout::Idle => {
                let limit = known.idle.expect("it was exempt");
                assert!(known.last_active + limit <= now, "not idle for long enough");
                known.last_active = now;
            }
        }
        self.act(1, cx)
    }

    fn timer(&mut self, expired: Expired, cx: &mut Cx<'_, Model>) -> io::Result<()> {
        let now = cx.now();
        self.known(cx);
        let key = expired.key;
        let me = cx.me();
        let turn = cx.app.turn;
        let (id, timer) = cx.app.timers.get_mut(&key).expect("it was cancelled or fired before");
        assert_eq!((*id, timer.owner), (expired.id, me));
        assert!(timer.at <= now, "{:?} early", timer.at - now);
        match timer.period {
            None => {
                assert_eq!(expired.ticks, 1);
                cx.app.timers.remove(&key);
            }
            Some(period) => {
                let periods = (now - timer.at).as_nanos() / period.as_nanos() + 1;
                assert_eq!(u128::from(expired.ticks), periods);
                timer.at += period * u32::try_from(expired.ticks).expect("it is small");
                timer.turn = turn;
            }
        }
        self.act(2, cx)
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Model>) {
        let me = cx.me();
        let wanted = cx.app.ended.remove(&me);
        let wanted = match reason {
            Reason::Stopped => wanted.or(cx.app.live.remove(&me).map(|_| reason.index())),
            _ => wanted,
        };
        assert_eq!(wanted, Some(reason.index()), "{me}: {reason}");
        cx.app.told += 1;
        cx.app.calls[3] += 1;
        if cx.app.dead.len() < 64 {
            cx.app.dead.push(me);
        } else {
            let place = cx.app.random.below(64) as usize;
            cx.app.dead[place] = me;
        }
        // A timer does not outlive its source.
        cx.app.timers.retain(|_, (_, timer)| timer.owner != me);
        if !matches!(reason, Reason::Stopped) {
            act_on_any(cx);
        }
    }
}

/// Reports events for some sources, some of which have ended. Returns how many have.
fn report(model: &mut Model) -> u64 {
    const FACTS: [Readiness; 3] = [Readiness::READABLE, Readiness::PRIORITY, Readiness::ERROR];
    let mut stale = 0;
    let events: Vec<Event> = (0..model.random.below(4))
        .map(|_| {
            let token = model.any_source();
            let readiness = FACTS[model.random.below(3) as usize];
            match model.live.get_mut(&token) {
                Some(known) => {
                    known.ready |= readiness;
                    known.last_active = model.script.now();
                }
                None => stale += 1,
            }
            Event { tag: token.tag(), readiness }
        })
        .collect();
    model.script.events(&events);
    stale
}

fn play(trigger: Trigger, seed: u64) {
    let script = Script::new(trigger);
    let (silent, other) = UnixStream::pair().expect("there are descriptors");
    silent.set_nonblocking(true).expect("the mode can be set");
    let model = Model {
        random: Random::new(seed),
        script: script.clone(),
        silent,
        _other: other,
        live: BTreeMap::new(),
        ended: BTreeMap::new(),
        dead: Vec::new(),
        timers: BTreeMap::new(),
        next_key: 0,
        registered: 0,
        told: 0,
        turn: 0,
        calls: [0; 4],
    };
    let backend = script.backend();
    let mut reactor =
        Reactor::with_backend(backend, LoopLimits::DEFAULT, model).expect("the reactor opens");
    // Its waits would consume the steps of the script.
    reactor.set_audit(false);
    let own = reactor.counters().live();
    let mut stale = 0;
    for turn in 1..=STEPS {
        if reactor.app.random.below(3) == 0 {
            let delay = reactor.app.any_delay();
            script.advance(delay);
        }
        reactor.app.turn = turn;
        act_on_any(&mut reactor.cx());
        stale += report(&mut reactor.app);
        let due: Vec<Token> = reactor
            .app
            .live
            .iter()
            .filter_map(|(token, known)| known.is_runnable().then_some(*token))
            .collect();
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        script.take_calls();

        let now = reactor.cx().now();
        let (model, counters) = (&reactor.app, reactor.counters());
        for token in due {
            let ran = model.live.get(&token).is_none_or(|known| known.ran == turn);
            assert!(ran, "turn {turn}: {token} was not run");
        }
        for (token, known) in &model.live {
            let overdue = known.deadline.as_ref().is_some_and(|it| it.is_overdue(now, turn));
            assert!(!overdue, "turn {turn}: the deadline of {token} was forgotten");
        }
        for (key, (_, timer)) in &model.timers {
            let owned = model.live.contains_key(&timer.owner);
            assert!(!owned || !timer.is_overdue(now, turn), "turn {turn}: timer {key} forgotten");
        }
        assert_eq!(counters.live() - own, (model.live.len() + model.ended.len()) as u64);
        assert_eq!(counters.stale_events, stale, "turn {turn}");
    }
    // Every case has occurred, and often.
    let model = &reactor.app;
    let rare = u64::from(STEPS) / 200;
    assert!(model.calls.iter().all(|calls| *calls > rare), "{:?}", model.calls);

    for token in model.live.keys().copied().collect::<Vec<_>>() {
        reactor.cx().close(token);
        reactor.app.end(token, &Reason::Cancelled);
    }
    // Sources may have registered others when they ended.
    for _ in 0..1000 {
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        for token in reactor.app.live.keys().copied().collect::<Vec<_>>() {
            reactor.cx().close(token);
            reactor.app.end(token, &Reason::Cancelled);
        }
    }
    assert_eq!(reactor.counters().live(), own);
    assert_eq!(reactor.app.told, reactor.app.registered, "one notice each");
}

#[test]
fn random_operations_agree_with_the_model_edge_triggered() {
    play(Trigger::Edge, 0x9E37_79B9_7F4A_7C15);
    play(Trigger::Edge, 0x0123_4567_89AB_CDEF);
}

#[test]
fn random_operations_agree_with_the_model_level_triggered() {
    play(Trigger::Level, 0xD1B5_4A32_D192_ED03);
}
