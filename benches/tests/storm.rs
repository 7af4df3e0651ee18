//! Tests the judge of histories: with `kv` itself, and with cases from the literature.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use benches::storm::history::{Action, Expiry, Failure, History, Operation, Outcome, Rules};
use protocol::resp::Client;
use protocol::{Codec, Decoded, Output, testing};
use servers::kv::{App, Config, session};
use testkit::Random;

const MILLISECOND: u64 = 1_000_000;
/// A time of day at time 0 that is no whole millisecond.
const ORIGIN: u64 = 1_700_000_000_000_300_000;
const RULES: Rules = Rules { origin: ORIGIN, ..Rules::DEFAULT };

/// Returns an operation. Times are in milliseconds.
fn operation(client: u64, times: (u64, u64), action: Action, outcome: Outcome) -> Operation {
    let (invoked, returned) = (times.0 * MILLISECOND, times.1 * MILLISECOND);
    Operation { client, key: b"k".into(), action, invoked, returned: Some((returned, outcome)) }
}

fn lost(client: u64, at: u64, action: Action) -> Operation {
    let invoked = at * MILLISECOND;
    Operation { client, key: b"k".into(), action, invoked, returned: None }
}

fn set(client: u64, times: (u64, u64), value: &str) -> Operation {
    operation(client, times, Action::set(value), Outcome::Done)
}

fn set_until(client: u64, times: (u64, u64), value: &str, expiry: Expiry) -> Operation {
    operation(client, times, Action::set_until(value, expiry), Outcome::Done)
}

fn got(value: &str) -> Outcome {
    if value.is_empty() { Outcome::Nil } else { Outcome::Bytes(value.into()) }
}

/// Returns a `GET`, of nil if the value is empty.
fn get(client: u64, times: (u64, u64), value: &str) -> Operation {
    operation(client, times, Action::Get, got(value))
}

fn add(client: u64, times: (u64, u64), sum: i64) -> Operation {
    operation(client, times, Action::Add(1), Outcome::Number(sum))
}

fn number(client: u64, times: (u64, u64), action: Action, number: i64) -> Operation {
    operation(client, times, action, Outcome::Number(number))
}

fn judge(rules: &Rules, operations: &[Operation]) -> Result<(), Failure> {
    operations.iter().cloned().collect::<History>().check(rules).map(drop)
}

#[track_caller]
fn accept(operations: &[Operation]) {
    let verdict = judge(&Rules::DEFAULT, operations);
    assert!(verdict.is_ok(), "{}", verdict.expect_err("it is an error"));
}

