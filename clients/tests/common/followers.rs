//! Clients that follow a master of Redis and write to it, and what must be true of them after its
//! failure.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clients::resp::{Answer, Connection, Error, Message, Options};
use clients::sentinel::{MasterClient, Place, SentinelOptions, Sentinels, Switch};
use reactor::{BackendKind, ClientOptions, LoopCx, LoopLimits, Reactor};
use testkit::PATIENCE;
use testkit::cluster::{Cluster, MASTER_NAME, ask};

/// How often a follower writes, unless enough writes wait for their answers.
const PACE: Duration = Duration::from_millis(2);
const IN_FLIGHT: usize = 4;

/// A write that was acknowledged.
pub(crate) struct Written {
    number: usize,
    at: Instant,
    /// Which of the connections it was.
    connection: usize,
}

/// A client that follows a master, and adds numbers to a set of its own.
pub(crate) struct Follower {
    client: MasterClient<App>,
    pub(crate) found: Sentinels<App>,
    /// The masters that it was told, in order.
    pub(crate) masters: Vec<Place>,
    /// The servers that it was connected to, in order.
    connections: Vec<Place>,
    pub(crate) acknowledged: Vec<Written>,
    /// The writes that were certainly not carried out.
    not_done: Vec<usize>,
    next: usize,
}

impl Follower {
    /// Returns when the first write was acknowledged by another server than `old`.
    fn moved(&self, old: &Place) -> Option<Instant> {
        let is_new = |it: &&Written| self.connections[it.connection] != *old;
        self.acknowledged.iter().find(is_new).map(|it| it.at)
    }

    /// Returns the number of the first connection to the last server.
    fn last_server(&self) -> usize {
        let last = self.connections.last();
        let others = self.connections.iter().rposition(|it| Some(it) != last);
        others.map_or(0, |it| it + 1)
    }
}

/// The state of a loop: the followers that it runs.
#[derive(Default)]
pub(crate) struct App {
    pub(crate) followers: Vec<Follower>,
    stops: bool,
}

/// Loops with followers, which take turns.
pub(crate) struct Followers {
    reactors: Vec<Reactor<App>>,
}

/// How long it took from the failure of a master to its replacement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Until the first sentinel published that there is another master.
    pub(crate) first: Duration,
    /// Until a majority had.
    pub(crate) majority: Duration,
    /// Until the last follower had a write acknowledged by the new master.
    pub(crate) client: Duration,
}

pub(crate) fn place(address: SocketAddr) -> Place {
    Place::parse(&address.ip().to_string(), &address.port().to_string()).expect("it is valid")
}

pub(crate) fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.sentinels.iter().map(|it| it.address.to_string()).collect()
}

fn set_of(number: usize) -> String {
    format!("numbers{number}")
}

