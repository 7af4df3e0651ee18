//! The loops that are compared, one file each, each written as its own users would write it well.
//!
//! All of them listen as `net::listen` does, read into a buffer of `net::READ_SIZE` bytes, take a
//! short read for the end of what there is, and answer one read with one write.

use std::io::{self, Write};
use std::net::TcpListener;

use reactor::BackendKind;

pub mod async_io;
pub mod calloop;
pub mod canned;
pub mod connection;
pub mod limits;
pub mod mio;
pub mod ours;
pub mod polling;
pub mod raw;
pub mod tokio;
pub mod tokio_util;

/// Runs a work on a loop: servers do so for ever, the others print their figures and end.
///
/// # Errors
/// When there is no such loop, it does no such work, or it fails.
pub fn run(name: &str, work: &str, number: usize) -> io::Result<()> {
    match (name, work) {
        ("canned", "requests") => canned::serve(listen()?),
        ("raw", "echo") => raw::echo(listen()?),
        ("raw", "dispatch") => raw::dispatch(number),
        ("mio", "echo") => mio::echo(listen()?),
        ("mio", "dispatch") => mio::dispatch(number),
        ("polling", "echo") => polling::echo(listen()?),
        ("polling", "dispatch") => polling::dispatch(number),
        ("async-io", "echo") => async_io::echo(listen()?),
        ("async-io", "dispatch") => async_io::dispatch(number),
        ("async-io", "timers") => async_io::timers(number),
        ("calloop", "echo") => calloop::echo(listen()?),
        ("calloop", "dispatch") => calloop::dispatch(number),
        ("calloop", "timers") => calloop::timers(number),
        ("tokio", "echo") => tokio::echo(listen()?),
        ("tokio", "dispatch") => tokio::dispatch(number),
        ("tokio", "timers") => tokio::timers(number),
        ("tokio-util", "lines") => tokio_util::lines(listen()?),
        ("tokio-util", "timers") => tokio_util::timers(number),
        ("harness", "timers") => limits::harness(number),
        ("array", "timers") => limits::array(number),
        (name, "echo") => ours::echo(backend(name)?),
        (name, "scale") => ours::scale(backend(name)?, number),
        (name, "lines") => ours::lines(backend(name)?),
        (name, "dispatch") => ours::dispatch(backend(name)?, number),
        (name, "timers") => ours::timers(backend(name)?, number),
        _ => Err(io::Error::other(format!("{name} does no {work}"))),
    }
}

/// Our backend of this name.
fn backend(name: &str) -> io::Result<BackendKind> {
    name.parse().map_err(io::Error::other)
}

/// A listener whose address has been told.
fn listen() -> io::Result<TcpListener> {
    let listener = crate::net::listen()?;
    announce(&listener.local_addr()?.to_string())?;
    Ok(listener)
}

/// Tells the comparison where to connect to. Nothing is printed before it.
fn announce(address: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "listening on {address}")?;
    output.flush()
}
