//! Clients that follow a master from failover to failover, while sentinels die, are cut off and lie, old
//! masters return, and failovers are given up.
//!
//! Each request increments a key of its own, and is answered with the epoch in which the server has
//! become the master. So the answers show where a client was.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use clients::resp::{Answer, Cause, Command, Error, Options};
use clients::sentinel::{MasterClient, SentinelOptions, Sentinels};
use reactor::sim::{Faults, HostId, Outcome, Sim};
use reactor::{ClientOptions, ConnectOptions, LoopCx, Reactor, WhenIdle};
use testkit::Random;

use super::agent::PORT;
use super::ground::{DEATHS, Ground, client_loop, demand_calm};
use super::members::{Member, NAME, Serving, Watcher, Watching, build, ip};
use super::tally::{Record, Told};

/// How long the clients begin requests, and faults are drawn.
const WORK: Duration = Duration::from_secs(15);
/// How often a client begins requests.
const BEGINNING: Duration = Duration::from_millis(40);
/// How long the last request has, which has to be answered.
const CALM: Duration = Duration::from_secs(60);
/// Its number.
const LAST: u64 = u64::MAX;
/// How many servers, sentinels and clients there are.
const SERVERS: usize = 3;
const WATCHERS: usize = 3;
const CALLERS: u64 = 2;
/// A master that is none of the group, which a sentinel may name. Its host comes after the servers'.
const STRANGER: usize = SERVERS;
/// The sentinel that lies, if one does.
const LIAR: usize = 2;
/// An epoch that no failover reaches.
const FUTURE: u64 = 999_999;

/// Runs a group and its clients.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground =
        Ground::new(sim, |backend| build::<Member, Serving>(1, backend, Member::default()))?;
    let mut group = Group::start(sim, &mut ground)?;
    // The records of the clients must survive. Members are killed below.
    sim.set_faults(Faults::all().without(&DEATHS));
    while sim.now() < WORK {
        sim.run_for(Duration::from_millis(ground.random.below(1500)))?;
        match ground.random.below(5) {
            0 => {
                let named = ground.random.index(STRANGER + 1);
                group.lie(sim, &mut ground.random, named);
            }
            1 => group.lose_a_watcher(sim, &mut ground.random)?,
            _ => group.fail_over(sim, &mut ground.random)?,
        }
    }
    let callers = group.callers.clone();
    demand_calm::<Member>(sim, ground.server, "callers", |sim| are_done(sim, &callers))?;
    // A stall may be under way, and a client that wakes from it may not know that its connection has
    // ended.
    sim.run_for(Duration::from_secs(4))?;
    for host in &callers {
        sim.with(*host, |cx: &mut LoopCx<'_, Caller>| request(LAST, Some(CALM), cx));
    }
    demand_calm::<Member>(sim, ground.server, "last requests", |sim| are_done(sim, &callers))?;
    group.judge(sim)?;
    ground.demand_peace::<Member>(sim)
}

/// The members, and what is true of them.
struct Group {
    servers: Vec<HostId>,
    watchers: Vec<HostId>,
    callers: Vec<HostId>,
    /// The epoch of the failover that has made each server a master. `None`: it is a replica.
    roles: Vec<Option<u64>>,
    /// The master in the eyes of each sentinel, and the epoch of that.
    claims: Vec<(usize, u64)>,
    master: usize,
    epoch: u64,
    has_liar: bool,
    /// The epochs of failovers that were given up: then the earlier master goes on.
    given_up: BTreeSet<u64>,
    /// How often each request was carried out by servers whose programs have ended.
    done: BTreeMap<String, u64>,
}

