//! What the tests of all packages share: peer programs, folders, processes and random numbers.
//!
//! Packages name it among their `[dev-dependencies]`; nothing that is shipped depends on it.
//! Everything here panics where a test has to fail, and says why.

#![forbid(unsafe_code)]

mod folder;
mod peers;
pub mod process;
mod redis;

use std::time::{Duration, Instant};

pub use folder::Folder;
pub use peers::{has_peer, skip, tell};
pub use protocol::testing::Random;
pub use redis::Redis;

/// How long anything may take before a test gives up on it: longer than a busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `done` says true, where there is no event to wait for.
///
/// # Panics
/// When that takes longer than [`PATIENCE`]; `what` is what did not happen.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
