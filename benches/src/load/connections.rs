//! Loads that are about connections and not about messages: what idle ones cost, and what making and
//! closing them costs.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Client, Load};
use crate::{measure, net};

/// Connections that are made before they are closed again.
pub const CHURN_BATCH: usize = 128;
/// How long a server is given to see that connections were closed.
const SETTLE: Duration = Duration::from_millis(100);

/// What connections that stand idle cost a server: the memory of the process `pid` while they stand
/// and have exchanged a message each, and how much more as many others take after they are closed,
/// which is what was not freed.
///
/// # Errors
/// When a connection fails, or there is no such process.
pub fn idle(load: Load, server: SocketAddr, pid: u32) -> io::Result<String> {
    // What a server allocates once, for its first connections, is no connection's own.
    drop(Client::connect(Load { connections: 16, ..load }, server)?);
    std::thread::sleep(SETTLE);
    let before = measure::memory_bytes(pid)?;
    let first = standing(load, server, pid)?;
    let second = standing(load, server, pid)?;
    let each = first.saturating_sub(before) as f64 / load.connections as f64;
    let more = second.saturating_sub(first) as f64 / 1024.0;
    Ok(format!("bytes {each:.1}\nmore_kib {more:.1}\n"))
}

/// The memory of a server while connections stand, which are closed then.
fn standing(load: Load, server: SocketAddr, pid: u32) -> io::Result<u64> {
    let mut client = Client::connect(load, server)?;
    for number in 0..load.connections {
        client.send(number, 1, Instant::now())?;
    }
    client.drain()?;
    std::thread::sleep(SETTLE);
    let memory = measure::memory_bytes(pid)?;
    drop(client);
    std::thread::sleep(SETTLE);
    Ok(memory)
}

/// Makes connections and closes them, batch after batch.
///
/// # Errors
/// When a connection fails.
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
    let used = (measure::cpu_nanoseconds(pid)?, measure::own_nanoseconds());
    let start = Instant::now();
    let count = batches(load.duration)? as f64;
    let elapsed = start.elapsed().as_secs_f64();
    let server = (measure::cpu_nanoseconds(pid)? - used.0) as f64;
    let client = (measure::own_nanoseconds() - used.1) as f64;
    let values = [
        ("server_ns", server / count),
        ("per_second", count / elapsed),
        ("server_busy", server / 1e9 / elapsed),
        ("client_busy", client / 1e9 / elapsed),
    ];
    Ok(values.iter().map(|(name, value)| format!("{name} {value:.3}\n")).collect())
}
