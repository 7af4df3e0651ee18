//! Connecting by name and to several addresses: which attempt wins, and what every failure says.

mod common;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reactor::sim::{Fault, Faults, HostId, Outcome, Sim, Storm};
use reactor::{
    Address, ConnectErrorKind, ConnectOptions, Connector, Cx, Device, Handler, Interest,
    ListenOptions, Listener, LoopCx, LoopLimits, Query, Reactor, Reason, Registration,
    ResolveError, ResolveErrorKind, Resolver, ResolverOptions, Role, Target,
};

use common::dials::{App, connect, fails, listening, location, refusing};
use common::{on_every_backend, temporary, turn_until};

#[test]
fn each_failure_says_what_where_and_what_to_do() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        let options = ConnectOptions::DEFAULT;
        let refused = refusing();
        let error = fails(&mut reactor, &refused, &options);
        assert_eq!(error.kind(), ConnectErrorKind::Refused);
        let hint = "nothing listens there; is the server running?";
        assert_eq!(
            error.to_string(),
            format!("{refused}: refused (ECONNREFUSED in connect): {hint}")
        );
        assert_eq!(
            reactor.app.told.pop().expect("it was told"),
            format!("connect: {refused}: refused (ECONNREFUSED in connect): {hint}")
        );
        let [attempt] = error.attempts() else { panic!("there was one") };
        assert_eq!((&attempt.address, attempt.operation), (&refused, "connect"));
        assert_eq!(attempt.errno().as_deref(), Some("ECONNREFUSED"));
        assert!(error.took() >= attempt.took);

        let path = temporary("nowhere.sock");
        let error = fails(&mut reactor, Address::Unix(path.clone()), &options);
        assert_eq!(error.kind(), ConnectErrorKind::NoSuchSocket);
        let expected = "no such socket (ENOENT in connect): is the server running?";
        assert_eq!(error.to_string(), format!("unix:{}: {expected}", path.display()));

        let error = fails(&mut reactor, location("127.0.0.1:no-such-service"), &options);
        assert_eq!(error.kind(), ConnectErrorKind::UnknownService);
        assert_eq!(
            error.to_string(),
            "127.0.0.1:no-such-service: unknown service (Servname not supported for ai_socktype); \
             check /etc/services, or use the number of the port"
        );

        let several = vec![refused.clone(), Address::Unix(path.clone())];
        let error = fails(&mut reactor, several, &options);
        assert_eq!(error.kind(), ConnectErrorKind::Refused);
        let path = path.display();
        assert_eq!(
            error.to_string(),
            format!(
                "{refused}, unix:{path}: refused ({refused}: ECONNREFUSED in connect, \
                 unix:{path}: ENOENT in connect): {hint}"
            )
        );

        let error = fails(&mut reactor, Vec::new(), &options);
        assert_eq!((error.kind(), error.attempts().len()), (ConnectErrorKind::Other, 0));
        assert_eq!(error.to_string(), "no address: there is nothing to connect to");
        let datagrams: Address = "udp://127.0.0.1:7".parse().expect("it is an address");
        let error = fails(&mut reactor, datagrams, &options);
        assert!(error.to_string().contains("DatagramSocket"), "{error}");
    });
}

#[test]
fn a_socket_that_is_connected_to_itself_is_no_connection() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        // Nothing listens at the port from which it connects.
        let Address::Tcp(own) = refusing() else { panic!("it is one of TCP") };
        let options = ConnectOptions { source: Some(own), ..ConnectOptions::DEFAULT };
        let error = fails(&mut reactor, own, &options);
        assert_eq!(error.kind(), ConnectErrorKind::SelfConnect);
        assert_eq!(
            error.to_string(),
            format!(
                "{own}: the socket was connected to itself: nothing listens there, and its port is \
                 one for clients"
            )
        );
        let others = vec![Address::from(own), Address::from(own)];
        let error = fails(&mut reactor, others, &options);
        assert_eq!(error.kind(), ConnectErrorKind::SelfConnect);
    });
}

