//! A small key-value store that speaks Redis's protocol.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use servers::{Server, kv};

/// Returns the memory of removed keys to the system within seconds, a part at a time.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ABOUT: &str = "A small in-memory key-value store that speaks Redis's protocol. It is an \
                     example to read and a server for tests. It has no scripts, sorted sets or streams, stores \
                     nothing on disk and does not replicate. For any of those, run Redis or \
                     Valkey";

fn main() -> ExitCode {
    let server = Server { name: "kv", about: ABOUT, address: "127.0.0.1:6379" };
    servers::run_with(server, kv::application)
}
