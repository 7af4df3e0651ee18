//! The loops that are compared, one file each, each written as its own users would write it well.
//!
//! All of them listen with `net::listen`, read into a buffer of `net::READ_SIZE` bytes, take a
//! short read to mean that the socket is empty, and answer one read with one write.

use std::io::{self, Write};
use std::net::TcpListener;

pub mod async_io;
pub mod calloop;
pub mod canned;
pub mod connection;
pub mod limits;
pub mod mio;
pub mod monoio;
pub mod ours;
pub mod polling;
pub mod raw;
pub mod tokio;
pub mod tokio_util;

/// Returns a listener, and prints its address.
///
/// # Errors
/// Fails with the error of the system call, or if the address cannot be printed.
pub fn listen() -> io::Result<TcpListener> {
    let listener = crate::net::listen()?;
    announce(&listener.local_addr()?.to_string())?;
    Ok(listener)
}

/// Prints the address for the comparison. Nothing is printed before.
fn announce(address: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "listening on {address}")?;
    output.flush()
}