/// Returns the message.
#[track_caller]
fn reject(operations: &[Operation]) -> String {
    match judge(&Rules::DEFAULT, operations) {
        Err(failure @ Failure::Unordered(_)) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn replies_have_to_agree_with_one_order() {
    accept(&[]);
    accept(&[set(1, (0, 1), "a"), get(2, (2, 3), "a"), set(1, (4, 5), "b"), get(2, (6, 7), "b")]);
    reject(&[set(1, (0, 1), "a"), set(1, (2, 3), "b"), get(2, (4, 5), "a")]);
    reject(&[set(1, (0, 1), "a"), get(2, (2, 3), "")]);
    reject(&[get(2, (2, 3), "a")]);
    // A write in progress may be seen or not, but not seen and then unseen.
    let write = set(1, (0, 9), "a");
    accept(&[write.clone(), get(2, (1, 2), ""), get(2, (3, 4), "a")]);
    accept(&[write.clone(), get(2, (1, 4), "a"), get(3, (2, 3), "")]);
    reject(&[write.clone(), get(2, (1, 2), "a"), get(2, (3, 4), "")]);
    reject(&[write, get(2, (1, 2), "a"), get(3, (3, 4), "")]);
    // Two readers see two writes in opposite orders.
    let writes = [set(1, (0, 9), "a"), set(2, (0, 9), "b")];
    let reads = |first: [&str; 2], second: [&str; 2]| {
        let one = [get(3, (1, 2), first[0]), get(3, (5, 6), first[1])];
        let other = [get(4, (1, 2), second[0]), get(4, (5, 6), second[1])];
        [writes.to_vec(), one.to_vec(), other.to_vec()].concat()
    };
    accept(&reads(["a", "b"], ["a", "b"]));
    reject(&reads(["a", "b"], ["b", "a"]));
    // Operations that meet at one moment overlap.
    accept(&[set(1, (0, 5), "a"), get(2, (5, 6), "")]);
    reject(&[set(1, (0, 5), "a"), get(1, (5, 6), "")]);
}

#[test]
fn counters_count_each_increment_once() {
    accept(&[add(1, (0, 9), 2), add(2, (0, 9), 1), add(3, (0, 9), 3)]);
    reject(&[add(1, (0, 9), 1), add(2, (0, 9), 1)]);
    reject(&[add(1, (0, 9), 1), add(2, (0, 9), 3)]);
    reject(&[add(1, (0, 1), 2), add(2, (2, 3), 1)]);
    accept(&[lost(9, 0, Action::Add(1)), add(1, (1, 2), 1), add(2, (3, 4), 3)]);
    reject(&[lost(9, 0, Action::Add(1)), add(1, (1, 2), 1), add(2, (3, 4), 4)]);
    let refused = Outcome::Refused("ERR value is not an integer or out of range".into());
    let text = [set(1, (0, 1), "x"), operation(1, (2, 3), Action::Add(1), refused)];
    accept(&text);
    reject(&text[1..]);
    let append = |client, times, length| number(client, times, Action::Append("ab".into()), length);
    accept(&[append(1, (0, 9), 4), append(2, (0, 9), 2), get(3, (10, 11), "abab")]);
    reject(&[append(1, (0, 9), 2), append(2, (0, 9), 2)]);
}

#[test]
fn lost_operations_take_effect_at_any_time_or_never() {
    let write = lost(9, 1, Action::set("x"));
    let first = set(1, (0, 2), "a");
    accept(&[first.clone(), write.clone(), get(1, (5, 6), "a"), get(1, (7, 8), "x")]);
    accept(&[first.clone(), write.clone(), get(1, (5, 6), "a")]);
    reject(&[first.clone(), write.clone(), get(1, (5, 6), "x"), get(1, (7, 8), "a")]);
    reject(&[first.clone(), lost(9, 7, Action::set("x")), get(1, (5, 6), "x")]);
    // It took effect once: it cannot come back after a later write.
    let twice = [get(1, (3, 4), "x"), set(1, (5, 6), "b"), get(1, (7, 8), "x")];
    reject(&[&[first.clone(), write.clone()], &twice[..]].concat());
    // Requests of one connection take effect in their order, and none alone.
    let line =
        [lost(9, 0, Action::set("x")), lost(9, 0, Action::Add(1)), lost(9, 0, Action::set("y"))];
    accept(&[&line[..], &[get(1, (1, 2), "x"), get(1, (3, 4), "y")]].concat());
    reject(&[&line[..], &[get(1, (1, 2), "y"), get(1, (3, 4), "x")]].concat());
    let error = Outcome::Number(1);
    reject(
        &[
            &line[..],
            &[operation(1, (1, 2), Action::Append("".into()), error)],
            &[get(1, (3, 4), "1")],
        ]
        .concat(),
    );
}

#[test]
fn requests_of_one_client_take_effect_in_their_order() {
    let line = [set(1, (0, 9), "a"), get(1, (0, 9), "a"), set(1, (1, 9), "b"), get(1, (1, 9), "b")];
    accept(&line);
    let swapped = [set(1, (0, 9), "a"), set(1, (0, 9), "b"), get(1, (0, 9), "a")];
    reject(&swapped);
    let back = [set(1, (0, 9), "a"), set(1, (0, 8), "b")];
    assert!(matches!(judge(&RULES, &back), Err(Failure::Malformed { .. })));
    let after_loss = [lost(1, 0, Action::Get), get(1, (5, 6), "")];
    assert!(matches!(judge(&RULES, &after_loss), Err(Failure::Malformed { .. })));
    let mut negative = get(1, (5, 6), "");
    negative.invoked = 7 * MILLISECOND;
    assert!(matches!(judge(&RULES, &[negative]), Err(Failure::Malformed { .. })));
}

#[test]
fn a_key_is_seen_until_its_deadline_and_not_later() {
    let write = set_until(1, (100, 110), "a", Expiry::In(50));
    accept(&[write.clone(), get(1, (148, 148), "a"), get(1, (160, 161), "")]);
    accept(&[write.clone(), get(2, (158, 159), "a"), get(2, (160, 170), "")]);
    reject(&[write.clone(), get(2, (160, 161), "a")]);
    reject(&[write.clone(), get(2, (140, 148), "")]);
    // A later write of the same moment would have ended later too.
    reject(&[write.clone(), get(2, (159, 159), "a"), get(3, (157, 157), "")]);
    accept(&[write.clone(), get(2, (157, 157), "a"), get(3, (159, 159), "")]);
    let until = set_until(1, (0, 10), "a", Expiry::At(50));
    accept(&[until.clone(), get(1, (49, 49), "a"), get(1, (50, 51), "")]);
    reject(&[until.clone(), get(1, (50, 51), "a")]);
    reject(&[until.clone(), get(1, (40, 49), "")]);
    // The clock of the server may be wrong by 3 ms.
    let rules = Rules { tolerance: 3 * MILLISECOND, ..Rules::DEFAULT };
    for (times, value, is_accepted) in
        [((52, 52), "a", true), ((53, 53), "a", false), ((47, 47), "", true), ((46, 46), "", false)]
    {
        let verdict = judge(&rules, &[until.clone(), get(1, times, value)]);
        assert_eq!(verdict.is_ok(), is_accepted, "{times:?} {value}");
    }
    // Other commands keep, remove, replace and tell the expiry.
    accept(&[until.clone(), set(1, (11, 12), "b"), get(1, (90, 91), "b")]);
    reject(&[until.clone(), set(1, (11, 12), "b"), get(1, (90, 91), "")]);
    let append = number(1, (11, 12), Action::Append("b".into()), 2);
    reject(&[until.clone(), append.clone(), get(1, (90, 91), "ab")]);
    accept(&[until.clone(), append, get(1, (90, 91), "")]);
    let persist = number(1, (11, 12), Action::Persist, 1);
    accept(&[until.clone(), persist.clone(), get(1, (90, 91), "a")]);
    reject(&[until.clone(), persist, get(1, (90, 91), "")]);
    let longer = number(1, (11, 12), Action::ExpireIn(80), 1);
    accept(&[until.clone(), longer, get(1, (90, 90), "a"), get(1, (92, 93), "")]);
    let left = |at: u64, left| number(1, (at, at), Action::TimeLeft, left);
    accept(&[left(0, -2), until.clone(), left(20, 30), left(49, 1), left(50, -2)]);
    reject(&[until.clone(), left(20, 31)]);
    reject(&[until, left(20, -1)]);
}

#[test]
fn what_is_beyond_the_limits_is_undecided() {
    let all: Vec<Operation> =
        (0..20).map(|client| set(client, (0, 9), &client.to_string())).collect();
    let short = Rules { operations_max: 19, ..RULES };
    assert!(matches!(judge(&short, &all), Err(Failure::TooLong { operations: 20, .. })));
    let few = Rules { configurations_max: 1000, ..RULES };
    assert!(matches!(judge(&few, &all), Err(Failure::TooHard { .. })));
    // Lost operations do not multiply: each is used by one order at most, when it matters.
    let mut long: Vec<Operation> = (0..12).map(|client| lost(client, 0, Action::Add(1))).collect();
    long.extend((60..68).map(|client| lost(client, 0, Action::set(client.to_string()))));
    long.extend((0..50).map(|at| set(100, (at * 2 + 1, at * 2 + 2), &at.to_string())));
    assert!(judge(&RULES, &long).is_ok());
}

#[test]
fn a_counter_example_has_what_matters() {
    let mut all = Vec::new();
    for at in 0..200 {
        all.push(set(1, (at * 10, at * 10 + 1), &at.to_string()));
        all.push(get(2, (at * 10 + 3, at * 10 + 4), &at.to_string()));
    }
    all.insert(360, set(3, (1792, 1797), "other"));
    all.extend([get(4, (1798, 1799), "178"), get(5, (1997, 1999), "199")]);
    all.sort_by_key(|it| it.invoked);
    let message = reject(&all);
    let lines: Vec<&str> = message.lines().collect();
    assert!(lines.len() <= 5, "{message}");
    assert!(lines[0].contains("\"k\"") && lines[0].contains("of the 362"), "{message}");
    assert!(message.contains("> client 4 [1.798000000, 1.799000000] GET -> \"178\""), "{message}");
    assert!(message.ends_with("the key could be \"other\""), "{message}");
    assert!(
        message.contains("  client 3 [1.792000000, 1.797000000] SET \"other\" -> OK"),
        "{message}"
    );
}

/// A server without connections, whose clock a test sets.
struct Server {
    app: App,
    time: Rc<Cell<u64>>,
}

impl Server {
    fn new() -> Self {
        let config = Config {
            memory_max: None,
            password: String::new(),
            pubsub_backlog_max: 10_000,
            normal_backlog_max: 10_000,
            clients_memory_max: 10_000,
            idle_timeout: None,
            connections_max: 10,
        };
        let (time, start) = (Rc::new(Cell::new(0)), Instant::now());
        let (one, two) = (Rc::clone(&time), Rc::clone(&time));
        let now = move || start + Duration::from_nanos(one.get());
        let time_of_day = move || Duration::from_nanos(ORIGIN + two.get());
        Self { app: App::new(config, now, time_of_day), time }
    }

    fn answer(&mut self, operation: &Operation, at: u64) -> Outcome {
        self.time.set(at);
        let (parts, mut request) = (operation.action.request(&operation.key), Output::new());
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        Client::default().encode(&parts, &mut request);
        let request = request.to_vec();
        let reply = testing::drive(&mut session(None), &mut self.app, &[&request[..]]);
        let (mut reply, mut nothing) = (reply.expect("it answers"), Output::new());
        match Client::default().decode(&mut reply, &mut nothing) {
            Ok(Decoded::Message { message, .. }) => Outcome::of(message.item()),
            other => panic!("{other:?}"),
        }
        .expect("an operation has this outcome")
    }
}

/// Returns an action whose value, if it has one, no other has.
fn action(random: &mut Random, unique: usize, now: u64) -> Action {
    let value = format!("{unique}");
    let soon = (ORIGIN + now) / MILLISECOND + random.below(60);
    let expiry = match random.below(8) {
        0 => Expiry::In(1 + random.below(40)),
        1 => Expiry::At(soon),
        2 => Expiry::Kept,
        _ => Expiry::Never,
    };
    match random.below(16) {
        0..5 => Action::Get,
        5 => Action::TimeLeft,
        6 => Action::Exists,
        7 | 8 => Action::Set { value: value.into(), expiry, only_new: random.one_in(3) },
        9 => Action::GetSet(value.into()),
        10 => [Action::GetDelete, Action::Delete][random.index(2)].clone(),
        11 => Action::Append(value.into()),
        12 | 13 => Action::Add(random.below(5) as i64),
        14 => [Action::ExpireIn(random.below(40)), Action::ExpireAt(soon)][random.index(2)].clone(),
        _ => Action::Persist,
    }
}

/// Runs random clients against `kv`, each operation at a random moment between its request and its
/// reply.
fn run(seed: u64, clients: u64, length: usize) -> Vec<Operation> {
    let mut random = Random::new(seed);
    let (mut operations, mut points) = (Vec::new(), Vec::new());
    let mut next_client = clients;
    for client in 0..clients {
        let (mut client, mut now) = (client, 0);
        for _ in 0..length {
            let mut invoked = now + random.below(8 * MILLISECOND) * random.below(2);
            for _ in 0..=random.below(6).saturating_sub(3) {
                let action = action(&mut random, operations.len(), invoked);
                let key = [b'a' + random.below(2) as u8].into();
                let point = invoked.max(now) + random.below(5 * MILLISECOND) * random.below(2);
                now = point + random.below(5 * MILLISECOND) * random.below(2);
                let returned = Some((now, Outcome::Done));
                operations.push(Operation { client, key, action, invoked, returned });
                points.push(Some(point));
                // The next request of a pipeline may come before the reply to this one.
                invoked += random.below(MILLISECOND) * random.below(2);
            }
            if random.one_in(40) {
                let last = operations.len() - 1;
                operations[last].returned = None;
                let late = random.below(3) * random.below(90 * MILLISECOND);
                points[last] = points[last].filter(|_| !random.one_in(2)).map(|at| at + late);
                (client, next_client) = (next_client, next_client + 1);
            }
        }
    }
    let mut order: Vec<usize> = (0..points.len()).filter(|it| points[*it].is_some()).collect();
    order.sort_by_key(|it| points[*it]);
    let mut server = Server::new();
    for number in order {
        let outcome = server.answer(&operations[number], points[number].unwrap_or_default());
        if let Some(returned) = &mut operations[number].returned {
            returned.1 = outcome;
        }
    }
    operations
}

#[test]
fn what_kv_answers_is_accepted() {
    for seed in 0..80 {
        let operations = run(seed, 1 + seed % 5, 40);
        let verdict = judge(&RULES, &operations);
        assert!(verdict.is_ok(), "seed {seed}: {}", verdict.expect_err("it is an error"));
    }
}

/// Returns the value of an operation that replaces whatever there was.
fn replaced(operation: &Operation) -> Option<(&[u8], Expiry)> {
    match &operation.action {
        Action::Set { value, expiry, only_new: false } if *expiry != Expiry::Kept => {
            Some((value, *expiry))
        }
        _ => None,
    }
}

fn is_before(first: &Operation, second: &Operation) -> bool {
    first.key == second.key && first.returned.as_ref().is_some_and(|it| it.0 < second.invoked)
}

/// Returns the places of a write and of a completed read after it that `is_fit` accepts.
fn places(
    operations: &[Operation],
    is_fit: impl Fn(&Operation, &Operation) -> bool,
) -> Vec<(usize, usize)> {
    let reads =
        |it: &&usize| operations[**it].action == Action::Get && operations[**it].returned.is_some();
    let numbers: Vec<usize> = (0..operations.len()).collect();
    let all = numbers.iter().filter(reads).flat_map(|read| numbers.iter().map(|it| (*it, *read)));
    all.filter(|(write, read)| is_fit(&operations[*write], &operations[*read])).collect()
}

/// Changes histories of `kv` that only read and replace. Returns how many could be changed.
fn reject_changed(change: impl Fn(&mut Random, &mut Vec<Operation>) -> bool) -> usize {
    let changed = |seed: &u64| {
        let (mut random, mut operations) = (Random::new(*seed), run(*seed, 4, 25));
        if !change(&mut random, &mut operations) {
            return false;
        }
        match judge(&RULES, &operations) {
            Err(Failure::Unordered(example)) => assert!(!example.operations.is_empty()),
            other => panic!("seed {seed}: {other:?}"),
        }
        true
    };
    (0..200).filter(changed).count()
}

fn choose(random: &mut Random, all: &[(usize, usize)]) -> Option<(usize, usize)> {
    (!all.is_empty()).then(|| all[random.index(all.len())])
}

fn answer(operations: &mut [Operation], read: usize, outcome: Outcome) {
    operations[read].returned.as_mut().expect("it has a reply").1 = outcome;
}

#[test]
fn stale_reads_are_rejected() {
    let count = reject_changed(|random, operations| {
        let is_stale = |write: &Operation, read: &Operation| {
            // Long values: appended numbers and sums are never equal to them.
            let over = |it: &Operation| {
                replaced(it).is_some() && is_before(write, it) && is_before(it, read)
            };
            replaced(write).is_some() && operations.iter().any(over)
        };
        let Some((write, read)) = choose(random, &places(operations, is_stale)) else {
            return false;
        };
        let value = b"a value that nothing else produces".to_vec();
        let Action::Set { value: written, .. } = &mut operations[write].action else {
            return false;
        };
        written.clone_from(&value);
        answer(operations, read, Outcome::Bytes(value));
        true
    });
    assert!(count > 100, "{count}");
}

#[test]
fn lost_writes_and_vanished_keys_are_rejected() {
    // Nothing deletes a key or lets it expire after this write, and still it is gone.
    let ends = |it: &Operation| {
        let lasts = matches!(
            it.action,
            Action::Get
                | Action::Exists
                | Action::TimeLeft
                | Action::Append(_)
                | Action::Add(_)
                | Action::Persist
                | Action::GetSet(_)
                | Action::Set { expiry: Expiry::Never | Expiry::Kept, .. }
        );
        !lasts
    };
    let count = reject_changed(|random, operations| {
        operations.retain(|it| !ends(it));
        // What is left is a history of its own only if its replies are asked for again.
        replay(operations);
        let is_there = |write: &Operation, read: &Operation| {
            replaced(write).is_some() && is_before(write, read)
        };
        let Some((_, read)) = choose(random, &places(operations, is_there)) else { return false };
        answer(operations, read, Outcome::Nil);
        true
    });
    assert!(count > 100, "{count}");
}

/// Asks `kv` for the replies to the operations, in the order of their replies.
fn replay(operations: &mut [Operation]) {
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.retain(|it| operations[*it].returned.is_some());
    order.sort_by_key(|it| operations[*it].returned.as_ref().map(|(at, _)| *at));
    let mut server = Server::new();
    for number in order {
        let at = operations[number].returned.as_ref().map_or(0, |(at, _)| *at);
        let outcome = server.answer(&operations[number], at);
        answer(operations, number, outcome);
    }
}

#[test]
fn repeated_sums_are_rejected() {
    let count = reject_changed(|random, operations| {
        operations.iter_mut().for_each(|it| it.action = Action::Add(1));
        replay(operations);
        let done: Vec<usize> = (0..operations.len()).collect();
        let done: Vec<usize> =
            done.into_iter().filter(|it| operations[*it].returned.is_some()).collect();
        let (one, other) = (done[random.index(done.len())], done[random.index(done.len())]);
        let is_other = one != other && operations[one].key == operations[other].key;
        let sum = operations[one].returned.clone().expect("it has a reply").1;
        answer(operations, other, sum);
        is_other
    });
    assert!(count > 50, "{count}");
}

#[test]
fn keys_that_end_early_or_late_are_rejected() {
    for is_late in [false, true] {
        let count = reject_changed(|random, operations| {
            // Only reads, and writes with a short life.
            operations.retain(|it| it.action == Action::Get || replaced(it).is_some());
            for (number, operation) in operations.iter_mut().enumerate() {
                if operation.action != Action::Get {
                    let expiry = Expiry::In(3 + random.below(20));
                    operation.action = Action::set_until(format!("value {number}"), expiry);
                }
            }
            replay(operations);
            let is_wrong = |write: &Operation, read: &Operation| {
                let (Some((_, Expiry::In(left))), true) = (replaced(write), is_before(write, read))
                else {
                    return false;
                };
                let left = left * MILLISECOND;
                let written = write.returned.as_ref().map_or(0, |(at, _)| *at);
                let returned = read.returned.as_ref().map_or(0, |(at, _)| *at);
                let alone = operations.iter().all(|it| {
                    it.action == Action::Get
                        || it == write
                        || is_before(it, write)
                        || it.returned.is_some() && is_before(read, it)
                        || it.key != read.key
                });
                match is_late {
                    true => read.invoked >= written + left,
                    false => returned + MILLISECOND < write.invoked + left && alone,
                }
            };
            let Some((write, read)) = choose(random, &places(operations, is_wrong)) else {
                return false;
            };
            let value = replaced(&operations[write]).expect("it is a write").0.to_vec();
            let outcome = if is_late { Outcome::Bytes(value) } else { Outcome::Nil };
            answer(operations, read, outcome);
            true
        });
        assert!(count > 30, "{count}, late: {is_late}");
    }
}
