//! Clients of RESP on the loop, which outlive their connections: each request is accounted for exactly once, while `kv`
//! is killed and started again, and the network fails.
//!
//! Each request increments a key of its own. So the stores of all lives of the server together show
//! how often it was carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use clients::resp::{Answer, Cause, Client, Command, Error, Options};
use protocol::resp::Protocol;
use reactor::sim::{Faults, HostId, Outcome, Sim};
use reactor::{ClientOptions, ConnectOptions, LoopCx, NotSent, Reactor, Unanswered, WhenIdle};
use servers::kv::App;
use testkit::Random;

use super::agent::PORT;
use super::ground::{DEATHS, Ground, client_loop, demand_calm, server_at};
use super::kv::build;

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
    let mut hosts = Vec::new();
    for number in 0..HOSTS {
        let (seed, backend) = (ground.random.number(), ground.backend);
        hosts.push(ground.client(sim, move || start(number, seed, backend))?);
    }
    // The records of the clients must survive. The server is killed below.
    sim.set_faults(Faults::all().without(&DEATHS));
    let mut done = BTreeMap::new();
    while sim.now() < WORK {
        sim.run_for(Duration::from_millis(ground.random.below(2500)))?;
        if ground.random.one_in(2) {
            count_done(sim, ground.server, &hosts, &mut done)?;
            sim.kill(ground.server);
            sim.run_for(Duration::from_millis(ground.random.below(1000)))?;
            sim.restart(ground.server)?;
        }
    }
    demand_calm::<App>(sim, ground.server, "clients", |sim| are_done(sim, &hosts))?;
    // A stall may be under way, and a client that wakes from it may not know that its connection has
    // ended.
    sim.run_for(Duration::from_secs(4))?;
    for host in &hosts {
        sim.with(*host, |cx: &mut LoopCx<'_, Caller>| request(LAST, Some(CALM), cx));
    }
    demand_calm::<App>(sim, ground.server, "last requests", |sim| are_done(sim, &hosts))?;
    count_done(sim, ground.server, &hosts, &mut done)?;
    for host in &hosts {
        let record = sim.with::<Caller, _>(*host, |cx| {
            cx.app.client.take();
            std::mem::take(&mut cx.app.record)
        });
        judge(&record.ok_or("the program of a client has ended")?, &done)?;
    }
    ground.demand_peace::<App>(sim)
}

/// Adds to `done` how often each request was carried out in this life of the server.
fn count_done(
    sim: &mut Sim,
    server: HostId,
    hosts: &[HostId],
    done: &mut BTreeMap<String, u64>,
) -> Outcome {
    let mut tags = Vec::new();
    for host in hosts {
        let client = sim.reactor::<Caller>(*host).ok_or("the program of a client has ended")?;
        tags.extend(client.app.record.begun.iter().cloned());
    }
    let counts = sim.with::<App, _>(server, |cx| {
        let count = |tag: String| {
            let text = String::from_utf8(cx.app.text(tag.as_bytes())?).ok()?;
            Some((tag, text.parse().ok()?))
        };
        tags.into_iter().filter_map(count).collect::<Vec<(String, u64)>>()
    });
    for (tag, count) in counts.ok_or("the server does not run")? {
        *done.entry(tag).or_default() += count;
    }
    Ok(())
}

/// Finds contradictions between what a client was told and what was done.
fn judge(record: &Record, done: &BTreeMap<String, u64>) -> Outcome {
    for tag in &record.begun {
        let count = done.get(tag).copied().unwrap_or(0);
        let wrong = match record.told.get(tag) {
            None => "never completed",
            Some(told) if is_last(tag) && *told != Told::Answered => "not answered in the calm",
            _ if count > 1 => "carried out more than once",
            Some(Told::Answered) if count == 0 => "answered and not carried out",
            Some(Told::NotSent) if count > 0 => "told not sent, and carried out",
            Some(_) => continue,
        };
        let told = record.told.get(tag);
        return Err(format!("{tag} was {wrong}: told {told:?}, done {count} times").into());
    }
    Ok(())
}

fn is_last(tag: &str) -> bool {
    tag.ends_with(&format!(":{LAST}"))
}

/// Returns whether all clients have begun their requests, and all of these are completed.
fn are_done(sim: &mut Sim, hosts: &[HostId]) -> bool {
    let is_over = sim.now() >= WORK;
    is_over
        && hosts
            .iter()
            .all(|host| sim.reactor::<Caller>(*host).is_some_and(|reactor| reactor.app.open() == 0))
}

/// What a request was completed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Answered,
    NotSent,
    Unknown,
}

/// The requests of one client.
#[derive(Default)]
struct Record {
    /// Those that were accepted.
    begun: BTreeSet<String>,
    told: BTreeMap<String, Told>,
}

/// The state of the program of a client.
struct Caller {
    number: u64,
    random: Random,
    client: Option<Client<Caller>>,
    begins: u64,
    record: Record,
    ends_at: std::time::Instant,
}

impl Caller {
    fn open(&self) -> usize {
        self.record.begun.len() - self.record.told.len()
    }
}

/// Builds the program of a client, whose options the seed decides.
fn start(number: u64, seed: u64, backend: &str) -> io::Result<Reactor<Caller>> {
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
    let app =
        Caller { number, random, client: None, begins: 0, record: Record::default(), ends_at };
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
        Ok(()) => _ = cx.app.record.begun.insert(tag),
        Err(error) => assert!(is_refused(&error), "{error}"),
    }
}

/// Returns whether a command was refused because of a limit, or since there is no connection.
fn is_refused(error: &Error) -> bool {
    let Cause::Unanswered(Unanswered::NotSent(why)) = error.cause() else { return false };
    matches!(why, NotSent::Full(_) | NotSent::Down(_))
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
    let before = cx.app.record.told.insert(tag.clone(), told);
    assert_eq!(before, None, "{tag} completes twice");
}
