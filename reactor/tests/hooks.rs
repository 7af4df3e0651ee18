//! Hooks around the wait: before it, after it, and when there is nothing else to do. The tests count
//! calls and read the timeouts of waits.

mod common;

use std::cell::Cell;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use common::on_every_backend;
use reactor::sim::{Call, Script, Sim};
use reactor::{
    BackendKind, Cx, Found, Handler, Hook, Interest, LoopCx, LoopLimits, Reactor, Reason,
    Registration, Timeout, Token, Trigger,
};

const MS: Duration = Duration::from_millis(1);

fn turn<A>(reactor: &mut Reactor<A>) {
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
}

/// A scripted loop of each kind.
fn on_every_trigger<A: Default + 'static>(test: impl Fn(Script, Reactor<A>)) {
    for trigger in [Trigger::Edge, Trigger::Level] {
        let script = Script::new(trigger);
        let reactor = Reactor::with_backend(script.backend(), LoopLimits::DEFAULT, A::default());
        test(script, reactor.expect("the reactor opens"));
    }
}

/// Returns the timeouts of the waits since the last call.
fn timeouts(script: &Script) -> Vec<Option<Duration>> {
    let wait = |call| match call {
        Call::Wait { timeout } => Some(timeout),
        _ => None,
    };
    script.take_calls().into_iter().filter_map(wait).collect()
}

/// Records its calls, and reads.
struct Reads;

impl Handler<Vec<String>> for Reads {
    fn ready(&mut self, cx: &mut Cx<'_, Vec<String>>) -> io::Result<()> {
        while cx.read(&mut [0; 8])?.is_some() {}
        cx.app.push("ready".to_owned());
        Ok(())
    }
}

#[test]
fn hooks_are_called_before_and_after_the_wait_and_before_the_handlers() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Vec<String>>| {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
        // The auditor asks the kernel too, and level-triggered backends report again.
        reactor.set_audit(false);
        let mut cx = reactor.cx();
        cx.register(OwnedFd::from(ours), Registration::new(Interest::READ), Reads)
            .expect("it registers");
        cx.on_check(|found, cx| cx.app.push(format!("check {}", found.events)))
            .expect("it registers");
        cx.on_prepare(|_, cx| {
            cx.app.push("prepare".to_owned());
            None
        })
        .expect("it registers");
        // The first report of a socket says that it is writable, on some backends.
        turn(&mut reactor);
        reactor.app.clear();
        theirs.write_all(b"x").expect("the kernel takes a byte");
        reactor.run_while(|it| !it.app.iter().any(|call| call == "ready")).expect("it runs");
        assert_eq!(reactor.app, ["check 1", "ready"], "it was prepared when the loop was left");
        reactor.app.clear();
        theirs.write_all(b"x").expect("the kernel takes a byte");
        reactor.run_while(|it| !it.app.iter().any(|call| call == "ready")).expect("it runs");
        assert_eq!(reactor.app, ["prepare", "check 1", "ready"]);
    });
}

#[test]
fn a_hook_shortens_the_wait() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<u32>| {
        // The loop's own source reports that it is writable.
        turn(&mut reactor);
        let before = reactor.counters().waits;
        reactor.cx().on_prepare(|_, _| Some(MS)).expect("it registers");
        reactor
            .cx()
            .on_check(|found, cx| {
                assert_eq!(found.events, 0);
                assert!(found.waited >= MS, "{found:?}");
                *cx.app += 1;
            })
            .expect("it registers");
        // Otherwise it waits for ever.
        reactor.run_until(|checks| *checks == 5).expect("it runs");
        assert_eq!(reactor.counters().waits - before, 5);
    });
}

