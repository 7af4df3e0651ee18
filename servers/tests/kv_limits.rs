//! Short requests with large effects: output, kept requests and counters stay within their limits.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use common::Daemon;
use testkit::wait_until;

const MIB: usize = 1024 * 1024;
/// The limit of unread output of one client.
const BACKLOG: u64 = 4 * MIB as u64;
/// The memory of a value of 1 MiB and two backlogs, and the overhead of the loop and the allocator.
const MEMORY_MAX: u64 = 32 * MIB as u64;
/// The number of times that a request asks for the value: far more memory than the limit.
const TIMES: usize = 200;

fn start() -> Daemon {
    let backlog = BACKLOG.to_string();
    let args =
        ["--listen", "127.0.0.1:0", "--normal-backlog", &backlog, "--pubsub-backlog", &backlog];
    Daemon::start(&[], env!("CARGO_BIN_EXE_kv"), &args)
}

fn request<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Vec<u8> {
    let (mut bytes, mut count) = (Vec::new(), 0);
    for part in parts {
        let part = part.as_ref();
        bytes.extend(format!("${}\r\n", part.len()).bytes().chain(part.iter().copied()));
        bytes.extend(b"\r\n");
        count += 1;
    }
    [format!("*{count}\r\n").into_bytes(), bytes].concat()
}

fn repeated(first: &[&str], part: &str) -> Vec<u8> {
    request(first.iter().copied().chain(std::iter::repeat_n(part, TIMES)))
}

/// Sends `input` and reads until `answer` has come. Returns None if the server closes before.
fn answer(stream: &mut TcpStream, input: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
    stream.write_all(input).expect("the server reads");
    let (mut output, mut room) = (Vec::new(), [0; 64 * 1024]);
    loop {
        match stream.read(&mut room) {
            Ok(0) => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&output)),
            Ok(count) => output.extend_from_slice(&room[..count]),
        }
        if output.ends_with(answer) {
            return Some(output);
        }
    }
}

fn is_answered(stream: &mut TcpStream, input: &[u8], expected: &[u8]) -> bool {
    answer(stream, input, expected).is_some()
}

/// Returns the highest memory use of the server so far.
fn most(server: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux has it");
    let kibibytes = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    kibibytes.map(|count: u64| count * 1024).expect("it is a number")
}

#[test]
fn a_reply_that_repeats_a_value_stops_at_the_limit() {
    let server = start();
    let value = "x".repeat(MIB);
    let mut client = server.connect();
    let set = [request(["SET", "k", &value]), request(["HSET", "h", "f", &value])].concat();
    assert!(is_answered(&mut client, &set, b":1\r\n"));
    assert!(is_answered(&mut client, &request(["SADD", "s", &value]), b":1\r\n"));

    let times = format!("-{TIMES}");
    let get = request(["GET", "k"]).repeat(TIMES);
    let transaction = [request(["MULTI"]), get.clone(), request(["SET", "done", "yes"])].concat();
    let greedy = [
        repeated(&["MGET"], "k"),
        repeated(&["HMGET", "h"], "f"),
        request(["SRANDMEMBER", "s", &times]),
        request(["HRANDFIELD", "h", &times, "WITHVALUES"]),
        [transaction, request(["EXEC"])].concat(),
    ];
    for input in &greedy {
        let name = String::from_utf8_lossy(&input[..24]).into_owned();
        assert!(!is_answered(&mut server.connect(), input, b"never"), "{name:?}");
        assert!(most(&server) < MEMORY_MAX, "{name:?} took {} bytes", most(&server));
    }
    // A transaction runs to its end even if its replies are not sent.
    assert!(is_answered(&mut client, &request(["GET", "done"]), b"\r\nyes\r\n"));

    let mut waiting = server.connect();
    let blocked = [request(["BLPOP", "list", "0"]), get].concat();
    waiting.write_all(&blocked).expect("the server reads");
    let ask = [request(["INFO", "clients"]), request(["PING"])].concat();
    let blocked = b"blocked_clients:1";
    while answer(&mut client, &ask, b"+PONG\r\n")
        .is_some_and(|output| !output.windows(blocked.len()).any(|it| it == blocked))
    {}
    assert!(is_answered(&mut client, &request(["RPUSH", "list", "x"]), b":1\r\n"));
    assert!(!is_answered(&mut waiting, b"", b"never"));
    assert!(most(&server) < MEMORY_MAX, "waiting requests took {} bytes", most(&server));
}

