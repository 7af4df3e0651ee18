//! Tests the client on the loop with `kv` and with Redis, which is killed and restarted (P21).

#[path = "../common/mod.rs"]
mod common;

mod pool;
mod pushes;
mod restarts;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clients::resp::{Answer, Cause, Client, Command, Connection, Error, Message, Options};
use common::kv::Kv;
use protocol::resp::Protocol;
use reactor::{BackendKind, ClientOptions, ClientState, LoopCx, LoopLimits, Reactor, Unanswered};
use testkit::{PATIENCE, Redis};

const MS: Duration = Duration::from_millis(1);

/// Quick attempts, and no deadline that passes by itself.
const QUICK: ClientOptions = ClientOptions {
    timeout: PATIENCE,
    pause_min: MS,
    pause_max: Duration::from_millis(20),
    ..ClientOptions::DEFAULT
};

/// What completions and hooks have reported.
#[derive(Default)]
struct App {
    results: Vec<Result<Answer, Error>>,
    messages: Vec<Message>,
    connects: usize,
    disconnects: usize,
    told: BTreeMap<String, restarts::Told>,
}

fn reactor(kind: BackendKind) -> Reactor<App> {
    let backend = kind.open().expect("the backend opens");
    Reactor::with_backend(backend, LoopLimits::DEFAULT, App::default()).expect("it opens")
}

/// Runs `test` with a fresh reactor on each backend.
fn on_every_backend(mut test: impl FnMut(&mut Reactor<App>)) {
    for kind in BackendKind::ALL {
        eprintln!("on {kind}");
        test(&mut reactor(kind));
    }
}

fn open(reactor: &mut Reactor<App>, address: &str, options: &Options) -> Client<App> {
    let client = Client::open(address, options, QUICK, &mut reactor.cx()).expect("it opens");
    client.on_message(|message, cx| cx.app.messages.push(message));
    client.on_connect(|cx| cx.app.connects += 1);
    client.on_disconnect(|_, cx| cx.app.disconnects += 1);
    client
}

fn turn_until(reactor: &mut Reactor<App>, mut done: impl FnMut(&App) -> bool) {
    let start = Instant::now();
    while !done(&reactor.app) {
        assert!(start.elapsed() < PATIENCE, "gave up: {}", reactor.counters());
        reactor.run_once(Some(5 * MS)).expect("it turns");
    }
}

fn report(result: Result<Answer, Error>, cx: &mut LoopCx<'_, App>) {
    cx.app.results.push(result);
}

/// Sends a command, and turns the loop until it is completed.
fn ask(
    reactor: &mut Reactor<App>,
    client: &Client<App>,
    command: &[&str],
) -> Result<Answer, Error> {
    let before = reactor.app.results.len();
    client.call(command, report).expect("it is accepted");
    turn_until(reactor, |app| app.results.len() > before);
    reactor.app.results.pop().expect("it is completed")
}

fn text(result: Result<Answer, Error>) -> String {
    let answer = result.expect("it is answered");
    answer.as_str().map(str::to_owned).unwrap_or_else(|| format!("{answer:?}"))
}

fn resp3() -> Options {
    Options { protocol: Protocol::Resp3, ..Options::default() }
}

#[test]
fn commands_complete_with_their_answers_in_both_versions() {
    let kv = Kv::start(None);
    on_every_backend(|reactor| {
        for options in [Options::default(), resp3()] {
            let client = open(reactor, &kv.address(), &options);
            assert_eq!(text(ask(reactor, &client, &["SET", "colour", "blue"])), "OK");
            assert_eq!(text(ask(reactor, &client, &["GET", "colour"])), "blue");
            let error = ask(reactor, &client, &["INCR", "colour"]).expect_err("it is no number");
            assert!(error.server().is_some_and(|words| words.starts_with(b"ERR")), "{error}");
            let text = error.to_string();
            assert!(!error.may_be_done() && text.starts_with("INCR at unix:"), "{text}");
            assert_eq!((client.state(), client.pending()), (ClientState::Up, 0));
        }
    });
}

#[test]
fn a_pipeline_completes_once_with_all_results_in_order() {
    on_every_backend(|reactor| {
        let kv = Kv::start(None);
        let client = open(reactor, &kv.address(), &Options::default());
        let commands = (0..1000).map(|number| match number {
            500 => Command::new(["NONSENSE"]),
            _ => Command::new(["INCR", "n"]),
        });
        let done = |results: Vec<_>, cx: &mut LoopCx<'_, App>| cx.app.results.extend(results);
        client.pipeline(commands, done).expect("it is accepted");
        turn_until(reactor, |app| !app.results.is_empty());
        let numbers: Vec<_> =
            reactor.app.results.iter().flatten().map(Answer::as_integer).collect();
        assert_eq!(numbers, (1..1000).map(Some).collect::<Vec<_>>());
        assert!(reactor.app.results[500].is_err());
    });
}

