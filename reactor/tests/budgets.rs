//! A crowd is handled in portions, and other sources run in between. The tests count turns, each of
//! which asks the kernel once.

mod common;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Probe, on_every_backend, probe, serve, serve_echo, turn_until};
use protocol::codecs::Bytes;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::sim::{Call, Script};
use reactor::{
    Cx, Expired, Handler, Interest, LoopCx, LoopLimits, Reactor, Reason, Timeout, Token, Trigger,
};

const LIMITS: LoopLimits =
    LoopLimits { calls_per_turn: 10, ends_per_turn: 7, accepts_per_turn: 5, ..LoopLimits::DEFAULT };
const CROWD: usize = 100;

/// The calls of handlers, in order.
#[derive(Default)]
struct Calls {
    ready: Vec<Token>,
    stopping: Vec<Token>,
    closed: Vec<Token>,
    timers: Vec<u64>,
    timeouts: usize,
}

/// Records its calls.
struct Note;

impl Handler<Calls> for Note {
    fn ready(&mut self, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        cx.app.ready.push(cx.me());
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        cx.app.timers.push(timer.key);
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        cx.app.timeouts += 1;
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        cx.app.stopping.push(cx.me());
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, Calls>) {
        cx.app.closed.push(cx.me());
    }
}

fn crowd(reactor: &mut Reactor<Calls>) -> Vec<Token> {
    (0..CROWD).map(|_| reactor.cx().spawn(Note).expect("it registers")).collect()
}

/// Turns until `count` shows that the whole crowd was called. No turn may call more than `most`,
/// and each asks the kernel.
fn in_portions(reactor: &mut Reactor<Calls>, most: usize, count: impl Fn(&Calls) -> usize) {
    let (waits, mut turns) = (reactor.counters().waits, 0);
    while count(&reactor.app) < CROWD {
        let before = count(&reactor.app);
        assert!(reactor.next_deadline().is_some_and(|at| at <= reactor.cx().now()), "it sleeps");
        reactor.run_once(None).expect("it turns");
        let called = count(&reactor.app) - before;
        assert!((1..=most).contains(&called), "{called} calls in a turn");
        turns += 1;
    }
    assert_eq!(turns, CROWD.div_ceil(most));
    assert_eq!(reactor.counters().waits - waits, turns as u64);
}

fn on_every_trigger(test: impl Fn(Script, Reactor<Calls>)) {
    for trigger in [Trigger::Edge, Trigger::Level] {
        let script = Script::new(trigger);
        let reactor = Reactor::with_backend(script.backend(), LIMITS, Calls::default());
        test(script, reactor.expect("the reactor opens"));
    }
}

#[test]
fn many_ends_at_once_are_processed_in_portions_and_in_order() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let tokens = crowd(&mut reactor);
        for token in &tokens {
            reactor.cx().close(*token);
        }
        in_portions(&mut reactor, LIMITS.ends_per_turn, |calls| calls.closed.len());
        assert_eq!(reactor.app.closed, tokens);
        assert_eq!(reactor.counters().live(), 0);
    });
}

#[test]
fn other_sources_run_while_many_end_and_ended_ones_do_not() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let tokens = crowd(&mut reactor);
        let stays = reactor.cx().spawn(Note).expect("it registers");
        for token in &tokens {
            reactor.cx().wake(*token);
            reactor.cx().close(*token);
        }
        for turn in 1..=5 {
            reactor.cx().wake(stays);
            reactor.run_once(None).expect("it turns");
            // The crowd is before it in the queue, and delays it once.
            let heard = reactor.app.ready.len();
            assert!(heard + CROWD.div_ceil(LIMITS.calls_per_turn) >= turn, "{heard} of {turn}");
        }
        in_the_end(&mut reactor, |calls| calls.closed.len() == CROWD);
        reactor.cx().wake(stays);
        reactor.run_once(None).expect("it turns");
        assert!(!reactor.app.ready.is_empty());
        assert!(reactor.app.ready.iter().all(|token| *token == stays));
    });
}

fn in_the_end(reactor: &mut Reactor<Calls>, done: impl Fn(&Calls) -> bool) {
    turn_until(reactor, |reactor| done(&reactor.app));
}

#[test]
fn ending_sources_get_no_events_on_any_backend() {
    on_every_backend(LIMITS, |mut reactor: Reactor<()>| {
        let sources: Vec<(Probe, Token, _)> =
            (0..CROWD).map(|_| probe(&mut reactor, Interest::READ)).collect();
        for (_, token, far) in &sources {
            // Readable for as long as it is open.
            io::Write::write_all(&mut &*far, b"unread").expect("the kernel takes bytes");
            reactor.cx().close(*token);
        }
        let ended = |reactor: &mut Reactor<()>| {
            reactor.counters().closes[Reason::Cancelled.index()] == CROWD as u64
        };
        turn_until(&mut reactor, ended);
        // An event from before the removal is dropped, once.
        assert!(reactor.counters().stale_events <= CROWD as u64, "{}", reactor.counters());
        assert!(sources.iter().all(|(probe, ..)| probe.closes.get() == 1 && probe.runs.get() == 0));
    });
}

