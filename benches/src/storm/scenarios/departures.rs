//! Programs with clients that are told to stop while requests are under way: every request completes,
//! and the loop ends within its time.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{Fault, Faults, HostId, Outcome, Sim};
use reactor::{
    Client, ClientOptions, ClientState, ConnectOptions, Location, LoopCx, NotSent, Pool, Reactor,
    WhenIdle,
};
use servers::kv::App;
use testkit::Random;

use super::agent::{PORT, build};
use super::ground::{CLOCKS, DEATHS, Ground, client_loop, demand_calm, server_at};
use super::tally::{Counting, Request, Shared, Tally, Told, is_refused};

/// How often programs begin requests.
const BEGINNING: Duration = Duration::from_millis(20);
/// The longest time of a request.
const TIMEOUT_MAX: u64 = 4000;
/// How long a loop may take to stop, and what that comes to: a wait that a signal interrupts may hide
/// half of the time.
const PATIENCE: Duration = Duration::from_secs(3);
const STOPPING: Duration = Duration::from_millis(6_500);
/// How long a client may take to finish while its loop goes on: the time of its last request, and that of
/// closing its connection.
const FINISHING: Duration = Duration::from_secs(40);
/// How long the last requests have, which have to be answered.
const CALM: Duration = Duration::from_secs(60);
/// Hosts with clients.
const HOSTS: usize = 2;

/// Faults that keep a loop from working, or hide from it how much time has passed.
const EXCLUDED: [Fault; 5] =
    [Fault::Stop, Fault::Stall, Fault::LateTimer, Fault::WatchRefused, Fault::WaitNoMemory];

/// How a program is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The loop winds down.
    Loop,
    /// The loop stops at once.
    LoopAtOnce,
    /// The clients finish, and the loop goes on.
    Clients,
    /// The clients end at once, and the loop goes on.
    ClientsAtOnce,
    /// The handles are dropped.
    Handles,
}

const WAYS: [Way; 5] = [Way::Loop, Way::LoopAtOnce, Way::Clients, Way::ClientsAtOnce, Way::Handles];

/// Runs a server and programs with clients, which end in the storm.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let (mut tally, mut hosts, life) = (Tally::default(), Vec::new(), Rc::new(Cell::new(0)));
    let backend = ground.backend;
    for _ in 0..HOSTS {
        let (record, seed, life) = (tally.record(), ground.random.number(), Rc::clone(&life));
        hosts.push(ground.client(sim, move || start(seed, &record, &life, backend))?);
    }
    sim.set_faults(Faults::all().without(&EXCLUDED).without(&DEATHS).without(&CLOCKS));
    for host in &hosts {
        sim.run_for(Duration::from_millis(100 + ground.random.below(3_000)))?;
        if ground.random.one_in(4) {
            tally.replace(sim, ground.server, &mut ground)?;
        }
        let way = WAYS[ground.random.index(WAYS.len())];
        stop(sim, *host, way)?;
    }
    if !tally.is_complete() {
        return Err("a request is not completed though its client has ended".into());
    }
    // Starts the programs whose loops have ended.
    demand_calm::<App>(sim, ground.server, "programs", |sim| {
        hosts.iter().all(|host| sim.reactor::<Calls>(*host).is_some())
    })?;
    for host in &hosts {
        sim.with::<Calls, _>(*host, |cx| {
            if let Clients::None = cx.app.clients {
                return;
            }
            request(CALM, true, cx);
            cx.app.is_over = true;
        });
    }
    demand_calm::<App>(sim, ground.server, "last requests", |_| tally.is_complete())?;
    for host in &hosts {
        sim.with::<Calls, _>(*host, |cx| cx.app.clients = Clients::None);
    }
    tally.count(sim, ground.server)?;
    tally.judge()?;
    ground.demand_peace::<App>(sim)
}