impl Group {
    fn start(sim: &mut Sim, ground: &mut Ground) -> Result<Self, io::Error> {
        let backend = ground.backend;
        let mut number = 1;
        let mut servers = vec![ground.server];
        for _ in 0..SERVERS {
            number += 1;
            let start = move || build::<Member, Serving>(number, backend, Member::default());
            servers.push(ground.client(sim, start)?);
        }
        let (mut watchers, mut callers) = (Vec::new(), Vec::new());
        for _ in 0..WATCHERS {
            number += 1;
            let start = move || {
                let app = Watcher::new(format!("id{number}"));
                build::<Watcher, Watching>(number, backend, app)
            };
            watchers.push(ground.client(sim, start)?);
        }
        for caller in 0..CALLERS {
            let seed = ground.random.number();
            callers.push(ground.client(sim, move || start(caller, seed, backend))?);
        }
        let mut roles = vec![None; SERVERS];
        roles[0] = Some(1);
        // The stranger is a master, too.
        roles.push(Some(0));
        let (given_up, done) = (BTreeSet::new(), BTreeMap::new());
        let (claims, has_liar) = (vec![(0, 1); WATCHERS], ground.random.one_in(2));
        let (master, epoch) = (0, 1);
        let group = Self {
            servers,
            watchers,
            callers,
            roles,
            claims,
            master,
            epoch,
            has_liar,
            given_up,
            done,
        };
        (0..=STRANGER).for_each(|server| group.tell_server(sim, server));
        (0..WATCHERS).for_each(|watcher| group.tell_watcher(sim, watcher));
        Ok(group)
    }

    /// Gives a server the role that it has.
    fn tell_server(&self, sim: &mut Sim, server: usize) {
        let role = self.roles[server];
        sim.with(self.servers[server], |cx: &mut LoopCx<'_, Member>| cx.app.set_role(role));
    }

    fn set_role(&mut self, sim: &mut Sim, server: usize, master_since: Option<u64>) {
        self.roles[server] = master_since;
        self.tell_server(sim, server);
    }

    /// Gives a sentinel what it knows. It does nothing for one whose program has ended.
    fn tell_watcher(&self, sim: &mut Sim, watcher: usize) {
        let (master, epoch) = self.claims[watcher];
        let others = (0..SERVERS).filter(|server| *server != master);
        let replicas: Vec<String> = others.map(|server| ip(server + 1)).collect();
        sim.with(self.watchers[watcher], |cx: &mut LoopCx<'_, Watcher>| {
            (cx.app.master, cx.app.replicas) = (Some((ip(master + 1), epoch)), replicas);
        });
    }