#[test]
fn the_descriptor_of_an_ending_source_leaves_the_poller_once() {
    on_every_trigger(|script, mut reactor| {
        let tokens: Vec<Token> = (0..CROWD)
            .map(|_| {
                let (near, _far) = std::os::unix::net::UnixStream::pair().expect("it can be made");
                let registration = reactor::Registration::new(Interest::READ);
                reactor.cx().register(near.into(), registration, Note).expect("it registers")
            })
            .collect();
        for token in &tokens {
            reactor.cx().close(*token);
        }
        in_portions(&mut reactor, LIMITS.ends_per_turn, |calls| calls.closed.len());
        let is_removal = |call: &Call| matches!(call, Call::Remove { .. });
        let removed = script.take_calls().iter().filter(|call| is_removal(call)).count();
        assert_eq!(removed, CROWD);
    });
}

#[test]
fn many_sources_learn_in_portions_that_the_loop_winds_down() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let tokens = crowd(&mut reactor);
        reactor.cx().stop_gracefully(Duration::from_secs(1000));
        // The source of the mailbox is told first.
        reactor.run_once(None).expect("it turns");
        assert_eq!(reactor.app.stopping.len(), LIMITS.calls_per_turn - 1);
        assert!(!reactor.has_ended(), "some have not been told");
        let mut turns = 1;
        while !reactor.has_ended() {
            let before = reactor.app.stopping.len();
            reactor.run_once(None).expect("it turns");
            assert!(reactor.app.stopping.len() - before <= LIMITS.calls_per_turn);
            turns += 1;
        }
        assert_eq!(turns, (CROWD + 1).div_ceil(LIMITS.calls_per_turn));
        assert_eq!(reactor.app.stopping, tokens);
    });
}

#[test]
fn many_ready_sources_run_in_portions_and_in_order() {
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let tokens = crowd(&mut reactor);
        for token in &tokens {
            reactor.cx().wake(*token);
        }
        in_portions(&mut reactor, LIMITS.calls_per_turn, |calls| calls.ready.len());
        assert_eq!(reactor.app.ready, tokens);
    });
}

/// Arms this many timers when it is woken, at times in no order.
struct Arms(fn(u64) -> Duration);

impl Handler<Calls> for Arms {
    fn ready(&mut self, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        for key in (0..CROWD as u64).map(|step| step * 37 % CROWD as u64) {
            cx.set_timer(self.0(key + 1), None, key);
        }
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
        Note.timer(timer, cx)
    }
}

#[test]
fn many_due_timers_fire_in_portions_and_earliest_first() {
    let spreads: [fn(u64) -> Duration; 4] = [
        Duration::from_nanos,
        |key| Duration::from_micros(100 * key),
        |key| Duration::from_millis(700 * key),
        |key| Duration::from_secs(3600 * key),
    ];
    for spread in spreads {
        on_every_trigger(|script, mut reactor| {
            let arms = reactor.cx().spawn(Arms(spread)).expect("it registers");
            reactor.cx().wake(arms);
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            script.advance(Duration::from_secs(3600 * 24 * 365));
            in_portions(&mut reactor, LIMITS.calls_per_turn, |calls| calls.timers.len());
            assert!(reactor.app.timers.is_sorted(), "{:?}", reactor.app.timers);
            assert_eq!(reactor.timers(), 0);
        });
    }
}

#[test]
fn many_idle_limits_that_pass_at_once_are_processed_in_portions() {
    on_every_trigger(|script, mut reactor| {
        /// Sets its own idle limit.
        struct Silent;
        impl Handler<Calls> for Silent {
            fn ready(&mut self, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
                cx.set_timeout(Some(Duration::from_secs(1)));
                Ok(())
            }

            fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
                Note.timeout(timeout, cx)
            }
        }
        for _ in 0..CROWD {
            let token = reactor.cx().spawn(Silent).expect("it registers");
            reactor.cx().wake(token);
        }
        for _ in 0..CROWD.div_ceil(LIMITS.calls_per_turn) {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        script.advance(Duration::from_secs(5));
        in_portions(&mut reactor, LIMITS.calls_per_turn, |calls| calls.timeouts);
    });
}

