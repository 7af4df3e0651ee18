//! Names, resolved off the loop.

mod common;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use reactor::sim::{Fault, Faults, HostId, Sim, Storm};
use reactor::{
    AddressInfo, Hints, IpFamily, IpProtocol, LoopCx, LoopLimits, Query, Reactor, ResolveError,
    ResolveErrorKind, Resolved, Resolver, ResolverOptions, SocketType, Token,
};

use common::{on_every_backend, turn_until};

/// The answers, in the order in which they came.
type Answers = Vec<(String, Result<Arc<Resolved>, ResolveError>)>;

/// A gate before which lookups wait, and what has come to it.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opens: Condvar,
    lookups: AtomicUsize,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().expect("no thread panics") = true;
        self.opens.notify_all();
    }

    fn shut(&self) {
        *self.is_open.lock().expect("no thread panics") = false;
    }

    fn pass(&self) {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut is_open = self.is_open.lock().expect("no thread panics");
        while !*is_open {
            is_open = self.opens.wait(is_open).expect("no thread panics");
        }
    }

    fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

fn one_address(port: u16) -> Resolved {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (socket_type, ip_protocol) = (SocketType::STREAM, IpProtocol::TCP);
    Resolved::new(vec![AddressInfo { socket_type, ip_protocol, address }], None)
}

/// Returns a resolver whose lookups wait for a gate.
fn gated(options: ResolverOptions) -> (Resolver, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let passed = Arc::clone(&gate);
    let look_up = move |query: &Query| {
        passed.pass();
        match query.to_string().as_str() {
            "panics" => panic!("as planned"),
            "unknown" => Err(ResolveError::new(query.clone(), ResolveErrorKind::UnknownName)),
            _ => Ok(one_address(7)),
        }
    };
    (Resolver::with_function(options, look_up).expect("the limits are valid"), gate)
}

fn ask(resolver: &Resolver, name: &str, cx: &mut LoopCx<'_, Answers>) -> Token {
    let asked = name.to_owned();
    let done = move |answer, cx: &mut LoopCx<'_, Answers>| cx.app.push((asked, answer));
    let before = cx.app.len();
    let token = resolver.resolve(Query::new(name), cx, done).expect("the loop takes it");
    assert_eq!(cx.app.len(), before, "it has answered before it returned");
    token
}

fn kind(answer: &Result<Arc<Resolved>, ResolveError>) -> Option<ResolveErrorKind> {
    answer.as_ref().err().map(ResolveError::kind)
}

#[test]
fn equal_questions_are_looked_up_once() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Answers>| {
        let (resolver, gate) = gated(ResolverOptions::DEFAULT);
        for _ in 0..100 {
            for name in ["one", "other"] {
                ask(&resolver, name, &mut reactor.cx());
            }
        }
        testkit::wait_until("both are looked up", || gate.lookups() == 2);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        assert!(reactor.app.is_empty());
        gate.open();
        turn_until(&mut reactor, |reactor| reactor.app.len() == 200);
        assert_eq!(gate.lookups(), 2);
        let (_, first) = &reactor.app[0];
        let first = Arc::clone(first.as_ref().expect("it is known"));
        let shared = reactor.app.iter().filter(|(_, it)| Arc::ptr_eq(it.as_ref().unwrap(), &first));
        assert_eq!(shared.count(), 100, "one answer serves all equal questions");
        // A later one is looked up again.
        ask(&resolver, "one", &mut reactor.cx());
        turn_until(&mut reactor, |reactor| reactor.app.len() == 201);
        assert_eq!(gate.lookups(), 3);
        assert_eq!(reactor.counters().live(), 0);
    });
}

#[test]
fn what_takes_too_long_has_an_answer_in_time() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Answers>| {
        let timeout = Duration::from_millis(20);
        let options = ResolverOptions { timeout, threads_max: 1, ..ResolverOptions::DEFAULT };
        let (resolver, gate) = gated(options);
        let start = reactor.cx().now();
        for name in ["under way", "queued"] {
            ask(&resolver, name, &mut reactor.cx());
        }
        turn_until(&mut reactor, |reactor| reactor.app.len() == 2);
        assert!(reactor.cx().now() - start >= timeout);
        for (_, answer) in &reactor.app {
            assert_eq!(kind(answer), Some(ResolveErrorKind::TimedOut(timeout)));
        }
        // The one that was queued is not looked up any more, the other goes on.
        testkit::wait_until("one is looked up", || gate.lookups() == 1);
        gate.open();
        ask(&resolver, "later", &mut reactor.cx());
        turn_until(&mut reactor, |reactor| reactor.app.len() == 3);
        assert_eq!((gate.lookups(), kind(&reactor.app[2].1)), (2, None));
    });
}

