//! The servers that send back what they receive.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use protocol::codecs::Bytes;
use reactor::Reactor;
use reactor::sim::{Fault, Faults, HostId, Outcome, Sim};
use servers::{Application, Loopback, NoArgs, Server, ServerArgs};

use super::ground::{DEATHS, Ground, demand_calm, server_at};
use super::talkers::{Plan, Talkers};

/// The port of the server.
const PORT: u16 = 7;
/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(20);
/// Hosts with clients.
const HOSTS: u64 = 2;

/// Faults that end a stream in order, in place of the server or because of it.
const ENDINGS: [Fault; 3] = [Fault::Finish, Fault::HalfClose, Fault::WatchRefused];

/// Builds a server that sends back what it receives, as its binary does.
pub(super) fn build(
    server: Server,
    make: fn() -> Loopback,
    backend: &str,
    more: &[&str],
) -> io::Result<Reactor> {
    let mut words = vec!["--listen", "10.0.0.1:7", "--backend", backend];
    words.extend(more);
    let application = move |_: &ServerArgs, _: &NoArgs| {
        Ok(Application::stateless(make).with_datagrams(move || (Bytes, make())))
    };
    servers::prepare(server, &words, application)
}

/// Runs `echo-server`.
pub(super) fn echo(sim: &mut Sim) -> Outcome {
    run(sim, servers::echo::SERVER, servers::echo::session, |byte| byte, &Faults::all(), false)
}

/// Runs `echo-server` where only the server can end a stream in order.
pub(super) fn echo_strict(sim: &mut Sim) -> Outcome {
    let faults = Faults::all().without(&ENDINGS).without(&DEATHS);
    run(sim, servers::echo::SERVER, servers::echo::session, |byte| byte, &faults, true)
}

/// Runs `uppercase`.
pub(super) fn uppercase(sim: &mut Sim) -> Outcome {
    let change = |byte: u8| byte.to_ascii_uppercase();
    let (server, make) = (servers::uppercase::SERVER, servers::uppercase::session);
    run(sim, server, make, change, &Faults::all(), false)
}

fn run(
    sim: &mut Sim,
    server: Server,
    make: fn() -> Loopback,
    change: fn(u8) -> u8,
    faults: &Faults,
    is_strict: bool,
) -> Outcome {
    let mut ground = Ground::new(sim, move |backend| build(server, make, backend, &[]))?;
    let clients = clients(sim, &mut ground, change, Rc::new(move || is_strict))?;
    sim.set_faults(faults.clone());
    sim.run_until(STORM, |sim| are_done(sim, &clients))?;
    demand_calm::<()>(sim, ground.server, "clients", |sim| are_done(sim, &clients))?;
    ground.demand_peace::<()>(sim)
}

/// Starts clients on hosts of their own.
pub(super) fn clients(
    sim: &mut Sim,
    ground: &mut Ground,
    change: fn(u8) -> u8,
    is_strict: Rc<dyn Fn() -> bool>,
) -> io::Result<Vec<HostId>> {
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        let plan = Plan {
            seed: ground.random.number(),
            address: server_at(PORT),
            backend: ground.backend,
            change,
            slots: 2,
            wanted: 3,
            is_strict: Rc::clone(&is_strict),
            tls: None,
        };
        hosts.push(ground.client(sim, move || Talkers::start(&plan))?);
    }
    Ok(hosts)
}

/// Returns whether all clients are done. A host that is down is not.
pub(super) fn are_done(sim: &mut Sim, clients: &[HostId]) -> bool {
    clients
        .iter()
        .all(|host| sim.reactor::<Talkers>(*host).is_some_and(|reactor| reactor.app.is_done()))
}
