//! What the programs have in common: their two connections, and one step of an echo that never waits.

#![allow(dead_code)] // Each program uses a part of it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;

/// The size of a connection's buffer, in bytes.
pub(crate) const SIZE: usize = 16 << 10;

/// Accepts two connections at the address of the command line.
pub(crate) fn accept_two() -> io::Result<[TcpStream; 2]> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let (first, _) = listener.accept()?;
    let (second, _) = listener.accept()?;
    println!("both are here");
    Ok([first, second])
}

/// A connection whose reads and writes do not wait.
pub(crate) struct Echo {
    pub(crate) stream: TcpStream,
    pub(crate) bytes: Bytes,
}

/// What a connection has read.
pub(crate) struct Bytes {
    buffer: Box<[u8; SIZE]>,
    /// The part of the buffer that was not yet written.
    unsent: Range<usize>,
}

/// How a step has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes were moved. There may be more.
    Moved,
    /// Nothing can be moved now.
    WouldBlock,
    /// The peer has ended its stream, or the connection has failed.
    Ended,
}

impl Echo {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, bytes: Bytes { buffer: Box::new([0; SIZE]), unsent: 0..0 } })
    }

    /// Writes what is unsent. If there is nothing, it reads first.
    pub(crate) fn step(&mut self) -> Step {
        self.bytes.step(&mut &self.stream)
    }
}

impl Bytes {
    /// Returns whether the next step writes.
    pub(crate) fn is_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// [`Echo::step`] over any connection.
    pub(crate) fn step(&mut self, wire: &mut (impl Read + Write)) -> Step {
        match self.transfer(wire) {
            Ok(0) => Step::Ended,
            Ok(_) => Step::Moved,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::WouldBlock,
            Err(_) => Step::Ended,
        }
    }

    /// Returns how many bytes were written, or zero at the end of the stream.
    fn transfer(&mut self, wire: &mut (impl Read + Write)) -> io::Result<usize> {
        if self.unsent.is_empty() {
            self.unsent = 0..wire.read(&mut self.buffer[..])?;
            if self.unsent.is_empty() {
                return Ok(0);
            }
        }
        let count = wire.write(&self.buffer[self.unsent.clone()])?;
        self.unsent.start += count;
        Ok(count)
    }
}