#[test]
fn a_transaction_is_one_command() {
    on_every_backend(|reactor| {
        let kv = Kv::start(None);
        let client = open(reactor, &kv.address(), &Options::default());
        let commands = [Command::new(["INCR", "n"]), Command::new(["GET", "n"])];
        client.execute(Command::transaction(commands), None, report).expect("it is accepted");
        client.call(["PING"], report).expect("it is accepted");
        turn_until(reactor, |app| app.results.len() == 2);
        let results = std::mem::take(&mut reactor.app.results);
        let [counted, pong] = <[_; 2]>::try_from(results).expect("there are two");
        let expected = Answer::Array(vec![Answer::Integer(1), Answer::Bulk(b"1".to_vec())]);
        assert_eq!(counted.expect("it is answered"), expected);
        assert_eq!(text(pong), "PONG");
    });
}

#[test]
fn other_threads_wait_for_answers() {
    on_every_backend(|reactor| {
        let kv = Kv::start(None);
        let client = open(reactor, &kv.address(), &Options::default());
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (client, done) = (client.clone(), Arc::clone(&done));
                std::thread::spawn(move || {
                    (0..50).for_each(|_| {
                        _ = client.wait(Command::new(["INCR", "n"])).expect("counts")
                    });
                    done.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        turn_until(reactor, |_| done.load(Ordering::SeqCst) == 4);
        threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        assert_eq!(text(ask(reactor, &client, &["GET", "n"])), "200");
    });
}

#[test]
fn a_late_answer_is_not_taken_for_that_of_another_command() {
    on_every_backend(|reactor| {
        let kv = Kv::start(None);
        let client = open(reactor, &kv.address(), &Options::default());
        let blocking = Command::new(["BLPOP", "list", "0.2"]);
        client.execute(blocking, Some(10 * MS), report).expect("it is accepted");
        turn_until(reactor, |app| app.results.len() == 1);
        let error = reactor.app.results.pop().expect("there is one").expect_err("it is late");
        let is_sent =
            matches!(error.cause(), Cause::Unanswered(Unanswered::TimedOut { sent: true, .. }));
        assert!(is_sent && error.may_be_done(), "{error}");
        assert_eq!(text(ask(reactor, &client, &["ECHO", "next"])), "next");
    });
}

#[test]
fn each_connection_is_opened_with_password_database_and_name() {
    let Some(redis) = Redis::start(&["--requirepass", "secret"]) else { return };
    let base = Options { database: 3, name: Some("tester".to_owned()), ..Options::default() };
    let resp2 = base.clone().password("secret");
    let resp3 = Options { protocol: Protocol::Resp3, ..resp2.clone() };
    on_every_backend(|reactor| {
        for options in [&resp2, &resp3] {
            reactor.app = App::default();
            let client = open(reactor, &redis.address(), options);
            for round in 1..=3 {
                let command = ["CLIENT", "INFO"];
                let info = text(ask(reactor, &client, &command));
                let resp = if options.protocol == Protocol::Resp3 { "resp=3" } else { "db=3" };
                for part in ["name=tester", "db=3", resp] {
                    assert!(info.contains(part), "{part} in {info}");
                }
                assert_eq!(reactor.app.connects, round);
                let killed = ask(reactor, &client, &["CLIENT", "KILL", "SKIPME", "no"]);
                assert!(killed.map_or_else(|error| error.may_be_done(), |_| true));
                turn_until(reactor, |app| app.disconnects == round);
            }
            client.close();
        }
    });
    let mut reactor = reactor(BackendKind::Epoll);
    let client = open(&mut reactor, &redis.address(), &base.password("wrong"));
    turn_until(&mut reactor, |_| client.failure().is_some());
    let failure = client.failure().expect("there is one").to_string();
    assert!(failure.contains("AUTH at") && failure.contains("check the user"), "{failure}");
    assert_eq!(reactor.app.connects, 0);
}

#[test]
fn subscriptions_are_restored_on_each_connection() {
    let Some(redis) = Redis::start(&[]) else { return };
    on_every_backend(|reactor| {
        for options in [Options::default(), resp3()] {
            reactor.app = App::default();
            let client = open(reactor, &redis.address(), &options);
            let subscribed = |result: Result<(), Error>, _: &mut LoopCx<'_, App>| {
                result.expect("the server confirms");
            };
            client.subscribe(["news", "old", "sport"], subscribed).expect("it is accepted");
            client.subscribe_to_patterns(["w*"], subscribed).expect("it is accepted");
            client.unsubscribe(["old"], subscribed).expect("it is accepted");
            turn_until(reactor, |_| client.pending() == 0 && client.state() == ClientState::Up);
            let mut other = Connection::connect(&redis.address()).expect("it is there");
            for round in 1..=3 {
                other.call(["PUBLISH", "news", "a"]).expect("it is answered");
                other.call(["PUBLISH", "old", "b"]).expect("it is answered");
                other.call(["PUBLISH", "weather", "c"]).expect("it is answered");
                turn_until(reactor, |app| app.messages.len() == 2);
                let said: Vec<_> = std::mem::take(&mut reactor.app.messages);
                let payloads = said.iter().map(|message| match message {
                    Message::Published { payload, .. } => payload.clone(),
                    other => panic!("{other:?} is no message"),
                });
                assert_eq!(payloads.collect::<Vec<_>>(), [b"a", b"c"]);
                // An answer among the messages, if the version allows it.
                assert!(ask(reactor, &client, &["PING"]).is_ok());
                other.call(["CLIENT", "KILL", "TYPE", "pubsub"]).expect("it is answered");
                turn_until(reactor, |app| app.connects == round + 1);
            }
            client.close();
        }
    });
}
