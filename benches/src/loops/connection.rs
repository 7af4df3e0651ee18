//! What a connection of the bare loops is: a descriptor, and what it had no room for.

use std::io;
use std::os::fd::AsFd;

use crate::net;

/// An echoing connection, for loops that report changes.
#[derive(Debug)]
pub struct Connection<F> {
    /// The socket.
    pub fd: F,
    /// Whether the loop has been told to report room.
    pub reports_room: bool,
    /// What the socket had no room for; while there is any, nothing is read.
    unsent: Vec<u8>,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for input.
    Lives,
    /// It waits for room: the loop has to be told once that it may.
    Full,
    /// The peer has ended it.
    Ended,
}

impl<F: AsFd> Connection<F> {
    /// A connection that was just accepted.
    pub fn new(fd: F) -> Self {
        Self { fd, reports_room: false, unsent: Vec::new() }
    }

    /// Reads and writes what there is. A short read has drained the socket, unless its end was
    /// reported with the data, which no further event would tell.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn ready(&mut self, mut is_ending: bool, buffer: &mut [u8]) -> io::Result<Fate> {
        if !self.unsent.is_empty() {
            let written = net::write(&self.fd, &self.unsent)?.unwrap_or(0);
            self.unsent.drain(..written);
            if !self.unsent.is_empty() {
                return Ok(Fate::Full);
            }
            // The end may have been reported while this was waited for.
            is_ending = true;
        }
        while let Some(count) = net::read(&self.fd, buffer)? {
            if count == 0 {
                return Ok(Fate::Ended);
            }
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
