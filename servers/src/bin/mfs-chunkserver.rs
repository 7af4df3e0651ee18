//! A chunkserver of MooseFS.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    servers::mfs::chunkserver::run()
}
