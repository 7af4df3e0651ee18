//! Tests the client on the loop with `kv` and with Redis, which is killed and restarted (P21).

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clients::resp::{Answer, Cause, Client, Command, Connection, Error, Message, Options};
use common::kv::Kv;
use protocol::resp::Protocol;
use reactor::{ClientOptions, ClientState, LoopCx, Reactor, Unanswered};
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
    told: BTreeMap<String, Told>,
}

fn reactor() -> Reactor<App> {
    Reactor::new(App::default()).expect("it opens")
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
    for options in [Options::default(), resp3()] {
        let mut reactor = reactor();
        let client = open(&mut reactor, &kv.address(), &options);
        assert_eq!(text(ask(&mut reactor, &client, &["SET", "colour", "blue"])), "OK");
        assert_eq!(text(ask(&mut reactor, &client, &["GET", "colour"])), "blue");
        let error = ask(&mut reactor, &client, &["INCR", "colour"]).expect_err("it is no number");
        assert!(error.server().is_some_and(|words| words.starts_with(b"ERR")), "{error}");
        assert!(!error.may_be_done() && error.to_string().starts_with("INCR at unix:"), "{error}");
        assert_eq!((client.state(), client.pending()), (ClientState::Up, 0));
    }
}

#[test]
fn a_pipeline_completes_once_with_all_results_in_order() {
    let kv = Kv::start(None);
    let mut reactor = reactor();
    let client = open(&mut reactor, &kv.address(), &Options::default());
    let commands = (0..1000).map(|number| match number {
        500 => Command::new(["NONSENSE"]),
        _ => Command::new(["INCR", "n"]),
    });
    let done = |results: Vec<_>, cx: &mut LoopCx<'_, App>| cx.app.results.extend(results);
    client.pipeline(commands, done).expect("it is accepted");
    turn_until(&mut reactor, |app| !app.results.is_empty());
    let numbers: Vec<_> = reactor.app.results.iter().flatten().map(Answer::as_integer).collect();
    assert_eq!(numbers, (1..1000).map(Some).collect::<Vec<_>>());
    assert!(reactor.app.results[500].is_err());
}

#[test]
fn a_transaction_is_one_command() {
    let kv = Kv::start(None);
    let mut reactor = reactor();
    let client = open(&mut reactor, &kv.address(), &Options::default());
    let commands = [Command::new(["INCR", "n"]), Command::new(["GET", "n"])];
    client.execute(Command::transaction(commands), None, report).expect("it is accepted");
    client.call(["PING"], report).expect("it is accepted");
    turn_until(&mut reactor, |app| app.results.len() == 2);
    let results = std::mem::take(&mut reactor.app.results);
    let [counted, pong] = <[_; 2]>::try_from(results).expect("there are two");
    let expected = Answer::Array(vec![Answer::Integer(1), Answer::Bulk(b"1".to_vec())]);
    assert_eq!(counted.expect("it is answered"), expected);
    assert_eq!(text(pong), "PONG");
}

