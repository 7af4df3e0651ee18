//! A server that sends back what it receives over TLS.
//!
//! The layer tells an end in order (`close_notify`) from a stream that was cut. So no stream may end
//! early in order, even where faults end the connections below it so.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::Limits;
use protocol::link::Link;
use protocol::tls::{Identity, TlsClient, TlsClientOptions, TlsServer, TlsServerOptions, Trust};
use reactor::sim::{Faults, Outcome, Sim};
use reactor::{Accepted, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Stream};

use super::ground::{Ground, demand_calm, open, server_at};
use super::loopback;
use super::talkers::{Plan, Talkers};

/// A certificate for [`NAME`] and its key, of which signatures have always the same length: a run
/// depends on its seed alone.
const PEM: &str = include_str!("secure.pem");
/// The name of the server.
pub(super) const NAME: &str = "one.example";
/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(20);
/// How long the server keeps a connection without progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the scenario.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let tls = TlsClient::new(TlsClientOptions::new(Trust::Anything)).map_err(io::Error::from)?;
    let plan = Plan {
        seed: ground.random.number(),
        address: server_at(7),
        backend: ground.backend,
        change: |byte| byte,
        slots: 2,
        wanted: 3,
        is_strict: Rc::new(|| true),
        tls: Some(tls),
    };
    let clients = [ground.client(sim, move || Talkers::start(&plan))?];
    sim.set_faults(Faults::all());
    sim.run_until(STORM, |sim| loopback::are_done(sim, &clients))?;
    demand_calm::<()>(sim, ground.server, "clients", |sim| loopback::are_done(sim, &clients))?;
    ground.demand_peace::<()>(sim)
}

/// Builds the server.
fn build(backend: &str) -> io::Result<Reactor> {
    let identity = Identity::from_pem(PEM.as_bytes(), PEM.as_bytes())?;
    let tls = TlsServer::new(TlsServerOptions::new(vec![identity]))?;
    let limits = LoopLimits { idle_timeout: Some(PATIENCE), ..LoopLimits::DEFAULT };
    let mut reactor = open(backend, limits, ())?;
    let listener = Listener::bind(&server_at(7), &ListenOptions::DEFAULT)?;
    let limits = Limits::DEFAULT.shared()?;
    listener.register(&mut reactor.cx(), move |accepted: Accepted, cx: &mut LoopCx<'_>| {
        let link = Link::with_layer(servers::echo::session(), tls.layer()?, Arc::clone(&limits));
        Stream::over(link).register(accepted, cx).map(drop)
    })?;
    Ok(reactor)
}
