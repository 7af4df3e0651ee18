//! Compares `kv` with Redis on random commands and invalid requests.
//!
//! `KV_RANDOM_COMMANDS` sets their number and `KV_RANDOM_SEED` the seed.

#[path = "random/commands.rs"]
mod commands;
mod common;
#[path = "random/nonsense.rs"]
mod nonsense;
#[path = "random/reply.rs"]
mod reply;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use clients::resp::{Connection, Options};
use commands::Request;
use common::kv::Kv;
use protocol::resp::Protocol;
use reply::{comparable, receivers};
use testkit::{PATIENCE, Random, Redis};

/// Returns a number from the environment, for longer runs.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |it| it.parse().expect("the setting is a number"))
}

/// The same client on both servers: Redis first.
struct Both {
    connections: [Connection; 2],
    /// The commands that both servers have queued in a transaction.
    queued: Vec<Request>,
    /// The number of messages that the servers have sent for this client's commands.
    messages: i64,
    seed: u64,
}

/// Returns whether the request ends a transaction. Such a request is refused outside one.
fn ends_transaction(request: &Request) -> bool {
    let name = request[0].to_ascii_uppercase();
    // A refused EXEC ends it too.
    name == b"EXEC" || request.len() == 1 && (name == b"DISCARD" || name == b"RESET")
}

/// Returns a request in readable form.
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
        Self { connections, queued: Vec::new(), messages: 0, seed }
    }

    fn send(&mut self, requests: &[Request]) {
        for connection in &mut self.connections {
            requests.iter().for_each(|request| connection.send(request));
            connection.flush().expect("it takes what is sent");
        }
    }

    /// Receives the next reply of each server and compares them as replies to `request`.
    fn compare(&mut self, request: &Request) {
        let queued = &self.queued;
        let mut connections = ["redis", "kv"].into_iter().zip(&mut self.connections);
        let seed = self.seed;
        let [theirs, ours] = [(); 2].map(|()| {
            let (name, connection) = connections.next().expect("there are two");
            let seen = connection.next_with(Some(PATIENCE), |value| {
                let bytes = value.encoded().escape_ascii().to_string();
                (comparable(request, queued, value), receivers(request, queued, value), bytes)
            });
            let written = written(request);
            let seen = seen.unwrap_or_else(|error| panic!("{name}, {written}: {error}"));
            seen.unwrap_or_else(|| panic!("KV_RANDOM_SEED={seed}: {name} is silent: {written}"))
        });
        let kept: Vec<String> = self.queued.iter().map(written).collect();
        assert!(
            theirs.0.agrees(&ours.0),
            "KV_RANDOM_SEED={}: {}: redis answers\n{}\nand kv answers\n{}\n{kept:?}",
            self.seed,
            written(request),
            theirs.2,
            ours.2
        );
        self.messages += theirs.1;
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

    /// Compares the messages that the servers have sent. The order of patterns is not defined.
    fn receive_messages(&mut self, count: i64) {
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

/// Clients of both servers that use the same keys.
struct Clients {
    players: [Both; 2],
    subscriber: Both,
    /// Never in a transaction.
    helper: Both,
    dice: Random,
}

impl Clients {
    fn play(&mut self, commands: u64) {
        let mut count = 0;
        while count < commands {
            let player = self.dice.index(2);
            let length = 1 + self.dice.index(60);
            let requests: Vec<Request> =
                (0..length).map(|_| commands::any(&mut self.dice)).collect();
            self.players[player].exchange(&requests);
            count += length as u64;
            let messages = std::mem::take(&mut self.players[player].messages);
            self.subscriber.receive_messages(messages);
            if self.dice.one_in(4) {
                self.subscriber.exchange(&[commands::of_subscriber(&mut self.dice)]);
            }
            if self.dice.one_in(40) {
                self.wait_for_a_list();
            }
        }
    }

    /// One client waits for a list, and another creates it.
    fn wait_for_a_list(&mut self) {
        let [waiting, _] = &mut self.players;
        // Only the end of a failed transaction shows that it failed, so it may still be open.
        waiting.exchange(&[request(&["RESET"])]);
        let (command, keys) = commands::waiting(&mut self.dice);
        waiting.send(std::slice::from_ref(&command));
        let info = request(&["INFO", "clients"]);
        for helper in &mut self.helper.connections {
            let start = Instant::now();
            let mut is_blocked = || {
                let text = helper.call(&info).expect("it is answered");
                text.as_str().expect("it is text").contains("blocked_clients:1")
            };
            // The client is blocked, or was answered at once. The list may be created in both
            // cases.
            while !is_blocked() && start.elapsed() < Duration::from_millis(20) {}
        }
        let place = 1 + self.dice.index(keys);
        let more: Vec<Vec<u8>> =
            [&b"RPUSH"[..], &command[place], b"a", b"b"].map(<[u8]>::to_vec).into();
        self.helper.exchange(&[more]);
        self.players[0].compare(&command);
    }
}

fn play(protocol: Protocol) {
    let Some(redis) = Redis::start(&[]) else { return };
    let kv = Kv::start(None);
    let seed = setting("KV_RANDOM_SEED", 1);
    let open = || Both::open(&redis, &kv, protocol, seed);
    let mut clients = Clients {
        players: [open(), open()],
        subscriber: open(),
        helper: open(),
        dice: Random::new(seed),
    };
    clients.play(setting("KV_RANDOM_COMMANDS", 10_000));
}

/// Sends bytes to a server. Returns its output until it closes the connection.
fn last_words(socket: &str, input: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).expect("it is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    // The server may have closed the connection before all bytes were sent. Its output shows that.
    let _ = stream.write_all(input).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut words = Vec::new();
    // A close with unread bytes is an error here, and means the same as an end.
    match stream.read_to_end(&mut words) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it hangs: {error}"),
        _ => words.escape_ascii().to_string(),
    }
}

/// Sends invalid requests to both servers, each on its own connection.
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
        // kv sends such an error even if replies are turned off. The book lists it.
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
fn invalid_requests_are_refused_as_by_redis() {
    read_nonsense(None);
}

#[test]
fn invalid_requests_are_refused_as_by_redis_before_the_password() {
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