impl Followers {
    /// Starts loops on these backends.
    pub(crate) fn on(backends: &[BackendKind]) -> Self {
        let open = |kind: &BackendKind| {
            let backend = kind.open().expect("it opens");
            let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, App::default())
                .expect("it opens");
            reactor.cx().every(PACE, |_, cx| write_all(cx)).expect("there is room");
            reactor
        };
        Self { reactors: backends.iter().map(open).collect() }
    }

    /// Adds a follower of what these sentinels name to each loop.
    pub(crate) fn add(&mut self, sentinels: &[String]) {
        for reactor in &mut self.reactors {
            add(reactor, sentinels);
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Follower> {
        self.reactors.iter().flat_map(|it| &it.app.followers)
    }

    /// Runs until something is true of all followers.
    #[track_caller]
    pub(crate) fn run_until(&mut self, what: &str, mut done: impl FnMut(&Follower) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !self.all().all(&mut done) {
            let masters: Vec<_> = self.all().map(|it| &it.masters).collect();
            assert!(Instant::now() < until, "{what} did not happen: {masters:?}");
            for reactor in &mut self.reactors {
                reactor.run_once(Some(Duration::from_millis(5))).expect("it runs");
            }
        }
    }

    /// Makes the master fail, and checks that all followers go to the next one and that no write is
    /// lost there. `recover` has the old one return.
    pub(crate) fn survive(
        &mut self,
        cluster: &mut Cluster,
        fail: impl FnOnce(&mut Cluster),
        recover: impl FnOnce(&mut Cluster),
    ) -> Timing {
        let old = place(cluster.master.address);
        self.run_until("writes to the first master", |it| it.acknowledged.len() > 50);
        assert!(self.all().all(|it| it.masters == std::slice::from_ref(&old)));
        let replicas: BTreeSet<Place> =
            cluster.replicas.iter().map(|it| place(it.address)).collect();
        self.run_until("the discovery of the replicas", |it| {
            it.found.replicas().into_iter().collect::<BTreeSet<_>>() == replicas
        });
        let switches: Vec<_> = cluster.sentinels.iter().map(|it| switch_of(it.address)).collect();
        let failed = Instant::now();
        fail(cluster);
        self.run_until("writes to another master", |it| it.moved(&old).is_some());
        let moved = self.all().filter_map(|it| it.moved(&old)).max().expect("there is one");
        assert!(self.all().all(|it| replicas.contains(&it.masters[1])), "they were replicas");
        let mut switched: Vec<Instant> =
            switches.into_iter().map(|it| it.join().expect("it switches")).collect();
        switched.sort();
        let [first, majority] = [switched[0], switched[switched.len() / 2]].map(|it| it - failed);
        recover(cluster);
        self.demand_no_loss(cluster, &old);
        Timing { first, majority, client: moved - failed }
    }

    /// Runs the followers for a while, and compares what they know with what is stored.
    fn demand_no_loss(&mut self, cluster: &Cluster, old: &Place) {
        let until = Instant::now() + Duration::from_secs(1);
        let before: usize = self.all().map(|it| it.next).max().unwrap_or(0);
        self.run_until("more writes", |it| it.next > before + 100 && Instant::now() >= until);
        self.reactors.iter_mut().for_each(|it| it.app.stops = true);
        self.run_until("the last answers", |it| it.client.pending() == 0);
        let mut lost_before = 0;
        for reactor in &self.reactors {
            for (number, it) in reactor.app.followers.iter().enumerate() {
                lost_before += judge(it, number, cluster, old);
            }
        }
        // Replication is asynchronous: these are not lost by a client.
        testkit::tell(
            "MEASURED",
            &format!("{lost_before} writes that the old master took are lost"),
        );
    }
}

/// Compares what a follower was told with what the last master has stored. Returns how many of the
/// writes that earlier masters have acknowledged are lost.
fn judge(it: &Follower, number: usize, cluster: &Cluster, old: &Place) -> usize {
    let replicas = cluster.replicas.iter().map(|it| place(it.address));
    let members: BTreeSet<Place> = replicas.chain([old.clone()]).collect();
    // On a busy machine, the sentinels may have replaced the master once more.
    assert!(it.masters.iter().all(|it| members.contains(it)), "{:?}", it.masters);
    let master = it.masters.last().expect("there is one");
    assert_eq!(it.found.master().as_ref(), Some(master));
    let returned = it.connections.iter().skip_while(|it| *it == old).find(|it| *it == old);
    assert!(returned.is_none() || it.masters.len() > 2, "it went back: {:?}", it.connections);
    let address = master.to_string().parse().expect("it is one");
    let stored = ask(address, &["SMEMBERS", &set_of(number)]);
    let stored: BTreeSet<usize> = stored.lines().filter_map(|line| line.parse().ok()).collect();
    let is_lost = |written: &&Written| !stored.contains(&written.number);
    let last = it.last_server();
    let (new, before): (Vec<_>, Vec<_>) =
        it.acknowledged.iter().partition(|written| written.connection >= last);
    let lost = new.into_iter().find(is_lost).map(|written| written.number);
    assert_eq!(lost, None, "it was acknowledged by the new master and is not there");
    let done = it.not_done.iter().find(|number| stored.contains(number));
    assert_eq!(done, None, "it was not sent and is there");
    before.iter().filter(|written| is_lost(written)).count()
}

/// Adds a follower to a loop.
fn add(reactor: &mut Reactor<App>, sentinels: &[String]) {
    let options =
        SentinelOptions { interval: Duration::from_millis(200), ..SentinelOptions::default() };
    let cx = &mut reactor.cx();
    let found = Sentinels::open(MASTER_NAME, sentinels, options, cx).expect("they are valid");
    let client = ClientOptions { timeout: Duration::from_secs(30), ..ClientOptions::DEFAULT };
    let client = found.client(&Options::default(), client, cx).expect("it opens");
    let number = cx.app.followers.len();
    found.on_master(move |place, cx| cx.app.followers[number].masters.push(place.clone()));
    client.on_connect(move |cx| {
        let follower = &mut cx.app.followers[number];
        let target = follower.client.target().expect("it has one").to_string();
        follower.connections.push(target.parse().expect("it is a place"));
    });
    cx.app.followers.push(Follower {
        client,
        found,
        masters: Vec::new(),
        connections: Vec::new(),
        acknowledged: Vec::new(),
        not_done: Vec::new(),
        next: 0,
    });
}

fn write_all(cx: &mut LoopCx<'_, App>) {
    let App { followers, stops } = &mut *cx.app;
    for (place, follower) in followers.iter_mut().enumerate().filter(|_| !*stops) {
        if follower.client.pending() < IN_FLIGHT {
            write(place, follower);
        }
    }
}

/// Adds the next number to the set of a follower.
fn write(place: usize, follower: &mut Follower) {
    let number = follower.next;
    follower.next += 1;
    let done = move |result: Result<Answer, Error>, cx: &mut LoopCx<'_, App>| {
        let follower = &mut cx.app.followers[place];
        match result {
            Ok(_) => {
                let connection = follower.connections.len() - 1;
                follower.acknowledged.push(Written { number, at: Instant::now(), connection });
            }
            Err(error) if error.may_be_done() || error.server().is_some() => {}
            Err(_) => follower.not_done.push(number),
        }
    };
    let accepted = follower.client.call(["SADD", &set_of(place), &number.to_string()], done);
    accepted.expect("it takes more");
}

/// Waits on a thread until a sentinel says that the master has changed. Returns when that was.
fn switch_of(sentinel: SocketAddr) -> JoinHandle<Instant> {
    let mut connection = Connection::connect(&sentinel.to_string()).expect("it is there");
    connection.subscribe(["+switch-master"]).expect("it is a sentinel");
    std::thread::spawn(move || {
        loop {
            let message = connection.message(Some(PATIENCE)).expect("it is there");
            let Message::Published { payload, .. } = message.expect("it switches") else {
                continue;
            };
            if Switch::parse(&String::from_utf8_lossy(&payload)).is_ok() {
                return Instant::now();
            }
        }
    })
}
