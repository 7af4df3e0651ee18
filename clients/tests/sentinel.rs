//! A client follows the master of Redis through failovers, with real servers and sentinels.

mod common;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clients::resp::{Answer, Connection, Error, Message, Options};
use clients::sentinel::{MasterClient, Place, SentinelOptions, Sentinels, Switch};
use common::Server;
use common::liar::Liar;
use reactor::{ClientOptions, LoopCx, Reactor};
use testkit::cluster::{Cluster, DOWN_AFTER, MASTER_NAME, Site, ask};
use testkit::{PATIENCE, skip, tell};

/// How many writes wait for their answers at the same time.
const IN_FLIGHT: usize = 4;

#[derive(Default)]
struct App {
    client: Option<MasterClient<App>>,
    masters: Vec<Place>,
    /// The number of the next write.
    next: usize,
    /// The writes that were acknowledged since the newest master is known, and when.
    acknowledged: Vec<(usize, Instant)>,
    /// The writes that were certainly not carried out.
    not_done: Vec<usize>,
    stops: bool,
}

/// Adds the next number to a set of the master, and goes on when it has an answer.
fn write(cx: &mut LoopCx<'_, App>) {
    if cx.app.stops {
        return;
    }
    let number = cx.app.next;
    cx.app.next += 1;
    let done = move |result: Result<Answer, Error>, cx: &mut LoopCx<'_, App>| {
        match result {
            Ok(_) => cx.app.acknowledged.push((number, Instant::now())),
            Err(error) if error.may_be_done() || error.server().is_some() => {}
            Err(_) => cx.app.not_done.push(number),
        }
        write(cx);
    };
    let client = cx.app.client.clone().expect("it is set");
    // At the end of the test, the client is closed.
    cx.app.stops |= client.call(["SADD", "numbers", &number.to_string()], done).is_err();
}

fn place(address: SocketAddr) -> Place {
    Place::parse(&address.ip().to_string(), &address.port().to_string()).expect("it is valid")
}

fn options() -> SentinelOptions {
    SentinelOptions { interval: Duration::from_millis(200), ..SentinelOptions::default() }
}

/// A reactor whose application writes to the master that these sentinels name.
fn writer(sentinels: &[String]) -> (Reactor<App>, Sentinels<App>) {
    let mut reactor = Reactor::new(App::default()).expect("it opens");
    let cx = &mut reactor.cx();
    let sentinels = Sentinels::open(MASTER_NAME, sentinels, options(), cx).expect("they are valid");
    sentinels.on_master(|place, cx| {
        cx.app.masters.push(place.clone());
        cx.app.acknowledged.clear();
    });
    // A write that a stopped master has taken is given up soon, so that another one is made.
    let client = ClientOptions { timeout: Duration::from_secs(30), ..ClientOptions::DEFAULT };
    let client = sentinels.client(&Options::default(), client, cx).expect("it opens");
    cx.app.client = Some(client);
    (0..IN_FLIGHT).for_each(|_| write(cx));
    (reactor, sentinels)
}

#[track_caller]
fn run_until(reactor: &mut Reactor<App>, what: &str, mut done: impl FnMut(&App) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done(&reactor.app) {
        assert!(Instant::now() < until, "{what} did not happen: {:?}", reactor.app.masters);
        reactor.run_once(Some(Duration::from_millis(20))).expect("it runs");
    }
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

/// Makes the master fail, and checks that the client follows the sentinels to the next one. `others`
/// are further addresses of sentinels that the client is given.
fn survives(
    cluster: &mut Cluster,
    sentinels: Vec<String>,
    fail: impl FnOnce(&mut Cluster),
    recover: impl FnOnce(&mut Cluster),
) {
    let old = place(cluster.master.address);
    let (mut reactor, found) = writer(&sentinels);
    run_until(&mut reactor, "writes to the first master", |app| app.acknowledged.len() > 100);
    assert_eq!(reactor.app.masters, std::slice::from_ref(&old));
    let replicas: BTreeSet<Place> = cluster.replicas.iter().map(|it| place(it.address)).collect();
    run_until(&mut reactor, "the discovery of the replicas", |_| {
        found.replicas().into_iter().collect::<BTreeSet<_>>() == replicas
    });
    let switches: Vec<_> = cluster.sentinels.iter().map(|it| switch_of(it.address)).collect();
    let failed = Instant::now();
    fail(cluster);
    run_until(&mut reactor, "another master", |app| app.masters.len() > 1);
    run_until(&mut reactor, "writes to it", |app| !app.acknowledged.is_empty());
    let first_write = reactor.app.acknowledged[0].1;
    let new = reactor.app.masters[1].clone();
    assert!(replicas.contains(&new), "{new} was a replica");
    let mut switched: Vec<Instant> =
        switches.into_iter().map(|it| it.join().expect("it switches")).collect();
    switched.sort();
    // A majority of the sentinels has switched. The client may be earlier.
    let majority = switched[switched.len() / 2];
    let late = first_write.saturating_duration_since(majority);
    let took = [majority - failed, first_write - failed].map(|it| it.as_millis());
    tell("MEASURED", &format!("sentinels {} ms, client {} ms after the failure", took[0], took[1]));
    assert!(late <= DOWN_AFTER + Duration::from_secs(2), "{late:?} later than the sentinels");
    // The old master comes back, and does no harm.
    recover(cluster);
    let (before, until) = (reactor.app.next, Instant::now() + Duration::from_secs(1));
    run_until(&mut reactor, "more writes", |app| {
        app.next > before + 1000 && Instant::now() >= until
    });
    reactor.app.stops = true;
    run_until(&mut reactor, "the last answers", |app| {
        app.client.as_ref().is_some_and(|client| client.pending() == 0)
    });
    // On a busy machine, the sentinels may have replaced the master once more.
    let members: BTreeSet<&Place> = replicas.iter().chain([&old]).collect();
    assert!(reactor.app.masters.iter().all(|it| members.contains(it)), "{:?}", reactor.app.masters);
    let new = reactor.app.masters.last().expect("there are two");
    assert_eq!(found.master().as_ref(), Some(new));
    let stored = ask(new.to_string().parse().expect("it is one"), &["SMEMBERS", "numbers"]);
    let stored: BTreeSet<usize> = stored.lines().filter_map(|line| line.parse().ok()).collect();
    let lost = reactor.app.acknowledged.iter().find(|(number, _)| !stored.contains(number));
    assert!(lost.is_none(), "{lost:?} was acknowledged and is not there");
    let done = reactor.app.not_done.iter().find(|number| stored.contains(number));
    assert!(done.is_none(), "{done:?} was not sent and is there");
}

fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.sentinels.iter().map(|it| it.address.to_string()).collect()
}