#[test]
fn the_shortest_of_all_times_bounds_the_wait() {
    on_every_trigger(|script, mut reactor: Reactor<Vec<Option<Duration>>>| {
        let rounds = Rc::new(Cell::new(0));
        let bounds = [[Some(7), Some(9)], [Some(9), Some(7)], [None, Some(8)], [None, None]];
        for which in 0..2 {
            let rounds = Rc::clone(&rounds);
            let hook = move |wait, cx: &mut LoopCx<'_, Vec<Option<Duration>>>| {
                cx.app.push(wait);
                let bounds = bounds.get(rounds.get()).copied().unwrap_or_default();
                rounds.set(rounds.get() + which);
                bounds[which].map(|ms| ms * MS)
            };
            reactor.cx().on_prepare(hook).expect("it registers");
        }
        reactor.cx().after(100 * MS, |_| ()).expect("it registers");
        reactor.run_while(|it| it.counters().waits < 4).expect("it runs");
        let ms = |ms: u32| Some(ms * MS);
        assert_eq!(timeouts(&script), [ms(7), ms(7), ms(8), ms(100 - 22)]);
        // Each is told what the earlier ones have left.
        let told = [ms(100), ms(7), ms(93), ms(9), ms(86), ms(86), ms(78), ms(78)];
        assert_eq!(reactor.app, told);
    });
}

#[test]
fn what_a_hook_makes_ready_is_not_waited_for() {
    on_every_trigger(|script, mut reactor: Reactor<Vec<String>>| {
        let token = reactor.cx().spawn(Reads).expect("it registers");
        // A source without a descriptor reads nothing.
        reactor.cx().close(token);
        turn(&mut reactor);
        timeouts(&script);
        reactor
            .cx()
            .on_prepare(|wait, cx| {
                cx.app.push(format!("{wait:?}"));
                cx.after(Duration::ZERO, |cx| cx.stop()).expect("it registers");
                None
            })
            .expect("it registers");
        reactor.run().expect("it runs");
        assert_eq!(timeouts(&script), [Some(Duration::ZERO)]);
        assert_eq!(reactor.app, ["None"]);
    });
}

#[test]
fn a_loop_without_hooks_any_more_sleeps_as_before() {
    on_every_trigger(|script, mut reactor: Reactor<u32>| {
        let hooks = [
            reactor.cx().on_prepare(|_, _| Some(MS)).expect("it registers"),
            reactor.cx().on_check(|_, cx| *cx.app += 1).expect("it registers"),
            reactor.cx().on_idle(|cx| *cx.app += 100).expect("it registers"),
        ];
        turn(&mut reactor);
        assert_eq!(reactor.app, 101);
        hooks.into_iter().for_each(|token| reactor.cx().close(token));
        turn(&mut reactor);
        let calls = reactor.app;
        timeouts(&script);
        reactor.cx().after(3_600_000 * MS, |cx| cx.stop()).expect("it registers");
        reactor.run().expect("it runs");
        assert_eq!(timeouts(&script), [Some(3_600_000 * MS)]);
        assert_eq!((reactor.app, reactor.counters().live()), (calls, 0));
    });
}

/// A handler of all hooks, which does something unusual in one of them.
struct All {
    at: Hook,
    what: fn(&mut Cx<'_, Vec<&'static str>>) -> io::Result<()>,
    reason: Rc<Cell<usize>>,
}

impl All {
    fn call(&mut self, hook: Hook, cx: &mut Cx<'_, Vec<&'static str>>) -> io::Result<()> {
        let name = match hook {
            Hook::Prepare => "prepare",
            Hook::Check => "check",
            Hook::Idle => "idle",
        };
        cx.app.push(name);
        if hook == self.at { (self.what)(cx) } else { Ok(()) }
    }
}

impl Handler<Vec<&'static str>> for All {
    fn ready(&mut self, cx: &mut Cx<'_, Vec<&'static str>>) -> io::Result<()> {
        for hook in [Hook::Prepare, Hook::Check, Hook::Idle] {
            cx.add_hook(hook);
            cx.add_hook(hook);
        }
        Ok(())
    }

    fn prepare(
        &mut self,
        _wait: Option<Duration>,
        cx: &mut Cx<'_, Vec<&'static str>>,
    ) -> io::Result<Option<Duration>> {
        self.call(Hook::Prepare, cx).map(|()| None)
    }

    fn check(&mut self, _found: Found, cx: &mut Cx<'_, Vec<&'static str>>) -> io::Result<()> {
        self.call(Hook::Check, cx)
    }

    fn idle(&mut self, cx: &mut Cx<'_, Vec<&'static str>>) -> io::Result<()> {
        self.call(Hook::Idle, cx)
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_, Vec<&'static str>>) {
        self.reason.set(reason.index());
    }
}

