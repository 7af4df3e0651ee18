//! Runs servers and their clients on simulated hosts with faults, and judges what the clients have
//! seen. The program `storm` hunts with many seeds, `tests/storm_seeds.rs` runs some in each test
//! run, and `tests/planted.rs` shows that they find the mistakes of `reactor::planted`.
//!
//! - [`scenarios`] has what is run: servers, clients and daemons on simulated hosts.
//! - [`history`] records operations on single keys. [`History::check`](history::History::check)
//!   searches an order of them that explains all replies (`linear`), with the effects that `model`
//!   defines and the times that `zone` allows.
//! - [`lists`] judges queues: pushed elements, and the clients that wait for them.
//! - [`channels`] judges messages and their subscribers.
//!
//! Times are in nanoseconds since the start of the run, on one clock, which may be virtual.

pub mod channels;
pub mod history;
mod linear;
pub mod lists;
mod model;
pub mod scenarios;
mod smaller;
mod zone;

/// Returns a time in seconds, as messages show it.
fn seconds(time: u64) -> String {
    format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000)
}

/// Returns bytes in quotes, as messages show them. Long ones are cut.
fn quoted(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let front = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    format!("\"{front}{more}\"")
}
