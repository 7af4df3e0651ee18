//! Runs one echo server in each of the five I/O models, and counts its system calls. The page "Readiness
//! and completion" of the book explains the figures.
//!
//! `cargo test` builds the programs. `cargo test --test io_models` alone does not, so that
//! `cargo build --examples` has to come before it.

#[path = "common/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use program::{Program, example};
use reactor::blocking::{IoReport, IoSignals};
use reactor::sim::Sim;
use reactor::{BackendKind, Reactor, Readiness};
use testkit::{Folder, PATIENCE, has_peer, process, skip, wait_until};

const MODELS: [&str; 5] =
    ["io_blocking", "io_nonblocking", "io_multiplexed", "io_signal_driven", "io_asynchronous"];
/// How many messages each of the two connections sends.
const ROUNDS: usize = 50;
const MESSAGES: usize = 2 * ROUNDS;
/// The ends of both connections.
const ENDS: usize = 2;

/// Returns the models that can run here. If the kernel refuses io_uring, it says so.
fn models() -> &'static [&'static str] {
    match BackendKind::Uring.open() {
        Ok(_) => &MODELS,
        Err(error) => {
            skip(&error.to_string());
            &MODELS[..4]
        }
    }
}

/// Returns two connections to a program, when both are accepted.
fn connect(program: &Program) -> [TcpStream; 2] {
    let address = program.line("listening on ");
    let peers = [(); 2].map(|()| TcpStream::connect(&address).expect("the program listens"));
    for peer in &peers {
        peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
        peer.set_write_timeout(Some(PATIENCE)).expect("it has a timeout");
    }
    program.line("both are here");
    peers
}

/// Sends a message, and checks that it comes back.
fn exchange(mut peer: &TcpStream, message: &[u8]) {
    peer.write_all(message).expect("it is sent");
    let mut answer = vec![0; message.len()];
    peer.read_exact(&mut answer).expect("it comes back");
    assert_eq!(answer, message);
}

/// Ends a connection, and waits for its end from the other side.
fn end(mut peer: &TcpStream) {
    peer.shutdown(Shutdown::Write).expect("it ends");
    assert_eq!(peer.read(&mut [0]).expect("the program closes it in order"), 0);
}

#[test]
fn in_every_model_a_client_that_does_not_read_delays_no_other() {
    // More than the kernel buffers.
    let block: Vec<u8> = (0..16_u32 << 20).map(|it| (it ^ it >> 8) as u8).collect();
    for model in models() {
        eprintln!("{model}");
        let mut program = Program::start(model, &["127.0.0.1:0"]);
        let [slow, other] = connect(&program);
        thread::scope(|scope| {
            scope.spawn(|| (&slow).write_all(&block).expect("it is sent in the end"));
            for round in 0..ROUNDS {
                exchange(&other, format!("message {round}").as_bytes());
            }
            let mut answer = vec![0; block.len()];
            (&slow).read_exact(&mut answer).expect("all of it comes back");
            assert!(answer == block, "{model} changes bytes");
        });
        end(&slow);
        exchange(&other, b"the last one");
        end(&other);
        assert!(program.wait().success(), "{model}");
    }
}

#[test]
fn in_every_model_a_connection_that_fails_ends_no_other() {
    for model in models() {
        eprintln!("{model}");
        let mut program = Program::start(model, &["127.0.0.1:0"]);
        let [mut failing, other] = connect(&program);
        failing.write_all(b"its answer stays unread").expect("it is sent");
        let answered = || failing.peek(&mut [0]).is_ok_and(|count| count > 0);
        wait_until("an answer", answered);
        // With bytes unread, this resets the connection.
        drop(failing);
        exchange(&other, b"still here");
        end(&other);
        assert!(program.wait().success(), "{model}");
    }
}

/// How often a program called the kernel while it served.
#[derive(Debug)]
struct Calls {
    by_name: BTreeMap<String, usize>,
    /// The reads that found nothing.
    refused: usize,
}

