//! A server of WebSocket, clients that talk with it, and subscribers.

mod messages;
mod peers;
mod server;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use protocol::Reason;
use protocol::websocket::{Error, HandshakeError};
use reactor::sim::{Faults, HostId, Outcome, Sim};

use self::peers::{Duty, Peers};
use self::server::{App, LIMITS, PING, PONG};
use super::ground::{Ground, demand_calm};
use super::signals::stop_when;

/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(8);
/// How long the programs may take, once no fault is drawn, to find that connections are dead and to
/// make others.
const WAKING: Duration = Duration::from_secs(12);
/// How long news takes in the calm.
const NEWS: Duration = Duration::from_secs(5);
/// After how long a peer that is silent is given up: a ping, its answer, what a closing connection waits
/// for, and what the system takes.
const SILENCE: Duration =
    PING.saturating_add(PONG).saturating_add(LIMITS.linger).saturating_add(Duration::from_secs(1));
/// The host with subscribers.
const SUBSCRIBERS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));

/// The programs of a run.
struct Hosts {
    server: HostId,
    talkers: HostId,
    subscribers: HostId,
}

/// Runs the scenario. Stops the server gracefully in some worlds.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let lives = Cell::new(0);
    let build = move |backend: &str| {
        lives.set(lives.get() + 1);
        server::build(backend, lives.get())
    };
    let mut ground = Ground::new(sim, build)?;
    let (seed, other, backend) = (ground.random.number(), ground.random.number(), ground.backend);
    let duty = Duty::Converse(2);
    let talkers = ground.client(sim, move || Peers::start(seed, duty, 3, backend))?;
    let duty = Duty::Subscribe;
    let subscribers = ground.client(sim, move || Peers::start(other, duty, 3, backend))?;
    let hosts = Hosts { server: ground.server, talkers, subscribers };
    let is_done = |sim: &mut Sim| {
        let all = [hosts.talkers, hosts.subscribers];
        all.iter().all(|host| sim.reactor::<Peers>(*host).is_some_and(|it| it.app.is_done()))
    };
    if ground.random.one_in(4) {
        stop_when::<App>(sim, &mut ground, || {})?;
    } else {
        sim.set_faults(Faults::all());
        sim.run_for(STORM)?;
    }
    demand_calm::<App>(sim, ground.server, "conversations", is_done)?;
    sim.run_for(WAKING)?;
    demand_news(sim, &hosts)?;
    demand_notice(sim, &hosts, ground.random.one_in(2))?;
    sim.with::<Peers, _>(hosts.subscribers, peers::end);
    ground.demand_peace::<App>(sim)
}

/// Demands that news reaches all subscribers.
fn demand_news(sim: &mut Sim, hosts: &Hosts) -> Outcome {
    sim.with::<App, _>(hosts.server, |cx| cx.app.wanted = 5);
    sim.run_for(Duration::from_secs(1))?;
    let last = sim.with::<App, _>(hosts.server, |cx| (cx.app.life, cx.app.news.len() as u64 - 1));
    let (life, number) = last.ok_or("the server does not run")?;
    let have = |sim: &mut Sim| {
        sim.reactor::<Peers>(hosts.subscribers).is_some_and(|it| it.app.have(life, number))
    };
    match sim.run_until(NEWS, have)? {
        true => Ok(()),
        false => Err(format!("message {number} of life {life} does not reach everyone").into()),
    }
}

/// Stops one side, and demands that the other gives its connections up in time.
fn demand_notice(sim: &mut Sim, hosts: &Hosts, is_server: bool) -> Outcome {
    let victim = if is_server { hosts.server } else { hosts.subscribers };
    sim.stop(victim);
    sim.run_for(SILENCE)?;
    let left = if is_server {
        sim.reactor::<Peers>(hosts.subscribers).map(|it| it.app.open())
    } else {
        sim.reactor::<App>(hosts.server).map(|it| it.app.connections_of(SUBSCRIBERS))
    };
    sim.resume(victim);
    match left {
        Some(0) => Ok(()),
        left => Err(format!("{left:?} connections of a silent peer are left").into()),
    }
}

/// Demands that a connection has not ended since one side broke the rules.
///
/// # Panics
/// Panics if one has.
fn demand_valid(reason: &Reason) {
    let Reason::Refused(error) = reason else { return };
    if let Some(error) = error.downcast_ref::<Error>() {
        assert_eq!(*error, Error::Unclosed, "{reason}");
    }
    if let Some(error) = error.downcast_ref::<HandshakeError>() {
        // The request was cut, and its rest was late.
        assert_eq!(*error, HandshakeError::Status(408), "{reason}");
    }
}
