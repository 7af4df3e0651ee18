use std::time::{Duration, Instant};

use protocol::link::Link;
use protocol::testing::{Wire, drive};
use protocol::{ConnectionId, Limits};

use super::*;
use crate::kv::{Config, session};

fn app() -> App {
    let config = Config {
        memory_max: None,
        password: String::new(),
        pubsub_backlog_max: 1 << 20,
        normal_backlog_max: 1 << 20,
        clients_memory_max: 1 << 30,
        idle_timeout: None,
        connections_max: 100,
    };
    let mut app = App::new(config, Instant::now, reactor::time_of_day);
    app.seed(7);
    app
}

/// Returns the replies to some lines.
fn ask(app: &mut App, lines: &str) -> String {
    let said = drive(&mut session(None), app, &[lines.as_bytes()]).expect("it is valid");
    String::from_utf8_lossy(&said).into_owned()
}

/// Returns the pieces of a state.
fn pieces(app: &mut App, piece_size: usize) -> Vec<Vec<u8>> {
    app.moving = Moving::Leaves(Saver::with_piece_size(piece_size));
    let mut pieces = Vec::new();
    loop {
        let mut piece = State::new();
        let progress = app.save(&mut piece);
        pieces.push(piece.into_bytes());
        if progress == Progress::Whole {
            app.stays();
            return pieces;
        }
    }
}

fn load(pieces: &[Vec<u8>]) -> Result<App, StateError> {
    let mut app = app();
    for piece in pieces {
        app.restore(SavedState::new(piece))?;
    }
    app.restored()?;
    Ok(app)
}

/// Commands that create keys of every kind in two databases, with places in between.
fn filled() -> App {
    let mut app = app();
    ask(
        &mut app,
        "set string value\r\nset number 12\r\nappend text more\r\nrpush list a b c b\r\n\
         hset hash f 1 g 2\r\nsadd set m n\r\nsadd numbers 1 2 3\r\nset gone x\r\n\
         set ends x px 100000000\r\nset later y pxat 99999999999999\r\ndel gone\r\n\
         select 3\r\nset other \"\"\r\nset \"\" empty\r\nlpush deep 1\r\nselect 0\r\n\
         hset wide f 01234567890123456789012345678901234567890123456789012345678901234567890\r\n\
         hdel wide f\r\nhset wide g 1\r\nconfig set maxmemory 100mb\r\nget nothing\r\n",
    );
    app
}

const QUESTIONS: &str = "keys *\r\nget string\r\nget number\r\nget text\r\nlrange list 0 -1\r\n\
                         hgetall hash\r\nsmembers set\r\nsmembers numbers\r\npexpiretime ends\r\n\
                         pexpiretime later\r\nobject encoding text\r\nobject encoding numbers\r\n\
                         object encoding wide\r\nobject encoding set\r\nscan 0 count 3\r\n\
                         scan 4 count 100\r\nselect 3\r\nkeys *\r\nget other\r\nget \"\"\r\n\
                         lrange deep 0 -1\r\ndbsize\r\nconfig get maxmemory\r\ninfo keyspace\r\n";

#[test]
fn every_value_moves_whatever_the_size_of_pieces() {
    let mut old = filled();
    let expected = ask(&mut old, QUESTIONS);
    let used = old.store.used();
    for piece_size in [1, 30, 100, 1000, 100_000] {
        let pieces = pieces(&mut old, piece_size);
        let mut new = load(&pieces).expect("it is whole");
        assert_eq!(ask(&mut new, QUESTIONS), expected, "pieces of {piece_size} bytes");
        assert_eq!(new.store.used(), used);
    }
    assert_eq!(ask(&mut old, QUESTIONS), expected, "the old one goes on");
}

