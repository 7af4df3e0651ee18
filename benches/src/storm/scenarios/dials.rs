//! Connecting to what listens and to what does not, with handlers that use the descriptor
//! themselves.

use std::io::{self, IoSlice};
use std::time::Duration;

use reactor::sim::{Faults, HostId, Outcome, Sim};
use reactor::{
    Address, ConnectOptions, Connector, Cx, Handler, Interest, LoopCx, Reactor, Reason,
    Registration, Role,
};

use super::ground::{Ground, client_loop, demand_calm, server_at};
use super::loopback;

/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(4);
/// How often a client dials.
const DIALLING: Duration = Duration::from_millis(100);
/// How many messages have to come back.
const WANTED: u64 = 20;

/// Runs a server and a client.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, |backend| {
        loopback::build(servers::echo::SERVER, servers::echo::session, backend, &[])
    })?;
    let backend = ground.backend;
    let client = ground.client(sim, move || start(backend))?;
    sim.set_faults(Faults::all());
    sim.run_for(STORM)?;
    demand_calm::<()>(sim, ground.server, "dials", |sim| is_done(sim, client))?;
    ground.demand_peace::<()>(sim)
}

fn is_done(sim: &mut Sim, client: HostId) -> bool {
    sim.reactor::<Dials>(client).is_some_and(|it| it.app.answered >= WANTED && it.app.open == 0)
}

/// The state of the client.
#[derive(Default)]
struct Dials {
    answered: u64,
    /// Connections that were not told of their end.
    open: u64,
}

fn start(backend: &str) -> io::Result<Reactor<Dials>> {
    let mut reactor = client_loop(backend, Dials::default())?;
    reactor.cx().every(DIALLING, |_, cx| {
        if cx.app.answered < WANTED {
            dial(cx, &server_at(7), true);
            dial(cx, &server_at(8), false);
            dial(cx, &Address::Tcp(([10, 0, 0, 99], 7).into()), false);
        }
    })?;
    Ok(reactor)
}

fn dial(cx: &mut LoopCx<'_, Dials>, address: &Address, is_served: bool) {
    let registration = Registration::new(Interest::READ).role(Role::Connection);
    let caller = Caller { is_served, has_sent: false };
    // A dial that fails at once is repeated soon.
    let connector = Connector::new(address, &ConnectOptions::DEFAULT);
    let dialled = connector.register(registration, caller, cx);
    cx.app.open += u64::from(dialled.is_ok());
}

/// Sends a byte and waits for it.
struct Caller {
    /// Whether something listens at the address.
    is_served: bool,
    has_sent: bool,
}

impl Handler<Dials> for Caller {
    fn ready(&mut self, cx: &mut Cx<'_, Dials>) -> io::Result<()> {
        assert!(self.is_served, "a connection to where nothing listens is established");
        if !self.has_sent {
            self.has_sent = cx.write(&[IoSlice::new(b"x")])?.is_some();
            cx.set_interest(if self.has_sent { Interest::READ } else { Interest::BOTH });
        }
        let mut bytes = [0; 16];
        if cx.read(&mut bytes)?.is_some_and(|count| count > 0) {
            assert_eq!(bytes[0], b'x', "another byte has come back");
            cx.app.answered += 1;
            cx.end(Reason::Finished);
        } else if cx.readiness().contains(reactor::Readiness::READ_CLOSED) {
            cx.end(Reason::PeerClosed);
        }
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, Dials>) {
        cx.app.open -= 1;
    }
}
