//! Leaving the loop after a given time.

mod common;

use std::io;
use std::time::{Duration, Instant};

use reactor::{Cx, Handler, LoopLimits, Reactor};

use common::{PATIENCE, on_every_backend};

const TIME: Duration = Duration::from_millis(20);

/// Is ready all the time.
struct Restless;

impl Handler<u32> for Restless {
    fn ready(&mut self, cx: &mut Cx<'_, u32>) -> io::Result<()> {
        *cx.app += 1;
        let me = cx.me();
        cx.wake(me);
        Ok(())
    }
}

#[test]
fn a_loop_never_leaves_early_and_may_run_again() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<u32>| {
        for run in 1..=3 {
            let delay = Duration::from_millis(1);
            reactor.cx().after(delay, |cx| *cx.app += 1).expect("it registers");
            let start = Instant::now();
            reactor.run_for(TIME).expect("it runs");
            assert!(start.elapsed() >= TIME, "it left after {:?}", start.elapsed());
            assert_eq!(reactor.app, run);
        }
    });
}

#[test]
fn a_loop_that_is_never_idle_leaves_too() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<u32>| {
        let restless = reactor.cx().spawn(Restless).expect("it registers");
        reactor.cx().wake(restless);
        let start = Instant::now();
        reactor.run_for(TIME).expect("it runs");
        assert!((TIME..PATIENCE).contains(&start.elapsed()), "it took {:?}", start.elapsed());
        assert!(reactor.app > 0);
    });
}

#[test]
fn no_time_is_one_turn() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<u32>| {
        let restless = reactor.cx().spawn(Restless).expect("it registers");
        reactor.cx().wake(restless);
        reactor.run_for(Duration::ZERO).expect("it runs");
        assert_eq!(reactor.counters().turns, 1);
        assert_eq!(reactor.app, 1);
    });
}

#[test]
fn a_stop_comes_before_the_time() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<u32>| {
        for _ in 0..2 {
            reactor.cx().after(Duration::from_millis(1), |cx| cx.stop()).expect("it registers");
            let start = Instant::now();
            reactor.run_for(Duration::MAX).expect("it runs");
            assert!(start.elapsed() < PATIENCE);
            assert!(!reactor.has_ended(), "it may run again");
        }
    });
}