#[test]
fn long_strings_move_in_parts() {
    let mut old = app();
    let long = |byte: u8| String::from_utf8(vec![byte; 200_000]).expect("text");
    let (key, field, value) = (long(b'k'), long(b'f'), long(b'v'));
    old.store.set_string(key.as_bytes(), value.as_bytes(), false);
    let set = |hash: &mut crate::kv::value::Hash| hash.set(field.as_bytes(), value.as_bytes());
    old.store.edit_or_create(b"hash", set).expect("it is a hash");
    let pieces = pieces(&mut old, 64 * 1024);
    assert!(pieces.iter().all(|piece| piece.len() < 128 * 1024), "no piece is long");
    let mut new = load(&pieces).expect("it is whole");
    assert_eq!(new.store.string(key.as_bytes()).ok().flatten(), Some(value.as_bytes()));
    let hash =
        new.store.read::<crate::kv::value::Hash>(b"hash").ok().flatten().expect("it is there");
    assert_eq!(hash.get(field.as_bytes()), Some(value.as_bytes()));
}

#[test]
fn a_state_that_is_cut_or_changed_anywhere_is_refused_or_loads() {
    let mut old = filled();
    let pieces = pieces(&mut old, 60);
    for last in 0..pieces.len() {
        assert!(load(&pieces[..last]).is_err(), "{last} pieces of {}", pieces.len());
        let mut without = pieces.clone();
        without.remove(last);
        assert!(load(&without).is_err(), "without piece {last}");
        let cut = &pieces[last];
        // Any place in a few pieces, and some in all.
        let step = if last % 4 == 1 { 1 } else { 31 };
        for length in (0..cut.len()).step_by(step) {
            let mut broken = pieces.clone();
            broken[last].truncate(length);
            // A piece may end between two entries; then something is missing at the end.
            assert!(load(&broken).is_err(), "{length} bytes of piece {last}");
        }
    }
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..500 {
        let mut broken = pieces.clone();
        let piece = random.usize(..broken.len());
        let place = random.usize(..broken[piece].len());
        broken[piece][place] = random.u8(..);
        // It is not the same state any more, but it does no harm.
        if let Ok(mut app) = load(&broken) {
            ask(&mut app, QUESTIONS);
        }
    }
}

#[test]
fn random_keys_move_and_cursors_stay_valid() {
    for seed in 0..4 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut old = app();
        for _ in 0..2000 {
            let key = random.u32(..700).to_string();
            let line = match random.u32(..6) {
                0 => format!("del {key}"),
                1 => format!("set s{key} {key}"),
                2 => format!("rpush l{key} {} {}", random.u8(..), random.u8(..)),
                3 => format!("hset h{key} {} {}", random.u8(..), random.u8(..)),
                4 => format!("sadd t{key} {}", random.u8(..)),
                _ => format!("del s{key} l{key} h{key} t{key}"),
            };
            ask(&mut old, &format!("select {}\r\n{line}\r\n", random.u8(..3)));
        }
        let pieces = pieces(&mut old, random.usize(1..5000));
        let mut new = load(&pieces).expect("it is whole");
        for db in 0..3 {
            for cursor in [0, 5, 100, 300] {
                let question = format!("select {db}\r\nscan {cursor} count 50\r\ndbsize\r\n");
                assert_eq!(ask(&mut new, &question), ask(&mut old, &question));
            }
            let keys = ask(&mut old, &format!("select {db}\r\nkeys *\r\n"));
            for key in keys.lines().filter(|line| !line.starts_with(['$', '*', '+'])) {
                let question = format!(
                    "select {db}\r\nget {key}\r\nlrange {key} 0 -1\r\nhgetall {key}\r\nsmembers {key}\r\n"
                );
                assert_eq!(ask(&mut new, &question), ask(&mut old, &question), "{key}");
            }
        }
    }
}

type Connection = Wire<protocol::Conversation<protocol::resp::Server, crate::kv::Connection>>;

fn connect(app: &mut App) -> Connection {
    let limits = Limits { output_high: 1 << 30, output_max: 1 << 30, ..Limits::DEFAULT };
    let mut wire = Wire::over(Link::new(session(None), limits.into()));
    wire.run(app);
    wire
}

fn say(wire: &mut Connection, app: &mut App, lines: &str) -> String {
    wire.feed(lines.replace('\n', "\r\n").as_bytes(), app);
    String::from_utf8(wire.take_sent()).expect("text").replace("\r\n", "\n")
}