#[test]
fn what_is_too_much_is_refused_at_once() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Answers>| {
        let options =
            ResolverOptions { threads_max: 1, waiting_max: 3, ..ResolverOptions::DEFAULT };
        let (resolver, gate) = gated(options);
        let tokens: Vec<_> = ["one", "one", "two", "three", "one"]
            .into_iter()
            .map(|name| ask(&resolver, name, &mut reactor.cx()))
            .collect();
        turn_until(&mut reactor, |reactor| reactor.app.len() == 2);
        let names: Vec<_> = reactor.app.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["three", "one"]);
        for (_, answer) in &reactor.app {
            assert_eq!(kind(answer), Some(ResolveErrorKind::TooManyWaiting(3)));
        }
        // One that does not wait any more leaves its place to another.
        reactor.cx().close(tokens[2]);
        turn_until(&mut reactor, |reactor| reactor.app.len() == 3);
        assert_eq!(kind(&reactor.app[2].1), Some(ResolveErrorKind::Cancelled));
        ask(&resolver, "four", &mut reactor.cx());
        gate.open();
        turn_until(&mut reactor, |reactor| reactor.app.len() == 6);
        assert!(reactor.app[3..].iter().all(|(_, answer)| answer.is_ok()));
        assert_eq!(gate.lookups(), 2, "\"one\" and \"four\"");
    });
}

#[test]
fn lookups_that_are_cancelled_leave_no_work_behind() {
    let options = ResolverOptions { threads_max: 1, waiting_max: 3, ..ResolverOptions::DEFAULT };
    let (resolver, gate) = gated(options);
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Answers>| {
        let before = gate.lookups();
        ask(&resolver, "holds the thread", &mut reactor.cx());
        testkit::wait_until("it is looked up", || gate.lookups() == before + 1);
        for number in 1..100 {
            let token = ask(&resolver, &number.to_string(), &mut reactor.cx());
            reactor.cx().close(token);
            turn_until(&mut reactor, |reactor| reactor.app.len() == number);
            assert_eq!(kind(&reactor.app[number - 1].1), Some(ResolveErrorKind::Cancelled));
        }
        for name in ["one", "two"] {
            ask(&resolver, name, &mut reactor.cx());
        }
        gate.open();
        turn_until(&mut reactor, |reactor| reactor.app.len() == 102);
        assert!(reactor.app[99..].iter().all(|(_, answer)| answer.is_ok()));
        assert_eq!(gate.lookups(), before + 3);
        gate.shut();
    });
    gate.open();
}

#[test]
fn every_lookup_is_answered_once_when_its_loop_ends() {
    let (resolver, gate) = gated(ResolverOptions::DEFAULT);
    let answered = std::rc::Rc::new(std::cell::Cell::new(0));
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Answers>| {
        let before = answered.get();
        for name in ["one", "two"] {
            let answered = std::rc::Rc::clone(&answered);
            let done = move |answer, _: &mut LoopCx<'_, Answers>| {
                assert_eq!(kind(&answer), Some(ResolveErrorKind::Cancelled));
                answered.set(answered.get() + 1);
            };
            resolver.resolve(Query::new(name), &mut reactor.cx(), done).expect("it is asked");
        }
        drop(reactor);
        assert_eq!(answered.get() - before, 2);
    });
    gate.open();
}

#[test]
fn what_fails_says_so_and_harms_no_other() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Answers>| {
        let options = ResolverOptions { threads_max: 1, ..ResolverOptions::DEFAULT };
        let (resolver, gate) = gated(options);
        gate.open();
        for name in ["panics", "unknown", "known"] {
            ask(&resolver, name, &mut reactor.cx());
        }
        turn_until(&mut reactor, |reactor| reactor.app.len() == 3);
        let kinds: Vec<_> = reactor.app.iter().map(|(_, answer)| kind(answer)).collect();
        let expected = [ResolveErrorKind::Failed, ResolveErrorKind::UnknownName].map(Some);
        assert_eq!(kinds, [expected[0], expected[1], None]);
    });
}