#[test]
fn a_connection_has_the_source_that_was_asked_for() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        let (server, address) = listening();
        let source: SocketAddr = "127.0.0.77:0".parse().expect("it is an address");
        let options = ConnectOptions { source: Some(source), ..ConnectOptions::DEFAULT };
        let token = connect(&address, &options, &mut reactor.cx());
        turn_until(&mut reactor, |reactor| reactor.app.told == ["ready"]);
        let (_, peer) = server.accept().expect("it accepts");
        assert_eq!(peer.ip(), source.ip());
        reactor.cx().close(token);
        // One that this host does not have, and one of the other family.
        let foreign: SocketAddr = "192.0.2.1:0".parse().expect("it is an address");
        let v6: SocketAddr = "[::1]:0".parse().expect("it is an address");
        for (source, errno) in [(foreign, "EADDRNOTAVAIL"), (v6, "EAFNOSUPPORT")] {
            let options = ConnectOptions { source: Some(source), ..ConnectOptions::DEFAULT };
            let error = fails(&mut reactor, &address, &options);
            assert_eq!(error.kind(), ConnectErrorKind::Other);
            assert_eq!(error.to_string(), format!("{address}: failed ({errno} in bind)"));
        }
    });
}

#[test]
fn a_connection_goes_through_the_device_that_was_asked_for() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        let (_server, address) = listening();
        let through = |name| {
            let device = Some(Device::new(name).expect("it is a name"));
            ConnectOptions { device, ..ConnectOptions::DEFAULT }
        };
        let error = fails(&mut reactor, &address, &through("no-such-device"));
        let errno = error.attempts()[0].errno().expect("it has a number");
        if errno == "EPERM" {
            testkit::skip("this kernel lets no ordinary user choose a device");
            return;
        }
        assert_eq!(errno, "ENODEV");
        reactor.app.told.clear();
        connect(&address, &through("lo"), &mut reactor.cx());
        turn_until(&mut reactor, |reactor| reactor.app.told == ["ready"]);
    });
    for name in ["", "a b", "a/b", "0123456789abcdef"] {
        assert!(Device::new(name).is_err(), "{name}");
    }
}

#[test]
fn a_name_is_resolved_and_its_addresses_are_tried() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        let (server, address) = listening();
        let Address::Tcp(ip) = address else { panic!("it is one of TCP") };
        // Where the name stands for an IPv6 address too, that refuses.
        let token = connect(
            location(&format!("localhost:{}", ip.port())),
            &ConnectOptions::DEFAULT,
            &mut reactor.cx(),
        );
        assert_eq!(reactor.cx().connections(), 1);
        turn_until(&mut reactor, |reactor| reactor.app.told == ["ready"]);
        let (peer, _) = server.accept().expect("it accepts");
        assert_eq!(reactor.counters().live(), 1, "the attempts have gone");
        reactor.cx().wake(token);
        turn_until(&mut reactor, |reactor| reactor.app.told.len() == 2);
        assert_eq!(reactor.app.told, ["ready", "ready, woken"], "it has one token throughout");
        reactor.cx().close(token);
        turn_until(&mut reactor, |reactor| reactor.app.told.len() == 3);
        assert_eq!(io::read_to_string(peer).expect("it is closed"), "");
    });
}

#[test]
fn the_first_that_is_established_wins_and_the_next_follows_a_failure_at_once() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        let (server, address) = listening();
        // A timer for the next attempt would take until the test gives up.
        let attempt_delay = Duration::from_secs(1000);
        let timeout = Duration::from_secs(2000);
        let options = ConnectOptions { attempt_delay, timeout, ..ConnectOptions::DEFAULT };
        let targets = vec![refusing(), refusing(), address];
        let token = connect(targets, &options, &mut reactor.cx());
        // A wake while it connects arrives with the first call, and events of its own do not.
        reactor.cx().wake(token);
        turn_until(&mut reactor, |reactor| reactor.app.told == ["ready, woken"]);
        server.accept().expect("it accepts");
        for _ in 0..5 {
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        }
        assert_eq!(reactor.app.told, ["ready, woken"]);
        assert_eq!(reactor.counters().live(), 1);
    });
}

