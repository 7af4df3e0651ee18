//! A pool of clients of two servers, and a client whose server changes, while the servers are killed and
//! started again and the network fails.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use reactor::sim::{Faults, HostId, Outcome, Sim};
use reactor::{
    Address, Client, ClientOptions, ClientState, ConnectOptions, Location, LoopCx, NotSent, Pool,
    Reactor, Unanswered, WhenIdle,
};
use servers::kv::App;
use testkit::Random;

use super::agent::{PORT, build_on};
use super::ground::{DEATHS, Ground, client_loop, counters, demand_calm};
use super::tally::{Counting, Request, Shared, Tally, Told, is_refused};

/// How long the clients begin requests, and faults are drawn.
const WORK: Duration = Duration::from_secs(6);
/// How often they begin requests.
const BEGINNING: Duration = Duration::from_millis(40);
/// A stall may be under way when the calm begins, and a program that wakes from it may not know that its
/// connections have ended.
const WAKING: Duration = Duration::from_secs(4);
/// How long making connections again may take once the network works: the longest pause, connecting,
/// and the silence after which a connection is found to be dead.
const RETURN: Duration = Duration::from_secs(20);
/// How long a request has in the calm. No connection is made in this time, so one that goes to a server
/// that is down is not answered.
const CALM: Duration = Duration::from_secs(2);
/// How many attempts to connect the clients of a server that is down make in a second at most: with pauses
/// of up to a second, it would be two for each client on average.
const ATTEMPTS_MAX: f64 = 40.0;
/// How many clients the pool has for each server.
const SIZE: usize = 2;
/// The servers.
const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
/// The name of both servers.
const NAME: &str = "kv.example";

fn location(server: Ipv4Addr) -> Location {
    Address::Tcp((server, PORT).into()).into()
}

/// The programs of a run.
struct Hosts {
    servers: [HostId; 2],
    pool: HostId,
    mover: HostId,
}

/// Runs two servers, a pool and a client that moves. Kills servers now and then.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, |backend| build_on(SERVERS[0], backend))?;
    let backend = ground.backend;
    let second = ground.client(sim, move || build_on(SERVERS[1], backend))?;
    sim.name(NAME, &["10.0.0.1", "10.0.0.2"]);
    let mut tally = Tally::default();
    let (record, seed) = (tally.record(), ground.random.number());
    let pool = ground.client(sim, move || start_pool(seed, &record, backend))?;
    let (record, seed) = (tally.record(), ground.random.number());
    let mover = ground.client(sim, move || start_mover(seed, &record, backend))?;
    let hosts = Hosts { servers: [ground.server, second], pool, mover };
    // The clients must survive. The servers are killed below.
    sim.set_faults(Faults::all().without(&DEATHS));
    while sim.now() < WORK {
        sim.run_for(Duration::from_millis(ground.random.below(2000)))?;
        if ground.random.one_in(2) {
            let server = hosts.servers[ground.random.index(2)];
            tally.replace(sim, server, &mut ground)?;
        }
    }
    let is_over = |sim: &mut Sim| sim.now() >= WORK && tally.is_complete();
    demand_calm::<App>(sim, ground.server, "requests", is_over)?;
    sim.run_for(WAKING)?;
    demand_return(sim, &hosts)?;
    demand_answers(sim, &hosts, &tally)?;
    demand_balance(sim, &hosts, &tally)?;
    demand_without_one(sim, &hosts, &mut tally, ground.random.index(2))?;
    for server in hosts.servers {
        tally.count(sim, server)?;
    }
    tally.judge()?;
    sim.with::<Calls, _>(hosts.pool, |cx| cx.app.clients = Clients::None);
    sim.with::<Calls, _>(hosts.mover, |cx| cx.app.clients = Clients::None);
    ground.demand_peace::<App>(sim)
}

/// Demands that all clients have a connection that are to have one, and no others.
fn demand_return(sim: &mut Sim, hosts: &Hosts) -> Outcome {
    sim.with::<Calls, _>(hosts.mover, |cx| {
        if let Clients::One(client) = &cx.app.clients {
            client.set_target(Some(location(SERVERS[0])));
        }
    });
    let states = |sim: &mut Sim, host| {
        sim.reactor::<Calls>(host).map(|it| (it.app.when_idle, it.app.clients.states()))
    };
    let is_well = |sim: &mut Sim, host| {
        states(sim, host).is_some_and(|(when_idle, states)| {
            let wanted = match when_idle {
                WhenIdle::KeepAlive(_) | WhenIdle::Pulse(_) => ClientState::Up,
                WhenIdle::LetGo(_) => ClientState::Idle,
            };
            states.iter().all(|state| *state == wanted)
        })
    };
    for host in [hosts.pool, hosts.mover] {
        if !sim.run_until(RETURN, |sim| is_well(sim, host))? {
            return Err(format!("clients do not come back: {:?}", states(sim, host)).into());
        }
    }
    Ok(())
}