/// Moves the state and a connection to another program.
fn move_all(mut old: App, wires: &mut [&mut Connection]) -> App {
    let pieces = pieces(&mut old, 1000);
    let mut new = load(&pieces).expect("it is whole");
    let states: Vec<_> = wires.iter_mut().map(|it| it.save(&old).expect("it is saved")).collect();
    for (wire, state) in wires.iter_mut().zip(&states) {
        wire.take_over(session(None), state, &mut new);
    }
    new
}

/// Runs the commands of another client, and wakes `wire`. Returns what that is sent.
fn other(app: &mut App, wire: &mut Connection, lines: &str) -> String {
    ask(app, lines);
    wire.wake(app);
    String::from_utf8(wire.take_sent()).expect("text").replace("\r\n", "\n")
}

#[test]
fn what_a_client_has_said_goes_along() {
    // What it says before, what it says after, and the answer to that.
    let cases = [
        ("select 5\n", "client info\n", " db=5 "),
        ("client setname me\n", "client getname\n", "$2\nme\n"),
        ("hello 3\n", "get nothing\n", "_\n"),
        ("multi\nset a 1\nget a\n", "exec\n", "*2\n+OK\n$1\n1\n"),
        ("multi\nno such\nset a 1\n", "exec\n", "-EXECABORT"),
        ("watch a\nmulti\nget a\n", "exec\n", "*1\n$-1\n"),
        ("watch a\nset a 2\nmulti\nget a\n", "exec\n", "*-1\n"),
        ("client reply off\n", "get a\nclient reply on\n", "+OK\n"),
        ("client reply skip\n", "get a\nping\n", "+PONG\n"),
        ("subscribe one two\n", "unsubscribe one\n", "*3\n$11\nunsubscribe\n$3\none\n:1\n"),
        ("psubscribe o*\n", "punsubscribe\n", "*3\n$12\npunsubscribe\n$2\no*\n:0\n"),
        ("client no-evict on\n", "client info\n", " flags=Ue "),
        ("set a 1\nget a\n", "get a\n", "$1\n1\n"),
        ("set part", "ial 3\nget partial\n", "+OK\n$1\n3\n"),
        ("*2\n$3\nGET\n$4\nab", "cd\n", "$-1\n"),
    ];
    for (before, after, expected) in cases {
        let mut old = app();
        let mut wire = connect(&mut old);
        say(&mut wire, &mut old, before);
        let id = old.next_id;
        let mut new = move_all(old, &mut [&mut wire]);
        wire.run(&mut new);
        assert_eq!(new.next_id, id);
        let answer = say(&mut wire, &mut new, after);
        assert!(answer.starts_with(expected) || answer.contains(expected), "{before:?}: {answer}");
        assert_eq!(new.clients.len(), 1);
    }
}

#[test]
fn what_others_do_reaches_a_client_that_has_moved() {
    let cases = [
        ("blpop list 0\n", "rpush list x\r\n", "*2\n$4\nlist\n$1\nx\n"),
        ("blmove list to left right 5\n", "rpush list x\r\n", "$1\nx\n"),
        (
            "blmpop 5 1 list right count 2\n",
            "rpush list x y z\r\n",
            "*2\n$4\nlist\n*2\n$1\nz\n$1\ny\n",
        ),
        ("blpop list 0\nping\n", "rpush list x\r\n", "*2\n$4\nlist\n$1\nx\n+PONG\n"),
        ("subscribe one\n", "publish one hello\r\n", "*3\n$7\nmessage\n$3\none\n$5\nhello\n"),
        ("psubscribe o*\n", "publish one hi\r\n", "*4\n$8\npmessage\n$2\no*\n$3\none\n$2\nhi\n"),
    ];
    for (before, does, expected) in cases {
        // The other one acts before the client is called for the first time, and after.
        for is_called in [false, true] {
            let mut old = app();
            let mut wire = connect(&mut old);
            say(&mut wire, &mut old, before);
            let mut new = move_all(old, &mut [&mut wire]);
            if is_called {
                wire.run(&mut new);
            }
            assert_eq!(other(&mut new, &mut wire, does), expected, "{before:?} {is_called}");
            assert!(new.clients.iter().all(|(_, it)| it.connection == ConnectionId(0)));
        }
    }
    // A key that another client changes before the watching one is called.
    let mut old = app();
    let mut wire = connect(&mut old);
    say(&mut wire, &mut old, "watch a\nmulti\nget a\n");
    let mut new = move_all(old, &mut [&mut wire]);
    ask(&mut new, "set a 1\r\n");
    assert_eq!(say(&mut wire, &mut new, "exec\n"), "*-1\n");
}

