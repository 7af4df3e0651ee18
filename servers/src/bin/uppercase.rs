//! The uppercase server: sends back what it receives in upper case.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use servers::uppercase::{SERVER, session};

fn main() -> ExitCode {
    servers::run(SERVER, session)
}
