//! The loops that are compared, one file each, each written as its own users would write it well.
//!
//! All of them listen as `net::listen` does, read into a buffer of `net::READ_SIZE` bytes, take a
//! short read for the end of what there is, and answer one read with one write.

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

/// A listener whose address has been told.
///
/// # Errors
/// What the kernel said, or that nothing can be printed.
pub fn listen() -> io::Result<TcpListener> {
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