#[test]
fn a_literal_address_needs_no_thread() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Answers>| {
        let (resolver, gate) = gated(ResolverOptions::DEFAULT);
        for name in ["127.0.0.1", "::1"] {
            ask(&resolver, name, &mut reactor.cx());
        }
        turn_until(&mut reactor, |reactor| reactor.app.len() == 2);
        assert_eq!(gate.lookups(), 0);
        for (name, answer) in &reactor.app {
            let found = answer.as_ref().expect("it is an address").addresses();
            assert_eq!(
                found.iter().map(|it| it.ip().to_string()).collect::<Vec<_>>(),
                std::slice::from_ref(name)
            );
        }
    });
}

#[test]
fn limits_of_zero_are_refused() {
    let zero = [
        ResolverOptions { threads_max: 0, ..ResolverOptions::DEFAULT },
        ResolverOptions { waiting_max: 0, ..ResolverOptions::DEFAULT },
        ResolverOptions { timeout: Duration::ZERO, ..ResolverOptions::DEFAULT },
    ];
    for options in zero {
        assert!(Resolver::new(options).is_err(), "{options:?}");
    }
}

#[test]
fn the_hosts_file_is_asked() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Answers>| {
        ask(&Resolver::shared(), "localhost", &mut reactor.cx());
        turn_until(&mut reactor, |reactor| reactor.app.len() == 1);
        let found = reactor.app[0].1.as_ref().expect("every machine has this name");
        assert!(found.addresses().iter().all(|it| it.ip().is_loopback()), "{found:?}");
    });
}

#[test]
fn errors_name_the_question_and_say_what_to_do() {
    let numeric =
        |numeric_host, numeric_service| Hints { numeric_host, numeric_service, ..Hints::DEFAULT };
    let v6 = Hints { family: Some(IpFamily::V6), ..Hints::DEFAULT };
    let strange = Hints { socket_type: Some(SocketType::from_number(77)), ..Hints::DEFAULT };
    let cases = [
        (
            Query::new("db").service("80").hints(numeric(true, false)),
            "db:80: unknown name (Name or service not known); an IP address is expected",
        ),
        (
            Query::new("localhost").service("http").hints(numeric(false, true)),
            "localhost:http: unknown service (Name or service not known); a port number from 0 to \
             65535 is expected",
        ),
        (
            Query::new("127.0.0.1").service("no-such-service"),
            "127.0.0.1:no-such-service: unknown service (Servname not supported for ai_socktype); \
             check /etc/services, or use the number of the port",
        ),
        (
            Query::new("127.0.0.1").service("80").hints(v6),
            "127.0.0.1:80: the name has no address (Address family for hostname not supported); \
             try without the hints for a family",
        ),
        (
            Query::new("127.0.0.1").hints(strange),
            "127.0.0.1: the system does not support these hints (ai_socktype not supported)",
        ),
        (Query::new("a\0b"), "a\0b: this cannot be asked: it has a zero byte"),
    ];
    for (query, text) in cases {
        let error = query.look_up().expect_err(text);
        assert_eq!(error.to_string(), text);
        assert_eq!(error.query(), &query);
        let wrapped = io::Error::from(error.clone());
        let inner = wrapped.get_ref().and_then(|it| it.downcast_ref::<ResolveError>());
        assert_eq!(inner, Some(&error));
    }
    let text = |kind| ResolveError::new(Query::new("db").service("1"), kind).to_string();
    for (kind, expected) in [
        (
            ResolveErrorKind::UnknownName,
            "db:1: unknown name; check its spelling, /etc/hosts, and what the name server knows",
        ),
        (
            ResolveErrorKind::Temporary,
            "db:1: no name server answers now; try again later, or check the name servers in \
             /etc/resolv.conf",
        ),
        (
            ResolveErrorKind::TimedOut(Duration::from_secs(5)),
            "db:1: no answer within 5s; try again later, or check the name servers in \
             /etc/resolv.conf",
        ),
        (
            ResolveErrorKind::TooManyWaiting(9),
            "db:1: 9 lookups wait already, the limit; try again later, or raise \
             ResolverOptions::waiting_max",
        ),
        (ResolveErrorKind::Cancelled, "db:1: the lookup was cancelled"),
        (
            ResolveErrorKind::Forked,
            "db:1: the resolver belongs to another process; make a new Resolver here",
        ),
    ] {
        assert_eq!(text(kind), expected);
    }
}

