//! A service of HTTP, and clients of all kinds.

pub(super) mod book;
pub(super) mod clients;
pub(super) mod content;
mod pipeline;
pub(super) mod service;

use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{Faults, HostId, Outcome, Sim};

use self::book::{Kind, Shared};
use self::clients::{Plan, Requesters};
use self::pipeline::Pipelines;
use self::service::App;
use super::ground::{Ground, counters, demand_calm};
use super::signals::stop_when;

/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(8);
/// How long the programs may take, once no fault is drawn, until nothing of the storm is left: stalls
/// end, and connections that are kept and dead are given up.
const WAKING: Duration = Duration::from_secs(10);
/// How long an answer takes in the calm.
const ANSWERING: Duration = Duration::from_secs(40);
/// How many requests a program makes.
const WANTED: u64 = 30;
const KINDS: [Kind; 9] = [
    Kind::Fixed,
    Kind::Chunked,
    Kind::Late,
    Kind::Head,
    Kind::Close,
    Kind::Take,
    Kind::Put,
    Kind::Echo,
    Kind::Refuse,
];

/// Runs the scenario. Stops the server gracefully in some worlds.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let book = Shared::default();
    let shared = Shared::clone(&book);
    let address = "10.0.0.1:7";
    let mut ground = Ground::new(sim, move |backend| service::build(address, backend, &shared))?;
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let plan = Plan {
            seed: ground.random.number(),
            backend: ground.backend,
            base: format!("http://{address}"),
            kinds: &KINDS,
            files: Rc::new([]),
            wanted: WANTED,
            book: Shared::clone(&book),
        };
        hosts.push(ground.client(sim, move || Requesters::start(&plan))?);
    }
    if ground.random.one_in(4) {
        stop_when::<App>(sim, &mut ground, || {})?;
        demand_calm::<App>(sim, ground.server, "requests", |sim| are_done(sim, &hosts))?;
    } else {
        // A server that stops says so in its responses, which these would not expect.
        let (seed, backend, shared) =
            (ground.random.number(), ground.backend, Shared::clone(&book));
        let pipelines = ground.client(sim, move || Pipelines::start(seed, backend, &shared))?;
        let is_done = |sim: &mut Sim| {
            let pipelines = sim.reactor::<Pipelines>(pipelines);
            pipelines.is_some_and(|it| it.app.is_done()) && are_done(sim, &hosts)
        };
        sim.set_faults(Faults::all());
        sim.run_until(STORM, is_done)?;
        demand_calm::<App>(sim, ground.server, "requests", is_done)?;
        let life = sim.reactor::<Pipelines>(pipelines).map(|it| it.app.life);
        book.borrow().judge(life.as_slice())?;
    }
    demand_answers(sim, &hosts, &book, Kind::Fixed)?;
    demand_end(sim, &hosts)?;
    ground.demand_peace::<App>(sim)
}

/// Returns whether all requests of these programs are complete. A host that is down has begun none.
pub(super) fn are_done(sim: &mut Sim, hosts: &[HostId]) -> bool {
    hosts.iter().all(|host| sim.reactor::<Requesters>(*host).is_some_and(|it| it.app.is_done()))
}

/// Demands that requests of this kind are answered in the calm, and that all accounts are right.
pub(super) fn demand_answers(
    sim: &mut Sim,
    hosts: &[HostId],
    book: &Shared,
    kind: Kind,
) -> Outcome {
    sim.run_for(WAKING)?;
    for host in hosts {
        for _ in 0..3 {
            sim.with::<Requesters, _>(*host, |cx| clients::request(kind, true, cx));
        }
    }
    if !sim.run_until(ANSWERING, |sim| are_done(sim, hosts))? {
        return Err("requests are not complete in the calm".into());
    }
    let life = |host: &HostId| sim.reactor::<Requesters>(*host).map(|it| it.app.life);
    let lives: Vec<u64> = hosts.iter().filter_map(life).collect();
    book.borrow().judge(&lives)
}

/// Demands that clients without a handle leave nothing behind.
pub(super) fn demand_end(sim: &mut Sim, hosts: &[HostId]) -> Outcome {
    for host in hosts {
        sim.with::<Requesters, _>(*host, |cx| cx.app.let_go());
        let left = |sim: &mut Sim| {
            let baseline = sim.reactor::<Requesters>(*host).map(|it| it.app.baseline);
            let live = counters::<Requesters>(sim, *host).map(|it| it.live());
            live.zip(baseline).map(|(live, baseline)| live - baseline)
        };
        if !sim.run_until(ANSWERING, |sim| left(sim) == Some(0))? {
            return Err(format!("a client that has ended leaves {:?} sources", left(sim)).into());
        }
    }
    Ok(())
}