#[test]
fn a_message_to_many_patterns_of_one_client_stops_at_the_limit() {
    let server = start();
    let (mut other, message) = (server.connect(), "x".repeat(MIB));
    let patterns: Vec<String> = (1..=TIMES).map(|count| "*".repeat(count)).collect();
    let subscribe =
        request(std::iter::once("PSUBSCRIBE").chain(patterns.iter().map(String::as_str)));
    let publish = request(["PUBLISH", "news", &message]);

    let mut subscriber = server.connect();
    let confirmed = format!(":{TIMES}\r\n");
    assert!(is_answered(&mut subscriber, &subscribe, confirmed.as_bytes()));
    assert!(is_answered(&mut other, &publish, confirmed.as_bytes()));
    assert!(!is_answered(&mut subscriber, b"", b"never"));
    assert!(most(&server) < MEMORY_MAX, "the patterns took {} bytes", most(&server));

    let to_itself = [request(["HELLO", "3"]), subscribe, publish].concat();
    assert!(!is_answered(&mut server.connect(), &to_itself, b"never"));
    assert!(most(&server) < MEMORY_MAX, "its own message took {} bytes", most(&server));
}

#[test]
fn shrunken_collections_use_no_more_memory_than_is_counted() {
    let server = start();
    let mut client = server.connect();
    let mut check = |input: &[u8], expected: &str| {
        assert!(is_answered(&mut client, input, expected.as_bytes()), "no {expected:?}");
    };
    let command = |name: &str, key: &str, rest: &[&str]| {
        request([name, key].into_iter().chain(rest.iter().copied()))
    };
    let names: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    let pairs: Vec<&str> = members.iter().flat_map(|member| [*member, ""]).collect();
    for key in ["a", "b", "c", "d", "e", "f"] {
        let (set, hash) = (format!("set {key}"), format!("hash {key}"));
        check(&command("RPUSH", key, &[""; 500_000]), ":500000\r\n");
        check(&request(["LTRIM", key, "0", "0"]), "+OK\r\n");
        check(&command("SADD", &set, &members), ":100000\r\n");
        check(&command("SREM", &set, &members[1..]), ":99999\r\n");
        check(&command("HSET", &hash, &pairs), ":100000\r\n");
        check(&command("HDEL", &hash, &members[1..]), ":99999\r\n");
    }
    // Some of it is given back in the background.
    wait_until("memory is given back", || server.memory() < MEMORY_MAX);
}

/// Memory of removed keys is returned to the system. The allocator of glibc does not do that.
#[cfg(feature = "jemalloc")]
mod given_back {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use super::{MIB, is_answered, request, start};
    use crate::common::PATIENCE;

    /// Returns `COUNT` requests of `make`, one for each number.
    fn many(make: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
        (0..COUNT).flat_map(make).collect()
    }

    const COUNT: usize = 200_000;

    /// A way to remove keys: its name and the function that does it.
    type Way = (&'static str, fn(&mut TcpStream));

    #[test]
    fn memory_of_removed_keys_is_returned_to_the_system() {
        // They use 30 MB. Less than a quarter of it may be left.
        const LEFT_MAX: u64 = 7 * MIB as u64;
        let set = |number: usize| request(["SET", &format!("key {number}"), &"x".repeat(100)]);
        let ways: [Way; 3] = [
            ("DEL", |client| {
                let del = many(|number| request(["DEL", &format!("key {number}")]));
                client.write_all(&del).expect("the server reads");
                read_exactly(client, 4 * COUNT);
            }),
            ("FLUSHALL", |client| {
                assert!(is_answered(client, &request(["FLUSHALL"]), b"+OK\r\n"));
            }),
            ("PEXPIRE", |client| {
                let expire = many(|number| request(["PEXPIRE", &format!("key {number}"), "500"]));
                client.write_all(&expire).expect("the server reads");
                read_exactly(client, 4 * COUNT);
            }),
        ];
        let wait_for = |(way, go): Way| {
            let server = start();
            let before = server.memory();
            let mut client = server.connect();
            client.write_all(&many(set)).expect("the server reads");
            read_exactly(&mut client, 5 * COUNT);
            let full = server.memory();
            assert!(
                full > before + 25 * MIB as u64,
                "{way}: {full} bytes are too few for so many keys"
            );
            go(&mut client);
            let start = Instant::now();
            while server.memory() > before + LEFT_MAX {
                let left = server.memory() - before;
                assert!(start.elapsed() < PATIENCE, "{way}: {left} bytes are left of {full}");
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        std::thread::scope(|scope| {
            ways.map(|way| scope.spawn(move || wait_for(way)))
                .map(|it| it.join().expect("it holds"))
        });
    }

    fn read_exactly(client: &mut TcpStream, count: usize) {
        client.read_exact(&mut vec![0; count]).expect("it is answered");
    }
}