#[test]
fn a_stopping_loop_runs_ready_sources_and_completes_all_ends() {
    /// Ends the other sources, if any, and stops the loop.
    struct Stops(Vec<Token>);
    impl Handler<Calls> for Stops {
        fn ready(&mut self, cx: &mut Cx<'_, Calls>) -> io::Result<()> {
            self.0.drain(..).for_each(|token| cx.close(token));
            cx.stop();
            Ok(())
        }
    }
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let stops = reactor.cx().spawn(Stops(Vec::new())).expect("it registers");
        reactor.cx().wake(stops);
        let tokens = crowd(&mut reactor);
        tokens.iter().for_each(|token| reactor.cx().wake(*token));
        reactor.run().expect("it runs");
        assert_eq!(reactor.app.ready, tokens);
        let ends = reactor.cx().spawn(Stops(tokens.clone())).expect("it registers");
        reactor.cx().wake(ends);
        reactor.run().expect("it runs");
        assert_eq!(reactor.app.closed, tokens);
    });
}

#[test]
fn a_dropped_loop_ends_all_sources_at_once() {
    struct Last(std::rc::Rc<std::cell::Cell<usize>>);
    impl Handler<Calls> for Last {
        fn ready(&mut self, _cx: &mut Cx<'_, Calls>) -> io::Result<()> {
            Ok(())
        }

        fn closed(self: Box<Self>, _reason: Reason, _cx: &mut LoopCx<'_, Calls>) {
            self.0.set(self.0.get() + 1);
        }
    }
    on_every_backend(LIMITS, |mut reactor: Reactor<Calls>| {
        let ended = std::rc::Rc::default();
        for _ in 0..CROWD {
            let last = Last(std::rc::Rc::clone(&ended));
            let token = reactor.cx().spawn(last).expect("it registers");
            reactor.cx().close(token);
        }
        reactor.run_once(None).expect("it turns");
        assert_eq!(ended.get(), LIMITS.ends_per_turn);
        drop(reactor);
        assert_eq!(ended.get(), CROWD);
    });
}

#[test]
fn the_backlog_is_accepted_in_portions_when_the_loop_winds_down() {
    on_every_backend(LIMITS, |mut reactor: Reactor<()>| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let crowd: Vec<TcpStream> =
            (0..23).map(|_| TcpStream::connect(&address).expect("it connects")).collect();
        reactor.cx().stop_gracefully(Duration::from_secs(1000));
        let mut accepted = 0;
        while accepted < crowd.len() as u64 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            let all = reactor.counters().accepts;
            // A readable listener may also accept in its usual turn.
            let most = 2 * LIMITS.accepts_per_turn as u64;
            assert!((1..=most).contains(&(all - accepted)), "{} in a turn", all - accepted);
            assert!(!reactor.has_ended());
            accepted = all;
        }
        drop(crowd);
        turn_until(&mut reactor, |reactor| reactor.has_ended());
        assert_eq!(reactor.cx().connections(), 0);
    });
}

/// Answers any input, and has a timeout that passes at once and sets itself again. Counts the
/// timeouts of all connections.
struct Restless;

impl Service<Bytes, u64> for Restless {
    fn open(&mut self, _reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, u64>) -> Flow {
        context.effects.set_timeout(1, Some(Duration::ZERO));
        Flow::Continue
    }

    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, u64>,
    ) -> Flow {
        reply.send(bytes);
        Flow::Continue
    }

    fn timeout(
        &mut self,
        key: u8,
        _reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, u64>,
    ) -> Flow {
        *context.app += 1;
        assert!(*context.app < 100_000, "it has kept its loop in one turn");
        context.effects.set_timeout(key, Some(Duration::ZERO));
        Flow::Continue
    }
}

#[test]
fn a_timeout_that_passes_at_once_for_ever_is_told_once_in_a_turn() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<u64>| {
        let address = serve(&mut reactor, Limits::DEFAULT, || Conversation::new(Bytes, Restless));
        let mut peers = [(); 2].map(|()| TcpStream::connect(&address).expect("the server accepts"));
        for round in 0..20 {
            for peer in &mut peers {
                peer.write_all(&[round]).expect("the kernel takes bytes");
                peer.set_nonblocking(true).expect("it is set");
                let mut answer = [0];
                turn_until(&mut reactor, |reactor| {
                    let (turns, timeouts) = (reactor.counters().turns, reactor.app);
                    assert!(timeouts <= 2 * turns, "{timeouts} timeouts in {turns} turns");
                    peer.read(&mut answer).is_ok_and(|count| count == 1)
                });
                assert_eq!(answer, [round]);
            }
        }
        assert!(reactor.app >= 20, "{} timeouts", reactor.app);
    });
}
