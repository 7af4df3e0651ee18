//! Several clients of Redis that share the load.

use std::time::Duration;

use clients::resp::{Answer, Cause, Command, Connection, Error, Options, Pool};
use reactor::{ClientOptions, LoopCx, Reactor, WhenIdle};
use testkit::Redis;

use super::{App, MS, QUICK, on_every_backend, report, turn_until};

fn pool(
    reactor: &mut Reactor<App>,
    of: &[&Redis],
    size: usize,
    client: ClientOptions,
) -> Pool<App> {
    let addresses: Vec<String> = of.iter().map(|redis| redis.address()).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let options = Options { name: Some("pooled".to_owned()), ..Options::default() };
    Pool::open(&addresses, size, &options, client, &mut reactor.cx()).expect("it opens")
}

/// Returns how many connections of pools a server has.
fn connections(redis: &Redis) -> usize {
    let mut connection = Connection::connect(&redis.address()).expect("it is there");
    let list = connection.call(["CLIENT", "LIST"]).expect("it is answered");
    list.as_str().expect("it is text").matches("name=pooled").count()
}

/// Increments `key` by each choice of the pool, one after the other.
fn count(reactor: &mut Reactor<App>, pool: &Pool<App>, key: &str, times: usize) {
    for _ in 0..times {
        pool.choose().call(["INCR", key], report).expect("it is accepted");
        turn_until(reactor, |app| !app.results.is_empty());
        reactor.app.results.pop().expect("there is one").expect("it is answered");
    }
}

/// Returns the value of a key on a server.
fn value(redis: &Redis, key: &str) -> Option<i64> {
    let mut connection = Connection::connect(&redis.address()).expect("it is there");
    connection.call(["GET", key]).expect("it is answered").as_integer()
}

#[test]
fn a_pool_has_at_most_so_many_connections_and_uses_the_least_busy() {
    let Some(redis) = Redis::start(&[]) else { return };
    on_every_backend(|reactor| {
        let client = ClientOptions { when_idle: WhenIdle::LetGo(testkit::PATIENCE), ..QUICK };
        let pool = pool(reactor, &[&redis], 3, client);
        assert_eq!((pool.clients().len(), pool.up()), (3, 0));
        // Each of these holds up its connection until there is an element.
        for _ in 0..2 {
            let blocking = Command::new(["BLPOP", "list", "0"]);
            pool.choose().execute(blocking, None, report).expect("it is accepted");
        }
        turn_until(reactor, |_| pool.up() == 2);
        // So these all go to the third, and none waits behind them.
        let echoed = |result: Result<Answer, Error>, cx: &mut LoopCx<'_, App>| {
            assert_eq!(result.expect("it is answered").as_str(), Some("x"));
            cx.app.connects += 1;
        };
        for number in 1..=100 {
            pool.choose().call(["ECHO", "x"], echoed).expect("it is accepted");
            turn_until(reactor, |app| app.connects == number);
        }
        assert_eq!((pool.pending(), pool.up(), connections(&redis)), (2, 3, 3));
        // More at once than there are connections.
        for _ in 0..1000 {
            pool.choose()
                .call(["RPUSH", "list", "x"], |result, _| {
                    result.expect("it is answered");
                })
                .expect("it is accepted");
        }
        turn_until(reactor, |_| pool.pending() == 0);
        assert_eq!((reactor.app.results.len(), connections(&redis)), (2, 3));
        assert!(reactor.app.results.drain(..).all(|result| result.is_ok()));
        Connection::connect(&redis.address())
            .and_then(|mut connection| connection.call(["FLUSHALL"]))
            .expect("it is answered");
        pool.close();
        turn_until(reactor, |_| connections(&redis) == 0);
    });
}

#[test]
fn a_server_that_stops_answering_leaves_the_pool_and_comes_back() {
    let (Some(one), Some(two)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    on_every_backend(|reactor| {
        let client = ClientOptions {
            when_idle: WhenIdle::KeepAlive(10 * MS),
            silence_max: Duration::from_secs(1),
            ..QUICK
        };
        let pool = pool(reactor, &[&one, &two], 2, client);
        turn_until(reactor, |_| pool.up() == 4);
        count(reactor, &pool, "both", 20);
        assert_eq!((value(&one, "both"), value(&two, "both")), (Some(10), Some(10)));
        // Its kernel still accepts connections.
        one.signal("STOP");
        turn_until(reactor, |_| pool.up() == 2);
        count(reactor, &pool, "rest", 20);
        one.signal("CONT");
        assert_eq!((value(&one, "rest"), value(&two, "rest")), (None, Some(20)));
        turn_until(reactor, |_| pool.up() == 4);
        count(reactor, &pool, "again", 20);
        assert_eq!((value(&one, "again"), value(&two, "again")), (Some(10), Some(10)));
        for redis in [&one, &two] {
            let mut connection = Connection::connect(&redis.address()).expect("it is there");
            connection.call(["FLUSHALL"]).expect("it is answered");
        }
        pool.stop_gracefully();
        turn_until(reactor, |_| connections(&one) + connections(&two) == 0);
    });
}

#[test]
fn errors_name_the_server_and_the_operation() {
    let Some(redis) = Redis::start(&[]) else { return };
    on_every_backend(|reactor| {
        let pool = pool(reactor, &[&redis], 2, QUICK);
        pool.choose().call(["NONSENSE"], report).expect("it is accepted");
        turn_until(reactor, |app| !app.results.is_empty());
        let error = reactor.app.results.remove(0).expect_err("it is refused");
        assert!(error.to_string().starts_with(&format!("NONSENSE at {}", redis.address())));
        let cx = &mut reactor.cx();
        for (addresses, size) in [(&["nowhere"][..], 1), (&[], 1), (&["127.0.0.1:1"], 0)] {
            let error =
                Pool::open(addresses, size, &Options::default(), QUICK, cx).expect_err("no");
            assert!(matches!(error.cause(), Cause::Address(_) | Cause::Io(_)), "{error}");
        }
        pool.close();
    });
}