#[test]
fn other_threads_wait_for_answers() {
    let kv = Kv::start(None);
    let mut reactor = reactor();
    let client = open(&mut reactor, &kv.address(), &Options::default());
    let done = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (client, done) = (client.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                (0..50).for_each(|_| _ = client.wait(Command::new(["INCR", "n"])).expect("counts"));
                done.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    turn_until(&mut reactor, |_| done.load(Ordering::SeqCst) == 4);
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
    assert_eq!(text(ask(&mut reactor, &client, &["GET", "n"])), "200");
}

#[test]
fn a_late_answer_is_not_taken_for_that_of_another_command() {
    let kv = Kv::start(None);
    let mut reactor = reactor();
    let client = open(&mut reactor, &kv.address(), &Options::default());
    let blocking = Command::new(["BLPOP", "list", "0.2"]);
    client.execute(blocking, Some(10 * MS), report).expect("it is accepted");
    turn_until(&mut reactor, |app| app.results.len() == 1);
    let error = reactor.app.results.pop().expect("there is one").expect_err("it is late");
    let is_sent =
        matches!(error.cause(), Cause::Unanswered(Unanswered::TimedOut { sent: true, .. }));
    assert!(is_sent && error.may_be_done(), "{error}");
    assert_eq!(text(ask(&mut reactor, &client, &["ECHO", "next"])), "next");
}

#[test]
fn each_connection_is_opened_with_password_database_and_name() {
    let Some(redis) = Redis::start(&["--requirepass", "secret"]) else { return };
    let base = Options { database: 3, name: Some("tester".to_owned()), ..Options::default() };
    for options in [base.clone().password("secret"), Options { ..base.clone() }.password("secret")]
        .map(|it| Options { protocol: Protocol::Resp3, ..it })
        .into_iter()
        .chain([base.clone().password("secret")])
    {
        let mut reactor = reactor();
        let client = open(&mut reactor, &redis.address(), &options);
        for round in 1..=3 {
            let command = ["CLIENT", "INFO"];
            let info = text(ask(&mut reactor, &client, &command));
            let resp = if options.protocol == Protocol::Resp3 { "resp=3" } else { "db=3" };
            for part in ["name=tester", "db=3", resp] {
                assert!(info.contains(part), "{part} in {info}");
            }
            assert_eq!(reactor.app.connects, round);
            let killed = ask(&mut reactor, &client, &["CLIENT", "KILL", "SKIPME", "no"]);
            assert!(killed.map_or_else(|error| error.may_be_done(), |_| true));
            turn_until(&mut reactor, |app| app.disconnects == round);
        }
    }
    let mut reactor = reactor();
    let client = open(&mut reactor, &redis.address(), &base.password("wrong"));
    turn_until(&mut reactor, |_| client.failure().is_some());
    let failure = client.failure().expect("there is one").to_string();
    assert!(failure.contains("AUTH at") && failure.contains("check the user"), "{failure}");
    assert_eq!(reactor.app.connects, 0);
}

#[test]
fn subscriptions_are_restored_on_each_connection() {
    let Some(redis) = Redis::start(&[]) else { return };
    for options in [Options::default(), resp3()] {
        let mut reactor = reactor();
        let client = open(&mut reactor, &redis.address(), &options);
        let subscribed = |result: Result<(), Error>, _: &mut LoopCx<'_, App>| {
            result.expect("the server confirms");
        };
        client.subscribe(["news", "old", "sport"], subscribed).expect("it is accepted");
        client.subscribe_to_patterns(["w*"], subscribed).expect("it is accepted");
        client.unsubscribe(["old"], subscribed).expect("it is accepted");
        turn_until(&mut reactor, |_| client.pending() == 0 && client.state() == ClientState::Up);
        let mut other = Connection::connect(&redis.address()).expect("it is there");
        for round in 1..=3 {
            other.call(["PUBLISH", "news", "a"]).expect("it is answered");
            other.call(["PUBLISH", "old", "b"]).expect("it is answered");
            other.call(["PUBLISH", "weather", "c"]).expect("it is answered");
            turn_until(&mut reactor, |app| app.messages.len() == 2);
            let said: Vec<_> = std::mem::take(&mut reactor.app.messages);
            let payloads = said.iter().map(|message| match message {
                Message::Published { payload, .. } => payload.clone(),
                Message::Other(other) => panic!("{other:?} is no message"),
            });
            assert_eq!(payloads.collect::<Vec<_>>(), [b"a", b"c"]);
            // An answer among the messages, if the version allows it.
            assert!(ask(&mut reactor, &client, &["PING"]).is_ok());
            other.call(["CLIENT", "KILL", "TYPE", "pubsub"]).expect("it is answered");
            turn_until(&mut reactor, |app| app.connects == round + 1);
        }
        client.close();
    }
}

/// What the completion of a command was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Answered,
    NotSent,
    Unknown,
    TimedOut,
}

impl Told {
    fn of(result: &Result<Answer, Error>) -> Self {
        match result.as_ref().map_err(Error::cause) {
            Ok(Answer::Integer(1)) => Self::Answered,
            Err(Cause::Unanswered(Unanswered::NotSent(_))) => Self::NotSent,
            Err(Cause::Unanswered(Unanswered::Unknown(_))) => Self::Unknown,
            Err(Cause::Unanswered(Unanswered::TimedOut { .. })) => Self::TimedOut,
            _ => panic!("a tag is new, and its INCR is told {result:?}"),
        }
    }
}

