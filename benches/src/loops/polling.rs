//! polling, with a slab of connections.
//!
//! Its events do not distinguish the end from input. With edge triggers, an end that comes with the
//! last input would be reported only once, so each message would need a second read that finds
//! nothing. Therefore connections are level-triggered: there is one read for each message, and the
//! rest is reported again. Both ways cost the same within the noise (measured). Pairs do not end
//! while they are watched, so they are edge-triggered.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use polling::{Event, PollMode, Poller};
use slab::Slab;

use super::connection::{Connection, Fate};
use crate::net;
use crate::scene::{self, Runs};

/// The key of the listener. polling reserves the highest number.
const LISTENER: usize = usize::MAX - 1;

/// Waits for events without a limit. An interrupted wait returns no events.
fn wait(poller: &Poller, events: &mut Vec<Event>) -> io::Result<()> {
    events.clear();
    match poller.wait(events, None) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// Serves echo for ever.
///
/// # Errors
/// Fails if waiting or registering fails.
pub fn echo(listener: TcpListener) -> io::Result<()> {
    let poller = Poller::new()?;
    poller.add_with_mode(&listener, Event::readable(LISTENER), PollMode::Edge)?;
    let mut connections: Slab<Connection<OwnedFd>> = Slab::new();
    let mut buffer = vec![0; net::READ_SIZE];
    let mut events = Vec::new();
    loop {
        wait(&poller, &mut events)?;
        for event in &events {
            if event.key == LISTENER {
                accept(&listener, &poller, &mut connections)?;
                continue;
            }
            let Some(connection) = connections.get_mut(event.key) else { continue };
            // An end is reported again, so no further read is needed after a short one.
            match connection.ready(false, &mut buffer) {
                Ok(Fate::Lives) if connection.reports_room => {
                    wait_for(&poller, connection, Event::readable(event.key))?;
                }
                Ok(Fate::Full) if !connection.reports_room => {
                    wait_for(&poller, connection, Event::writable(event.key))?;
                }
                Ok(Fate::Lives | Fate::Full) => {}
                // A failed connection ends like a finished one.
                Ok(Fate::Ended) | Err(_) => {
                    poller.delete(&connection.fd)?;
                    drop(connections.remove(event.key));
                }
            }
        }
    }
}

/// Registers an interest in input or in writability. With level triggers, input that should not be
/// read yet would be reported repeatedly.
fn wait_for(
    poller: &Poller,
    connection: &mut Connection<OwnedFd>,
    interest: Event,
) -> io::Result<()> {
    connection.reports_room = interest.writable;
    poller.modify_with_mode(&connection.fd, interest, PollMode::Level)
}

fn accept(
    listener: &TcpListener,
    poller: &Poller,
    connections: &mut Slab<Connection<OwnedFd>>,
) -> io::Result<()> {
    while let Some(fd) = net::accept(listener)? {
        let entry = connections.vacant_entry();
        poller.add_with_mode(&fd, Event::readable(entry.key()), PollMode::Level)?;
        entry.insert(Connection::new(fd));
    }
    Ok(())
}

/// Passes bytes along a chain of pairs.
///
/// # Errors
/// Fails if a system call fails.
pub fn dispatch(count: usize) -> io::Result<()> {
    let (readers, mut chain) = scene::pairs(count)?;
    let poller = Poller::new()?;
    let mut pairs = Slab::new();
    for reader in readers {
        let entry = pairs.vacant_entry();
        poller.add_with_mode(&reader, Event::readable(entry.key()), PollMode::Edge)?;
        entry.insert(reader);
    }
    let mut buffer = [0; scene::READ_SIZE];
    let mut events = Vec::new();
    let mut runs = Runs::new();
    while runs.start(&mut chain)? {
        while !chain.is_done() {
            wait(&poller, &mut events)?;
            for event in &events {
                let Some(reader) = pairs.get(event.key) else { continue };
                if let Some(count) = net::read(reader, &mut buffer)? {
                    chain.received(event.key, count)?;
                }
            }
        }
        runs.end(&chain);
    }
    Ok(())
}