/// Returns a simulated host with a program that has the answers.
fn simulated(seed: u64) -> (Sim, HostId) {
    let mut sim = Sim::new(seed);
    let host = sim.host("10.0.0.9");
    sim.start(host, || Reactor::new(Answers::new())).expect("it starts");
    (sim, host)
}

fn ask_there(sim: &mut Sim, host: HostId, resolver: &Resolver, name: &str) -> Token {
    sim.with(host, |cx| ask(resolver, name, cx)).expect("it runs")
}

fn answers(sim: &mut Sim, host: HostId) -> &Answers {
    &sim.reactor::<Answers>(host).expect("it runs").app
}

#[test]
fn a_simulated_host_has_the_names_of_its_world() {
    let (mut sim, host) = simulated(1);
    sim.name("db.example", &["10.0.0.1", "fd00::1"]);
    sim.name("empty.example", &[]);
    let resolver = Resolver::new(ResolverOptions::DEFAULT).expect("the limits are valid");
    for name in ["DB.example.", "empty.example", "db", "localhost", "10.0.0.7"] {
        ask_there(&mut sim, host, &resolver, name);
    }
    let done = sim.run_until(Duration::from_secs(1), |sim| answers(sim, host).len() == 5);
    assert!(done.expect("it runs"));
    let shown = |sim: &mut Sim, name: &str| {
        let answer = answers(sim, host).iter().find(|it| it.0 == name).expect("it was asked");
        match &answer.1 {
            Ok(found) => {
                let found = found.addresses();
                found.iter().map(|it| it.ip().to_string()).collect::<Vec<_>>().join(" ")
            }
            Err(error) => format!("{:?}", error.kind()),
        }
    };
    assert_eq!(shown(&mut sim, "DB.example."), "10.0.0.1 fd00::1");
    assert_eq!(shown(&mut sim, "empty.example"), "NoAddress");
    assert_eq!(shown(&mut sim, "db"), "UnknownName");
    assert_eq!(shown(&mut sim, "localhost"), "::1 127.0.0.1");
    assert_eq!(shown(&mut sim, "10.0.0.7"), "10.0.0.7");
    let now = sim.with::<Answers, _>(host, |_| {
        let v6 = Hints { family: Some(IpFamily::V6), ..Hints::DEFAULT };
        let mapped = Hints { v4_mapped: true, all: true, ..v6 };
        let of = |hints| Query::new("db.example").service("http").hints(hints).look_up();
        [of(v6), of(mapped)].map(|it| it.expect("it is known").addresses())
    });
    let v6 = "[fd00::1]:80".parse().expect("it is an address");
    let mapped = "[::ffff:10.0.0.1]:80".parse().expect("it is an address");
    assert_eq!(now, Some([vec![v6], vec![v6, mapped]]));
    sim.forget_name("db.example");
    let gone = sim.with::<Answers, _>(host, |_| Query::new("db.example").look_up().is_err());
    assert_eq!(gone, Some(true));
}