/// Increments a key of its own, which is the tag of the command.
fn increment(client: &Client<App>, tag: String) -> bool {
    let command = Command::new(["INCR", tag.as_str()]);
    let done = move |result: Result<Answer, Error>, cx: &mut LoopCx<'_, App>| {
        let before = cx.app.told.insert(tag, Told::of(&result));
        assert_eq!(before, None, "a command completes once");
    };
    client.execute(command, None, done).is_ok()
}

/// How often Redis is ended, and how many commands are under way.
const RESTARTS: usize = 50;
const PIPELINE: usize = 200;

#[test]
fn every_command_is_accounted_for_while_redis_is_killed_and_restarted() {
    // Each command is in the file before it is answered.
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut redis) = Redis::start(&options) else { return };
    let (mut reactor, address) = (reactor(), redis.address());
    let patient = open(&mut reactor, &address, &Options::default());
    let client = ClientOptions { waits: false, in_flight_max: PIPELINE / 2, ..QUICK };
    let hasty = Client::open(&address, &resp3(), client, &mut reactor.cx()).expect("it opens");
    let (mut sent, mut refused) = (0, 0);
    for round in 0..RESTARTS {
        // Some commands are answered, and many are under way when it ends.
        let wanted = reactor.app.told.len() + 3 * PIPELINE;
        let mut push = |reactor: &mut Reactor<App>| {
            while patient.pending() < PIPELINE {
                assert!(increment(&patient, format!("patient:{sent}")));
                sent += 1;
            }
            while hasty.pending() < PIPELINE && hasty.state() == ClientState::Up {
                let is_accepted = increment(&hasty, format!("hasty:{sent}"));
                refused += usize::from(!is_accepted);
                sent += 1;
            }
            reactor.run_once(Some(MS)).expect("it turns");
        };
        let start = Instant::now();
        while reactor.app.told.len() < wanted {
            assert!(start.elapsed() < PATIENCE, "gave up: {}", reactor.counters());
            push(&mut reactor);
        }
        redis.end(if round % 2 == 0 { "KILL" } else { "TERM" });
        (0..20).for_each(|_| push(&mut reactor));
        redis.restart();
    }
    turn_until(&mut reactor, |_| patient.pending() + hasty.pending() == 0);
    let told = std::mem::take(&mut reactor.app.told);
    assert_eq!(told.len() + refused, sent, "every command completes exactly once");
    check_store(&redis, &told, sent);
}

/// Checks that what was answered is in the store, and what was not sent is not.
fn check_store(redis: &Redis, told: &BTreeMap<String, Told>, sent: usize) {
    let mut connection = Connection::connect(&redis.address()).expect("it is there");
    let mut counts: BTreeMap<(Told, bool), usize> = BTreeMap::new();
    for (tag, told) in told {
        let value = connection.call(["GET", tag]).expect("it is answered");
        let is_there = match value.as_integer() {
            None => false,
            Some(1) => true,
            Some(count) => panic!("{tag} was carried out {count} times"),
        };
        match told {
            Told::Answered => assert!(is_there, "{tag} was answered, and is lost"),
            Told::NotSent => assert!(!is_there, "{tag} was not sent, and is there"),
            Told::TimedOut => panic!("{tag} had enough time"),
            Told::Unknown => {}
        }
        *counts.entry((*told, is_there)).or_default() += 1;
    }
    let stored = connection.call(["DBSIZE"]).expect("it is answered").as_integer();
    let there: usize = counts.iter().filter(|((_, is_there), _)| *is_there).map(|(_, n)| n).sum();
    assert_eq!(stored, Some(there as i64), "the store has what completed, and nothing else");
    assert!(counts.keys().any(|(told, _)| *told == Told::NotSent), "{counts:?}");
    assert!(counts.keys().any(|(told, _)| *told == Told::Unknown), "{counts:?}");
    println!("{sent} commands over {RESTARTS} restarts: {counts:?}");
}
