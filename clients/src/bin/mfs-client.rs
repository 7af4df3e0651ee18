//! Reads and writes files of a MooseFS file system without a mount.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clients::mfs_client::{Cli, mfs_client};
use clients::output::arguments;

fn main() -> ExitCode {
    env_logger::init();
    match arguments::<Cli>("mfs-client") {
        Ok(cli) => mfs_client(&cli).into(),
        Err(code) => code,
    }
}