    /// Makes the lying sentinel, if there is one, call this server the master, in several ways.
    fn lie(&mut self, sim: &mut Sim, random: &mut Random, named: usize) {
        if !self.has_liar {
            return;
        }
        self.claims[LIAR] = (named, if random.one_in(3) { 0 } else { FUTURE });
        self.tell_watcher(sim, LIAR);
        // It says that it is the leader, or that it has the ID of another one.
        let id = self.id(if random.one_in(2) { LIAR } else { 0 });
        sim.with(self.watchers[LIAR], |cx: &mut LoopCx<'_, Watcher>| {
            cx.app.id.clone_from(&id);
            Watcher::vote(cx, &id, FUTURE);
            Watcher::promote(cx, &ip(named + 1));
            Watcher::switch(cx, &ip(named + 1));
        });
    }

    fn id(&self, watcher: usize) -> String {
        format!("id{}", self.servers.len() + watcher + 1)
    }

    /// Returns whether a sentinel says what is true.
    fn is_honest(&self, watcher: usize) -> bool {
        !(self.has_liar && watcher == LIAR)
    }

    /// Kills a sentinel, and starts it again.
    fn lose_a_watcher(&mut self, sim: &mut Sim, random: &mut Random) -> Outcome {
        let watcher = random.index(WATCHERS);
        sim.kill(self.watchers[watcher]);
        sim.run_for(Duration::from_millis(random.below(2000)))?;
        sim.restart(self.watchers[watcher])?;
        self.tell_watcher(sim, watcher);
        Ok(())
    }

    /// Makes the master fail, and another server the master. Then the old one returns.
    fn fail_over(&mut self, sim: &mut Sim, random: &mut Random) -> Outcome {
        let old = self.master;
        let new = (old + 1 + random.index(SERVERS - 1)) % SERVERS;
        let failure = random.below(4);
        self.fail(sim, old, failure);
        sim.run_for(Duration::from_millis(random.below(1500)))?;
        self.epoch += 1;
        let epoch = self.epoch;
        let honest: Vec<usize> = (0..WATCHERS).filter(|it| self.is_honest(*it)).collect();
        let leader = honest[random.index(honest.len())];
        for watcher in &honest {
            let id = self.id(leader);
            sim.with(self.watchers[*watcher], |cx| Watcher::vote(cx, &id, epoch));
            sim.run_for(Duration::from_millis(random.below(50)))?;
        }
        self.set_role(sim, new, Some(epoch));
        sim.with(self.watchers[leader], |cx| Watcher::promote(cx, &ip(new + 1)));
        sim.run_for(Duration::from_millis(random.below(1500)))?;
        let is_given_up = random.one_in(5);
        if is_given_up {
            self.given_up.insert(epoch);
            self.set_role(sim, new, None);
        } else {
            self.master = new;
            // The leader knows first.
            let others = honest.into_iter().filter(|it| *it != leader);
            for watcher in [leader].into_iter().chain(others) {
                self.claims[watcher] = (new, epoch);
                self.tell_watcher(sim, watcher);
                sim.with(self.watchers[watcher], |cx| Watcher::switch(cx, &ip(new + 1)));
                sim.run_for(Duration::from_millis(random.below(500)))?;
            }
        }
        sim.run_for(Duration::from_millis(random.below(1500)))?;
        self.recover(sim, old, failure)?;
        // It says that it is the master until the sentinels tell it.
        sim.run_for(Duration::from_millis(random.below(700)))?;
        self.lie(sim, random, old);
        sim.run_for(Duration::from_millis(random.below(700)))?;
        if !is_given_up {
            self.set_role(sim, old, None);
        }
        Ok(())
    }

    fn fail(&mut self, sim: &mut Sim, server: usize, failure: u64) {
        let host = self.servers[server];
        match failure {
            0 => {
                self.count_done(sim, server);
                sim.kill(host);
            }
            1 => sim.stop(host),
            2 => self.others(host).into_iter().for_each(|other| sim.partition(host, other)),
            // The sentinels are wrong: it is well.
            _ => {}
        }
    }

    fn recover(&self, sim: &mut Sim, server: usize, failure: u64) -> Outcome {
        let host = self.servers[server];
        match failure {
            0 => sim.restart(host)?,
            1 => sim.resume(host),
            2 => self.others(host).into_iter().for_each(|other| sim.heal(host, other)),
            _ => {}
        }
        self.tell_server(sim, server);
        Ok(())
    }

    fn others(&self, host: HostId) -> Vec<HostId> {
        let all = self.servers.iter().chain(&self.watchers).chain(&self.callers);
        all.copied().filter(|it| *it != host).collect()
    }

    /// Adds what a server has done since its program was started.
    fn count_done(&mut self, sim: &mut Sim, server: usize) {
        let done = sim.with(self.servers[server], |cx: &mut LoopCx<'_, Member>| {
            assert_eq!(cx.app.misled, Vec::<String>::new(), "a replica was sent requests");
            std::mem::take(&mut cx.app.done)
        });
        for (tag, count) in done.into_iter().flatten() {
            assert!(server != STRANGER, "{tag} was sent to a server of another group");
            *self.done.entry(tag).or_default() += count;
        }
    }

    /// Finds contradictions between what the clients were told and what was done, and ends them.
    fn judge(&mut self, sim: &mut Sim) -> Outcome {
        (0..=STRANGER).for_each(|server| self.count_done(sim, server));
        let present = self.roles[self.master];
        for host in &self.callers {
            let ended = sim.with::<Caller, _>(*host, |cx| {
                let known = cx.app.sentinels.take().and_then(|it| it.master());
                cx.app.client.take();
                (known, std::mem::take(&mut cx.app.record), std::mem::take(&mut cx.app.answers))
            });
            let (known, record, mut answers) = ended.ok_or("the program of a client has ended")?;
            if known.as_ref().map(|it| it.host()) != Some(ip(self.master + 1).as_str()) {
                return Err(format!("the master is taken for {known:?}").into());
            }
            record.judge(&self.done)?;
            answers.dedup();
            let lasting = answers.iter().filter(|it| !self.given_up.contains(it));
            if !lasting.clone().is_sorted() {
                return Err(format!("an old master has answered: {answers:?}").into());
            }
            if lasting.max().copied() != present {
                return Err("the last request was not answered by the present master".into());
            }
        }
        Ok(())
    }
}

