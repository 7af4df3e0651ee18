//! The limit: `epoll_wait`, a vector indexed by descriptor, and nothing around it.
//!
//! Every descriptor is registered once, edge-triggered, for everything, and never modified.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::net;

/// Events that one wait takes at most.
const EVENTS: usize = 1024;

/// One connection.
struct Connection {
    fd: OwnedFd,
    /// What the socket had no room for; while there is any, nothing is read.
    unsent: Vec<u8>,
}

/// What became of a connection.
#[derive(PartialEq, Eq)]
enum Fate {
    Lives,
    Ended,
}

impl Connection {
    /// Reads and writes what there is. A short read has drained the socket, unless its end was
    /// reported with the data, which no further event would tell.
    fn ready(&mut self, mut is_ending: bool, buffer: &mut [u8]) -> io::Result<Fate> {
        if !self.unsent.is_empty() {
            if !self.flush()? {
                return Ok(Fate::Lives);
            }
            // The end may have been reported while this was waited for.
            is_ending = true;
        }
        loop {
            let Some(count) = net::read(&self.fd, buffer)? else { return Ok(Fate::Lives) };
            if count == 0 {
                return Ok(Fate::Ended);
            }
            let written = net::write(&self.fd, &buffer[..count])?.unwrap_or(0);
            if written < count {
                self.unsent.extend_from_slice(&buffer[written..count]);
                return Ok(Fate::Lives);
            }
            if count < buffer.len() && !is_ending {
                return Ok(Fate::Lives);
            }
        }
    }

    /// Returns whether everything was sent.
    fn flush(&mut self) -> io::Result<bool> {
        let written = net::write(&self.fd, &self.unsent)?.unwrap_or(0);
        self.unsent.drain(..written);
        Ok(self.unsent.is_empty())
    }
}

fn add(epoll: &OwnedFd, fd: &OwnedFd) -> io::Result<()> {
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    Ok(epoll::add(epoll, fd, EventData::new_u64(fd.as_raw_fd() as u64), flags)?)
}

/// Waits for events, however long that takes; being interrupted is no event.
fn wait(epoll: &OwnedFd, events: &mut Vec<Event>) -> io::Result<()> {
    events.clear();
    match epoll::wait(epoll, rustix::buffer::spare_capacity(events), None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Serves echo for ever.
///
/// # Errors
/// When waiting or registering fails.
pub fn echo(listener: TcpListener) -> io::Result<()> {
    let listener = OwnedFd::from(listener);
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    add(&epoll, &listener)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; net::READ_SIZE];
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        wait(&epoll, &mut events)?;
        for event in &events {
            let number = event.data.u64() as usize;
            if number == listener.as_raw_fd() as usize {
                while let Some(fd) = net::accept(&listener)? {
                    add(&epoll, &fd)?;
                    let number = fd.as_raw_fd() as usize;
                    if connections.len() <= number {
                        connections.resize_with(number + 1, || None);
                    }
                    connections[number] = Some(Connection { fd, unsent: Vec::new() });
                }
            } else if let Some(connection) = &mut connections[number] {
                let ends = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
                let flags = event.flags;
                let is_ending = flags.intersects(ends);
                // A connection that failed ends like one that is done.
                if connection.ready(is_ending, &mut buffer).unwrap_or(Fate::Ended) == Fate::Ended {
                    connections[number] = None;
                }
            }
        }
    }
}
