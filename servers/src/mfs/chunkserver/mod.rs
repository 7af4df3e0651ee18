//! A chunkserver: it keeps chunks of files on its disks. It is a client of the master, a server of
//! clients and of other chunkservers, and a client of these.

mod app;
mod args;
mod background;
mod chain;
mod dialer;
mod disk;
mod exchange;
mod master;
mod orders;
mod questions;
mod reading;
mod replica;
mod run;
mod service;
mod store;
mod writing;

use std::process::ExitCode;

use crate::{Server, logged, logs};

/// The name of the program.
const SERVER: Server = Server {
    name: "mfs-chunkserver",
    about: "Keeps chunks of files of a MooseFS master, and serves them",
    address: "",
    datagram_port: None,
};

/// Runs the chunkserver of the command line until it is told to stop. Call it from the main function of
/// a program: it installs a logger and signal handlers for the process.
///
/// Returns 0 after `SIGTERM`, `SIGINT` or `SIGHUP`, and 1 when it cannot run. Wrong arguments end the
/// process with 2.
pub fn run() -> ExitCode {
    let args = args::parse();
    logged(SERVER, logs::Writing::Thread, || run::run(&args))
}
