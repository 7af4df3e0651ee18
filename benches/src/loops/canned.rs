//! Canned replies: what a server of `redis-benchmark` costs that does nothing but its system calls.
//!
//! It does not read what it is sent. All requests of a test of `redis-benchmark` are equal (without
//! `-r`), so the first one on a connection tells how long each of them is, and from then on bytes
//! are counted: each whole request gets a reply that was made before, as long as a real one.
//!
//! Replies are written once all connections that are ready have been heard, as Redis and `kv` do it:
//! `redis-benchmark` is then woken for many at once, which costs it less.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::raw;
use crate::benchmark::Test;
use crate::net;

/// What `redis-benchmark` asks before its tests, on a connection of its own: both requests come at
/// once, and this answers both.
const ASKS_CONFIG: &[u8] = b"*3\r\n$6\r\nCONFIG\r\n";
const CONFIG: &[u8] = b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n";

/// A test's request, and replies to as many of them as one read may bring.
struct Exchange {
    request: Vec<u8>,
    reply_size: usize,
    replies: Vec<u8>,
}

impl Exchange {
    fn of(test: Test) -> Self {
        let (request, reply) = (test.request(), test.reply());
        // One more than there is room for: the first may have begun in an earlier read.
        let replies = reply.repeat(net::READ_SIZE / request.len() + 1);
        Self { request, reply_size: reply.len(), replies }
    }
}

/// A connection: what it sends, and how far it is.
struct Connection {
    fd: OwnedFd,
    /// Which of the exchanges it has, once its first request has come.
    exchange: Option<usize>,
    /// Bytes of a request that has not come whole.
    begun: usize,
    /// Requests that have been heard and not answered.
    heard: usize,
    /// What the socket had no room for; while there is any, nothing is read.
    unsent: Vec<u8>,
}

impl Connection {
    const fn new(fd: OwnedFd) -> Self {
        Self { fd, exchange: None, begun: 0, heard: 0, unsent: Vec::new() }
    }

    /// Reads once, unless replies wait for room; whether the peer goes on.
    fn hear(&mut self, exchanges: &[Exchange], buffer: &mut [u8]) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            return Ok(true);
        }
        let Some(count) = net::read(&self.fd, buffer)? else { return Ok(true) };
        let input = &buffer[..count];
        if input.starts_with(ASKS_CONFIG) {
            self.unsent.extend_from_slice(CONFIG);
            return Ok(true);
        }
        if self.exchange.is_none() {
            // One that came in two parts would not be known, but none is longer than 50 bytes.
            self.exchange = exchanges.iter().position(|it| input.starts_with(&it.request));
        }
        // Whoever sends something else is let go, and says that it was.
        let Some(exchange) = self.exchange else { return Ok(false) };
        let bytes = self.begun + count;
        self.begun = bytes % exchanges[exchange].request.len();
        self.heard = bytes / exchanges[exchange].request.len();
        Ok(count > 0)
    }

    /// Writes once: what has waited for room, or the replies to what was heard.
    fn answer(&mut self, exchanges: &[Exchange]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let written = net::write(&self.fd, &self.unsent)?.unwrap_or(0);
            self.unsent.drain(..written);
        } else if let Some(exchange) = self.exchange.filter(|_| self.heard > 0) {
            let Exchange { reply_size, replies, .. } = &exchanges[exchange];
            let replies = &replies[..std::mem::take(&mut self.heard) * reply_size];
            let written = net::write(&self.fd, replies)?.unwrap_or(0);
            self.unsent.extend_from_slice(&replies[written..]);
        }
        Ok(())
    }

    const fn waits_for(&self) -> EventFlags {
        if self.unsent.is_empty() { EventFlags::IN } else { EventFlags::OUT }
    }
}

/// Answers for ever.
///
/// # Errors
/// When waiting or registering fails.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    let listener = OwnedFd::from(listener);
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let data = |fd: &OwnedFd| EventData::new_u64(fd.as_raw_fd() as u64);
    epoll::add(&epoll, &listener, data(&listener), EventFlags::IN)?;
    let exchanges: Vec<Exchange> = Test::ALL.into_iter().map(Exchange::of).collect();
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; net::READ_SIZE];
    let mut events: Vec<Event> = Vec::with_capacity(raw::EVENTS);
    loop {
        raw::wait(&epoll, &mut events)?;
        for event in &events {
            let number = event.data.u64() as usize;
            if number == listener.as_raw_fd() as usize {
                while let Some(fd) = net::accept(&listener)? {
                    let number = fd.as_raw_fd() as usize;
                    epoll::add(&epoll, &fd, data(&fd), EventFlags::IN)?;
                    if connections.len() <= number {
                        connections.resize_with(number + 1, || None);
                    }
                    connections[number] = Some(Connection::new(fd));
                }
            } else if let Some(connection) = &mut connections[number] {
                // A connection that failed ends like one that is done.
                if !connection.hear(&exchanges, &mut buffer).unwrap_or(false) {
                    connections[number] = None;
                }
            }
        }
        for event in &events {
            let number = event.data.u64() as usize;
            let Some(Some(connection)) = connections.get_mut(number) else { continue };
            let before = connection.waits_for();
            if connection.answer(&exchanges).is_err() {
                connections[number] = None;
            } else if connection.waits_for() != before {
                let (fd, flags) = (&connection.fd, connection.waits_for());
                epoll::modify(&epoll, fd, data(fd), flags)?;
            }
        }
    }
}
