//! Servers with several loops: `--threads`, `--accept` and `--pin`.

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE};
use testkit::Folder;

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const WAYS: [&str; 3] = ["handover", "reuseport", "shared"];
const BACKENDS: [&str; 5] = ["epoll", "epoll-lt", "poll", "select", "uring"];

fn start(listen: &[&str], args: &[&str]) -> Daemon {
    let mut all: Vec<&str> = args.to_vec();
    listen.iter().for_each(|address| all.extend(["--listen", address]));
    Daemon::start(&[], ECHO, &all)
}

fn exchange(client: &mut TcpStream, message: &[u8]) {
    client.write_all(message).expect("it takes bytes");
    let mut answer = vec![0; message.len()];
    client.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, message);
}

/// Returns the counters of each loop, of the acceptor and of all, which the server logs on SIGUSR1.
fn counters(server: &Daemon) -> HashMap<String, HashMap<String, u64>> {
    let before = server.log().len();
    server.counters();
    testkit::wait_until("the sum", || server.log()[before..].contains("all loops: "));
    let log = server.log();
    let lines = log[before..].lines().filter(|line| line.contains(" turns="));
    let parse = |line: &str| {
        let (front, rest) = line.split_once(": connections=")?;
        let name = front.rsplit_once("] ").map_or(front, |it| it.1).to_owned();
        let pairs = rest.split_whitespace().filter_map(|word| word.split_once('='));
        let mut all: HashMap<String, u64> = pairs
            .filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?)))
            .collect();
        all.insert("connections".to_owned(), rest.split(' ').next()?.parse().ok()?);
        Some((name, all))
    };
    lines.filter_map(parse).collect()
}

/// Returns how many connections each of `count` loops has.
fn spread(server: &Daemon, count: usize) -> Vec<u64> {
    let counters = counters(server);
    (0..count).map(|index| counters[&format!("loop {index}")]["connections"]).collect()
}

#[test]
fn several_loops_serve_all_addresses_in_every_way_on_every_backend() {
    let folder = Folder::new("threads");
    for how in WAYS {
        for backend in BACKENDS {
            let path = folder.path().join(format!("{how}-{backend}"));
            let unix = format!("unix:{}", path.display());
            let args = ["--threads", "3", "--accept", how, "--backend", backend, "--pin"];
            let server = start(&["127.0.0.1:0", &unix, "udp://127.0.0.1:0"], &args);
            let mut clients: Vec<TcpStream> = (0..30).map(|_| server.connect()).collect();
            clients.iter_mut().for_each(|it| exchange(it, b"hello"));
            let mut local = UnixStream::connect(&path).expect("it listens");
            local.write_all(b"local").expect("it takes bytes");
            local.read_exact(&mut [0; 5]).expect("it answers");

            let datagrams = server.addresses[2].trim_start_matches("udp://").to_owned();
            for _ in 0..10 {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
                socket.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
                socket.send_to(b"datagram", &datagrams).expect("it is sent");
                let (count, _) = socket.recv_from(&mut [0; 100]).expect("it answers");
                assert_eq!(count, 8);
            }
            let counters = counters(&server);
            let all = &counters["all loops"];
            assert_eq!((all["connections"], all["accepts"]), (31, 31), "{how}, {backend}");
            assert_eq!(all["datagrams_received"], 10, "{how}, {backend}");
            let of_first = counters["loop 0"]["datagrams_received"];
            assert!(how == "reuseport" || of_first == 10, "{how}, {backend}: {of_first}");
            drop((clients, local));
            let (code, log) = server.stop();
            assert_eq!(code, Some(0), "{how}, {backend}: {log}");
            assert!(!path.exists(), "the file of the socket is left");
        }
    }
}

#[test]
fn a_stop_answers_what_waits_and_a_second_does_not_wait() {
    for how in WAYS {
        let server = start(&["127.0.0.1:0"], &["--threads", "2", "--accept", how]);
        let mut clients: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|it| it.write_all(b"last").expect("it takes bytes"));
        clients.iter().for_each(|it| {
            it.shutdown(std::net::Shutdown::Write).expect("it can be shut down");
        });
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{how}: {log}");
        for client in &mut clients {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).expect("it ends in order");
            assert_eq!(answer, b"last", "{how}");
        }

        let mut server = start(&["127.0.0.1:0"], &["--threads", "2", "--accept", how]);
        let mut client = server.connect();
        exchange(&mut client, b"hello");
        server.signal("TERM");
        testkit::wait_until("the first stop", || server.log().contains("to finish"));
        // The client may be quiet for half a second; another signal does not wait for it.
        server.signal("TERM");
        assert_eq!(server.wait().0, Some(0), "{how}");
    }
}

