//! The tool `mfs-client`: reads and writes files of a MooseFS file system without a mount.

mod exit;
mod interrupt;
mod local;
mod options;
mod run;
mod show;
mod watcher;

pub use options::{Cli, Command, ConnectArgs};

/// Carries out what the arguments ask for, and prints what goes wrong. Returns the exit code.
pub fn mfs_client(cli: &Cli) -> u8 {
    match run::run(cli) {
        Ok(code) => code,
        Err(failed) => {
            if !failed.text.is_empty() {
                show::complain(&failed.text);
            }
            failed.code
        }
    }
}
