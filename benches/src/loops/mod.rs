//! The loops that are compared, one file each, each written as its own users would write it well.
//!
//! All of them listen with `net::listen`, read into a buffer of `net::READ_SIZE` bytes, take a
//! short read to mean that the socket is empty, and answer one read with one write.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};

pub mod async_io;
pub mod calloop;
pub mod canned;
pub mod connection;
pub mod fastwebsockets;
pub mod hyper;
pub mod limits;
pub mod mio;
pub mod models;
pub mod monoio;
pub mod names;
pub mod nginx;
pub mod ours;
pub mod polling;
pub mod raw;
pub mod tokio;
pub mod tokio_util;
pub mod tungstenite;
pub mod web;

/// The path that servers of HTTP know, and what they answer: [`content`](crate::load::talk::content).
pub const HELLO: (&str, &[u8]) = ("/13.txt", b"Hello, world!");

/// Returns a listener, and prints its address.
///
/// # Errors
/// Fails with the error of the system call, or if the address cannot be printed.
pub fn listen() -> io::Result<TcpListener> {
    let listener = crate::net::listen()?;
    announce(&listener.local_addr()?.to_string())?;
    Ok(listener)
}

/// Returns a socket for datagrams, and prints its address.
///
/// # Errors
/// Fails with the error of the system call, or if the address cannot be printed.
pub fn bind() -> io::Result<UdpSocket> {
    let socket = crate::net::bind_datagrams()?;
    announce(&socket.local_addr()?.to_string())?;
    Ok(socket)
}

/// Returns the address of the server that a subject makes connections to, from the number that the
/// subject is given.
///
/// # Errors
/// Fails if the number is not that of a port.
pub fn server(number: usize) -> io::Result<SocketAddr> {
    let port = u16::try_from(number).map_err(io::Error::other)?;
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())
}

/// Prints the address for the comparison. Nothing is printed before.
fn announce(address: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "listening on {address}")?;
    output.flush()
}
