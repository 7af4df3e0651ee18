//! A soak test: random clients of echo, uppercase and kv verify every byte, while servers and
//! clients are stopped and continued. It takes five seconds, or `SOAK_SECONDS`. `SOAK_SEED` repeats
//! a run.

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::Daemon;
use testkit::{PATIENCE, Random, process, tell, wait_until};

const THREADS: u64 = 12;
/// Longer than any client is silent or stopped.
const IDLE: Duration = Duration::from_secs(8);
const CLIENT_STOP_MAX: Duration = Duration::from_secs(2);
/// Longer than the idle limit.
const SERVER_STOP_MAX: Duration = Duration::from_secs(9);
/// The variable with the parameters of a client process: server, address, seed and seconds.
const CLIENT: &str = "SOAK_CLIENT";

const SERVERS: [(&str, &str, &str); 3] = [
    ("echo-server", env!("CARGO_BIN_EXE_echo-server"), "epoll"),
    ("uppercase", env!("CARGO_BIN_EXE_uppercase"), "poll"),
    ("kv", env!("CARGO_BIN_EXE_kv"), "epoll-lt"),
];

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}

/// One exchange with a server: the bytes to send, and the expected reply.
type Exchange = fn(&mut Random) -> (Vec<u8>, Vec<u8>);

fn exchange_bytes(random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let scale = 1 << random.below(19);
    let length = 1 + random.below(scale) as usize;
    let bytes = random.bytes(length);
    (bytes.clone(), bytes)
}

fn exchange_lines(random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let mut lines = Vec::new();
    for _ in 0..=random.below(200) {
        let length = random.below(300) as usize;
        lines.extend(random.bytes(length).into_iter().map(|byte| byte % 26 + b'a'));
        lines.push(b'\n');
    }
    let answer = lines.to_ascii_uppercase();
    (lines, answer)
}

fn exchange_resp(random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for _ in 0..=random.below(50) {
        let length = random.below(3000) as usize;
        let (key, value) = (format!("{:016x}", random.below(u64::MAX)), random.bytes(length));
        requests.extend_from_slice(
            format!("*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n${length}\r\n").as_bytes(),
        );
        requests.extend_from_slice(&value);
        requests.extend_from_slice(
            format!("\r\n*2\r\n$3\r\nGET\r\n$16\r\n{key}\r\n*2\r\n$3\r\nDEL\r\n$16\r\n{key}\r\n")
                .as_bytes(),
        );
        replies.extend_from_slice(format!("+OK\r\n${length}\r\n").as_bytes());
        replies.extend_from_slice(&value);
        replies.extend_from_slice(b"\r\n:1\r\n");
    }
    (requests, replies)
}

/// Returns the exchanges for a server.
fn exchange_of(server: &str) -> Exchange {
    match server {
        "echo-server" => exchange_bytes,
        "uppercase" => exchange_lines,
        _ => exchange_resp,
    }
}

/// Repeats a call that a stop has interrupted. Sockets with a timeout are not restarted
/// automatically (`signal(7)`).
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Uses one connection and ends it in one of several ways. Returns the number of verified bytes.
fn use_connection(address: &str, exchange: Exchange, random: &mut Random) -> io::Result<u64> {
    let mut stream = again(|| TcpStream::connect(address))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut verified = 0;
    for _ in 0..random.below(20) {
        let (sent, expected) = exchange(random);
        let mut writer = stream.try_clone()?;
        let pause = Duration::from_millis(random.below(4) * random.below(50));
        let received = std::thread::scope(|scope| {
            let writing = scope.spawn(move || writer.write_all(&sent));
            std::thread::sleep(pause);
            let mut received = vec![0; expected.len()];
            stream.read_exact(&mut received)?;
            writing.join().expect("writing does not panic")?;
            io::Result::Ok(received)
        })?;
        assert!(received == expected, "{} bytes came back wrong", expected.len());
        verified += received.len() as u64;
    }
    match random.below(3) {
        0 => {
            stream.shutdown(Shutdown::Write)?;
            assert_eq!(again(|| stream.read(&mut [0]))?, 0, "there is more than was asked for");
        }
        // It closes while an answer is on its way.
        1 => stream.write_all(&exchange(random).0[..1])?,
        _ => {}
    }
    Ok(verified)
}

