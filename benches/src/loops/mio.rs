//! mio, with a slab of connections.

use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::AsRawFd;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::connection::{Connection, Fate};
use crate::net;
use crate::scene::{self, Runs};

/// The maximum number of events of one wait.
const EVENTS: usize = 1024;
/// The token of the listener.
const LISTENER: Token = Token(usize::MAX);

/// Waits for events without a limit. An interrupted wait returns no events.
fn wait(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
    match poll.poll(events, None) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// Serves echo for ever.
///
/// # Errors
/// Fails if waiting or registering fails.
pub fn echo(listener: StdListener) -> io::Result<()> {
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Slab<Connection<TcpStream>> = Slab::new();
    let mut buffer = vec![0; net::READ_SIZE];
    let mut events = Events::with_capacity(EVENTS);
    loop {
        wait(&mut poll, &mut events)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let Some(connection) = connections.get_mut(event.token().0) else { continue };
            let is_ending = event.is_read_closed() || event.is_error();
            match connection.ready(is_ending, &mut buffer) {
                Ok(Fate::Lives) => {}
                Ok(Fate::Full) if connection.reports_room => {}
                Ok(Fate::Full) => {
                    connection.reports_room = true;
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().reregister(&mut connection.fd, event.token(), interest)?;
                }
                // A failed connection ends like a finished one. Closing removes it from the poll.
                Ok(Fate::Ended) | Err(_) => drop(connections.remove(event.token().0)),
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Slab<Connection<TcpStream>>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let entry = connections.vacant_entry();
        poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
        entry.insert(Connection::new(stream));
    }
}

/// Passes bytes along a chain of pairs.
///
/// # Errors
/// Fails if a system call fails.
pub fn dispatch(count: usize) -> io::Result<()> {
    let (readers, mut chain) = scene::pairs(count)?;
    let mut poll = Poll::new()?;
    let mut pairs = Slab::new();
    for reader in readers {
        let entry = pairs.vacant_entry();
        let token = Token(entry.key());
        poll.registry().register(&mut SourceFd(&reader.as_raw_fd()), token, Interest::READABLE)?;
        entry.insert(reader);
    }
    let mut buffer = [0; scene::READ_SIZE];
    let mut events = Events::with_capacity(EVENTS);
    let mut runs = Runs::new();
    while runs.start(&mut chain)? {
        while !chain.is_done() {
            wait(&mut poll, &mut events)?;
            for event in &events {
                let pair = event.token().0;
                let Some(reader) = pairs.get(pair) else { continue };
                if let Some(count) = net::read(reader, &mut buffer)? {
                    chain.received(pair, count)?;
                }
            }
        }
        runs.end(&chain);
    }
    Ok(())
}
