//! Clients of RESP on the loop, which outlive their connections: each request is accounted for exactly once, while `kv`
//! is killed and started again, and the network fails.

use std::io;
use std::time::Duration;

use clients::resp::{Answer, Cause, Client, Command, Error, Options};
use protocol::resp::Protocol;
use reactor::sim::{Faults, Outcome, Sim};
use reactor::{ClientOptions, ConnectOptions, LoopCx, Reactor, Unanswered, WhenIdle};
use servers::kv::App;
use testkit::Random;

use super::agent::{PORT, build};
use super::ground::{DEATHS, Ground, client_loop, demand_calm, server_at};
use super::tally::{Shared, Tally, Told, is_refused};

/// How long the clients begin requests, and faults are drawn.
const WORK: Duration = Duration::from_secs(8);
/// How often a client begins requests.
const BEGINNING: Duration = Duration::from_millis(40);
/// How long the last request has, which has to be answered.
const CALM: Duration = Duration::from_secs(60);
/// Its number.
const LAST: u64 = u64::MAX;
/// Hosts with a client.
const HOSTS: u64 = 3;

/// The name of the server, which one of the clients resolves.
const NAME: &str = "kv.example";

/// Runs the server and its clients. Kills the server now and then.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    // Nothing is at the second address.
    sim.name(NAME, &["10.0.0.1", "10.0.0.99"]);
    let (mut tally, mut hosts) = (Tally::default(), Vec::new());
    for number in 0..HOSTS {
        let (seed, backend, record) = (ground.random.number(), ground.backend, tally.record());
        hosts.push(ground.client(sim, move || start(number, seed, &record, backend))?);
    }
    // The records of the clients must survive. The server is killed below.
    sim.set_faults(Faults::all().without(&DEATHS));
    while sim.now() < WORK {
        sim.run_for(Duration::from_millis(ground.random.below(2500)))?;
        if ground.random.one_in(2) {
            let server = ground.server;
            tally.replace(sim, server, &mut ground)?;
        }
    }
    let is_over = |sim: &mut Sim| sim.now() >= WORK && tally.is_complete();
    demand_calm::<App>(sim, ground.server, "clients", is_over)?;
    // A stall may be under way, and a client that wakes from it may not know that its connection has
    // ended.
    sim.run_for(Duration::from_secs(4))?;
    for host in &hosts {
        sim.with(*host, |cx: &mut LoopCx<'_, Caller>| request(LAST, Some(CALM), cx));
    }
    demand_calm::<App>(sim, ground.server, "last requests", |_| tally.is_complete())?;
    tally.count(sim, ground.server)?;
    tally.judge()?;
    for host in &hosts {
        if sim.late_writes(*host) > 0 {
            return Err("a client has sent requests to a server that had ended its stream".into());
        }
        let client = sim.with::<Caller, _>(*host, |cx| cx.app.client.take());
        client.flatten().ok_or("the program of a client has ended")?;
    }
    ground.demand_peace::<App>(sim)
}

/// The state of the program of a client.
struct Caller {
    number: u64,
    random: Random,
    client: Option<Client<Caller>>,
    begins: u64,
    record: Shared,
    ends_at: std::time::Instant,
}

/// Builds the program of a client, whose options the seed decides.
fn start(number: u64, seed: u64, record: &Shared, backend: &str) -> io::Result<Reactor<Caller>> {
    let mut random = Random::new(seed);
    let mut millis = |most: u64| Duration::from_millis(1 + random.below(most));
    let when_idle = match number {
        0 => WhenIdle::LetGo(millis(300)),
        _ => WhenIdle::KeepAlive(millis(2000)),
    };
    let options = ClientOptions {
        connect: ConnectOptions { timeout: millis(3000), ..ConnectOptions::DEFAULT },
        timeout: millis(4000),
        pause_max: Duration::from_secs(1),
        silence_max: millis(3000),
        when_idle,
        waits: number != 1,
        waiting_max: 40,
        in_flight_max: 1 + random.index(20),
        ..ClientOptions::DEFAULT
    };
    let ends_at = reactor::now() + WORK;
    let record = Shared::clone(record);
    let app = Caller { number, random, client: None, begins: 0, record, ends_at };
    let mut reactor = client_loop(backend, app)?;
    let address = match number {
        2 => format!("{NAME}:{PORT}"),
        _ => server_at(PORT).to_string(),
    };
    let protocol = if number == 1 { Protocol::Resp3 } else { Protocol::Resp2 };
    let how = Options { protocol, ..Options::default() };
    let client =
        Client::open(&address, &how, options, &mut reactor.cx()).map_err(io::Error::other)?;
    reactor.app.client = Some(client);
    reactor.cx().every(BEGINNING, |_, cx| begin(cx))?;
    Ok(reactor)
}

/// Begins some requests, at times more than may wait.
fn begin(cx: &mut LoopCx<'_, Caller>) {
    if cx.now() >= cx.app.ends_at {
        return;
    }
    let count = if cx.app.random.one_in(20) { 80 } else { cx.app.random.below(4) };
    for _ in 0..count {
        cx.app.begins += 1;
        let hurry = Duration::from_millis(1 + cx.app.random.below(200));
        let timeout = cx.app.random.one_in(4).then_some(hurry);
        request(cx.app.begins, timeout, cx);
    }
}

/// Begins the request of a number.
fn request(number: u64, timeout: Option<Duration>, cx: &mut LoopCx<'_, Caller>) {
    let Some(client) = &cx.app.client else { return };
    let tag = format!("{}:{number}", cx.app.number);
    let name = tag.clone();
    let done = move |result, cx: &mut LoopCx<'_, Caller>| complete(name, &result, cx);
    match client.execute(Command::new(["INCR", &tag]), timeout, done) {
        Ok(()) => cx.app.record.borrow_mut().begin(tag, number == LAST),
        Err(error) => {
            let Cause::Unanswered(Unanswered::NotSent(why)) = error.cause() else {
                panic!("{tag}: {error}");
            };
            assert!(is_refused(why), "{error}");
        }
    }
}

fn complete(tag: String, result: &Result<Answer, Error>, cx: &mut LoopCx<'_, Caller>) {
    let told = match result {
        Ok(Answer::Integer(1)) => Told::Answered,
        Ok(answer) => panic!("the first increment of {tag} is answered with {answer:?}"),
        Err(error) if error.may_be_done() => Told::Unknown,
        Err(error) => match error.cause() {
            Cause::Unanswered(_) => Told::NotSent,
            _ => panic!("{tag}: {error}"),
        },
    };
    cx.app.record.borrow_mut().complete(tag, told);
}