/// Makes a source with all hooks, which does something unusual in one of them.
fn all(
    reactor: &mut Reactor<Vec<&'static str>>,
    at: Hook,
    what: fn(&mut Cx<'_, Vec<&'static str>>) -> io::Result<()>,
) -> (Token, Rc<Cell<usize>>) {
    let reason = Rc::new(Cell::new(usize::MAX));
    let handler = All { at, what, reason: Rc::clone(&reason) };
    let token = reactor.cx().spawn(handler).expect("it registers");
    reactor.cx().wake(token);
    (token, reason)
}

const HOOKS: [Hook; 3] = [Hook::Prepare, Hook::Check, Hook::Idle];

#[test]
fn each_hook_is_called_once_in_a_turn_and_until_it_is_removed() {
    for at in HOOKS {
        on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Vec<&'static str>>| {
            let remove = |cx: &mut Cx<'_, Vec<&'static str>>| {
                HOOKS.into_iter().for_each(|hook| cx.remove_hook(hook));
                Ok(())
            };
            let (token, _) = all(&mut reactor, at, remove);
            reactor.run_while(|it| it.counters().turns < 2).expect("it runs");
            // Removed by the first, second or third call, in the turn that it was added for.
            let expected = ["prepare", "check", "idle"];
            assert_eq!(reactor.app, expected[..=at as usize]);
            (0..3).for_each(|_| turn(&mut reactor));
            assert_eq!(reactor.app.len(), 1 + at as usize);
            reactor.cx().close(token);
        });
    }
}

#[test]
fn errors_and_panics_of_hooks_end_their_source_alone() {
    type What = fn(&mut Cx<'_, Vec<&'static str>>) -> io::Result<()>;
    let whats: [(What, Reason); 4] = [
        (
            |_| Err(io::Error::other("on purpose")),
            Reason::Failed { operation: "handler", error: io::Error::other("on purpose") },
        ),
        (|_| panic!("on purpose"), Reason::Panicked),
        (
            |cx| {
                cx.end(Reason::Finished);
                Ok(())
            },
            Reason::Finished,
        ),
        (
            |cx| {
                cx.close(cx.me());
                Ok(())
            },
            Reason::Cancelled,
        ),
    ];
    for (what, expected) in &whats {
        for at in HOOKS {
            on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Vec<&'static str>>| {
                let (_, before) = all(&mut reactor, Hook::Check, |_| Ok(()));
                let (_, reason) = all(&mut reactor, at, *what);
                let (_, after) = all(&mut reactor, Hook::Check, |_| Ok(()));
                let mut panics = 0;
                for _ in 0..6 {
                    let turned = catch_unwind(AssertUnwindSafe(|| turn(&mut reactor)));
                    panics += usize::from(turned.is_err());
                }
                assert_eq!(panics, usize::from(matches!(expected, Reason::Panicked)));
                assert_eq!(reason.get(), expected.index());
                assert_eq!((before.get(), after.get()), (usize::MAX, usize::MAX));
                reactor.app.clear();
                reactor.run_while(|it| it.app.len() < 6).expect("it runs");
                let twice = ["prepare", "prepare", "check", "check", "idle", "idle"];
                // The loop was left prepared.
                assert_eq!(reactor.app[..4], twice[2..]);
            });
        }
    }
}