/// Runs the clients in a copy of this program. Does nothing in other runs.
#[test]
fn client_of_the_soak() {
    let Ok(text) = std::env::var(CLIENT) else { return };
    let mut words = text.split(' ');
    let mut next = || words.next().expect("there are four words").to_owned();
    let (server, address) = (next(), next());
    let (seed, seconds): (u64, u64) =
        (next().parse().expect("it is"), next().parse().expect("it is"));
    let exchange = exchange_of(&server);
    let until = Instant::now() + Duration::from_secs(seconds);
    let verified: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (server, address, mut random) = (&server, &address, Random::new(seed + thread));
                scope.spawn(move || {
                    let mut verified = 0;
                    while Instant::now() < until {
                        let result = use_connection(address, exchange, &mut random);
                        verified += result.unwrap_or_else(|error| panic!("{server}: {error}"));
                    }
                    verified
                })
            })
            .collect();
        workers.into_iter().map(|it| it.join().expect("a client failed")).sum()
    });
    tell("VERIFIED", &format!("{verified} bytes of {server}"));
}

/// A server and the process of its clients.
struct Pair {
    name: &'static str,
    server: Daemon,
    clients: Child,
    /// The number of descriptors at the start.
    descriptors: usize,
    /// The memory at the start, in bytes.
    memory: u64,
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

impl Pair {
    fn start(
        (name, program, backend): (&'static str, &str, &str),
        seed: u64,
        seconds: u64,
    ) -> Self {
        let idle = format!("{}s", IDLE.as_secs());
        let args = ["--listen", "127.0.0.1:0", "--backend", backend, "--idle-timeout", &idle];
        let server = Daemon::start(&[], program, &args);
        let address = &server.addresses[0];
        let exchange = exchange_of(name);
        // The memory that the first connections need stays allocated.
        let mut random = Random::new(seed);
        for _ in 0..20 {
            use_connection(address, exchange, &mut random).expect("it answers");
        }
        wait_until("every connection is closed", || server.counters()["connections"] == 0);
        let (descriptors, memory) = (descriptors(server.id()), server.memory());
        let clients = Command::new(std::env::current_exe().expect("it is known"))
            .args(["--exact", "client_of_the_soak", "--nocapture"])
            .env(CLIENT, format!("{name} {address} {seed} {seconds}"))
            .spawn()
            .expect("this program starts");
        Self { name, server, clients, descriptors, memory }
    }

    /// Stops the server or its clients for a while, and continues them.
    fn disturb(&mut self, random: &mut Random) {
        let (pid, longest) = match random.below(2) {
            0 => (self.server.id(), SERVER_STOP_MAX),
            _ => (self.clients.id(), CLIENT_STOP_MAX),
        };
        if self.clients.try_wait().expect("it can be asked").is_some() {
            return;
        }
        process::signal(pid, "STOP");
        let share = random.below(1000) * random.below(1000);
        std::thread::sleep(longest.mul_f64(share as f64 / 1e6));
        process::signal(pid, "CONT");
    }

    fn finish(&mut self) {
        let name = self.name;
        assert!(self.clients.wait().expect("it ends").success(), "{name}: a client failed");
        wait_until("every connection is closed", || self.server.counters()["connections"] == 0);
        assert_eq!(descriptors(self.server.id()), self.descriptors, "{name}: descriptors leak");
        let grown = self.server.memory().saturating_sub(self.memory);
        tell("SOAKED", &format!("{name}: {grown} bytes more than before"));
        assert!(grown < 16 << 20, "{name}: {grown} bytes more than before");
        let counters = self.server.counters();
        assert_eq!(counters["cut_short"], 0, "{name}: answers were cut short");
        assert_eq!(counters["closed_timed_out"], 0, "{name}: peers were closed for silence");
        self.server.signal("TERM");
        let (code, log) = self.server.wait();
        assert_eq!(code, Some(0), "{name}: {log}");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // They have ended already unless the test failed.
        let _ = self.clients.kill();
        let _ = self.clients.wait();
    }
}

#[test]
fn stopped_and_continued_servers_and_clients_lose_no_bytes() {
    let (seconds, seed) = (number("SOAK_SECONDS", 5), number("SOAK_SEED", 1));
    let mut pairs: Vec<Pair> =
        SERVERS.into_iter().map(|server| Pair::start(server, seed, seconds)).collect();
    std::thread::scope(|scope| {
        for (place, pair) in pairs.iter_mut().enumerate() {
            let mut random = Random::new(seed + 1000 + place as u64);
            scope.spawn(move || {
                let until = Instant::now() + Duration::from_secs(seconds);
                while Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(200 + random.below(1500)));
                    pair.disturb(&mut random);
                }
            });
        }
    });
    pairs.iter_mut().for_each(Pair::finish);
}
