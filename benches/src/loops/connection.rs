//! The connections of the bare loops: a descriptor and its unsent bytes.

use std::io;
use std::os::fd::AsFd;

use crate::computation::compute_for;
use crate::net;

/// An echoing connection, for loops that report changes.
#[derive(Debug)]
pub struct Connection<F> {
    /// The socket.
    pub fd: F,
    /// Whether the loop reports when the socket is writable.
    pub reports_room: bool,
    /// Bytes that the socket did not accept. While there are any, nothing is read.
    unsent: Vec<u8>,
}

/// The state of a connection after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for input.
    Lives,
    /// It waits until the socket is writable. The loop has to be told once.
    Full,
    /// The peer has ended it.
    Ended,
}

impl<F: AsFd> Connection<F> {
    /// Creates a connection for a new descriptor.
    pub fn new(fd: F) -> Self {
        Self { fd, reports_room: false, unsent: Vec::new() }
    }

    /// Reads and writes until the socket is empty or full. A short read means that the socket is
    /// empty, unless the end was reported with the data: no further event would report it.
    ///
    /// # Errors
    /// Fails with the error of the system call.
    pub fn ready(&mut self, mut is_ending: bool, buffer: &mut [u8]) -> io::Result<Fate> {
        if !self.unsent.is_empty() {
            let written = net::write(&self.fd, &self.unsent)?.unwrap_or(0);
            self.unsent.drain(..written);
            if !self.unsent.is_empty() {
                return Ok(Fate::Full);
            }
            // The end may have been reported while the connection waited for this.
            is_ending = true;
        }
        while let Some(count) = net::read(&self.fd, buffer)? {
            if count == 0 {
                return Ok(Fate::Ended);
            }
            compute_for(count);
            let written = net::write(&self.fd, &buffer[..count])?.unwrap_or(0);
            if written < count {
                self.unsent.extend_from_slice(&buffer[written..count]);
                return Ok(Fate::Full);
            }
            if count < buffer.len() && !is_ending {
                return Ok(Fate::Lives);
            }
        }
        Ok(Fate::Lives)
    }
}