#[test]
fn a_wait_goes_on_with_the_time_that_is_left_and_in_its_place() {
    let mut old = app();
    let (mut first, mut second) = (connect(&mut old), connect(&mut old));
    say(&mut first, &mut old, "blpop list 0\n");
    say(&mut second, &mut old, "blpop list 10\n");
    second.pass(Duration::from_secs(4), &mut old);
    // The later one is restored first.
    let mut new = move_all(old, &mut [&mut second, &mut first]);
    first.run(&mut new);
    second.run(&mut new);
    ask(&mut new, "rpush list x\r\n");
    first.wake(&mut new);
    assert!(!first.take_sent().is_empty(), "the first is served");
    second.pass(Duration::from_millis(5900), &mut new);
    assert!(second.take_sent().is_empty());
    second.pass(Duration::from_millis(200), &mut new);
    assert_eq!(second.take_sent(), b"*-1\r\n");
}

#[test]
fn messages_that_a_subscriber_has_not_read_go_along() {
    let mut old = app();
    let mut wire = connect(&mut old);
    say(&mut wire, &mut old, "subscribe c\n");
    wire.set_room(10, &mut old);
    ask(&mut old, "publish c one\r\n");
    wire.wake(&mut old);
    // This one is in its outbox.
    ask(&mut old, "publish c two\r\n");
    let mut new = move_all(old, &mut [&mut wire]);
    ask(&mut new, "publish c three\r\n");
    wire.set_room(u64::MAX, &mut new);
    assert_eq!(wire.take_woken(), [ConnectionId(0)], "it wakes itself");
    wire.wake(&mut new);
    let message =
        |text: &str| format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n{text}\r\n", text.len());
    let expected = [message("one"), message("two"), message("three")].concat();
    assert_eq!(String::from_utf8(wire.take_sent()).expect("text"), expected);
}

#[test]
fn a_state_that_has_gone_serves_nobody() {
    let mut old = app();
    let mut wire = connect(&mut old);
    let mut late = Wire::new(session(None));
    say(&mut wire, &mut old, "set a 1\n");
    old.departed();
    assert_eq!(say(&mut wire, &mut old, "set a 2\n"), "");
    wire.end_input(&mut old);
    assert!(wire.reason().is_some_and(|it| it.is_orderly()));
    late.feed(b"set a 3\r\n", &mut old);
    assert!(late.take_sent().is_empty() && late.is_shut_down());
    assert_eq!(old.text(b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(old.clients.len(), 0);
}

#[test]
fn a_refused_client_leaves_no_trace() {
    let mut old = app();
    let mut wire = connect(&mut old);
    say(&mut wire, &mut old, "subscribe c\nwatch\n");
    let mut blocked = connect(&mut old);
    say(&mut blocked, &mut old, "watch a b\nblpop list 3\n");
    for wire in [&mut wire, &mut blocked] {
        let state = wire.save(&old).expect("it is saved");
        for length in 0..state.len() {
            let mut new = app();
            let limits = std::sync::Arc::new(Limits::DEFAULT);
            let link =
                Link::restored(session(None), limits, &state[..length], Instant::now(), &mut new);
            assert!(link.is_err(), "{length} bytes");
            assert_eq!((new.clients.len(), new.channels.counts()), (0, (0, 0)));
            assert!(new.store.watched.keys().is_empty() && new.store.awaited.is_empty());
        }
    }
}