#[test]
fn the_limit_of_connections_is_that_of_the_whole_server() {
    let args = ["--threads", "3", "--max-connections", "7", "--accept", "handover"];
    let server = start(&["127.0.0.1:0"], &args);
    let mut clients: Vec<TcpStream> = (0..9).map(|_| server.connect()).collect();
    clients[..7].iter_mut().for_each(|it| exchange(it, b"hello"));
    let shares = spread(&server, 3);
    assert_eq!((shares.iter().sum::<u64>(), shares.iter().max()), (7, Some(&3)), "{shares:?}");
    clients.drain(..2);
    clients.iter_mut().for_each(|it| exchange(it, b"hello"));
    assert_eq!(spread(&server, 3).iter().sum::<u64>(), 7);
    drop(clients);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("which is the limit"), "{log}");
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let kv = env!("CARGO_BIN_EXE_kv");
    for (program, args, code, text) in [
        (kv, &["--threads", "2"][..], 1, "all clients have to see the same keys"),
        (ECHO, &["--threads", "0"], 2, "a whole number from 1 to 128, or auto"),
        (ECHO, &["--threads", "129"], 2, "a whole number from 1 to 128, or auto"),
        (ECHO, &["--accept", "everything"], 2, "handover"),
        (ECHO, &["--threads", "3", "--max-connections", "2"], 1, "each needs one at least"),
    ] {
        let output = Command::new(program)
            .args(["--listen", "127.0.0.1:0"])
            .args(args)
            .output()
            .expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(text), "{args:?}: {errors}");
    }
}

// P10
#[test]
fn ten_thousand_connections_are_handed_over_evenly_to_four_loops() {
    const WANTED: usize = 10_000;
    const OTHERS: u64 = 200;
    let limit = reactor::raise_descriptor_limit(WANTED as u64 + OTHERS).expect("it can be raised");
    if limit < WANTED as u64 + OTHERS {
        testkit::skip(&format!(
            "10,000 connections need more descriptors than {limit} (ulimit -Hn)"
        ));
        return;
    }
    let args = ["--threads", "4", "--accept", "handover", "--idle-timeout", "off"];
    let server = start(&["127.0.0.1:0"], &args);
    let mut clients: Vec<TcpStream> = Vec::with_capacity(WANTED);
    while clients.len() < WANTED {
        let mut more: Vec<TcpStream> = (0..500).map(|_| server.connect()).collect();
        more.iter_mut().for_each(|it| exchange(it, b"hello"));
        clients.append(&mut more);
    }
    let shares = spread(&server, 4);
    eprintln!("{WANTED} connections over 4 loops: {shares:?}");
    assert_eq!(shares.iter().sum::<u64>(), WANTED as u64);
    let (most, least) = (shares.iter().max().copied(), shares.iter().min().copied());
    assert!(most.unwrap_or(0) * 100 <= least.unwrap_or(0) * 102, "{shares:?}");
    drop(clients);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
}

/// Exchanges messages over `clients` in turn until `done`. Returns how long each took, in order of
/// time.
fn exchange_until(clients: &mut [TcpStream], done: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !done(times.len()) {
        let begin = Instant::now();
        let which = times.len() % clients.len();
        exchange(&mut clients[which], b"a steady message");
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    times
}

fn percentile_99(times: &[Duration]) -> Duration {
    times[(times.len() - 1) * 99 / 100]
}

// P9
#[test]
fn steady_load_is_unharmed_by_a_storm_of_two_thousand_connects() {
    const STORM: usize = 2000;
    /// What a busy machine may add: the clients of the storm have the same processors.
    const FLOOR: Duration = Duration::from_millis(20);
    for how in WAYS {
        let server = start(&["127.0.0.1:0"], &["--threads", "2", "--accept", how]);
        let mut steady: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
        let mut attempts = Vec::new();
        // The figures of one attempt may be those of something else on the machine.
        let is_unharmed = (0..3).any(|_| {
            let quiet = percentile_99(&exchange_until(&mut steady, |count| count == 2000));
            let is_over = AtomicBool::new(false);
            let (storm, served) = std::thread::scope(|scope| {
                let storm = scope.spawn(|| {
                    let mut crowd: Vec<TcpStream> = (0..STORM).map(|_| server.connect()).collect();
                    crowd.iter_mut().for_each(|it| exchange(it, b"hello"));
                    is_over.store(true, Ordering::Release);
                    crowd.len()
                });
                let times = exchange_until(&mut steady, |count| {
                    is_over.load(Ordering::Acquire) && count > 100
                });
                (percentile_99(&times), storm.join().expect("all are served"))
            });
            assert_eq!(served, STORM);
            attempts.push((quiet, storm));
            storm < (3 * quiet).max(FLOOR)
        });
        eprintln!("{how}: p99 quiet and in the storm: {attempts:?}");
        assert!(is_unharmed, "{how}: {attempts:?}");
        drop(steady);
        assert_eq!(server.stop().0, Some(0));
    }
}