#[test]
fn a_name_with_one_address_costs_what_the_address_does() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        let (_server, address) = listening();
        let Address::Tcp(ip) = address else { panic!("it is one of TCP") };
        let look_up =
            move |_: &Query| Query::new("127.0.0.1").service(ip.port().to_string()).look_up();
        let resolver = Resolver::with_function(ResolverOptions::DEFAULT, look_up);
        let resolver = Some(resolver.expect("the limits are valid"));
        let options = ConnectOptions { resolver, ..ConnectOptions::DEFAULT };
        let costs = [Target::from(&address), location("server:1").into()].map(|target| {
            let before = reactor.counters();
            connect(target, &options, &mut reactor.cx());
            turn_until(&mut reactor, |reactor| reactor.app.told.pop().is_some());
            let after = reactor.counters();
            (after.ctl_calls - before.ctl_calls, after.registered - before.registered)
        });
        let [(literal, alone), (named, with_lookup)] = costs;
        assert_eq!((literal, alone, with_lookup), (named, 1, 2));
    });
}

#[test]
fn what_is_under_way_ends_with_its_connection() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        let blocks = |_: &Query| -> Result<_, ResolveError> {
            std::thread::park_timeout(Duration::from_secs(20));
            unreachable!("the test is over by then")
        };
        let resolver = Resolver::with_function(ResolverOptions::DEFAULT, blocks);
        let resolver = resolver.expect("the limits are valid");
        let options =
            ConnectOptions { resolver: Some(resolver.clone()), ..ConnectOptions::DEFAULT };
        let token = connect(location("blocked:1"), &options, &mut reactor.cx());
        turn_until(&mut reactor, |reactor| reactor.counters().live() == 2);
        reactor.cx().close(token);
        turn_until(&mut reactor, |reactor| reactor.counters().live() == 0);
        assert_eq!(reactor.app.told, ["cancelled"]);
        // The deadline of all counts for the name too.
        let timeout = Duration::from_millis(20);
        let error =
            fails(&mut reactor, location("blocked:1"), &ConnectOptions { timeout, ..options });
        assert_eq!((error.kind(), error.attempts().len()), (ConnectErrorKind::TimedOut, 0));
        assert_eq!(
            error.to_string(),
            "blocked:1: no answer within 20ms; try again later, or check the name servers in \
             /etc/resolv.conf"
        );
        turn_until(&mut reactor, |reactor| reactor.counters().live() == 0);
    });
}

#[test]
fn a_name_that_is_not_resolved_says_why() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        for (kind, expected) in [
            (ResolveErrorKind::UnknownName, ConnectErrorKind::UnknownName),
            (ResolveErrorKind::NoAddress, ConnectErrorKind::UnknownName),
            (ResolveErrorKind::UnknownService, ConnectErrorKind::UnknownService),
            (ResolveErrorKind::Temporary, ConnectErrorKind::NotResolved),
        ] {
            let fail = move |query: &Query| Err(ResolveError::new(query.clone(), kind));
            let resolver = Resolver::with_function(ResolverOptions::DEFAULT, fail);
            let resolver = Some(resolver.expect("the limits are valid"));
            let options = ConnectOptions { resolver, ..ConnectOptions::DEFAULT };
            let error = fails(&mut reactor, location("db:1"), &options);
            assert_eq!(error.kind(), expected);
            assert_eq!(error.lookup().map(ResolveError::kind), Some(kind));
        }
    });
}

/// A simulated client and a server with IPv4, which listens, and an address of IPv6.
fn simulated(seed: u64) -> (Sim, HostId, HostId) {
    let mut sim = Sim::new(seed);
    let (client, silent) = set_up(&mut sim).expect("they start");
    (sim, client, silent)
}

