//! A master: it keeps the log of the changes, knows where the chunks are, and is what all other programs
//! connect to.
//!
//! One loop has three listeners, and a kind of session for each:
//!
//! - `metaloggers`: they subscribe to the changes, and download the metadata,
//! - `chunkservers`: they register, and are told what to do,
//! - `clients`: they have sessions and ask for files; `mfscli` asks the `questions`.
//!
//! All of them share one value, [`Master`], which the loop lends to every call: `changes` is the log,
//! `chunkservers` who is there, `chunks` what is where. `port` has what the ports have in common, and
//! `pulse` the signs of life.
//!
//! # What a session does
//!
//! A session calls the functions of [`Master`], and ends each call with `Master::settle`. That wakes the
//! sessions that have something to do now.
//!
//! - **The tree is changed** by its own functions (`tree`). Its changes are logged, and told to metaloggers, by
//!   `Master::settle`. Programs that embed a master use [`Master::change`].
//! - **A chunk is created, changed or deleted** with [`Master::create`], [`Master::truncate`] (which gives it
//!   the next version), [`Master::raise_version`], [`Master::duplicate`], [`Master::duplicate_truncated`],
//!   [`Master::replicate`] and [`Master::delete`]. Each takes a closure, and returns at once. The closure is
//!   called with the [`Outcome`] when all chunkservers have answered or are gone; that may be within the
//!   call. It is called even if the session has ended meanwhile, so what has to be changed in the tree is
//!   changed there. Operations on one chunk are carried out one after the other.
//! - **The closure answers a client** through a mailbox of the session's own, which it finds in [`Master`]
//!   by the [`ConnectionId`](protocol::ConnectionId), and wakes it with `Master::wake`. The session sends
//!   the answer in its `resume`.
//! - **Where a chunk is** tells [`Master::locate`]: address, port, version and labels of each chunkserver
//!   that has it in its present version.
//!
//! Programs can embed a master too ([`prepare`]), and use the same functions between the turns of its
//! loop. They end with [`Master::flush`].
//!
//! ```
//! use servers::mfs::master;
//!
//! # let folder = std::env::temp_dir().join(format!("mfs-master-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! let folder = folder.to_str().expect("it is text");
//! let any = "127.0.0.1:0";
//! let ports = ["--listen-metaloggers", any, "--listen-chunkservers", any, "--listen-clients", any];
//! let mut reactor = master::prepare(&[&["--dir", folder], &ports[..]].concat())?;
//! assert_eq!(reactor.app.change("CREATE(1,name,1,420,0,0,0,0):2")?, 1);
//! assert!(reactor.app.change("CREATE(1,name,1,420,0,0,0,0):3").is_err(), "the name is taken");
//! master::Master::flush(&mut reactor.cx());
//! reactor.app.finish()?;
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod app;
mod args;
mod changes;
mod chunks;
mod chunkservers;
mod clients;
mod folder;
mod journal;
mod metadata;
mod metaloggers;
mod port;
mod pulse;
mod questions;
mod serve;
mod tree;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use reactor::Reactor;

use crate::{Server, logged, logs};

pub use app::Master;
pub use changes::Escaped;
pub use chunks::{Located, Outcome, Place};
pub use chunkservers::Order;
#[cfg(fuzzing)]
pub use tree::{check_mfs_log, check_mfs_tree};

/// The name of the program.
const SERVER: Server = Server {
    name: "mfs-master",
    about: "Keeps the tree of a file system whose data are on chunkservers",
    address: "",
    datagram_port: None,
};

/// Runs the master of the command line until it is told to stop. Call it from the main function of a
/// program: it installs a logger and signal handlers for the process.
///
/// Returns 0 after `SIGTERM`, `SIGINT` or `SIGHUP`, and 1 when it cannot run. Wrong arguments end the
/// process with 2.
pub fn run() -> ExitCode {
    let args = args::parse();
    logged(SERVER, logs::Writing::Thread, || serve::run(&args))
}

/// Opens the loop of a master from the arguments of its command line, without the name of the program.
/// It listens when this returns, has no logger, and handles no signals.
///
/// # Errors
/// What is wrong with the arguments, the folder or an address.
pub fn prepare(arguments: &[&str]) -> io::Result<Reactor<Master>> {
    let words = [SERVER.name].into_iter().chain(arguments.iter().copied());
    let args = args::Args::try_parse_from(words).map_err(io::Error::other)?;
    serve::prepare(&args)
}
