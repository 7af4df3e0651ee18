//! `kv` beside Redis: commands that nobody would think of, and requests that are none.
//!
//! `KV_RANDOM_COMMANDS` says how many, and `KV_RANDOM_SEED` which.

#[path = "random/commands.rs"]
mod commands;
mod common;
#[path = "random/nonsense.rs"]
mod nonsense;
#[path = "random/said.rs"]
mod said;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use clients::resp::{Connection, Options};
use commands::Request;
use common::kv::Kv;
use protocol::resp::Protocol;
use said::{receivers, said};
use testkit::{PATIENCE, Random, Redis};

/// A number from the environment, for those who want it to run for longer.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |it| it.parse().expect("the setting is a number"))
}

/// The same client of both servers: Redis's first.
struct Both {
    connections: [Connection; 2],
    /// What a transaction has kept, as both have said.
    queued: Vec<Request>,
    /// Messages that the servers have sent for this client's commands.
    told: i64,
    seed: u64,
}

/// Whether there is no transaction after the request, which is refused where there was none.
fn ends_transaction(request: &Request) -> bool {
    let name = request[0].to_ascii_uppercase();
    // An EXEC that is refused ends it too.
    name == b"EXEC" || request.len() == 1 && (name == b"DISCARD" || name == b"RESET")
}

/// A request as a person reads it.
fn written(request: &Request) -> String {
    let parts: Vec<String> = request
        .iter()
        .map(|part| format!("\"{}\"", part[..part.len().min(100)].escape_ascii()))
        .collect();
    parts.join(" ")
}

impl Both {
    fn open(redis: &Redis, kv: &Kv, protocol: Protocol, seed: u64) -> Self {
        let options = Options { protocol, ..Options::default() };
        let open = |it: String| options.connect(&it).expect("it is there");
        let connections = [open(redis.address()), open(kv.address())];
        Self { connections, queued: Vec::new(), told: 0, seed }
    }

    fn send(&mut self, requests: &[Request]) {
        for connection in &mut self.connections {
            requests.iter().for_each(|request| connection.send(request));
            connection.flush().expect("it takes what is sent");
        }
    }

    /// The next thing that each server says, and in what they differ as to `request`.
    fn compare(&mut self, request: &Request) {
        let queued = &self.queued;
        let mut connections = ["redis", "kv"].into_iter().zip(&mut self.connections);
        let seed = self.seed;
        let [theirs, ours] = [(); 2].map(|()| {
            let (name, connection) = connections.next().expect("there are two");
            let seen = connection.next_with(Some(PATIENCE), |value| {
                let bytes = value.encoded().escape_ascii().to_string();
                (said(request, queued, value), receivers(request, queued, value), bytes)
            });
            let written = written(request);
            let seen = seen.unwrap_or_else(|error| panic!("{name}, {written}: {error}"));
            seen.unwrap_or_else(|| panic!("KV_RANDOM_SEED={seed}: {name} is silent: {written}"))
        });
        let kept: Vec<String> = self.queued.iter().map(written).collect();
        assert!(
            theirs.0.agrees(&ours.0),
            "KV_RANDOM_SEED={}: {} is answered by redis with\n{}\nand by kv with\n{}\n{kept:?}",
            self.seed,
            written(request),
            theirs.2,
            ours.2
        );
        self.told += theirs.1;
        if theirs.2 == "+QUEUED\\r\\n" {
            self.queued.push(request.clone());
        } else if ends_transaction(request) {
            self.queued.clear();
        }
    }

    fn exchange(&mut self, requests: &[Request]) {
        self.send(requests);
        requests.iter().for_each(|request| self.compare(request));
    }

    /// What the servers have sent unasked, in no order: it is not told which pattern comes first.
    fn hear(&mut self, count: i64) {
        let [theirs, ours] = self.connections.each_mut().map(|connection| {
            let mut next = || {
                let seen = connection.next_with(Some(PATIENCE), |it| it.encoded().to_vec());
                seen.expect("the connection holds").expect("it comes").escape_ascii().to_string()
            };
            let mut all: Vec<String> = (0..count).map(|_| next()).collect();
            all.sort();
            all
        });
        assert_eq!(theirs, ours, "KV_RANDOM_SEED={}", self.seed);
    }
}

