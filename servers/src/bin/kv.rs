//! A small key-value store that speaks Redis's protocol.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use servers::kv;

/// Returns the memory of removed keys to the system within seconds, a part at a time.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    servers::run_with(kv::SERVER, kv::application)
}
