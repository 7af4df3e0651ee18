//! Waking one source from other threads.

mod common;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use reactor::sim::{Sim, Tracing};
use reactor::{Cx, Handler, LoopCx, LoopLimits, PostError, Reactor, Reason, Timeout, Token, Waker};

use common::{on_every_backend, turn_until};

/// What the loop reads when it is notified: a count, and then nothing more.
const READS: u64 = 2;

/// Adds up what other threads have written, whenever it is woken.
struct Sums(Arc<[AtomicU64]>);

impl Handler<u64> for Sums {
    fn ready(&mut self, cx: &mut Cx<'_, u64>) -> io::Result<()> {
        assert!(cx.was_woken(), "nothing else runs it");
        *cx.app = self.0.iter().map(|it| it.load(Ordering::Relaxed)).sum();
        Ok(())
    }
}

#[test]
fn the_last_of_a_hundred_thousand_wakes_is_not_lost() {
    const THREADS: usize = 8;
    const WAKES: u64 = 100_000 / THREADS as u64;
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<u64>| {
        let written: Arc<[AtomicU64]> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
        let sums = reactor.cx().spawn(Sums(Arc::clone(&written))).expect("it registers");
        let waker = reactor.cx().waker_of(sums);
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (written, waker) = (Arc::clone(&written), waker.clone());
                thread::spawn(move || {
                    for _ in 0..WAKES {
                        written[number].fetch_add(1, Ordering::Relaxed);
                        waker.wake().expect("the loop is there");
                    }
                })
            })
            .collect();
        let all = WAKES * THREADS as u64;
        turn_until(&mut reactor, |reactor| reactor.app == all);
        for thread in threads {
            thread.join().expect("it does not panic");
        }
        let before = reactor.counters().runs;
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        assert!(reactor.counters().runs <= before + 2, "what is left is one wake");
    });
}

/// Counts its calls.
struct Counts(Rc<Cell<u32>>);

impl<A> Handler<A> for Counts {
    fn ready(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

fn counts<A: 'static>(cx: &mut LoopCx<'_, A>) -> (Rc<Cell<u32>>, Token) {
    let count = Rc::default();
    let token = cx.spawn(Counts(Rc::clone(&count))).expect("it registers");
    (count, token)
}

#[test]
fn wakes_of_all_clones_coalesce() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let (count, token) = counts(&mut reactor.cx());
        let waker = reactor.cx().waker_of(token);
        for round in 1..=3 {
            for waker in [waker.clone(), waker.clone()] {
                let woken = thread::spawn(move || (0..1000).all(|_| waker.wake().is_ok()));
                assert!(woken.join().expect("it does not panic"));
            }
            turn_until(&mut reactor, |_| count.get() == round);
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            assert_eq!(count.get(), round);
        }
    });
}

#[test]
fn a_waker_whose_source_has_ended_wakes_nothing() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let (count, token) = counts(&mut reactor.cx());
        let waker = reactor.cx().waker_of(token);
        reactor.cx().close(token);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        let (next, reused) = counts(&mut reactor.cx());
        assert_eq!(reused.tag().slot(), token.tag().slot(), "it has the same slot");
        waker.wake().expect("the loop is there");
        for _ in 0..3 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert_eq!((count.get(), next.get()), (0, 0));
        assert!(!format!("{waker:?}").contains("gone: true"));
        drop(reactor);
        assert_eq!(waker.wake(), Err(PostError::Gone));
    });
}

#[test]
fn a_waker_of_another_loop_wakes_nothing() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let (count, _) = counts(&mut reactor.cx());
        let mut other = Reactor::new(()).expect("it opens");
        let (_, foreign) = counts(&mut other.cx());
        reactor.cx().waker_of(foreign).wake().expect("the loop is there");
        for _ in 0..3 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert_eq!(count.get(), 0);
    });
}

/// Wakes another source from all its calls, until it ends.
struct Wakes(Waker);

impl<A> Handler<A> for Wakes {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.0.wake().expect("the loop is there");
        cx.set_timeout(Some(Duration::ZERO));
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.0.wake().expect("the loop is there");
        cx.end(Reason::Finished);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, _cx: &mut LoopCx<'_, A>) {
        self.0.wake().expect("the loop is there");
    }
}

#[test]
fn a_wake_in_a_turn_of_the_loop_itself_costs_no_event() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let (count, token) = counts(&mut reactor.cx());
        let mut cx = reactor.cx();
        let waker = cx.waker_of(token);
        let wakes = cx.spawn(Wakes(waker.clone())).expect("it registers");
        cx.wake(wakes);
        // The call and the timer of the first turn are one wake, the end is another.
        turn_until(&mut reactor, |_| count.get() == 2);
        assert_eq!(reactor.counters().reads, 0);
        // A closure of another thread is announced, and its wake is not.
        reactor.cx().remote().post(move |_| waker.wake().expect("it is there")).expect("it runs");
        turn_until(&mut reactor, |_| count.get() == 3);
        assert_eq!(reactor.counters().reads, READS);
        assert!(reactor.next_deadline().is_none(), "nothing is left to do");
    });
}

#[test]
fn a_wake_between_the_turns_of_a_hosted_loop_is_announced() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let (count, token) = counts(&mut reactor.cx());
        let waker = reactor.cx().waker_of(token);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        for round in 1..=3_u32 {
            assert!(reactor.next_deadline().is_none(), "the host would wait for the descriptor");
            waker.wake().expect("the loop is there");
            turn_until(&mut reactor, |_| count.get() == round);
            assert_eq!(reactor.counters().reads, READS * u64::from(round));
        }
    });
}

#[test]
fn a_wake_after_a_panic_is_announced() {
    let mut reactor = Reactor::new(()).expect("it opens");
    let (count, token) = counts(&mut reactor.cx());
    let waker = reactor.cx().waker_of(token);
    reactor.cx().after(Duration::ZERO, |_| panic!("as planned")).expect("it registers");
    let turn = std::panic::AssertUnwindSafe(|| reactor.run_once(Some(Duration::ZERO)));
    assert!(std::panic::catch_unwind(turn).is_err());
    assert_eq!(reactor.counters().reads, 0);
    waker.wake().expect("the loop is there");
    turn_until(&mut reactor, |_| count.get() == 1);
    assert_eq!(reactor.counters().reads, READS);
}

#[test]
fn wakes_of_simulated_loops_are_repeated_byte_for_byte() {
    let run = |seed| {
        let mut sim = Sim::new(seed);
        sim.set_tracing(Tracing::All);
        let host = sim.host("10.0.0.1");
        sim.start(host, || Reactor::new(())).expect("it starts");
        let made = sim.with::<(), _>(host, |cx| {
            let (count, token) = counts(cx);
            let waker = cx.waker_of(token);
            for milliseconds in 1..=5 {
                let wakes = cx.spawn(Wakes(waker.clone())).expect("it registers");
                cx.after(Duration::from_millis(milliseconds), move |cx| cx.wake(wakes))
                    .expect("it registers");
            }
            (count, waker)
        });
        let (count, waker) = made.expect("it runs");
        sim.run_for(Duration::from_secs(1)).expect("it runs");
        let in_turns = count.get();
        waker.wake().expect("the loop is there");
        sim.run_for(Duration::from_secs(1)).expect("it runs");
        (in_turns, count.get(), sim.trace())
    };
    let first = run(1);
    assert!(first.0 >= 10, "each source wakes in at least two turns: {first:?}");
    assert_eq!(first.1, first.0 + 1, "one from outside of its turns");
    assert_eq!(first, run(1));
}
