//! Sends commands to a RESP server and prints the replies as `redis-cli` does.

#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use clients::kv_cli::{arguments, run};

fn main() -> ExitCode {
    env_logger::init();
    let words = std::env::args_os().skip(1).map(OsStringExt::into_vec);
    let password = std::env::var("REDISCLI_AUTH").ok();
    run(arguments(words, std::io::stdout().is_terminal(), password)).into()
}
