//! A server that is told to stop while its clients work.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use reactor::Signal;
use reactor::sim::{Fault, Faults, HostId, Outcome, Sim};
use servers::kv::App;

use super::agent;
use super::ground::{CLOCKS, DEATHS, Ground, demand_calm};
use super::{loopback, restarts};

/// How long a server takes to end: twice the time for stopping, and what the last turn takes. A wait
/// that a signal interrupts may have been a stop of the process, whose time the loop does not count;
/// such waits may hide half of the time.
const STOPPING: Duration = Duration::from_millis(10_500);
/// When the clients of `kv` begin no more requests.
const WORK: Duration = Duration::from_secs(12);

/// Faults that end a stream in order in place of the server, keep it from working, or hide from it
/// how much time has passed.
const EXCLUDED: [Fault; 7] = [
    Fault::Finish,
    Fault::HalfClose,
    Fault::Stop,
    Fault::Stall,
    Fault::LateTimer,
    Fault::WatchRefused,
    Fault::WaitNoMemory,
];

/// Stops one of the servers.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    match sim.seed() % 3 {
        0 => stop_kv(sim),
        1 => stop_loopback(sim, servers::echo::SERVER, servers::echo::session, |byte| byte),
        _ => {
            let change = |byte: u8| byte.to_ascii_uppercase();
            stop_loopback(sim, servers::uppercase::SERVER, servers::uppercase::session, change)
        }
    }
}

fn stop_kv(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, agent::build)?;
    let hosts = restarts::clients(sim, &mut ground, WORK, true)?;
    stop::<App>(sim, &mut ground)?;
    demand_calm::<App>(sim, ground.server, "clients", |sim| agent::are_done(sim, &hosts))?;
    ground.demand_peace::<App>(sim)
}

fn stop_loopback(
    sim: &mut Sim,
    server: servers::Server,
    make: fn() -> servers::Loopback,
    change: fn(u8) -> u8,
) -> Outcome {
    let mut ground = Ground::new(sim, move |backend| loopback::build(server, make, backend, &[]))?;
    // Until the signal, a stream that ends early is a mistake.
    let is_strict = Rc::new(Cell::new(true));
    let flag = Rc::clone(&is_strict);
    let hosts: Vec<HostId> =
        loopback::clients(sim, &mut ground, change, Rc::new(move || flag.get()))?;
    stop_when::<()>(sim, &mut ground, || is_strict.set(false))?;
    demand_calm::<()>(sim, ground.server, "clients", |sim| loopback::are_done(sim, &hosts))?;
    ground.demand_peace::<()>(sim)
}

fn stop<A: 'static>(sim: &mut Sim, ground: &mut Ground) -> Outcome {
    stop_when::<A>(sim, ground, || {})
}

/// Sends a signal at some time, and demands that the loop ends in time. `calm` starts it again.
pub(super) fn stop_when<A: 'static>(
    sim: &mut Sim,
    ground: &mut Ground,
    before: impl FnOnce(),
) -> Outcome {
    sim.set_faults(Faults::all().without(&EXCLUDED).without(&DEATHS).without(&CLOCKS));
    sim.run_for(Duration::from_millis(100 + ground.random.below(6_000)))?;
    before();
    let signals = [Signal::TERMINATE, Signal::INTERRUPT, Signal::HANGUP];
    let signal = signals[ground.random.index(signals.len())];
    if !sim.signal(ground.server, signal) {
        return Err("the server does not listen to signals".into());
    }
    let server = ground.server;
    let has_ended = |sim: &mut Sim| sim.reactor::<A>(server).is_none();
    if !sim.run_until(STOPPING, has_ended)? {
        let counters = super::ground::counters::<A>(sim, server);
        return Err(format!("the server does not stop: {counters:?}").into());
    }
    Ok(())
}
