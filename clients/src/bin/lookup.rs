//! Asks DNS servers, as dig does.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clients::lookup::{Cli, run};
use clients::output::arguments;

fn main() -> ExitCode {
    env_logger::init();
    match arguments::<Cli>("lookup") {
        Ok(cli) => run(&cli).into(),
        Err(code) => code,
    }
}
