//! The ways to measure a subject once at a work. The table of works ([`crate::kinds`]) refers to
//! them.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::Folder;

use crate::benchmark::{self, Test};
use crate::calls::{self, Counted};
use crate::process::{Running, signal, this_program};
use crate::run::Run;
use crate::subject::Subject;
use crate::work::{Values, Work};
use crate::{computation, files, measure, neighbour, net};

/// The time limit for the start of a subject, long enough for a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// The time limit of a measurement beyond its duration, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// The duration of a planted stall.
pub const STALL: Duration = Duration::from_secs(1);

/// Runs a subject that measures itself.
///
/// # Errors
/// Fails if it cannot be started, fails or does not end in time.
pub fn alone(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    let numbers = [work.count.to_string()];
    let command = subject.command(work, run.pinning.server, &numbers)?;
    Running::start(command)?.values(PATIENCE, &run.stop)
}

/// Measures a server under the load of the client.
///
/// # Errors
/// Fails if either cannot be started, fails or does not end in time.
pub fn loaded(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    under_load(run, work, subject, &[])
}

/// Measures a server that computes for each message, under the load of the client.
///
/// # Errors
/// Fails if either cannot be started, fails or does not end in time.
pub fn bound(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    under_load(run, work, subject, &[computation::steps().to_string()])
}

fn under_load(run: &Run, work: &Work, subject: &Subject, numbers: &[String]) -> io::Result<Values> {
    let server = Running::start(subject.command(work, run.pinning.server, numbers)?)?;
    let address = server.address(START_PATIENCE, &run.stop)?;
    let command = client(run, work, run.pinning.client, &address, server.pid())?;
    let client = Running::start(command)?;
    if run.stall {
        thread::sleep(run.plan.warm_up + run.plan.duration / 4);
        stall(&server)?;
    }
    client.values(run.plan.duration + PATIENCE, &run.stop)
}

/// Measures a server of files, in a folder that has a file of the size of the work.
///
/// # Errors
/// Fails if a file cannot be written, or the server or the client cannot be started, fails or does
/// not end in time.
pub fn of_files(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    let folder = files::folder(work.size)?;
    let mut command = subject.command(work, run.pinning.server, &[])?;
    command.current_dir(folder.path());
    let server = Running::start(command)?;
    let address = benchmark::ready(&server, &run.stop)?;
    await_listener(address)?;
    let command = client(run, work, run.pinning.client, &address.to_string(), server.pid())?;
    Running::start(command)?.values(run.plan.duration + PATIENCE, &run.stop)
}

/// Measures a forwarder of the Domain Name System, in a folder of its own. The client is its upstream.
///
/// # Errors
/// Fails if the server or the client cannot be started, fails or does not end in time.
pub fn of_names(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    let folder = Folder::new("names");
    let upstream = net::bind_datagrams()?;
    let port = upstream.local_addr()?.port().to_string();
    let mut command = subject.command(work, run.pinning.server, &[port])?;
    command.current_dir(folder.path());
    let server = Running::start(command)?;
    let address = server.address(START_PATIENCE, &run.stop)?;
    let command = client(run, work, run.pinning.client, &address, server.pid())?;
    let client = Running::with_input(command, OwnedFd::from(upstream))?;
    client.values(run.plan.duration + PATIENCE, &run.stop)
}

