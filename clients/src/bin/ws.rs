//! Talks to a server of WebSocket.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clients::output::arguments;
use clients::ws::{Cli, ws};

fn main() -> ExitCode {
    env_logger::init();
    match arguments::<Cli>("ws") {
        Ok(cli) => ws(&cli).into(),
        Err(code) => code,
    }
}
