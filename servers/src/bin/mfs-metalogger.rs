//! A metalogger of MooseFS.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    servers::mfs::metalogger::run()
}
