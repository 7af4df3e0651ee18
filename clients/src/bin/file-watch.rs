//! Prints what happens to files, or runs a command when they change.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clients::file_watch::{Cli, run};
use clients::output::arguments;

fn main() -> ExitCode {
    env_logger::init();
    let cli: Cli = match arguments("file-watch") {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match run(cli) {
        Ok(code) => code.into(),
        Err(failure) => failure.report("file-watch").into(),
    }
}
