//! Names and addresses that do not answer, in a network namespace of its own.

mod common;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::Limits;
use reactor::{
    BackendKind, ConnectOptions, Connector, Cx, Handler, Interest, Location, LoopCx, LoopLimits,
    Query, Reactor, Reason, Registration, ResolveErrorKind, Resolver, Role,
};

use common::{on_every_backend, serve_echo, turn_until};
use testkit::BLACKHOLE;

#[derive(Default)]
struct App {
    connected: bool,
    ended: Option<String>,
}

struct Notes;

impl Handler<App> for Notes {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        cx.app.connected = true;
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, App>) {
        cx.app.ended = Some(reason.to_string());
    }
}

/// Connects by a name whose first address does not answer. Returns how long that took.
fn connect_past_the_hole(server: &TcpListener, kind: BackendKind) -> Duration {
    let port = server.local_addr().expect("it has one").port();
    let target: Location = format!("server:{port}").parse().expect("it is a location");
    let addresses = target.addresses().expect("the hosts file has it");
    assert!(addresses[0].to_string().starts_with("[fd00:1::2]"), "{addresses:?}");
    let backend = kind.open().expect("the backend opens");
    let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, App::default())
        .expect("the reactor opens");
    let start = Instant::now();
    let registration = Registration::new(Interest::NONE).role(Role::Connection);
    Connector::new(target, &ConnectOptions::DEFAULT)
        .register(registration, Notes, &mut reactor.cx())
        .expect("the loop takes it");
    turn_until(&mut reactor, |reactor| reactor.app.connected || reactor.app.ended.is_some());
    let took = start.elapsed();
    assert_eq!(reactor.app.ended, None);
    assert!(took >= Duration::from_millis(250), "the first address has its time: {took:?}");
    turn_until(&mut reactor, |reactor| reactor.counters().live() == 1);
    server.accept().expect("it accepts");
    took
}

