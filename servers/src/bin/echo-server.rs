//! The echo server (RFC 862): sends back what it receives.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use servers::echo::{SERVER, session};

fn main() -> ExitCode {
    servers::run(SERVER, session)
}
