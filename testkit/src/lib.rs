//! Shared helpers for the tests of all packages: peer programs, folders, processes and random
//! numbers.
//!
//! Packages list it in their `[dev-dependencies]`. Nothing that is published depends on it. All
//! functions panic with a message when the test has to fail.

#![forbid(unsafe_code)]

pub mod authority;
pub mod cluster;
pub mod dns;
mod folder;
pub mod moosefs;
mod namespace;
mod peers;
mod ports;
pub mod process;
mod redis;
mod udp;
pub mod websocket;

use std::time::{Duration, Instant};

pub use folder::Folder;
pub use namespace::{BLACKHOLE, in_namespace};
pub use peers::{has_peer, skip, tell};
pub use ports::{free_port, refusing_address};
pub use protocol::Random;
pub use redis::Redis;
pub use udp::{receive_udp, refusing_udp_socket, udp_drops};

/// The time limit of all waits in tests, long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `done` returns true, when there is no event to wait for.
///
/// # Panics
/// Panics if that takes longer than [`PATIENCE`]. The message contains `what`.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
