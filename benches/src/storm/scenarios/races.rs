//! Connecting by names with several addresses, some of which refuse or do not answer.

use std::io::{self, IoSlice};
use std::time::Duration;

use reactor::sim::{Faults, HostId, Outcome, Sim};
use reactor::{
    ConnectError, ConnectOptions, Connector, Cx, Handler, Interest, Location, LoopCx, Reactor,
    Reason, Registration, Role,
};

use super::ground::{CLOCKS, Ground, client_loop, counters, demand_calm};
use super::loopback;

/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(4);
/// How long a lookup may go on after the storm. Equal questions wait for it.
const LOOKUP_MAX: Duration = Duration::from_secs(70);
/// How often a client connects to all names.
const DIALLING: Duration = Duration::from_millis(100);
/// How many messages have to come back.
const WANTED: u64 = 20;

/// A name, and what connecting to it has to come to without faults.
struct Name {
    name: &'static str,
    addresses: &'static [&'static str],
    /// How long it takes, in milliseconds: at least, and less than.
    time: (u128, u128),
    /// How many attempts fail before it ends; `None` if a server answers.
    fails: Option<usize>,
}

/// Hosts that do not answer. The server is `10.0.0.1`; nothing listens on the other hosts.
const SILENT: [&str; 2] = ["fd00::1", "fd00::2"];
static NAMES: [Name; 4] = [
    // The families take turns, so the second attempt succeeds.
    Name {
        name: "silent",
        addresses: &["fd00::1", "fd00::2", "10.0.0.1"],
        time: (250, 300),
        fails: None,
    },
    // The next attempt follows at once.
    Name { name: "refusing", addresses: &["10.0.0.50", "10.0.0.1"], time: (0, 100), fails: None },
    Name {
        name: "both",
        addresses: &["fd00::1", "10.0.0.50", "10.0.0.1"],
        time: (250, 300),
        fails: None,
    },
    Name {
        name: "nowhere",
        addresses: &["10.0.0.50", "10.0.0.51"],
        time: (0, 100),
        fails: Some(2),
    },
];

/// Runs a server and a client.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, |backend| {
        loopback::build(servers::echo::SERVER, servers::echo::session, backend, &[])
    })?;
    let backend = ground.backend;
    let client = ground.client(sim, move || start(backend))?;
    let silent = SILENT.map(|host| sim.host(host));
    for host in ["10.0.0.50", "10.0.0.51"] {
        sim.host(host);
    }
    for name in &NAMES {
        sim.name(name.name, name.addresses);
    }
    sim.set_faults(Faults::all().without(&CLOCKS));
    sim.run_for(STORM)?;
    demand_calm::<()>(sim, ground.server, "races", |sim| is_done(sim, client))?;
    sim.run_for(LOOKUP_MAX)?;
    for host in silent {
        sim.cut(client, host);
    }
    for name in &NAMES {
        demand_race(sim, client, name)?;
    }
    ground.demand_peace::<()>(sim)
}

fn is_done(sim: &mut Sim, client: HostId) -> bool {
    sim.reactor::<Races>(client).is_some_and(|it| it.app.answered >= WANTED && it.app.open == 0)
}

/// Connects to `name` once without faults.
fn demand_race(sim: &mut Sim, client: HostId, name: &'static Name) -> Outcome {
    let live = move |sim: &mut Sim| counters::<Races>(sim, client).map(|it| it.live());
    let told = move |sim: &mut Sim| {
        sim.reactor::<Races>(client).and_then(|reactor| reactor.app.told.first().copied())
    };
    let (before, start) = (live(sim), sim.now());
    sim.with::<Races, _>(client, |cx| {
        cx.app.told.clear();
        dial(cx, name);
    });
    sim.run_until(Duration::from_secs(60), |sim| told(sim).is_some())?;
    let (took, text) = ((sim.now() - start).as_millis(), name.name);
    if told(sim) != Some(name.fails) || !(name.time.0..name.time.1).contains(&took) {
        return Err(format!("{text} has come to {:?} after {took} ms", told(sim)).into());
    }
    // The echo has come back by then.
    sim.run_for(Duration::from_millis(100))?;
    if live(sim) != before {
        return Err(format!("{text} has left {:?} sources, of {before:?}", live(sim)).into());
    }
    Ok(())
}

/// The state of the client.
#[derive(Default)]
struct Races {
    answered: u64,
    /// Connections that were not told of their end.
    open: u64,
    /// How many attempts connecting has failed with; `None` for a connection.
    told: Vec<Option<usize>>,
}

fn start(backend: &str) -> io::Result<Reactor<Races>> {
    let mut reactor = client_loop(backend, Races::default())?;
    reactor.cx().every(DIALLING, |_, cx| {
        if cx.app.answered < WANTED {
            NAMES.iter().for_each(|name| dial(cx, name));
        }
    })?;
    Ok(reactor)
}

fn dial(cx: &mut LoopCx<'_, Races>, name: &'static Name) {
    let target: Location = format!("{}:echo", name.name).parse().expect("it is a location");
    let registration = Registration::new(Interest::READ).role(Role::Connection);
    let caller = Caller { name, is_open: false, has_sent: false };
    // One that fails at once is repeated soon.
    let connector = Connector::new(target, &ConnectOptions::DEFAULT);
    let dialled = connector.register(registration, caller, cx);
    cx.app.open += u64::from(dialled.is_ok());
}

/// Sends a byte and waits for it.
struct Caller {
    name: &'static Name,
    is_open: bool,
    has_sent: bool,
}

impl Handler<Races> for Caller {
    fn ready(&mut self, cx: &mut Cx<'_, Races>) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_open, true) {
            let name = self.name.name;
            assert!(self.name.fails.is_none(), "a connection to {name} is established");
            cx.app.told.push(None);
        }
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

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Races>) {
        cx.app.open -= 1;
        if let Reason::Failed { operation: "connect", error } = &reason
            && !self.is_open
        {
            let error = error.get_ref().and_then(|error| error.downcast_ref::<ConnectError>());
            let error = error.expect("it says what each attempt came to");
            assert!(error.attempts().len() <= self.name.addresses.len(), "{error}");
            cx.app.told.push(Some(error.attempts().len()));
        }
    }
}