/// Tells a program to stop, and demands that it does.
fn stop(sim: &mut Sim, host: HostId, way: Way) -> Outcome {
    sim.note(format_args!("stops: {way:?}"));
    let handles = sim.with::<Calls, _>(host, |cx| {
        let clients = cx.app.clients.list();
        match way {
            Way::Loop => cx.stop_gracefully(PATIENCE),
            Way::LoopAtOnce => cx.stop(),
            Way::Clients => match &cx.app.clients {
                Clients::None => {}
                Clients::One(client) => client.stop_gracefully(),
                Clients::Several(pool) => pool.stop_gracefully(),
            },
            Way::ClientsAtOnce => match &cx.app.clients {
                Clients::None => {}
                Clients::One(client) => client.close(),
                Clients::Several(pool) => pool.close(),
            },
            Way::Handles => {
                cx.app.clients = Clients::None;
                return Vec::new();
            }
        }
        clients
    });
    let handles = handles.ok_or("a program has ended by itself")?;
    let has_ended = |sim: &mut Sim| match way {
        Way::Loop | Way::LoopAtOnce => sim.reactor::<Calls>(host).is_none(),
        Way::Clients | Way::ClientsAtOnce => handles
            .iter()
            .all(|client| client.state() == ClientState::Closed && client.pending() == 0),
        Way::Handles => {
            sim.reactor::<Calls>(host).is_some_and(|it| it.app.record.borrow().open() == 0)
        }
    };
    let time = if matches!(way, Way::Loop | Way::LoopAtOnce) { STOPPING } else { FINISHING };
    if !sim.run_until(time, has_ended)? {
        let states: Vec<ClientState> = handles.iter().map(Client::state).collect();
        return Err(format!("a program does not stop ({way:?}): {states:?}").into());
    }
    let refuses = |client: &Client<Calls, Counting>| {
        let result = client.call(Request::Ping, |_, _| {});
        matches!(result, Err(NotSent::Closed))
    };
    if !handles.iter().all(refuses) {
        return Err("a client that has ended takes a request".into());
    }
    // What is left of it for the rest of the run is nothing.
    sim.with::<Calls, _>(host, |cx| cx.app.clients = Clients::None);
    Ok(())
}

/// The clients of a program.
enum Clients {
    None,
    One(Client<Calls, Counting>),
    Several(Pool<Calls, Counting>),
}

impl Clients {
    fn list(&self) -> Vec<Client<Calls, Counting>> {
        match self {
            Self::None => Vec::new(),
            Self::One(client) => vec![client.clone()],
            Self::Several(pool) => pool.clients().to_vec(),
        }
    }
}

/// The state of a program with clients.
struct Calls {
    /// The life of the program: requests of different lives have different keys.
    life: u64,
    random: Random,
    clients: Clients,
    begins: u64,
    record: Shared,
    is_over: bool,
}

fn start(
    seed: u64,
    record: &Shared,
    life: &Cell<u64>,
    backend: &str,
) -> io::Result<Reactor<Calls>> {
    let mut random = Random::new(seed);
    let mut millis = |most: u64| Duration::from_millis(1 + random.below(most));
    let idle = millis(1000);
    let options = ClientOptions {
        connect: ConnectOptions { timeout: millis(3000), ..ConnectOptions::DEFAULT },
        timeout: millis(TIMEOUT_MAX),
        pause_max: Duration::from_secs(1),
        silence_max: millis(3000),
        when_idle: match random.below(2) {
            0 => WhenIdle::KeepAlive(idle),
            _ => WhenIdle::LetGo(idle),
        },
        waits: !random.one_in(4),
        in_flight_max: 1 + random.index(20),
        ..ClientOptions::DEFAULT
    };
    life.set(life.get() + 1);
    let is_pool = random.one_in(2);
    let record = Shared::clone(record);
    let (life, clients) = (life.get(), Clients::None);
    let app = Calls { life, random, clients, begins: 0, record, is_over: false };
    let mut reactor = client_loop(backend, app)?;
    let target: Location = server_at(PORT).into();
    reactor.app.clients = if is_pool {
        Clients::Several(Pool::open(&[target], 2, options, |_| Counting, &mut reactor.cx())?)
    } else {
        Clients::One(Client::open(target, Counting, options, &mut reactor.cx())?)
    };
    reactor.cx().every(BEGINNING, |_, cx| {
        for _ in 0..cx.app.random.below(4) {
            let timeout = Duration::from_millis(1 + cx.app.random.below(TIMEOUT_MAX));
            if !cx.app.is_over {
                request(timeout, false, cx);
            }
        }
    })?;
    Ok(reactor)
}

/// Begins a request.
fn request(timeout: Duration, is_wanted: bool, cx: &mut LoopCx<'_, Calls>) {
    cx.app.begins += 1;
    let tag = format!("{}:{}", cx.app.life, cx.app.begins);
    let (name, wanted) = (tag.clone(), Request::Increment(tag.clone()));
    let done = move |result, cx: &mut LoopCx<'_, Calls>| {
        let told = Told::of(&name, &result);
        cx.app.record.borrow_mut().complete(name, told);
    };
    let accepted = match &cx.app.clients {
        Clients::None => return,
        Clients::One(client) => client.call_within(timeout, wanted, done),
        Clients::Several(pool) => pool.call_within(timeout, wanted, done),
    };
    match accepted {
        Ok(()) => cx.app.record.borrow_mut().begin(tag, is_wanted),
        Err(NotSent::Closed) => {}
        Err(why) => assert!(is_refused(&why) && !is_wanted, "{tag}: {why}"),
    }
}