fn request(words: &[&str]) -> Request {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Clients of both servers that play with one another.
struct Company {
    players: [Both; 2],
    subscriber: Both,
    /// Never in a transaction.
    helper: Both,
    dice: Random,
}

impl Company {
    fn play(&mut self, commands: u64) {
        let mut count = 0;
        while count < commands {
            let who = self.dice.index(2);
            let length = 1 + self.dice.index(60);
            let requests: Vec<Request> =
                (0..length).map(|_| commands::any(&mut self.dice)).collect();
            self.players[who].exchange(&requests);
            count += length as u64;
            let told = std::mem::take(&mut self.players[who].told);
            self.subscriber.hear(told);
            if self.dice.one_in(4) {
                self.subscriber.exchange(&[commands::of_subscriber(&mut self.dice)]);
            }
            if self.dice.one_in(40) {
                self.wait_for_a_list();
            }
        }
    }

    /// One waits for a list, and another makes it.
    fn wait_for_a_list(&mut self) {
        let [waits, _] = &mut self.players;
        // A transaction that has failed is still there: only its end tells.
        waits.exchange(&[request(&["RESET"])]);
        let (wish, keys) = commands::waiting(&mut self.dice);
        waits.send(std::slice::from_ref(&wish));
        let info = request(&["INFO", "clients"]);
        for helper in &mut self.helper.connections {
            let start = Instant::now();
            let mut is_blocked = || {
                let text = helper.call(&info).expect("it is answered");
                text.as_str().expect("it is text").contains("blocked_clients:1")
            };
            // It is blocked, or was answered at once: either way the list may be made then.
            while !is_blocked() && start.elapsed() < Duration::from_millis(20) {}
        }
        let place = 1 + self.dice.index(keys);
        let more: Vec<Vec<u8>> =
            [&b"RPUSH"[..], &wish[place], b"a", b"b"].map(<[u8]>::to_vec).into();
        self.helper.exchange(&[more]);
        self.players[0].compare(&wish);
    }
}

fn play(protocol: Protocol) {
    let Some(redis) = Redis::start(&[]) else { return };
    let kv = Kv::start(None);
    let seed = setting("KV_RANDOM_SEED", 1);
    let open = || Both::open(&redis, &kv, protocol, seed);
    let mut company = Company {
        players: [open(), open()],
        subscriber: open(),
        helper: open(),
        dice: Random::new(seed),
    };
    company.play(setting("KV_RANDOM_COMMANDS", 10_000));
}

/// What a server says to bytes, until it closes the connection.
fn last_words(socket: &str, input: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).expect("it is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    // It may have closed the connection before all of it was sent, which shows in its words.
    let _ = stream.write_all(input).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut words = Vec::new();
    // A close with something unread is an error here, and says nothing else than an end.
    match stream.read_to_end(&mut words) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it hangs: {error}"),
        _ => words.escape_ascii().to_string(),
    }
}

/// Has both servers read requests that are none, each on a connection of its own.
fn read_nonsense(password: Option<&str>) {
    let secret = password.map(|it| ["--requirepass", it]);
    let options = secret.as_ref().map_or(&[][..], |it| it);
    let Some(redis) = Redis::start(options) else { return };
    let kv = Kv::start(password);
    let seed = setting("KV_RANDOM_SEED", 1);
    let mut dice = Random::new(seed);
    let mut refused = 0;
    for _ in 0..setting("KV_RANDOM_COMMANDS", 10_000) / 5 {
        let input = nonsense::any(&mut dice);
        // Whoever wants no replies is told of such an error all the same: the book lists it.
        let is_silent = input.windows(6).any(|it| it.eq_ignore_ascii_case(b"REPLY "));
        let [theirs, ours] = [redis.socket(), kv.socket()].map(|socket| {
            let mut words = last_words(&socket, &input);
            let error = words.find("-ERR Protocol error").filter(|_| is_silent);
            words.truncate(error.unwrap_or(words.len()));
            words
        });
        let shown = &input[..input.len().min(1000)];
        assert_eq!(theirs, ours, "KV_RANDOM_SEED={seed}: {}", shown.escape_ascii());
        refused += usize::from(theirs.contains("Protocol error"));
    }
    assert!(refused > 100, "only {refused} were refused");
}

#[test]
fn requests_that_are_none_are_refused_as_by_redis() {
    read_nonsense(None);
}

#[test]
fn requests_that_are_none_are_refused_as_by_redis_before_the_password() {
    read_nonsense(Some("secret"));
}

#[test]
fn random_commands_are_answered_as_by_redis_in_resp2() {
    play(Protocol::Resp2);
}

#[test]
fn random_commands_are_answered_as_by_redis_in_resp3() {
    play(Protocol::Resp3);
}