/// Waits until a server listens that has only said where it will.
fn await_listener(address: SocketAddr) -> io::Result<()> {
    let until = Instant::now() + START_PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Measures a program that makes connections, which a bare server accepts and closes.
///
/// # Errors
/// Fails if either cannot be started, fails or does not end in time.
pub fn dialled(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    // The listener stays open here: connections are never refused, also when the server has ended.
    let listener = net::listen()?;
    let address = listener.local_addr()?;
    let command = subject.command(work, run.pinning.server, &[address.port().to_string()])?;
    let dialling = Running::start(command)?;
    let command = client(run, work, run.pinning.client, &address.to_string(), dialling.pid())?;
    let server = Running::with_input(command, OwnedFd::from(listener.try_clone()?))?;
    server.values(run.plan.duration + PATIENCE, &run.stop)
}

/// Measures the system calls for each message, from two runs of different length.
///
/// # Errors
/// Fails if strace, the server or the client cannot be started, fails or does not end in time.
pub fn counted(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    let shorter = traced(run, work, subject, calls::MESSAGES)?;
    traced(run, work, subject, 2 * calls::MESSAGES)?.beyond(&shorter)
}

/// Runs a server under strace, from its start to its end.
fn traced(run: &Run, work: &Work, subject: &Subject, messages: u64) -> io::Result<Counted> {
    let served = subject.command(work, run.pinning.server, &[])?;
    let mut command = Command::new(this_program()?);
    command.arg("trace").arg(served.get_program()).args(served.get_args());
    let strace = Running::start(command)?;
    let address = strace.address(START_PATIENCE, &run.stop)?;
    let server = calls::child(strace.pid())?;
    let sockets = calls::sockets(server)?;
    let mut client = client(run, work, run.pinning.client, &address, server)?;
    client.arg(format!("--messages={messages}"));
    let values = Running::start(client)?.values(PATIENCE, &run.stop)?;
    calls::settle(server, sockets)?;
    signal(server, Signal::KILL)?;
    let summary = strace.rest(PATIENCE, &run.stop)?;
    let answered = values.iter().find(|(name, _)| name == "messages");
    Counted::parse(answered.map_or(0, |(_, count)| *count as u64), &summary)
}

/// Measures a server that uses all cores, as its client does.
///
/// # Errors
/// Fails if the server or the client cannot be started, fails or does not end in time.
pub fn unpinned(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    let server = Running::start(subject.command(work, -1, &[])?)?;
    let address = server.address(START_PATIENCE, &run.stop)?;
    let client = Running::start(client(run, work, -1, &address, server.pid())?)?;
    client.values(run.plan.duration + PATIENCE, &run.stop)
}

/// Measures a server under one of its models: under load, and then the memory of its connections.
///
/// # Errors
/// Fails if the server or a client cannot be started, fails or does not end in time.
pub fn modelled(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    let command = subject.command(work, run.pinning.server, &[work.count.to_string()])?;
    let server = Running::start(command)?;
    let address = benchmark::ready(&server, &run.stop)?.to_string();
    let load = || client(run, work, run.pinning.client, &address, server.pid());
    let patience = run.plan.duration + PATIENCE;
    let mut values = Running::start(load()?)?.values(patience, &run.stop)?;
    let mut idle = load()?;
    idle.arg("--kind=idle-family");
    values.extend(Running::start(idle)?.values(patience, &run.stop)?);
    // Its processes end with it.
    signal(server.pid(), Signal::TERM)?;
    server.rest(PATIENCE, &run.stop)?;
    Ok(values)
}

/// Measures a new server with `redis-benchmark`.
///
/// # Errors
/// Fails if either cannot be started, fails or does not end in time.
pub fn requested(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    under_benchmark(run, work, subject, false)
}

/// Like [`requested`], while another process occupies half of the server's core.
///
/// # Errors
/// Fails if one of them cannot be started, fails or does not end in time.
pub fn requested_of_half(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    under_benchmark(run, work, subject, true)
}

fn under_benchmark(run: &Run, work: &Work, subject: &Subject, half: bool) -> io::Result<Values> {
    let core = run.pinning.server;
    let test = work.test.ok_or_else(|| io::Error::other("it names no test"))?;
    let server = Running::start(subject.command(work, core, &[])?)?;
    let address = benchmark::ready(&server, &run.stop)?;
    if let Some((first, count)) = test.needs() {
        benchmarked(run, address, first, 1, count)?;
    }
    let _neighbour = if half { Some(neighbour::start(core, &run.stop)?) } else { None };
    benchmarked(run, address, test, work.depth, work.count / 10)?;
    let (started, before) = (Instant::now(), measure::cpu_nanoseconds(server.pid())?);
    let (lines, client) = benchmarked(run, address, test, work.depth, work.count)?;
    let used = measure::cpu_nanoseconds(server.pid())? - before;
    let elapsed = started.elapsed().as_nanos() as f64;
    let mut values = benchmark::parse(&lines)?;
    for (name, nanoseconds) in [("server", used as f64), ("client", client as f64)] {
        values.push((format!("{name}_ns"), nanoseconds / work.count as f64));
        values.push((format!("{name}_busy"), nanoseconds / elapsed));
    }
    Ok(values)
}

/// Runs `redis-benchmark`. Returns its output and the processor time that it used.
fn benchmarked(
    run: &Run,
    server: SocketAddr,
    test: Test,
    depth: usize,
    count: usize,
) -> io::Result<(Vec<String>, u64)> {
    let mut command = Command::new(this_program()?);
    command.arg("load").arg(run.pinning.client.to_string());
    command.args(benchmark::arguments(server, test, depth, count));
    Running::start(command)?.used(PATIENCE, &run.stop)
}

/// Measures the memory of keys in a new server.
///
/// # Errors
/// Fails if it cannot be started, does not take a key, or its memory is unknown.
pub fn filled(run: &Run, work: &Work, subject: &Subject) -> io::Result<Values> {
    let server = Running::start(subject.command(work, run.pinning.server, &[])?)?;
    let address = benchmark::ready(&server, &run.stop)?;
    let before = measure::memory_bytes(server.pid())?;
    benchmark::fill(address, work.count, &run.stop)?;
    let bytes = measure::memory_bytes(server.pid())?.saturating_sub(before) as f64;
    Ok(vec![("bytes".to_owned(), bytes / work.count as f64), ("mb".to_owned(), bytes / 1e6)])
}

/// Returns the command that starts the client of a work on a core.
fn client(run: &Run, work: &Work, core: i32, address: &str, pid: u32) -> io::Result<Command> {
    let mut command = Command::new(this_program()?);
    command.args(["load", address, &format!("--pid={pid}")]);
    let duration = run.plan.duration * work.kind.stretch;
    let numbers = [
        ("core", core.to_string()),
        ("warm-up", run.plan.warm_up.as_millis().to_string()),
        ("duration", duration.as_millis().to_string()),
        ("connections", work.count.to_string()),
        ("size", work.size.to_string()),
        ("depth", work.depth.to_string()),
    ];
    command.args(numbers.map(|(name, value)| format!("--{name}={value}")));
    command.args(work.rate.map(|rate| format!("--rate={rate}")));
    command.args(work.kind.client);
    Ok(command)
}

/// Stops a server with a signal, and continues it after a while.
fn stall(server: &Running) -> io::Result<()> {
    signal(server.pid(), Signal::STOP)?;
    thread::sleep(STALL);
    signal(server.pid(), Signal::CONT)
}