impl Calls {
    fn of(&self, name: &str) -> usize {
        self.by_name.get(name).copied().unwrap_or(0)
    }
}

/// The calls that are counted, and the one that writes what says when to begin.
const TRACE: &str =
    "trace=recvfrom,sendto,poll,ppoll,rt_sigtimedwait,io_uring_enter,sched_yield,write";

/// Runs a program under strace while its clients send one message at a time, each after `rest`.
fn count_calls(model: &str, rest: impl Fn(&Program, &str)) -> Calls {
    let folder = Folder::new(model);
    let log = folder.file("calls");
    let mut command = Command::new("strace");
    // Detached, so that the child is the program.
    command.args(["-D", "-f", "-q", "-e", TRACE, "-e", "signal=none", "-o", &log]);
    command.arg(example(model).get_program()).arg("127.0.0.1:0");
    let mut program = Program::spawn(&mut command);
    let peers = connect(&program);
    for round in 0..ROUNDS {
        for peer in &peers {
            rest(&program, &log);
            exchange(peer, format!("message {round}").as_bytes());
        }
    }
    for peer in &peers {
        rest(&program, &log);
        end(peer);
    }
    let number = program.child.id().to_string();
    let near_end = size(&log).saturating_sub(4096);
    assert!(program.wait().success(), "{model}");
    // A short number is padded.
    let ends = |line: &str| {
        line.strip_prefix(&number).is_some_and(|rest| rest.trim() == "+++ exited with 0 +++")
    };
    wait_until("the end of strace", || read_from(&log, near_end).lines().any(ends));
    let text = read_from(&log, 0);
    let (_, served) = text.split_once("both are here").expect("it says so");
    count(served)
}

fn size(log: &str) -> u64 {
    fs::metadata(log).expect("strace has begun").len()
}

/// Returns what a log has from an offset on.
fn read_from(log: &str, offset: u64) -> String {
    let mut file = File::open(log).expect("strace has begun");
    file.seek(SeekFrom::Start(offset)).expect("it is a file");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("it is text");
    text
}