/// Returns whether all clients have begun their requests, and all of these are completed.
fn are_done(sim: &mut Sim, hosts: &[HostId]) -> bool {
    let is_over = sim.now() >= WORK;
    let mut is_done =
        |host| sim.reactor::<Caller>(host).is_some_and(|it| it.app.record.open() == 0);
    is_over && hosts.iter().all(|host| is_done(*host))
}

/// The state of the program of a client.
struct Caller {
    number: u64,
    random: Random,
    sentinels: Option<Sentinels<Caller>>,
    client: Option<MasterClient<Caller>>,
    begins: u64,
    record: Record,
    /// The epochs in which the servers had become masters that have answered.
    answers: Vec<u64>,
    ends_at: std::time::Instant,
}

/// Builds the program of a client, whose options the seed decides.
fn start(number: u64, seed: u64, backend: &str) -> io::Result<Reactor<Caller>> {
    let mut random = Random::new(seed);
    let mut millis = |most: u64| Duration::from_millis(1 + random.below(most));
    let options = SentinelOptions {
        interval: Duration::from_millis(100) + millis(1500),
        timeout: Duration::from_millis(100) + millis(1500),
        retry: Duration::from_millis(10) + millis(200),
        ..SentinelOptions::default()
    };
    let client = ClientOptions {
        connect: ConnectOptions { timeout: millis(3000), ..ConnectOptions::DEFAULT },
        timeout: millis(4000),
        pause_max: Duration::from_secs(1),
        silence_max: millis(3000),
        when_idle: WhenIdle::KeepAlive(millis(2000)),
        ..ClientOptions::DEFAULT
    };
    let ends_at = reactor::now() + WORK;
    let app = Caller {
        number,
        random,
        sentinels: None,
        client: None,
        begins: 0,
        record: Record::default(),
        answers: Vec::new(),
        ends_at,
    };
    let mut reactor = client_loop(backend, app)?;
    let cx = &mut reactor.cx();
    let addresses = (0..WATCHERS).map(|watcher| format!("{}:{PORT}", ip(SERVERS + 2 + watcher)));
    let sentinels = Sentinels::open(NAME, addresses, options, cx)?;
    let client = sentinels.client(&Options::default(), client, cx).map_err(io::Error::other)?;
    (cx.app.sentinels, cx.app.client) = (Some(sentinels), Some(client));
    cx.every(BEGINNING, |_, cx| begin(cx))?;
    Ok(reactor)
}

/// Begins some requests.
fn begin(cx: &mut LoopCx<'_, Caller>) {
    if cx.now() >= cx.app.ends_at {
        return;
    }
    for _ in 0..cx.app.random.below(4) {
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
    let accepted = client.execute(Command::new(["INCR", &tag]), timeout, done);
    accepted.expect("there is room for more");
    cx.app.record.begin(tag, number == LAST);
}

fn complete(tag: String, result: &Result<Answer, Error>, cx: &mut LoopCx<'_, Caller>) {
    let told = match result {
        Ok(answer) => {
            let epoch = answer.as_integer().expect("the answer is an epoch");
            cx.app.answers.push(epoch as u64);
            Told::Answered
        }
        Err(error) if error.may_be_done() => Told::Unknown,
        Err(error) => match error.cause() {
            Cause::Unanswered(_) => Told::NotSent,
            _ => panic!("{tag}: {error}"),
        },
    };
    cx.app.record.complete(tag, told);
}
