//! The name of a server to which a client connects: what resolves it, and how long that may take.

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::Reply;
use protocol::codecs::Lines;
use protocol::exchange::{Exchange, Heard};
use reactor::sim::{Fault, Faults, HostId, Sim};
use reactor::{
    Client, ClientOptions, ClientState, ConnectError, ConnectErrorKind, ConnectOptions, Hints,
    LoopLimits, Query, Reactor, Reason, ResolveError, ResolveErrorKind, Resolved, Resolver,
    ResolverOptions,
};

use common::{on_every_backend, turn_until};

/// Lines in order.
struct Talk;

impl Exchange for Talk {
    type Codec = Lines;
    type Request = String;
    type Reply = String;
    type Push = ();

    fn codec(&self) -> Lines {
        Lines::default()
    }

    fn size(request: &String) -> usize {
        request.len()
    }

    fn write(&mut self, request: &String, _number: u64, reply: &mut Reply<'_, Lines>) {
        reply.send(request.as_bytes());
    }

    fn hear(
        &mut self,
        line: &mut [u8],
        _oldest: Option<&String>,
        _reply: &mut Reply<'_, Lines>,
    ) -> Heard<String, ()> {
        Heard::Reply(String::from_utf8_lossy(line).into_owned())
    }
}

fn options(connect: ConnectOptions) -> ClientOptions {
    ClientOptions { connect, seed: Some(1), ..ClientOptions::DEFAULT }
}

/// Returns the error of connecting in why a client has no connection.
fn error_of(reason: &Reason) -> &ConnectError {
    let Reason::Failed { operation: "connect", error } = reason else { panic!("{reason}") };
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    error.expect("it is an error of connecting")
}

#[test]
fn a_client_asks_the_resolver_that_it_was_given() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = server.local_addr().expect("it has one").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let look_up = move |query: &Query| -> Result<Resolved, ResolveError> {
            count.fetch_add(1, Ordering::Relaxed);
            assert_eq!(query.to_string(), format!("database:{port}"));
            Query::new("127.0.0.1").service(port.to_string()).look_up()
        };
        let resolver = Resolver::with_function(ResolverOptions::DEFAULT, look_up);
        let resolver = Some(resolver.expect("the limits are valid"));
        let connect = ConnectOptions { resolver, ..ConnectOptions::DEFAULT };
        assert_eq!(connect, connect.clone());
        assert_ne!(connect, ConnectOptions::DEFAULT);
        let target = format!("database:{port}").parse().expect("it is a location");
        let client = Client::open(target, Talk, options(connect), &mut reactor.cx());
        let client = client.expect("it opens");
        turn_until(&mut reactor, |_| client.state() == ClientState::Up);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    });
}

/// Returns a simulated host with a client of `server:80`, which may take a second to connect.
fn simulated(seed: u64) -> (Sim, HostId, Client<(), Talk>) {
    let mut sim = Sim::new(seed);
    let host = sim.host("10.0.0.9");
    sim.start(host, || Reactor::new(())).expect("it starts");
    let timeout = Duration::from_secs(1);
    let options = options(ConnectOptions { timeout, ..ConnectOptions::DEFAULT });
    let target = "server:80".parse().expect("it is a location");
    let client = sim.with::<(), _>(host, |cx| Client::open(target, Talk, options, cx));
    let client = client.expect("the program runs").expect("it opens");
    (sim, host, client)
}

/// Runs until the first attempt has failed. Returns how long that took, in milliseconds.
fn first_failure(sim: &mut Sim, client: &Client<(), Talk>) -> u128 {
    let start = sim.now();
    let failed = sim.run_until(Duration::from_secs(60), |_| client.failure().is_some());
    assert!(failed.expect("it runs"), "{client:?}");
    (sim.now() - start).as_millis()
}

#[test]
fn a_client_waits_for_a_name_as_long_as_it_may_connect() {
    let (mut sim, _, client) = simulated(1);
    sim.name("server", &["10.0.0.1"]);
    sim.set_faults(Faults::NONE.rate(Fault::NameSlow, 1_000_000));
    assert_eq!(first_failure(&mut sim, &client) / 100, 10, "it is not the time of the resolver");
    let failure = client.failure().expect("there is one");
    let error = error_of(&failure);
    assert_eq!(error.kind(), ConnectErrorKind::TimedOut);
    let kind = error.lookup().expect("it was not resolved").kind();
    assert_eq!(kind, ResolveErrorKind::TimedOut(Duration::from_secs(1)));
    let text = "server:80: no answer within 1s; try again later, or check the name servers in \
                /etc/resolv.conf";
    assert_eq!(error.to_string(), text);
}

#[test]
fn connecting_has_what_resolving_has_left_of_the_time() {
    let (mut sim, host, client) = simulated(2);
    let server = sim.host("10.0.0.1");
    sim.name("server", &["10.0.0.1"]);
    sim.cut(host, server);
    // The question and its answer take six tenths of the time.
    let tenth = Duration::from_millis(300);
    sim.set_latency(tenth, tenth);
    assert_eq!(first_failure(&mut sim, &client) / 100, 10);
    let failure = client.failure().expect("there is one");
    let error = error_of(&failure);
    assert_eq!((error.kind(), error.attempts().len()), (ConnectErrorKind::TimedOut, 1));
    assert_eq!(error.attempts()[0].took.as_millis() / 100, 4, "{error:?}");
}

#[test]
fn the_answer_of_a_lookup_has_a_time_of_its_own() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Option<ResolveErrorKind>>| {
        let blocks = |_: &Query| -> Result<Resolved, ResolveError> {
            std::thread::park_timeout(Duration::from_secs(20));
            unreachable!("the test is over by then")
        };
        let resolver = Resolver::with_function(ResolverOptions::DEFAULT, blocks);
        let (timeout, query) = (Duration::from_millis(20), Query::new("x").hints(Hints::DEFAULT));
        resolver
            .expect("the limits are valid")
            .resolve_within(timeout, query, &mut reactor.cx(), |answer, cx| {
                *cx.app = answer.err().map(|error| error.kind());
            })
            .expect("it is asked");
        turn_until(&mut reactor, |reactor| reactor.app.is_some());
        assert_eq!(reactor.app, Some(ResolveErrorKind::TimedOut(timeout)));
    });
}