fn set_up(sim: &mut Sim) -> io::Result<(HostId, HostId)> {
    let (server, client) = (sim.host("10.0.0.1"), sim.host("10.0.0.9"));
    let silent = sim.host("fd00::1");
    sim.name("server", &["fd00::1", "10.0.0.1"]);
    sim.start(server, || {
        let mut reactor = Reactor::new(())?;
        let any = "0.0.0.0:80".parse().expect("it is an address");
        let listener = Listener::bind(&any, &ListenOptions::DEFAULT)?;
        listener.register(&mut reactor.cx(), |accepted, cx| {
            reactor::Stream::new(
                protocol::Conversation::new(protocol::codecs::Bytes, common::Echo),
                protocol::Limits::DEFAULT,
            )
            .register(accepted, cx)
            .map(drop)
        })?;
        Ok(reactor)
    })?;
    sim.start(client, || Reactor::new(App::default()))?;
    Ok((client, silent))
}

fn told(sim: &mut Sim, client: HostId) -> &[String] {
    sim.reactor::<App>(client).map_or(&[], |reactor| &reactor.app.told)
}

#[test]
fn a_blackholed_address_costs_a_quarter_of_a_second() {
    let (mut sim, client, silent) = simulated(1);
    sim.cut(client, silent);
    let target = location("server:http");
    sim.with(client, |cx| connect(&target, &ConnectOptions::DEFAULT, cx));
    let early = sim.run_until(Duration::from_millis(249), |sim| !told(sim, client).is_empty());
    assert!(!early.expect("it runs"), "the first address has its time");
    let done = sim.run_until(Duration::from_millis(51), |sim| told(sim, client) == ["ready"]);
    assert!(done.expect("it runs"), "{:?}", told(&mut sim, client));
    // Nothing is left of the other attempt.
    sim.run_for(Duration::from_secs(60)).expect("it runs");
    let live = sim.reactor::<App>(client).expect("it runs").counters().live();
    assert_eq!((told(&mut sim, client), live), (&["ready".to_owned()][..], 1));
}

#[test]
fn the_deadlines_of_an_attempt_and_of_all_are_kept() {
    let (mut sim, client, silent) = simulated(2);
    let second = sim.host("fd00::2");
    let third = sim.host("fd00::3");
    for host in [silent, second, third] {
        sim.cut(client, host);
    }
    sim.name("dead", &["fd00::1", "fd00::2", "fd00::3"]);
    let options = ConnectOptions {
        attempt_timeout: Duration::from_secs(1),
        attempt_delay: Duration::from_secs(2),
        ..ConnectOptions::DEFAULT
    };
    let target = location("dead:80");
    sim.with(client, |cx| connect(&target, &options, cx));
    let start = sim.now();
    let done = sim.run_until(Duration::from_secs(60), |sim| !told(sim, client).is_empty());
    assert!(done.expect("it runs"));
    let took = (sim.now() - start).as_millis();
    assert!((3000..3100).contains(&took), "three attempts of a second: {took}");
    assert_eq!(
        told(&mut sim, client),
        ["connect: dead:80: no answer in time ([fd00::1]:80: no answer in time, [fd00::2]:80: no \
          answer in time, [fd00::3]:80: no answer in time): the peer does not answer; is it down, or \
          behind a firewall?"]
    );
    let options = ConnectOptions { timeout: Duration::from_millis(600), ..ConnectOptions::DEFAULT };
    sim.with(client, |cx| connect(&target, &options, cx));
    sim.run_for(Duration::from_secs(1)).expect("it runs");
    let error = &sim.reactor::<App>(client).expect("it runs").app.errors[1];
    let took: Vec<u128> = error.attempts().iter().map(|it| it.took.as_millis() / 50).collect();
    assert_eq!(took, [11, 6, 1], "they began a quarter of a second apart: {error:?}");
    assert_eq!(error.kind(), ConnectErrorKind::TimedOut);
}

