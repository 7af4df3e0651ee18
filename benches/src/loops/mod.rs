//! The loops that are compared, one file each, each written as its own users would write it well.
//!
//! All of them listen as `net::listen` does, read into a buffer of `net::READ_SIZE` bytes, take a
//! short read for the end of what there is, and answer one read with one write.

use std::io::{self, Write};
use std::net::TcpListener;

use reactor::BackendKind;

pub mod ours;
pub mod raw;

/// Has a loop do a work: servers do so for ever, the others print their figures and end.
///
/// # Errors
/// When there is no such loop, it does no such work, or it fails.
pub fn run(name: &str, work: &str, number: usize) -> io::Result<()> {
    let _ = number;
    match (name, work) {
        ("raw", "echo") => raw::echo(listen()?),
        (name, "echo") => ours::echo(backend(name)?),
        _ => Err(io::Error::other(format!("it does no {work}"))),
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
