//! Several clients that share the load: choice, maximum, health.

use std::time::Duration;

use protocol::codecs::Lines;
use protocol::exchange::Exchange;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Client, ClientOptions, ClientState, ConnectOptions, ListenOptions, Listener, Location, LoopCx,
    LoopLimits, Pool, Reactor, Stream, WhenIdle,
};

use super::common::{on_every_backend, serve, turn_until};
use super::{App, LONG, MS, OPTIONS, Server, Talk, completed, server, short, shorts, vacant};

fn pool<const GREETS: bool>(
    reactor: &mut Reactor<App>,
    targets: &[Location],
    size: usize,
    options: ClientOptions,
) -> Pool<App, Talk<GREETS>> {
    Pool::open(targets, size, options, |_| Talk, &mut reactor.cx()).expect("it opens")
}

fn ask<const GREETS: bool>(pool: &Pool<App, Talk<GREETS>>, request: &'static str) {
    let report = move |result, cx: &mut LoopCx<'_, App>| cx.app.results.push((request, result));
    pool.call(request.to_owned(), report).expect("it is accepted");
}

fn pending<E: Exchange>(pool: &Pool<App, E>) -> Vec<usize> {
    pool.clients().iter().map(Client::pending).collect()
}

/// Sends requests one after the other. Returns how often each reply came.
fn counts(
    reactor: &mut Reactor<App>,
    pool: &Pool<App, Talk<true>>,
    requests: usize,
) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..requests {
        ask(pool, "name");
        completed(reactor, 1);
        let (_, result) = reactor.app.results.remove(0);
        *counts.entry(short(&result)).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn told(counts: &[(&str, usize)]) -> Vec<(String, usize)> {
    counts.iter().map(|(reply, count)| ((*reply).to_owned(), *count)).collect()
}

#[test]
fn a_pool_makes_connections_up_to_its_size_and_chooses_the_least_busy() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let options = ClientOptions { when_idle: WhenIdle::LetGo(LONG), ..OPTIONS };
        let pool = pool::<false>(&mut reactor, &[target], 3, options);
        for number in 1..=3 {
            // One after the other, so one connection is enough.
            ask(&pool, "a");
            completed(&mut reactor, number);
        }
        assert_eq!((pool.up(), reactor.counters().accepts), (1, 1));
        // Each holds up its connection.
        (0..3).for_each(|_| ask(&pool, "hold"));
        turn_until(&mut reactor, |reactor| reactor.app.received.len() == 6);
        assert_eq!((pool.up(), reactor.counters().accepts), (3, 3));
        assert_eq!(pending(&pool), [1, 1, 1]);
        (0..3).for_each(|_| ask(&pool, "hold"));
        assert_eq!(pending(&pool), [2, 2, 2]);
        pool.close();
        completed(&mut reactor, 9);
        assert_eq!(pool.pending(), 0);
    });
}

#[test]
fn a_pool_never_has_more_connections_than_its_size() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let targets = [server(&mut reactor), server(&mut reactor)];
        for when_idle in [WhenIdle::KeepAlive(LONG), WhenIdle::LetGo(LONG)] {
            let before = reactor.counters().accepts;
            let options = ClientOptions { when_idle, ..OPTIONS };
            let pool = pool::<false>(&mut reactor, &targets, 2, options);
            (0..1000).for_each(|_| ask(&pool, "a"));
            assert_eq!(pending(&pool), [250; 4]);
            completed(&mut reactor, 1000);
            assert_eq!((pool.up(), reactor.counters().accepts - before), (4, 4));
            assert!(reactor.app.results.drain(..).all(|(_, result)| result.is_ok()));
        }
    });
}

#[test]
fn the_least_pending_client_gets_the_next_request() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let pool = pool::<false>(&mut reactor, &[target], 4, OPTIONS);
        turn_until(&mut reactor, |_| pool.up() == 4);
        for (client, count) in pool.clients().iter().zip([7, 0, 3, 5]) {
            for _ in 0..count {
                client.call("hold".to_owned(), |_, _| {}).expect("it is accepted");
            }
        }
        let mut expected = pending(&pool);
        for _ in 0..30 {
            ask(&pool, "hold");
            let least = *expected.iter().min().expect("there are some");
            let changed: Vec<_> = pending(&pool)
                .into_iter()
                .zip(&expected)
                .map(|(now, before)| now - before)
                .collect();
            let place = changed.iter().position(|it| *it == 1).expect("one has it");
            assert_eq!((changed.iter().sum::<usize>(), expected[place]), (1, least));
            expected[place] += 1;
        }
        // 15 were there, and 30 came.
        assert!(expected.iter().all(|count| (11..=12).contains(count)), "{expected:?}");
    });
}

#[test]
fn equal_clients_take_turns() {
    let mut reactor = Reactor::new(App::default()).expect("it opens");
    let target = server(&mut reactor);
    let pool = pool::<false>(&mut reactor, &[target], 3, OPTIONS);
    turn_until(&mut reactor, |_| pool.up() == 3);
    let places: Vec<usize> = (0..6).map(|_| pool.choose()).collect();
    assert_eq!(places, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_pool_avoids_servers_that_have_failed() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let targets = [vacant(), server(&mut reactor), vacant()];
        let pool = pool::<false>(&mut reactor, &targets, 2, OPTIONS);
        turn_until(&mut reactor, |_| {
            let failed = pool.clients().iter().filter(|it| it.failure().is_some());
            pool.up() == 2 && failed.count() == 4
        });
        for number in 1..=100 {
            ask(&pool, "a");
            if number % 10 == 0 {
                completed(&mut reactor, number);
            }
        }
        assert!(reactor.app.results.iter().all(|(_, result)| result.is_ok()));
        let nothing = Pool::open(&targets, 0, OPTIONS, |_| Talk::<false>, &mut reactor.cx());
        assert!(nothing.is_err());
    });
}