#[test]
fn faults_of_the_network_have_their_kinds() {
    for (fault, kinds) in [
        (Fault::Refuse, &[ConnectErrorKind::Refused][..]),
        (
            Fault::Unreachable,
            &[ConnectErrorKind::HostUnreachable, ConnectErrorKind::NetworkUnreachable],
        ),
        (Fault::NoPort, &[ConnectErrorKind::NoLocalPort]),
        (Fault::SocketRefused, &[ConnectErrorKind::Other]),
        (Fault::NameFails, &[ConnectErrorKind::NotResolved]),
        (Fault::NameSlow, &[ConnectErrorKind::TimedOut]),
    ] {
        let mut seen = Vec::new();
        for seed in 0..20 {
            let (mut sim, client, _) = simulated(seed);
            sim.set_faults(Faults::NONE.rate(fault, 1_000_000));
            let options =
                ConnectOptions { timeout: Duration::from_millis(99), ..ConnectOptions::DEFAULT };
            sim.with(client, |cx| connect(location("server:80"), &options, cx));
            sim.run_for(Duration::from_secs(2)).expect("it runs");
            let error = &sim.reactor::<App>(client).expect("it runs").app.errors[0];
            assert!(kinds.contains(&error.kind()), "{fault}: {error}");
            seen.push(error.kind());
        }
        assert!(kinds.iter().all(|kind| seen.contains(kind)), "{fault}: {seen:?}");
    }
}

/// Writes down what a connection is told, with its number.
struct Numbered(usize);

impl Handler<App> for Numbered {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        cx.app.told.push(format!("{} ready", self.0));
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, App>) {
        cx.app.told.push(format!("{} closed: {reason}", self.0));
    }
}

/// Checks what one connection was told: that it failed, or that it was established and has ended.
fn is_told_once(told: &[&str]) -> bool {
    match told {
        [only] => only.starts_with("closed: connect: "),
        [calls @ .., last] => {
            let is_ready = |it: &&str| *it == "ready";
            calls.iter().all(is_ready)
                && last.starts_with("closed: ")
                && !last.contains("connect: ")
        }
        [] => false,
    }
}

#[test]
fn every_connection_is_told_once_in_a_storm() {
    const DIALS: usize = 40;
    let run = |sim: &mut Sim| -> Outcome {
        let (client, _) = set_up(sim)?;
        sim.set_faults(Faults::swarm(sim.seed()).without(&[
            // What is told is in the memory of the program.
            Fault::Kill,
            Fault::Crash,
            Fault::KillMany,
            Fault::KillStarting,
        ]));
        let target = location("server:http");
        let mut registered = Vec::new();
        for number in 0..DIALS {
            let dialled = sim.with(client, |cx| {
                let registration = Registration::new(Interest::NONE).role(Role::Connection);
                let connector = Connector::new(&target, &ConnectOptions::DEFAULT);
                connector.register(registration, Numbered(number), cx).ok()
            });
            registered.extend(dialled.flatten().map(|token| (number, token)));
            sim.run_for(Duration::from_millis(100))?;
        }
        sim.run_for(Duration::from_secs(30))?;
        sim.calm()?;
        sim.run_for(Duration::from_secs(30))?;
        sim.with::<App, _>(client, |cx| registered.iter().for_each(|(_, token)| cx.close(*token)));
        sim.run_for(Duration::from_secs(1))?;
        let told = told(sim, client);
        for (number, _) in registered {
            let prefix = format!("{number} ");
            let own: Vec<&str> = told.iter().filter_map(|it| it.strip_prefix(&prefix)).collect();
            if !is_told_once(&own) {
                return Err(format!("connection {number} was told {own:?}").into());
            }
        }
        Ok(())
    };
    println!("{}", Storm::new(0..500).run(run));
}
