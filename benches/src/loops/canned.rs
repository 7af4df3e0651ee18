//! Canned replies: a server for `redis-benchmark`, or for one request of HTTP, that costs nothing but its
//! system calls.
//!
//! It does not parse its input. All requests of a test of `redis-benchmark` are equal (without
//! `-r`). So the first request on a connection shows the length of all, and afterwards bytes are
//! counted: each complete request gets a prepared reply of the usual length.
//!
//! Like Redis and `kv`, it writes replies after it has read all connections that are ready. So the client
//! is woken for many replies at once, which costs it less.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{HELLO, listen, raw};
use crate::benchmark::Test;
use crate::load::talk::request_of;
use crate::net;

/// The request that `redis-benchmark` sends before its tests, on a separate connection. It sends
/// two requests at once, and this server answers both.
const ASKS_CONFIG: &[u8] = b"*3\r\n$6\r\nCONFIG\r\n";
const CONFIG: &[u8] = b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n";

/// The request of a test, and replies for as many requests as one read can return.
struct Exchange {
    request: Vec<u8>,
    reply_size: usize,
    replies: Vec<u8>,
}

impl Exchange {
    fn new(request: Vec<u8>, reply: &[u8]) -> Self {
        // One more than fit into the buffer: the first may have started in an earlier read.
        let replies = reply.repeat(net::READ_SIZE / request.len() + 1);
        Self { request, reply_size: reply.len(), replies }
    }
}

/// A connection: its test and its progress.
struct Connection {
    fd: OwnedFd,
    /// The index of its test, once its first request has come.
    exchange: Option<usize>,
    /// The number of bytes of an incomplete request.
    begun: usize,
    /// The number of requests that have been read and not answered.
    heard: usize,
    /// Bytes that the socket did not accept. While there are any, nothing is read.
    unsent: Vec<u8>,
}

impl Connection {
    const fn new(fd: OwnedFd) -> Self {
        Self { fd, exchange: None, begun: 0, heard: 0, unsent: Vec::new() }
    }

    /// Reads once, unless unsent replies wait. Returns whether the peer continues.
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
            // A first request in two parts would not be recognized, but none is longer than some 50
            // bytes.
            self.exchange = exchanges.iter().position(|it| input.starts_with(&it.request));
        }
        // A connection that sends something else is closed with a message.
        let Some(exchange) = self.exchange else { return Ok(false) };
        let bytes = self.begun + count;
        self.begun = bytes % exchanges[exchange].request.len();
        self.heard = bytes / exchanges[exchange].request.len();
        Ok(count > 0)
    }

    /// Writes once: unsent bytes, or the replies to the requests that were read.
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

/// Serves the tests of `redis-benchmark` for ever.
///
/// # Errors
/// Fails if waiting or registering fails.
pub fn tests() -> io::Result<()> {
    let of = |test: Test| Exchange::new(test.request(), &test.reply());
    serve(listen()?, &Test::ALL.map(of))
}

/// Serves [`HELLO`] for ever. The date is always the same.
///
/// # Errors
/// Fails if waiting or registering fails.
pub fn hello() -> io::Result<()> {
    let (path, text) = HELLO;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
         Content-Length: {}\r\n\r\n",
        text.len()
    );
    let exchange = Exchange::new(request_of(path).into_bytes(), &[head.as_bytes(), text].concat());
    serve(listen()?, &[exchange])
}

fn serve(listener: TcpListener, exchanges: &[Exchange]) -> io::Result<()> {
    let listener = OwnedFd::from(listener);
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let data = |fd: &OwnedFd| EventData::new_u64(fd.as_raw_fd() as u64);
    epoll::add(&epoll, &listener, data(&listener), EventFlags::IN)?;
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
                // A failed connection ends like a finished one.
                if !connection.hear(exchanges, &mut buffer).unwrap_or(false) {
                    connections[number] = None;
                }
            }
        }
        for event in &events {
            let number = event.data.u64() as usize;
            let Some(Some(connection)) = connections.get_mut(number) else { continue };
            let before = connection.waits_for();
            if connection.answer(exchanges).is_err() {
                connections[number] = None;
            } else if connection.waits_for() != before {
                let (fd, flags) = (&connection.fd, connection.waits_for());
                epoll::modify(&epoll, fd, data(fd), flags)?;
            }
        }
    }
}