/// Demands that a request of each program is answered.
fn demand_answers(sim: &mut Sim, hosts: &Hosts, tally: &Tally) -> Outcome {
    for host in [hosts.pool, hosts.mover] {
        sim.with::<Calls, _>(host, |cx| request(CALM, true, cx));
    }
    demand_completion(sim, tally)?;
    // The client that has moved does not talk to the other server.
    let last = sim.reactor::<Calls>(hosts.mover).map(|it| it.app.tag());
    let last = last.ok_or("the client that moves does not run")?;
    let text = sim.with::<App, _>(hosts.servers[0], |cx| cx.app.text(last.as_bytes()));
    match text.flatten() {
        Some(_) => Ok(()),
        None => Err("a request has gone to an earlier server".into()),
    }
}

fn demand_completion(sim: &mut Sim, tally: &Tally) -> Outcome {
    match sim.run_until(2 * CALM, |_| tally.is_complete())? {
        true => Ok(()),
        false => Err("a request is not completed in its time".into()),
    }
}

/// Demands that a pool whose clients all have a connection gives each as much to do as the others.
fn demand_balance(sim: &mut Sim, hosts: &Hosts, tally: &Tally) -> Outcome {
    let pending = sim.with::<Calls, _>(hosts.pool, |cx| {
        for _ in 0..4 * SIZE {
            request(CALM, true, cx);
        }
        let Clients::Several(pool) = &cx.app.clients else { return Vec::new() };
        let is_kept = cx.app.is_kept();
        pool.clients().iter().map(Client::pending).filter(|_| is_kept).collect::<Vec<usize>>()
    });
    let pending = pending.ok_or("the pool does not run")?;
    if pending.iter().any(|count| *count != 2) {
        return Err(format!("the pool is out of balance: {pending:?}").into());
    }
    demand_completion(sim, tally)
}

/// Demands that the pool works, and has its answers at once, while one of the servers is down. Then the
/// server is there again.
fn demand_without_one(sim: &mut Sim, hosts: &Hosts, tally: &mut Tally, victim: usize) -> Outcome {
    let server = hosts.servers[victim];
    tally.count(sim, server)?;
    sim.kill(server);
    let sources = |sim: &mut Sim| counters::<Calls>(sim, hosts.pool).map_or(0, |it| it.registered);
    let (since, before) = (sim.now(), sources(sim));
    // Idle clients learn that their server is down when they connect.
    for is_wanted in [false, true, true, true] {
        sim.run_for(CALM)?;
        sim.with::<Calls, _>(hosts.pool, |cx| {
            for _ in 0..4 * SIZE {
                request(CALM, is_wanted && cx.app.is_kept(), cx);
            }
        });
        demand_completion(sim, tally)?;
    }
    let (time, attempts) = (sim.now() - since, sources(sim) - before);
    if attempts as f64 > ATTEMPTS_MAX * time.as_secs_f64() {
        return Err(format!("{attempts} attempts to connect in {time:?}").into());
    }
    sim.restart(server)?;
    demand_return(sim, hosts)
}

/// The clients of a program.
enum Clients {
    None,
    One(Client<Calls, Counting>),
    Several(Pool<Calls, Counting>),
}

impl Clients {
    fn states(&self) -> Vec<ClientState> {
        match self {
            Self::None => Vec::new(),
            Self::One(client) => vec![client.state()],
            Self::Several(pool) => pool.clients().iter().map(Client::state).collect(),
        }
    }

    fn call(
        &self,
        timeout: Duration,
        tag: String,
        done: impl FnOnce(Result<Option<i64>, Unanswered>, &mut LoopCx<'_, Calls>) + Send + 'static,
    ) -> Result<(), NotSent> {
        let request = Request::Increment(tag);
        match self {
            Self::None => Err(NotSent::Closed),
            Self::One(client) => client.call_within(timeout, request, done),
            Self::Several(pool) => pool.call_within(timeout, request, done),
        }
    }
}

/// The state of a program with clients.
struct Calls {
    name: &'static str,
    random: Random,
    clients: Clients,
    when_idle: WhenIdle,
    begins: u64,
    record: Shared,
    ends_at: Instant,
}

impl Calls {
    /// Returns the key of the last request.
    fn tag(&self) -> String {
        format!("{}:{}", self.name, self.begins)
    }

