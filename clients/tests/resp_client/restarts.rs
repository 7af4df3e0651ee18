//! Redis is killed and restarted under load (P21).

use std::collections::BTreeMap;
use std::time::Instant;

use clients::resp::{Answer, Cause, Client, Command, Connection, Error, Options};
use reactor::{BackendKind, ClientOptions, ClientState, LoopCx, Reactor, Unanswered};
use testkit::{PATIENCE, Redis};

use super::{App, MS, QUICK, open, reactor, resp3, turn_until};

/// What the completion of a command was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
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

/// How many commands are under way.
const PIPELINE: usize = 200;

#[test]
fn every_command_is_accounted_for_while_redis_is_killed_and_restarted() {
    lose_redis(BackendKind::Epoll, 50);
}

#[test]
fn every_command_is_accounted_for_on_every_other_backend() {
    for kind in BackendKind::ALL.into_iter().filter(|kind| *kind != BackendKind::Epoll) {
        lose_redis(kind, 12);
    }
}

#[test]
#[ignore = "50 restarts on each backend take a minute"]
fn every_command_is_accounted_for_over_50_restarts_on_every_backend() {
    for kind in BackendKind::ALL {
        lose_redis(kind, 50);
    }
}

/// Ends Redis `restarts` times, while many commands are under way.
fn lose_redis(kind: BackendKind, restarts: usize) {
    // Each command is in the file before it is answered.
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut redis) = Redis::start(&options) else { return };
    let (mut reactor, address) = (reactor(kind), redis.address());
    let patient = open(&mut reactor, &address, &Options::default());
    let client = ClientOptions { waits: false, in_flight_max: PIPELINE / 2, ..QUICK };
    let hasty = Client::open(&address, &resp3(), client, &mut reactor.cx()).expect("it opens");
    let (mut sent, mut refused) = (0, 0);
    for round in 0..restarts {
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
        if round % 4 == 0 {
            // What is sent now is certainly not answered.
            redis.signal("STOP");
            push(&mut reactor);
        }
        redis.end(if round % 2 == 0 { "KILL" } else { "TERM" });
        (0..20).for_each(|_| push(&mut reactor));
        redis.restart();
    }
    turn_until(&mut reactor, |_| patient.pending() + hasty.pending() == 0);
    let told = std::mem::take(&mut reactor.app.told);
    assert_eq!(told.len() + refused, sent, "every command completes exactly once");
    let counts = check_store(&redis, &told);
    println!("on {kind}: {sent} commands over {restarts} restarts: {counts:?}");
}

/// Checks that what was answered is in the store, and what was not sent is not. Returns how many
/// commands there are of each kind, and whether they are in the store.
fn check_store(redis: &Redis, told: &BTreeMap<String, Told>) -> BTreeMap<(Told, bool), usize> {
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
    counts
}