/// Counts calls in lines of strace. One that another thread interrupted has two lines.
fn count(text: &str) -> Calls {
    let mut calls = Calls { by_name: BTreeMap::new(), refused: refused(text) };
    for line in text.lines().skip(1) {
        let call = line.trim_start_matches(|it: char| it.is_ascii_digit() || it == ' ');
        if let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with(['<', '+'])) {
            *calls.by_name.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

/// Returns how many reads have found nothing.
fn refused(text: &str) -> usize {
    text.lines().filter(|line| line.contains("recvfrom") && line.contains("EAGAIN")).count()
}

/// Waits until a program has done everything.
fn sleep(program: &Program, _log: &str) {
    wait_until("the sleep of the program", || process::sleeps(program.child.id()));
}

/// Checks that a program writes once for each message, and that its other reads find something.
#[track_caller]
fn check_transfers(calls: &Calls) {
    assert_eq!(calls.of("sendto"), MESSAGES, "{calls:?}");
    assert_eq!(calls.of("recvfrom") - calls.refused, MESSAGES + ENDS, "{calls:?}");
}

#[test]
fn blocking_takes_a_read_and_a_write_for_a_message() {
    if has_peer("strace") {
        let calls = count_calls("io_blocking", sleep);
        check_transfers(&calls);
        assert_eq!((calls.refused, calls.by_name.len()), (0, 2), "{calls:?}");
    }
}

#[test]
fn nonblocking_asks_in_vain_as_long_as_nothing_comes() {
    const ASKS: usize = 10;
    if has_peer("strace") {
        let calls = count_calls("io_nonblocking", |_, log| {
            // The log grows all the time, and faster than the whole of it can be read again and again.
            let before = size(log);
            wait_until("asking", || refused(&read_from(log, before)) > ASKS);
        });
        check_transfers(&calls);
        assert!(calls.refused >= ASKS * (MESSAGES + ENDS), "{calls:?}");
    }
}

#[test]
fn multiplexed_takes_a_wait_a_read_and_a_write_for_a_message() {
    if has_peer("strace") {
        let calls = count_calls("io_multiplexed", sleep);
        check_transfers(&calls);
        assert_eq!((calls.of("poll"), calls.refused), (MESSAGES + ENDS, 0), "{calls:?}");
    }
}

#[test]
fn signal_driven_takes_a_wait_two_reads_and_a_write_for_a_message() {
    if has_peer("strace") {
        let calls = count_calls("io_signal_driven", sleep);
        check_transfers(&calls);
        // Both connections are tried before the first signal, and their ends are found at once. An end
        // may signal twice.
        let spare = 0..=ENDS;
        let waits = calls.of("rt_sigtimedwait") - MESSAGES - ENDS;
        assert!(spare.contains(&waits), "{calls:?}");
        assert_eq!(calls.refused, MESSAGES + 2, "{calls:?}");
    }
}

#[test]
fn asynchronous_enters_the_kernel_once_for_a_message() {
    if has_peer("strace") && models().contains(&"io_asynchronous") {
        let calls = count_calls("io_asynchronous", sleep);
        assert_eq!(calls.of("io_uring_enter"), MESSAGES + ENDS, "{calls:?}");
        assert_eq!(calls.by_name.len(), 1, "{calls:?}");
    }
}

#[test]
fn signals_that_did_not_fit_into_the_queue_are_made_up_for() {
    if !has_peer("prlimit") {
        return;
    }
    // There is no room for any signal of a descriptor, so SIGIO comes in its place.
    let mut command = Command::new("prlimit");
    let program = example("io_signal_driven");
    command.arg("--sigpending=0").arg(program.get_program()).arg("127.0.0.1:0");
    let mut program = Program::spawn(&mut command);
    let peers = connect(&program);
    for round in 0..ROUNDS {
        peers.iter().for_each(|peer| exchange(peer, format!("message {round}").as_bytes()));
    }
    peers.iter().for_each(end);
    assert!(program.wait().success());
}

#[test]
fn a_thread_waits_for_signals_of_descriptors() {
    let signals = IoSignals::new().expect("they can be blocked");
    let soon = Some(Duration::from_millis(10));
    assert_eq!(signals.wait(soon).expect("it waits"), None);
    let file = File::open("/dev/null").expect("it is there");
    let error = signals.watch(&file).expect_err("it is always ready");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    // A pipe signals too, and its end.
    let (reader, mut writer) = io::pipe().expect("pipes can be made");
    signals.watch(&reader).expect("a pipe can signal");
    let next = || signals.wait(Some(PATIENCE)).expect("it waits").expect("a signal comes");
    writer.write_all(b"x").expect("there is room");
    let report = next();
    assert!(report.concerns(&reader) && !report.concerns(&writer), "{report:?}");
    let IoReport::Ready(number, readiness) = report else { panic!("nothing was lost") };
    assert_eq!(number, reader.as_raw_fd());
    assert!(readiness.contains(Readiness::READABLE), "{readiness:?}");
    drop(writer);
    assert!(next().concerns(&reader));
    assert!(IoReport::Overflow.concerns(&file));
}

#[test]
fn a_simulated_host_has_no_signals_of_descriptors() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    sim.start(host, || {
        let error = IoSignals::new().expect_err("it has none").to_string();
        assert_eq!(error, "a simulated host has no signals of descriptors");
        Reactor::new(())
    })
    .expect("it runs");
}

#[test]
fn every_program_of_a_model_is_run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/io_models");
    let mut found: Vec<String> = fs::read_dir(folder)
        .expect("the programs are there")
        .map(|entry| entry.expect("it can be listed").path())
        .map(|path| format!("io_{}", path.file_stem().expect("it has a name").display()))
        // What they have in common.
        .filter(|name| name != "io_echo")
        .collect();
    let mut run = MODELS.to_vec();
    found.sort_unstable();
    run.sort_unstable();
    assert_eq!(found, run);
}