/// Answers with its name, unless it is the silent one.
struct Named(&'static str);

impl Service<Lines, App> for Named {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let line = String::from_utf8_lossy(line).into_owned();
        if context.app.silent != self.0 {
            let is_greeting = line == "greet";
            reply.send(if is_greeting { b"greet" } else { self.0.as_bytes() });
        }
        context.app.received.push(line);
        Flow::Continue
    }
}

fn named(reactor: &mut Reactor<App>, name: &'static str) -> Location {
    let session = move || Conversation::new(Lines::default(), Named(name));
    serve(reactor, Limits::DEFAULT, session).parse().expect("it is an address")
}

#[test]
fn a_server_that_stops_answering_leaves_the_choice_and_comes_back() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let targets = [named(&mut reactor, "one"), named(&mut reactor, "two")];
        let options = ClientOptions {
            when_idle: WhenIdle::KeepAlive(5 * MS),
            silence_max: Duration::from_millis(300),
            connect: ConnectOptions { timeout: 50 * MS, ..OPTIONS.connect },
            ..OPTIONS
        };
        let pool = pool::<true>(&mut reactor, &targets, 1, options);
        turn_until(&mut reactor, |_| pool.up() == 2);
        assert_eq!(counts(&mut reactor, &pool, 10), told(&[("one", 5), ("two", 5)]));
        // Nothing but the health checks can find out: there are no requests.
        reactor.app.silent = "one";
        turn_until(&mut reactor, |_| pool.up() == 1);
        assert_ne!(pool.clients()[0].state(), ClientState::Up);
        assert_eq!(counts(&mut reactor, &pool, 10), told(&[("two", 10)]));
        assert!(reactor.app.received.iter().any(|line| line == "health"));
        reactor.app.silent = "";
        turn_until(&mut reactor, |_| pool.up() == 2);
        assert_eq!(counts(&mut reactor, &pool, 10), told(&[("one", 5), ("two", 5)]));
    });
}

#[test]
fn a_connection_that_was_let_go_is_not_made_again_by_health_checks() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let targets = [named(&mut reactor, "one"), named(&mut reactor, "two")];
        let options = ClientOptions { when_idle: WhenIdle::LetGo(10 * MS), ..OPTIONS };
        let pool = pool::<true>(&mut reactor, &targets, 1, options);
        assert_eq!(counts(&mut reactor, &pool, 1).len(), 1);
        let are_idle = |pool: &Pool<App, Talk<true>>| {
            pool.clients().iter().all(|client| client.state() == ClientState::Idle)
        };
        turn_until(&mut reactor, |_| are_idle(&pool));
        let accepts = reactor.counters().accepts;
        // Many times the limit.
        let later = |cx: &mut LoopCx<'_, App>| cx.app.events.push("later".to_owned());
        reactor.cx().after(200 * MS, later).expect("there is room");
        turn_until(&mut reactor, |reactor| !reactor.app.events.is_empty());
        assert!(are_idle(&pool) && reactor.counters().accepts == accepts);
        assert!(!reactor.app.received.iter().any(|line| line == "health"));
        // It has not failed: the next request makes it connect.
        assert!(pool.clients().iter().all(|client| client.failure().is_none()));
        assert_eq!(counts(&mut reactor, &pool, 1).len(), 1);
    });
}

#[test]
fn a_failed_client_that_rests_comes_back_without_a_request_being_risked() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let (dead, alive) = (vacant(), server(&mut reactor));
        let when_idle = WhenIdle::LetGo(LONG);
        let options = ClientOptions { when_idle, waits: false, ..OPTIONS };
        let pool = pool::<false>(&mut reactor, &[dead.clone(), alive], 1, options);
        let mut asked = 0;
        let mut ask_once = |reactor: &mut Reactor<App>| {
            ask(&pool, "a");
            asked += 1;
            completed(reactor, asked);
        };
        // The first request finds out, and no other is given to the dead server, although its client
        // rests and is tried again many times.
        turn_until(&mut reactor, |reactor| {
            ask_once(reactor);
            reactor.app.results.len() >= 200
        });
        assert_eq!(shorts(&reactor).iter().filter(|result| *result == "a=down").count(), 1);
        let any = dead.to_string().parse().expect("it is an address");
        let listener = Listener::bind(&any, &ListenOptions::DEFAULT);
        let Ok(listener) = listener else { return eprintln!("the port was taken meanwhile") };
        Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_| {
            Conversation::new(Lines::default(), Server)
        })
        .expect("it listens");
        turn_until(&mut reactor, |reactor| {
            ask_once(reactor);
            pool.up() == 2
        });
        assert_eq!(shorts(&reactor).iter().filter(|result| *result != "a=a").count(), 1);
    });
}
