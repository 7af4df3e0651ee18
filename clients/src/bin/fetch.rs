//! Transfers URLs of http and https, several at a time on one loop.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clients::fetch::{Cli, fetch};
use clients::output::arguments;

fn main() -> ExitCode {
    env_logger::init();
    match arguments::<Cli>("fetch") {
        Ok(cli) => fetch(&cli).into(),
        Err(code) => code,
    }
}
