//! `echo-server` under each of its concurrency models.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::process::this_program;

/// The name of this program when it runs as `echo-server`.
pub const ECHO: &str = "echo-server";

/// Serves one connection after the other.
///
/// # Errors
/// Fails if this program cannot be started again. Does not return otherwise. So do the others.
pub fn iterative(_count: usize) -> io::Result<()> {
    become_server("iterative", &[])
}

/// Serves each connection in a process of its own.
///
/// # Errors
/// See [`iterative`].
pub fn fork(count: usize) -> io::Result<()> {
    become_server("fork", &[format!("--max-connections={count}")])
}

/// Serves connections in `count` processes that accept.
///
/// # Errors
/// See [`iterative`].
pub fn prefork(count: usize) -> io::Result<()> {
    become_server("prefork", &[format!("--workers={count}")])
}

/// Serves each connection on a thread of its own.
///
/// # Errors
/// See [`iterative`].
pub fn thread(count: usize) -> io::Result<()> {
    become_server("thread", &[format!("--max-connections={count}")])
}

/// Serves connections on a pool of `count` threads.
///
/// # Errors
/// See [`iterative`].
pub fn pool(count: usize) -> io::Result<()> {
    become_server("pool", &[format!("--pool-max={count}")])
}

/// Serves all connections with one loop.
///
/// # Errors
/// See [`iterative`].
pub fn reactor(_count: usize) -> io::Result<()> {
    become_server("reactor", &[])
}

/// Serves connections with two loops.
///
/// # Errors
/// See [`iterative`].
pub fn reactors(_count: usize) -> io::Result<()> {
    become_server("reactors", &["--threads=2".to_owned()])
}

/// Replaces this process by `echo-server`, which is this program under another name. Its log goes to
/// standard output, where its address is expected.
fn become_server(model: &str, arguments: &[String]) -> io::Result<()> {
    let log = io::stdout().as_fd().try_clone_to_owned()?;
    let mut command = Command::new(this_program()?);
    command.arg0(ECHO).args(["--listen", "127.0.0.1:0", "--model", model]).args(arguments);
    Err(command.env("RUST_LOG", "info").stderr(log).exec())
}
