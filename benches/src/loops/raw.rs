//! The lower bound: `epoll_wait`, a vector indexed by descriptor, and nothing else.
//!
//! Every descriptor is registered once, edge-triggered, for input. A connection whose output did
//! not fit is also registered for writability, once. Registering that at the start would cost an
//! event and a useless read for each connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::connection::{Connection, Fate};
use crate::load::accept::UNDER_WAY;
use crate::net;
use crate::scene::{self, Runs};

/// The maximum number of events of one wait.
pub(super) const EVENTS: usize = 1024;

const INPUT: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

fn add(epoll: &OwnedFd, fd: &OwnedFd, number: usize) -> io::Result<()> {
    Ok(epoll::add(epoll, fd, EventData::new_u64(number as u64), INPUT)?)
}

/// Waits for events without a limit. An interrupted wait returns no events.
pub(super) fn wait(epoll: &OwnedFd, events: &mut Vec<Event>) -> io::Result<()> {
    events.clear();
    match epoll::wait(epoll, rustix::buffer::spare_capacity(events), None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Serves echo for ever.
///
/// # Errors
/// Fails if waiting or registering fails.
pub fn echo(listener: TcpListener) -> io::Result<()> {
    let listener = OwnedFd::from(listener);
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    add(&epoll, &listener, listener.as_raw_fd() as usize)?;
    let mut connections: Vec<Option<Connection<OwnedFd>>> = Vec::new();
    let mut buffer = vec![0; net::READ_SIZE];
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        wait(&epoll, &mut events)?;
        for event in &events {
            let number = event.data.u64() as usize;
            if number == listener.as_raw_fd() as usize {
                while let Some(fd) = net::accept(&listener)? {
                    let number = fd.as_raw_fd() as usize;
                    add(&epoll, &fd, number)?;
                    if connections.len() <= number {
                        connections.resize_with(number + 1, || None);
                    }
                    connections[number] = Some(Connection::new(fd));
                }
            } else if let Some(connection) = &mut connections[number] {
                let flags = event.flags;
                let ends = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
                match connection.ready(flags.intersects(ends), &mut buffer) {
                    Ok(Fate::Lives) => {}
                    Ok(Fate::Full) if connection.reports_room => {}
                    Ok(Fate::Full) => {
                        connection.reports_room = true;
                        let flags = INPUT.union(EventFlags::OUT);
                        let data = EventData::new_u64(number as u64);
                        epoll::modify(&epoll, &connection.fd, data, flags)?;
                    }
                    // A failed connection ends like a finished one.
                    Ok(Fate::Ended) | Err(_) => connections[number] = None,
                }
            }
        }
    }
}

/// Makes connections for ever.
///
/// # Errors
/// Fails if a connection fails.
pub fn dial(server: SocketAddr) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut connections: Vec<Option<Dialled>> = Vec::new();
    let dial = |connections: &mut Vec<Option<Dialled>>| -> io::Result<()> {
        let fd = net::begin_connect(server)?;
        let number = fd.as_raw_fd() as usize;
        let (data, flags) = (EventData::new_u64(number as u64), INPUT.union(EventFlags::OUT));
        epoll::add(&epoll, &fd, data, flags)?;
        if connections.len() <= number {
            connections.resize_with(number + 1, || None);
        }
        connections[number] = Some(Dialled { fd, is_established: false });
        Ok(())
    };
    for _ in 0..UNDER_WAY {
        dial(&mut connections)?;
    }
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        wait(&epoll, &mut events)?;
        for event in &events {
            let number = event.data.u64() as usize;
            if let Some(connection) = &mut connections[number]
                && connection.has_ended()?
            {
                connections[number] = None;
                dial(&mut connections)?;
            }
        }
    }
}

/// A connection that this side makes.
struct Dialled {
    fd: OwnedFd,
    is_established: bool,
}

impl Dialled {
    /// Handles an event. Returns whether the server has ended the connection.
    fn has_ended(&mut self) -> io::Result<bool> {
        if !self.is_established {
            rustix::net::sockopt::socket_error(&self.fd)??;
            self.is_established = true;
        }
        match net::read(&self.fd, &mut [0])? {
            None => Ok(false),
            Some(0) => Ok(true),
            Some(_) => Err(io::Error::other("the server sent something")),
        }
    }
}

/// Passes bytes along a chain of pairs.
///
/// # Errors
/// Fails if a system call fails.
pub fn dispatch(count: usize) -> io::Result<()> {
    let (readers, mut chain) = scene::pairs(count)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    for (pair, reader) in readers.iter().enumerate() {
        add(&epoll, reader, pair)?;
    }
    let mut buffer = [0; scene::READ_SIZE];
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    let mut runs = Runs::new();
    while runs.start(&mut chain)? {
        while !chain.is_done() {
            wait(&epoll, &mut events)?;
            for event in &events {
                let pair = event.data.u64() as usize;
                if let Some(count) = net::read(&readers[pair], &mut buffer)? {
                    chain.received(pair, count)?;
                }
            }
        }
        runs.end(&chain);
    }
    Ok(())
}