#[test]
fn an_idle_hook_runs_only_when_nothing_else_does() {
    on_every_trigger(|script, mut reactor: Reactor<Vec<&'static str>>| {
        /// Is ready for three turns.
        struct Busy(u32);
        impl Handler<Vec<&'static str>> for Busy {
            fn ready(&mut self, cx: &mut Cx<'_, Vec<&'static str>>) -> io::Result<()> {
                cx.app.push("ready");
                self.0 -= 1;
                if self.0 > 0 {
                    cx.wake(cx.me());
                } else {
                    cx.set_timeout(Some(Duration::ZERO));
                }
                Ok(())
            }

            fn timeout(
                &mut self,
                _timeout: Timeout,
                cx: &mut Cx<'_, Vec<&'static str>>,
            ) -> io::Result<()> {
                cx.app.push("timeout");
                cx.end(Reason::Finished);
                Ok(())
            }
        }
        let idle = reactor.cx().on_idle(|cx| cx.app.push("idle")).expect("it registers");
        let busy = reactor.cx().spawn(Busy(3)).expect("it registers");
        reactor.cx().wake(busy);
        assert_eq!(reactor.next_deadline(), Some(reactor.cx().now()), "a host need not wait");
        reactor.run_while(|it| it.app.len() < 6).expect("it runs");
        assert_eq!(reactor.app, ["ready", "ready", "ready", "timeout", "idle", "idle"]);
        assert!(timeouts(&script).into_iter().all(|timeout| timeout == Some(Duration::ZERO)));
        reactor.cx().close(idle);
        turn(&mut reactor);
        assert_eq!(reactor.next_deadline(), None);
    });
}

#[test]
fn the_host_of_a_loop_is_told_how_long_it_may_wait() {
    // P32: the prepare hook is called before the host waits.
    on_every_trigger(|script, mut reactor: Reactor<Vec<u32>>| {
        let calls = Rc::new(Cell::new(0));
        let count = Rc::clone(&calls);
        reactor
            .cx()
            .on_prepare(move |_, cx| {
                count.set(count.get() + 1);
                cx.app.last().map(|ms| *ms * MS)
            })
            .expect("it registers");
        turn(&mut reactor);
        assert_eq!(reactor.next_deadline(), None);
        for (round, ms) in [30, 20, 50].into_iter().enumerate() {
            // What a handler changes is seen before the host waits.
            reactor.cx().after(Duration::ZERO, move |cx| cx.app.push(ms)).expect("it registers");
            turn(&mut reactor);
            assert_eq!(reactor.next_deadline(), Some(script.now() + ms * MS));
            assert_eq!(calls.get(), 3 + round, "once in a turn");
        }
    });
}

#[test]
fn hooks_work_on_a_simulated_host() {
    for backend in BackendKind::ALL {
        let mut sim = Sim::new(1);
        let host = sim.host("10.0.0.1");
        sim.start(host, move || {
            let mut reactor =
                Reactor::with_backend(backend.open()?, LoopLimits::DEFAULT, (0_u32, 0_u32))?;
            let mut cx = reactor.cx();
            cx.on_prepare(|_, _| Some(100 * MS))?;
            cx.on_check(|found, cx| {
                assert!(found.waited <= 101 * MS, "{found:?}");
                cx.app.0 += 1;
            })?;
            Ok(reactor)
        })
        .expect("it starts");
        sim.run_for(Duration::from_secs(10)).expect("it runs");
        let (checks, _) = sim.reactor::<(u32, u32)>(host).map(|it| it.app).expect("it runs");
        assert!((95..=105).contains(&checks), "{checks} checks in ten seconds");
        // An idle hook gets something done, and may be called as often as it likes.
        sim.with(host, |cx: &mut LoopCx<'_, (u32, u32)>| {
            let idle = |cx: &mut LoopCx<'_, (u32, u32)>| cx.app.1 += 1;
            cx.on_idle(idle).map(drop)
        })
        .expect("it runs")
        .expect("it registers");
        sim.run_for(10 * MS).expect("it does not count as spinning");
        let (_, idle) = sim.reactor::<(u32, u32)>(host).map(|it| it.app).expect("it runs");
        assert!(idle > 1000, "{idle} calls");
    }
}
