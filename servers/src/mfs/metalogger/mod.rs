//! A metalogger: it keeps the change log of a master, and copies of its metadata, from which a new master
//! can be started.

mod app;
mod args;
mod disk;
mod download;
mod exchange;
mod folder;

use std::process::ExitCode;

use crate::{Server, logged, logs};

/// The name of the program.
const SERVER: Server = Server {
    name: "mfs-metalogger",
    about: "Keeps the change log and the metadata of a MooseFS master",
    address: "",
    datagram_port: None,
};

/// Runs the metalogger of the command line until it is told to stop. Call it from the main function of a
/// program: it installs a logger and signal handlers for the process.
///
/// Returns 0 after `SIGTERM`, `SIGINT` or `SIGHUP`, and 1 when it cannot run. Wrong arguments end the
/// process with 2.
pub fn run() -> ExitCode {
    let args = args::parse();
    logged(SERVER, logs::Writing::Thread, || app::run(&args))
}
