//! `redis-benchmark` as the client: its arguments and its output. Also the servers under test,
//! which run as separate programs.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::process::{Running, this_program};

/// The number of connections: the default of `redis-benchmark`.
pub const CONNECTIONS: usize = 50;
/// The name of this program when it runs as `kv`.
pub const KV: &str = "kv";
/// The number of keys that are set with one write. Their replies fit into the socket buffers.
const KEYS_AT_ONCE: usize = 1000;
/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A test of `redis-benchmark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// `PING`.
    Ping,
    /// `SET` of one key to three bytes.
    Set,
    /// `GET` of that key.
    Get,
    /// `INCR` of one key.
    Incr,
    /// `LPUSH` of three bytes on one list.
    Lpush,
    /// `LRANGE` of the first hundred elements of that list.
    Lrange100,
}

impl Test {
    /// All tests that are measured.
    pub const ALL: [Self; 6] =
        [Self::Ping, Self::Set, Self::Get, Self::Incr, Self::Lpush, Self::Lrange100];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Set => "SET",
            Self::Get => "GET",
            Self::Incr => "INCR",
            Self::Lpush => "LPUSH",
            Self::Lrange100 => "LRANGE_100",
        }
    }

    /// Returns the words of its request, as `redis-benchmark` sends it.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Ping => &["PING"],
            Self::Set => &["SET", "key:__rand_int__", "VXK"],
            Self::Get => &["GET", "key:__rand_int__"],
            Self::Incr => &["INCR", "counter:__rand_int__"],
            Self::Lpush => &["LPUSH", "mylist", "VXK"],
            Self::Lrange100 => &["LRANGE", "mylist", "0", "99"],
        }
    }

    /// Returns the bytes of its request.
    pub fn request(self) -> Vec<u8> {
        let mut text = format!("*{}\r\n", self.words().len());
        for word in self.words() {
            let _ = write!(text, "${}\r\n{word}\r\n", word.len());
        }
        text.into_bytes()
    }

    /// Returns a reply of the usual length. Numbers have six digits, as most of them have in a
    /// test.
    pub fn reply(self) -> Vec<u8> {
        match self {
            Self::Ping => b"+PONG\r\n".to_vec(),
            Self::Set => b"+OK\r\n".to_vec(),
            Self::Get => b"$3\r\nVXK\r\n".to_vec(),
            Self::Incr | Self::Lpush => b":123456\r\n".to_vec(),
            Self::Lrange100 => [&b"*100\r\n"[..], &b"$3\r\nVXK\r\n".repeat(100)].concat(),
        }
    }

    /// Returns the test that has to run before, and its number of requests, if this test needs
    /// data.
    pub const fn needs(self) -> Option<(Self, usize)> {
        match self {
            Self::Get => Some((Self::Set, 1)),
            Self::Lrange100 => Some((Self::Lpush, 1000)),
            _ => None,
        }
    }
}

/// Returns the arguments of `redis-benchmark` for `requests` requests of a test, with `depth`
/// requests in flight on each connection.
///
/// The arguments contain the words of the command, not the name of the test. With the name
/// `LRANGE_100`, redis-benchmark would first fill the list with as many requests as it measures,
/// and their cost would be counted.
pub fn arguments(server: SocketAddr, test: Test, depth: usize, requests: usize) -> Vec<String> {
    let mut arguments = vec!["--csv".to_owned(), "-h".to_owned(), server.ip().to_string()];
    let numbers =
        [("-p", server.port().into()), ("-c", CONNECTIONS), ("-P", depth), ("-n", requests)];
    arguments.extend(numbers.into_iter().flat_map(|(it, number)| [it.into(), number.to_string()]));
    arguments.extend(test.words().iter().map(|it| (*it).to_owned()));
    arguments
}

/// Parses the output of `redis-benchmark --csv` for one test. Returns requests a second, and
/// latencies in microseconds.
///
/// # Errors
/// Fails if there is no such table, as with versions before 6.2, or if it does not have exactly one
/// test.
pub fn parse(lines: &[String]) -> io::Result<Vec<(String, f64)>> {
    let fields = |line: &String| -> Vec<String> {
        line.split("\",\"").map(|it| it.trim().trim_matches('"').to_owned()).collect()
    };
    let strange = || io::Error::other(format!("redis-benchmark printed no table: {lines:?}"));
    let head = lines.iter().position(|it| it.starts_with("\"test\",")).ok_or_else(strange)?;
    let [row] = &lines[head + 1..] else { return Err(strange()) };
    let (titles, row) = (fields(&lines[head]), fields(row));
    let value = |title: &str| {
        let place = titles.iter().position(|it| it == title)?;
        row.get(place)?.parse::<f64>().ok()
    };
    let columns = [
        ("per_second", "rps", 1.0),
        ("p50_us", "p50_latency_ms", 1e3),
        ("p99_us", "p99_latency_ms", 1e3),
        ("max_us", "max_latency_ms", 1e3),
    ];
    let found = columns.iter().map(|(name, title, factor)| {
        let value = value(title).ok_or_else(strange)?;
        Ok(((*name).to_owned(), value * factor))
    });
    found.collect()
}

/// Returns the reason if nothing can be measured on this machine.
pub fn absent() -> Option<String> {
    let packages = [("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")];
    packages.into_iter().find_map(|(program, package)| {
        let error = version(program).err()?;
        Some(format!("{program} cannot be started ({error}): on Debian, apt-get install {package}"))
    })
}

/// Returns the version that a program prints.
///
/// # Errors
/// Fails if the program cannot be started.
pub fn version(program: &str) -> io::Result<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Replaces this process by `redis-server`, without persistence and with one I/O thread. It listens
/// on a port that is free ([`testkit::free_port`]), because port 0 means none to Redis.
///
/// # Errors
/// Fails if Redis cannot be started. Does not return otherwise.
pub fn become_redis() -> io::Result<()> {
    let port = testkit::free_port().to_string();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
    Err(command.args(["--io-threads", "1", "--daemonize", "no"]).exec())
}

/// Replaces this process by `kv`, which is this program under another name. It has its own
/// arguments, logs and defaults, and a backend other than its default if one is named. Its log goes to standard output, where addresses are expected.
///
/// # Errors
/// Fails if this program cannot be started again. Does not return otherwise.
pub fn become_kv(backend: Option<&str>) -> io::Result<()> {
    let log = io::stdout().as_fd().try_clone_to_owned()?;
    let mut command = Command::new(this_program()?);
    command.arg0(KV).args(["--listen", "127.0.0.1:0"]).env("RUST_LOG", "info").stderr(log);
    command.args(backend.map(|name| format!("--backend={name}")));
    Err(command.exec())
}

/// Replaces this process by `redis-benchmark`.
///
/// # Errors
/// Fails if it cannot be started. Does not return otherwise.
pub fn become_benchmark(arguments: &[String]) -> io::Result<()> {
    Err(Command::new("redis-benchmark").args(arguments).exec())
}

/// Returns the address of a server from the lines that it has printed. Returns `None` until it is
/// ready. Redis prints its port in one line, and in another that it is ready.
fn address(lines: &[String]) -> Option<SocketAddr> {
    let behind = |words: &str| lines.iter().find_map(|line| Some(line.split_once(words)?.1));
    if let Some(address) = behind("listening on ") {
        let address = address.split_whitespace().next()?;
        return address.trim_start_matches("tls://").parse().ok();
    }
    behind("Ready to accept connections")?;
    let digits = behind(", port=")?.split(|it: char| !it.is_ascii_digit()).next()?;
    Some((Ipv4Addr::LOCALHOST, digits.parse().ok()?).into())
}

/// Waits until a server is ready. Returns its address.
///
/// # Errors
/// Fails if the server has ended or printed nothing for a while, or if `stop` was set.
pub fn ready(server: &Running, stop: &AtomicBool) -> io::Result<SocketAddr> {
    let mut lines = Vec::new();
    while let Some(line) = server.line(PATIENCE, stop)? {
        lines.push(line);
        if let Some(address) = address(&lines) {
            return Ok(address);
        }
    }
    Err(io::Error::other(format!("the server ended before it listened: {lines:?}")))
}

/// Sets `keys` keys of 16 bytes to 64 bytes each.
///
/// # Errors
/// Fails if the server refuses a key, or if `stop` was set.
pub fn fill(server: SocketAddr, keys: usize, stop: &AtomicBool) -> io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let value = "v".repeat(64);
    for first in (0..keys).step_by(KEYS_AT_ONCE) {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let numbers = first..keys.min(first + KEYS_AT_ONCE);
        let mut requests = String::new();
        for number in numbers.clone() {
            let _ = write!(
                requests,
                "*3\r\n$3\r\nSET\r\n$16\r\nkey:{number:012}\r\n$64\r\n{value}\r\n"
            );
        }
        stream.write_all(requests.as_bytes())?;
        let expected = b"+OK\r\n".repeat(numbers.len());
        let mut replies = vec![0; expected.len()];
        stream.read_exact(&mut replies)?;
        if replies != expected {
            let said = String::from_utf8_lossy(&replies).into_owned();
            return Err(io::Error::other(format!("the server does not set keys: {said:.100}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const HEAD: &str = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                        \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n";

    #[test]
    fn a_table_is_read_by_its_titles() {
        let row = "\"SET a,b\",\"133689.83\",\"0.2\",\"0.08\",\"0.191\",\"0.2\",\"0.479\",\"2.5\"";
        let values = parse(&lines(&format!("{HEAD}{row}\n"))).expect("it is a table");
        let expected =
            [("per_second", 133_689.83), ("p50_us", 191.0), ("p99_us", 479.0), ("max_us", 2500.0)];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn other_output_of_redis_benchmark_is_an_error_that_shows_it() {
        let row = "\"SET\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\"\n";
        for wrong in [
            "",
            HEAD,
            "\"SET\",\"133689.83\"\n",
            &format!("{HEAD}{row}{row}"),
            &format!("{HEAD}\"SET\",\"nan?\"\n"),
            "Error from server: ERR unknown command\n",
        ] {
            let error = parse(&lines(wrong)).expect_err(wrong).to_string();
            assert!(error.contains("no table"), "{error}");
        }
    }

    #[test]
    fn addresses_are_found_in_the_logs_of_each_server() {
        let found = |text: &str| address(&lines(text)).map(|it| it.to_string());
        let kv =
            "[2026-01-01T00:00:00Z INFO  servers] kv listening on 127.0.0.1:4000 with epoll, 3";
        assert_eq!(found(kv).as_deref(), Some("127.0.0.1:4000"));
        assert_eq!(found("listening on tls://127.0.0.1:4001").as_deref(), Some("127.0.0.1:4001"));
        assert_eq!(found("listening on 127.0.0.1:4001").as_deref(), Some("127.0.0.1:4001"));
        let redis = "1:C 21 Nov 2026 11:00:00.000 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n\
                     1:M 21 Nov 2026 11:00:00.001 * Running mode=standalone, port=4002.\n";
        assert_eq!(found(redis), None);
        let ready = format!("{redis}1:M 21 Nov 2026 11:00:00.002 * Ready to accept connections\n");
        assert_eq!(found(&ready).as_deref(), Some("127.0.0.1:4002"));
    }

    #[test]
    fn requests_have_the_bytes_of_redis_benchmark() {
        assert_eq!(Test::Ping.request(), b"*1\r\n$4\r\nPING\r\n");
        let set = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:__rand_int__\r\n$3\r\nVXK\r\n";
        assert_eq!(Test::Set.request(), set);
    }
}