#[test]
fn a_simulated_resolver_has_the_limits_of_a_real_one() {
    let (mut sim, host) = simulated(1);
    sim.name("db", &["10.0.0.1"]);
    // Every lookup takes far longer than the resolver waits.
    sim.set_faults(Faults::NONE.rate(Fault::NameSlow, 1_000_000));
    let timeout = Duration::from_millis(50);
    let options = ResolverOptions { threads_max: 1, waiting_max: 3, timeout };
    let resolver = Resolver::new(options).expect("the limits are valid");
    for name in ["db", "db", "queued", "refused"] {
        ask_there(&mut sim, host, &resolver, name);
    }
    sim.run_for(Duration::from_secs(1)).expect("it runs");
    let refused = answers(&mut sim, host)[0].1.as_ref().map_err(ResolveError::kind);
    assert_eq!(refused, Err(ResolveErrorKind::TooManyWaiting(3)));
    let late = |it: &(_, Result<_, ResolveError>)| {
        kind(&it.1) == Some(ResolveErrorKind::TimedOut(timeout))
    };
    assert_eq!(answers(&mut sim, host)[1..].iter().filter(|it| late(it)).count(), 3);
    assert_eq!(sim.drawn().len(), 1, "\"queued\" was never looked up, and \"db\" was once");
    sim.set_faults(Faults::NONE.rate(Fault::NameFails, 1_000_000));
    sim.run_for(Duration::from_secs(60)).expect("it runs");
    ask_there(&mut sim, host, &resolver, "db");
    sim.run_for(Duration::from_secs(1)).expect("it runs");
    let last = answers(&mut sim, host).last().expect("it was asked");
    assert_eq!(kind(&last.1), Some(ResolveErrorKind::Temporary));
}

#[test]
fn every_lookup_is_answered_once_in_a_storm() {
    const LOOKUPS: usize = 60;
    const NAMES: [&str; 4] = ["db", "www", "unknown", "10.0.0.7"];
    let summary = Storm::new(0..100).swarm().repeated().run(|sim| {
        let host = sim.host("10.0.0.9");
        sim.name("db", &["10.0.0.1"]);
        sim.name("www", &["10.0.0.2", "fd00::2"]);
        let options =
            ResolverOptions { threads_max: 2, waiting_max: 8, timeout: Duration::from_secs(5) };
        let resolver = Resolver::new(options)?;
        sim.start(host, move || {
            let mut reactor = Reactor::new(Answers::new())?;
            let resolver = resolver.clone();
            let mut asked = 0;
            reactor.cx().every(Duration::from_millis(50), move |_, cx| {
                if asked < LOOKUPS {
                    let name = NAMES[asked % NAMES.len()];
                    let number = asked.to_string();
                    asked += 1;
                    let done = move |answer, cx: &mut LoopCx<'_, Answers>| {
                        cx.app.push((number, answer));
                    };
                    let _ = resolver.resolve(Query::new(name), cx, done);
                }
            })?;
            Ok(reactor)
        })?;
        sim.run_for(Duration::from_secs(10))?;
        sim.calm()?;
        let is_done = |sim: &mut Sim| answers(sim, host).len() == LOOKUPS;
        if !sim.run_until(Duration::from_secs(60), is_done)? {
            return Err(format!("{} answers", answers(sim, host).len()).into());
        }
        sim.run_for(Duration::from_secs(10))?;
        let mut numbers: Vec<_> = answers(sim, host).iter().map(|(number, _)| number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() != LOOKUPS {
            return Err("a lookup was answered twice".into());
        }
        Ok(())
    });
    println!("{summary}");
}

/// Returns the signals that this thread blocks, one bit each (`proc(5)`).
fn blocked_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("it is there");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    u64::from_str_radix(mask.expect("it has a mask").trim(), 16).expect("it is a number")
}

#[test]
fn the_threads_of_a_resolver_handle_no_signals() {
    // Those of a hang-up, an interrupt and the request to end, by their bits.
    const SIGNALS: u64 = 1 | 1 << 1 | 1 << 14;
    let (before, seen) = (blocked_signals(), Arc::new(AtomicU64::new(0)));
    let notes = Arc::clone(&seen);
    let look_up = move |query: &Query| {
        notes.store(blocked_signals(), Ordering::Relaxed);
        Err(ResolveError::new(query.clone(), ResolveErrorKind::UnknownName))
    };
    let resolver = Resolver::with_function(ResolverOptions::DEFAULT, look_up);
    let mut reactor = Reactor::new(false).expect("it opens");
    resolver
        .expect("the limits are valid")
        .resolve(Query::new("x"), &mut reactor.cx(), |_, cx| *cx.app = true)
        .expect("it is asked");
    turn_until(&mut reactor, |reactor| reactor.app);
    assert_eq!(seen.load(Ordering::Relaxed) & SIGNALS, SIGNALS);
    assert_eq!(blocked_signals(), before, "this thread is as it was");
}
