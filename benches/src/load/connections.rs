//! Loads that measure connections instead of messages: the memory of idle ones, and opening and
//! closing them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::meter::Meter;
use super::{Client, Load};
use crate::{measure, net};

/// The number of connections that are opened before they are closed again.
pub const CHURN_BATCH: usize = 128;
/// The time in which a server should notice that connections were closed.
const SETTLE: Duration = Duration::from_millis(100);

/// Measures the memory of idle connections that have exchanged one message: the memory of the
/// process `pid` while they are open. Also measures how much more memory the same number of
/// connections needs after these are closed, which is the memory that was not freed.
///
/// # Errors
/// Fails if a connection fails, or there is no such process.
pub fn idle(load: Load, server: SocketAddr, pid: u32) -> io::Result<String> {
    // Memory that a server allocates once, for its first connections, does not count.
    let connections = load.connections.min(16);
    drop(Client::connect(Load { connections, ..load }, server)?);
    std::thread::sleep(SETTLE);
    let before = measure::memory_bytes(pid)?;
    let first = memory_with_connections(load, server, || measure::memory_bytes(pid))?;
    let second = memory_with_connections(load, server, || measure::memory_bytes(pid))?;
    let each = first.saturating_sub(before) as f64 / load.connections as f64;
    let more = second.saturating_sub(first) as f64 / 1024.0;
    Ok(format!("bytes {each:.1}\nmore_kib {more:.1}\n"))
}

/// Measures the memory of idle connections of a server that has a process or a thread for each:
/// with those of the process `pid` and its children, while they are open.
///
/// # Errors
/// Fails if a connection fails, or there is no such process.
pub fn idle_family(load: Load, server: SocketAddr, pid: u32) -> io::Result<String> {
    let before = measure::family_bytes(pid)?;
    let with = memory_with_connections(load, server, || measure::family_bytes(pid))?;
    let each = with.saturating_sub(before) as f64 / load.connections as f64;
    Ok(format!("kib {:.1}\n", each / 1024.0))
}

/// Opens connections, returns the memory of the server, and closes them.
fn memory_with_connections(
    load: Load,
    server: SocketAddr,
    memory: impl Fn() -> io::Result<u64>,
) -> io::Result<u64> {
    let mut client = Client::connect(load, server)?;
    for number in 0..load.connections {
        client.send(number, 1, Instant::now())?;
    }
    client.await_answers()?;
    std::thread::sleep(SETTLE);
    let memory = memory()?;
    drop(client);
    std::thread::sleep(SETTLE);
    Ok(memory)
}

/// Opens and closes connections in batches.
///
/// # Errors
/// Fails if a connection fails.
pub fn churn(load: Load, server: SocketAddr, pid: u32) -> io::Result<String> {
    let mut number = 0;
    let mut batches = |duration: Duration| -> io::Result<usize> {
        let (start, first) = (Instant::now(), number);
        while start.elapsed() < duration {
            let mut batch = Vec::with_capacity(CHURN_BATCH);
            for _ in 0..CHURN_BATCH {
                batch.push(net::connect_from(number, server)?);
                number += 1;
            }
            net::end_all(batch)?;
        }
        Ok(number - first)
    };
    batches(load.warm_up)?;
    let meter = Meter::start(pid)?;
    let count = batches(load.duration)?;
    meter.lines(count as u64)
}