    fn is_kept(&self) -> bool {
        matches!(self.when_idle, WhenIdle::KeepAlive(_))
    }

    fn new(name: &'static str, mut random: Random, record: &Shared) -> Self {
        let idle = Duration::from_millis(100 + random.below(1500));
        let when_idle =
            if random.one_in(3) { WhenIdle::LetGo(idle) } else { WhenIdle::KeepAlive(idle) };
        let (record, ends_at) = (Shared::clone(record), reactor::now() + WORK);
        Self { name, random, clients: Clients::None, when_idle, begins: 0, record, ends_at }
    }

    /// Returns options that the seed decides.
    fn options(&mut self) -> ClientOptions {
        let mut millis = |most: u64| Duration::from_millis(1 + self.random.below(most));
        ClientOptions {
            connect: ConnectOptions { timeout: millis(3000), ..ConnectOptions::DEFAULT },
            timeout: millis(4000),
            pause_max: Duration::from_secs(1),
            silence_max: millis(3000),
            when_idle: self.when_idle,
            waits: !self.random.one_in(4),
            waiting_max: 40,
            in_flight_max: 1 + self.random.index(20),
            ..ClientOptions::DEFAULT
        }
    }
}

fn start_pool(seed: u64, record: &Shared, backend: &str) -> io::Result<Reactor<Calls>> {
    let mut app = Calls::new("pool", Random::new(seed), record);
    let options = app.options();
    let mut reactor = client_loop(backend, app)?;
    let targets = SERVERS.map(location);
    let pool = Pool::open(&targets, SIZE, options, |_| Counting, &mut reactor.cx())?;
    reactor.app.clients = Clients::Several(pool);
    reactor.cx().every(BEGINNING, |_, cx| begin(cx))?;
    Ok(reactor)
}

fn start_mover(seed: u64, record: &Shared, backend: &str) -> io::Result<Reactor<Calls>> {
    let mut app = Calls::new("mover", Random::new(seed), record);
    let options = app.options();
    let mut reactor = client_loop(backend, app)?;
    let client = Client::open_later(Counting, options, &mut reactor.cx())?;
    reactor.app.clients = Clients::One(client);
    reactor.cx().every(BEGINNING, |_, cx| {
        begin(cx);
        move_on(cx);
    })?;
    Ok(reactor)
}

/// Begins some requests.
fn begin(cx: &mut LoopCx<'_, Calls>) {
    if cx.now() >= cx.app.ends_at {
        return;
    }
    for _ in 0..cx.app.random.below(4) {
        let most = if cx.app.random.one_in(4) { 200 } else { 4000 };
        let timeout = Duration::from_millis(1 + cx.app.random.below(most));
        request(timeout, false, cx);
    }
}

/// Now and then, changes the server: to one of the two, to either, to one that is not there, or to none.
fn move_on(cx: &mut LoopCx<'_, Calls>) {
    if cx.now() >= cx.app.ends_at || !cx.app.random.one_in(12) {
        return;
    }
    let target = match cx.app.random.below(8) {
        0..3 => Some(location(SERVERS[0])),
        3..5 => Some(location(SERVERS[1])),
        5 => format!("{NAME}:{PORT}").parse().ok(),
        6 => Some(location(Ipv4Addr::new(10, 0, 0, 99))),
        _ => None,
    };
    if let Clients::One(client) = &cx.app.clients {
        client.set_target(target);
    }
}

/// Begins a request.
fn request(timeout: Duration, is_wanted: bool, cx: &mut LoopCx<'_, Calls>) {
    cx.app.begins += 1;
    let tag = cx.app.tag();
    let name = tag.clone();
    let done = move |result, cx: &mut LoopCx<'_, Calls>| {
        let told = Told::of(&name, &result);
        cx.app.record.borrow_mut().complete(name, told);
    };
    match cx.app.clients.call(timeout, tag.clone(), done) {
        Ok(()) => cx.app.record.borrow_mut().begin(tag, is_wanted),
        Err(why) => assert!(is_refused(&why) && !is_wanted, "{tag}: {why}"),
    }
}
