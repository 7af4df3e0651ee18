//! Processes that were started before the connections come, and accept from the same sockets.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use log::{info, warn};
use protocol::Session;
use reactor::blocking::Told;
use reactor::{Fork, Listener, LoopCx, Reactor, Signal, Token};

use super::Serving;
use super::alone;
use super::children::{self, Children, Parent};
use super::desk::{self, Desk, Stands};
use crate::run::Figures;

/// A worker that lives shorter has failed at its start.
const LIFE_MIN: Duration = Duration::from_secs(1);
/// How long the first worker after one that has failed waits. It doubles with each.
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(10);

/// The state of the loop of the parent.
struct Workers {
    /// They are open for the workers that are started later. The parent accepts nothing.
    listeners: Vec<Listener>,
    /// How many workers are to be started.
    vacancies: usize,
    children: Children,
    /// How many workers in a row have failed at their start.
    failures: u32,
    told: Told,
}

impl Parent for Workers {
    fn children(&mut self) -> &mut Children {
        &mut self.children
    }
}

impl Desk for Workers {
    fn report(&self) -> String {
        self.children.signal(Signal::USER_1);
        format!("prefork, {} workers, which log theirs", self.children.count())
    }

    fn tell(told: Told, cx: &mut LoopCx<'_, Self>) -> io::Result<()> {
        cx.app.told = told;
        cx.app.vacancies = 0;
        // When the workers have closed theirs too, clients are refused.
        cx.app.listeners.clear();
        children::tell(told, cx)
    }
}

/// Runs a server with workers.
pub(super) fn run<S: Session + 'static>(
    listeners: Vec<Listener>,
    workers: usize,
    serving: Serving<S>,
) -> io::Result<()> {
    let parent = std::process::id();
    let desk = Workers {
        listeners,
        vacancies: workers,
        children: Children::default(),
        failures: 0,
        told: Told::Nothing,
    };
    let mut reactor = desk::open(desk, workers)?;
    if turn(&mut reactor)? == Fork::Child {
        let listeners = std::mem::take(&mut reactor.app.listeners);
        // There may be no room for its own descriptors beside those of all other workers.
        drop(reactor);
        let own = alone::in_child(true)?;
        children::follow(parent)?;
        return alone::work(listeners, own, serving);
    }
    info!("stopped: {}", Figures(reactor.counters()));
    Ok(())
}

/// Turns the loop of the parent until it has stopped. In a worker, it returns [`Fork::Child`].
fn turn(reactor: &mut Reactor<Workers>) -> io::Result<Fork> {
    loop {
        reactor.run_while(|reactor| reactor.app.vacancies == 0)?;
        if reactor.app.vacancies == 0 {
            return Ok(Fork::Parent { child: 0 });
        }
        reactor.app.vacancies -= 1;
        match reactor::fork() {
            Ok(Fork::Child) => return Ok(Fork::Child),
            Ok(Fork::Parent { child }) => {
                let born = Instant::now();
                let mut cx = reactor.cx();
                let token = cx.spawn_connection(Stands)?;
                let exited = move |status, cx: &mut LoopCx<'_, Workers>| {
                    replace(child, token, born, status, cx);
                };
                if let Err(error) = children::watch(child, &mut cx, exited) {
                    children::discard(child);
                    cx.close(token);
                    warn!(
                        "worker {child} cannot be watched, and one is tried again later: {error}"
                    );
                    start_later(&mut cx);
                }
            }
            Err(error) => {
                warn!("no worker can be started, and one is tried again later: {error}");
                start_later(&mut reactor.cx());
            }
        }
    }
}

/// Starts another worker after the end of one, unless the server stops.
fn replace(
    pid: u32,
    token: Token,
    born: Instant,
    status: io::Result<ExitStatus>,
    cx: &mut LoopCx<'_, Workers>,
) {
    cx.close(token);
    if cx.app.told != Told::Nothing {
        return;
    }
    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    warn!("worker {pid} has ended ({how}), and another is started");
    if born.elapsed() >= LIFE_MIN {
        cx.app.failures = 0;
        cx.app.vacancies += 1;
    } else {
        start_later(cx);
    }
}

/// Starts a worker after a while, which is longer the more have failed.
fn start_later(cx: &mut LoopCx<'_, Workers>) {
    let pause = RESTART_FIRST * 2_u32.pow(cx.app.failures.min(7));
    cx.app.failures += 1;
    let armed = cx.after(pause.min(RESTART_MAX), |cx| {
        if cx.app.told == Told::Nothing {
            cx.app.vacancies += 1;
        }
    });
    if let Err(error) = armed {
        warn!("a worker is not replaced: {error}");
    }
}
