//! Measures timers of a handler while many others are armed: arming and cancelling one, moving one,
//! and firing many.

use std::io;
use std::time::{Duration, Instant};

use benches::timing::Script;
use criterion::{Criterion, Throughput};
use reactor::{BackendKind, Cx, Expired, Handler, LoopLimits, Reactor, TimerId, Token};

/// A delay that is longer than the bench.
const FAR: Duration = Duration::from_secs(3600);
/// The number of timers that fire at once.
const FIRED: u64 = 1000;

/// The task of the owner of the timers, and the time that it took.
#[derive(Default)]
struct App {
    task: Task,
    repeats: u64,
    elapsed: Duration,
    fired: u64,
}

#[derive(Clone, Copy, Default)]
enum Task {
    #[default]
    Fill,
    Move,
    ArmAndCancel,
    ArmDue,
}

struct Owner {
    script: Script,
    timers: Vec<Option<TimerId>>,
}

impl Handler<App> for Owner {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        let start = Instant::now();
        let steps = self.script.steps().cycle();
        match cx.app.task {
            Task::Fill => {
                for (place, delay) in self.script.steps() {
                    self.timers[place] = Some(cx.set_timer(FAR + delay, None, 0));
                }
            }
            Task::Move => {
                for (place, delay) in steps.take(cx.app.repeats as usize) {
                    if let Some(timer) = self.timers[place] {
                        cx.move_timer(timer, FAR + delay);
                    }
                }
            }
            Task::ArmAndCancel => {
                for (_, delay) in steps.take(cx.app.repeats as usize) {
                    let timer = cx.set_timer(FAR + delay, None, 0);
                    cx.cancel_timer(timer);
                }
            }
            Task::ArmDue => {
                for _ in 0..FIRED {
                    cx.set_timer(Duration::ZERO, None, 0);
                }
            }
        }
        cx.app.elapsed = start.elapsed();
        Ok(())
    }

    fn timer(&mut self, _timer: Expired, cx: &mut Cx<'_, App>) -> io::Result<()> {
        cx.app.fired += 1;
        Ok(())
    }
}

fn run(reactor: &mut Reactor<App>, owner: Token, task: Task, repeats: u64) -> Duration {
    (reactor.app.task, reactor.app.repeats) = (task, repeats);
    reactor.cx().wake(owner);
    reactor.run_once(Some(Duration::ZERO)).expect("the loop runs");
    reactor.app.elapsed
}

/// Arms timers that are due, and fires them.
fn fire(reactor: &mut Reactor<App>, owner: Token) {
    reactor.app.fired = 0;
    run(reactor, owner, Task::ArmDue, 0);
    reactor.run_until(|app| app.fired == FIRED).expect("the loop runs");
}

fn timers(criterion: &mut Criterion, count: usize) {
    let backend = BackendKind::Epoll.open().expect("epoll opens");
    let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, App::default())
        .expect("the limits make sense");
    let mut script = Script::new(count);
    script.at_random();
    let owner = Owner { script, timers: vec![None; count] };
    let owner = reactor.cx().spawn(owner).expect("the loop takes sources");
    run(&mut reactor, owner, Task::Fill, 0);
    let mut group = criterion.benchmark_group(format!("timers, {count} armed"));
    group.throughput(Throughput::Elements(1));
    for (name, task) in [("arm and cancel", Task::ArmAndCancel), ("move", Task::Move)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|repeats| run(&mut reactor, owner, task, repeats));
        });
    }
    group.throughput(Throughput::Elements(FIRED));
    group.bench_function(format!("arm and fire {FIRED} further ones"), |bencher| {
        bencher.iter(|| fire(&mut reactor, owner));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for count in [1000, 100_000, 1_000_000] {
        timers(&mut criterion, count);
    }
    criterion.final_summary();
}