#[test]
fn a_killed_master_is_replaced() {
    let Some(mut cluster) = Cluster::start(2, 3, Site::LOCAL, Site::LOCAL) else { return };
    let sentinels = addresses(&cluster);
    survives(&mut cluster, sentinels, |it| it.master.kill(), |_| {});
}

#[test]
fn a_stopped_master_is_replaced_and_does_no_harm_when_it_goes_on() {
    let Some(mut cluster) = Cluster::start(2, 3, Site::LOCAL, Site::LOCAL) else { return };
    let sentinels = addresses(&cluster);
    survives(&mut cluster, sentinels, |it| it.master.stop(), |it| it.master.go_on());
}

#[test]
fn a_lying_sentinel_and_a_dead_one_do_no_harm() {
    let Some(mut cluster) = Cluster::start(2, 3, Site::LOCAL, Site::LOCAL) else { return };
    let rogue = Liar::default();
    let server = Server::start_liar(rogue.clone());
    let port = server.address.rsplit(':').next().and_then(|port| port.parse().ok());
    let lie = Some(("127.0.0.1".to_owned(), port.expect("it has a port")));
    let liar = Liar { lie, ..Liar::default() };
    let lying = Server::start_liar(liar.clone());
    // The liar comes first, and it takes the place of one of three.
    let real = addresses(&cluster);
    let sentinels = vec![lying.address.clone(), real[0].clone(), real[1].clone()];
    survives(&mut cluster, sentinels, |it| it.master.kill(), |_| {});
    assert!(liar.asked.load(Ordering::SeqCst) > 3, "it was asked");
    assert_eq!(rogue.commands.load(Ordering::SeqCst), 0, "its server was sent nothing");
    // Another client is given a dead one instead.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = dead.local_addr().expect("it has an address").to_string();
    drop(dead);
    let (mut reactor, found) = writer(&[address, real[1].clone(), real[2].clone()]);
    run_until(&mut reactor, "writes", |app| app.acknowledged.len() > 100);
    assert_eq!(
        found.master().map(|it| it.to_string()),
        cluster.master_of(2).map(|it| it.to_string())
    );
}

/// A network namespace with a cable to that of the test. It is removed on drop.
struct Island {
    name: String,
    here: Ipv4Addr,
    there: Ipv4Addr,
}

impl Island {
    /// Returns `None` if this is not permitted here.
    fn new() -> Option<Self> {
        let number = std::process::id() % 0x1_0000;
        let (high, low) = ((number >> 8) as u8, (number & 0xff) as u8);
        let name = format!("mv{number}");
        let here = Ipv4Addr::new(10, high, low, 1);
        let there = Ipv4Addr::new(10, high, low, 2);
        let island = Self { name: name.clone(), here, there };
        let cable = format!("link add {name}h type veth peer name {name}n netns {name}");
        let done = island.ip(&format!("netns add {name}"))
            && island.ip(&cable)
            && island.ip(&format!("addr add {here}/30 dev {name}h"))
            && island.ip(&format!("link set {name}h up"))
            && island.ip(&format!("-n {name} addr add {there}/30 dev {name}n"))
            && island.ip(&format!("-n {name} link set lo up"))
            && island.ip(&format!("-n {name} link set {name}n up"));
        done.then_some(island)
    }

    fn ip(&self, command: &str) -> bool {
        let output = Command::new("ip").args(command.split(' ')).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// Unplugs the cable at the far end, or plugs it in.
    fn set_cable(&self, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        let name = &self.name;
        assert!(self.ip(&format!("-n {name} link set {name}n {state}")));
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // It takes the cable with it.
        self.ip(&format!("netns del {}", self.name));
    }
}

#[test]
fn a_partitioned_master_is_replaced_and_does_no_harm_when_it_returns() {
    let Some(island) = Island::new() else {
        return skip("network namespaces are not permitted here (it takes CAP_SYS_ADMIN)");
    };
    let master = Site { host: island.there, namespace: Some(&island.name) };
    let rest = Site { host: island.here, namespace: None };
    let Some(mut cluster) = Cluster::start(2, 3, master, rest) else { return };
    let sentinels = addresses(&cluster);
    survives(&mut cluster, sentinels, |_| island.set_cable(false), |_| island.set_cable(true));
}