#[test]
fn a_blackholed_ipv6_address_leaves_the_connection_to_ipv4() {
    let test = "a_blackholed_ipv6_address_leaves_the_connection_to_ipv4";
    if !testkit::in_namespace(test, BLACKHOLE) {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    for kind in BackendKind::ALL {
        let took = connect_past_the_hole(&server, kind);
        println!("{kind}: connected by IPv4 after {took:.1?}");
        // The kernel would try the other address for two minutes.
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
#[ignore = "it measures time, on a machine that does nothing else"]
fn a_blackholed_ipv6_address_costs_less_than_300_ms() {
    const TRIES: usize = 7;
    let test = "a_blackholed_ipv6_address_costs_less_than_300_ms";
    if !testkit::in_namespace(test, BLACKHOLE) {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    for kind in BackendKind::ALL {
        let mut times: Vec<_> = (0..TRIES).map(|_| connect_past_the_hole(&server, kind)).collect();
        times.sort_unstable();
        let (median, slowest) = (times[TRIES / 2], times[TRIES - 1]);
        println!("{kind}: connected by IPv4 after {median:.1?}, the slowest after {slowest:.1?}");
        assert!(median < Duration::from_millis(300), "{times:?}");
    }
}

/// How long the messages of several rounds took to come back, in order of time.
#[derive(Default)]
struct Latencies(Vec<Vec<Duration>>);

impl Latencies {
    /// Returns a quantile in parts of a thousand: the lowest of those of the rounds, since what other
    /// programs of the machine do only adds to it.
    fn quantile(&self, thousandth: usize) -> Duration {
        let of_round = |round: &Vec<Duration>| round[(round.len() - 1) * thousandth / 1000];
        self.0.iter().map(of_round).min().expect("there was a round")
    }

    fn slowest(&self) -> Option<&Duration> {
        self.0.iter().flatten().max()
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [half, tail] = [500, 990].map(|it| self.quantile(it));
        write!(
            f,
            "p50 {half:.1?}, p99 {tail:.1?}, slowest {:.1?}",
            self.slowest().copied().unwrap_or_default()
        )
    }
}

/// Sends messages to an echo server on this loop, one at a time, as long as `goes_on` is set.
fn echo(
    reactor: &mut Reactor<Option<ResolveErrorKind>>,
    address: &str,
    messages: usize,
    goes_on: &Arc<AtomicBool>,
) -> Vec<Duration> {
    let (address, goes_on) = (address.to_owned(), Arc::clone(goes_on));
    let client = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).expect("it accepts");
        client.set_nodelay(true).expect("it is TCP");
        let (mut back, mut times) = ([0; 64], Vec::with_capacity(messages));
        while times.len() < messages && goes_on.load(Ordering::Relaxed) {
            let (sent, start) = ([times.len() as u8; 64], Instant::now());
            client.write_all(&sent).expect("it is sent");
            client.read_exact(&mut back).expect("it comes back");
            assert_eq!(back, sent);
            times.push(start.elapsed());
        }
        times.sort_unstable();
        times
    });
    turn_until(reactor, |_| client.is_finished());
    client.join().expect("every byte is right")
}

/// Sends messages without a lookup and during one that no name server answers, in turns. Returns the
/// latencies of both.
fn beside_a_dead_server(
    reactor: &mut Reactor<Option<ResolveErrorKind>>,
    messages: usize,
    rounds: usize,
) -> [Latencies; 2] {
    let address = serve_echo(reactor, Limits::DEFAULT);
    let [mut without, mut with] = [Latencies::default(), Latencies::default()];
    for round in 0..rounds {
        let goes_on = Arc::new(AtomicBool::new(true));
        without.0.push(echo(reactor, &address, messages, &goes_on));
        let query = Query::new(format!("name-{round}.example")).service("80");
        let is_open = Arc::clone(&goes_on);
        reactor.app = None;
        let done = move |answer: Result<_, reactor::ResolveError>, cx: &mut LoopCx<'_, _>| {
            is_open.store(false, Ordering::Relaxed);
            *cx.app = answer.err().map(|error| error.kind());
        };
        Resolver::shared().resolve(query, &mut reactor.cx(), done).expect("it is asked");
        let turns = reactor.counters().turns;
        let during = echo(reactor, &address, messages, &goes_on);
        let turned = reactor.counters().turns - turns;
        assert!(turned >= during.len() as u64, "{turned} turns, {} messages", during.len());
        with.0.push(during);
        // The answer comes in the end, from the system.
        turn_until(reactor, |reactor| reactor.app.is_some());
        assert_eq!(reactor.app, Some(ResolveErrorKind::Temporary));
    }
    [without, with]
}

#[test]
fn a_loop_answers_while_a_name_server_does_not() {
    if !testkit::in_namespace("a_loop_answers_while_a_name_server_does_not", BLACKHOLE) {
        return;
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let [without, with] = beside_a_dead_server(&mut reactor, 2000, 1);
        println!("{}: without a lookup: {without}; with one: {with}", reactor.backend_name());
        let most = (5 * without.quantile(990)).max(Duration::from_millis(50));
        assert!(with.quantile(990) <= most);
        // The lookup takes two seconds.
        assert!(with.slowest() < Some(&Duration::from_secs(1)));
    });
}

#[test]
#[ignore = "it measures time, on a machine that does nothing else"]
fn a_dead_name_server_leaves_the_latency_of_a_loop_as_it_is() {
    let test = "a_dead_name_server_leaves_the_latency_of_a_loop_as_it_is";
    if !testkit::in_namespace(test, BLACKHOLE) {
        return;
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let [without, with] = beside_a_dead_server(&mut reactor, 10_000, 5);
        println!("{}: without a lookup: {without}; with one: {with}", reactor.backend_name());
        assert!(with.quantile(500) <= without.quantile(500).mul_f64(1.5));
        // A loop that waits for the name server answers some of them after two seconds. So the bound
        // only allows for the noise of a machine.
        let most = without.quantile(990) * 2 + Duration::from_micros(50);
        assert!(with.quantile(990) <= most);
    });
}
