//! The cookies of a port (RFC 7873): its own, and that of its upstream.
//!
//! An answer that repeats the cookie of the port is from a server that has heard the question. Each port has
//! another cookie, so the cookie is replaced as often as the port, and belongs to the address that the port has.

use protocol::dns::{CLIENT_COOKIE_SIZE, Cookie, Message, option};

/// The cookies of a port.
#[derive(Debug)]
pub(super) struct Jar {
    client: [u8; CLIENT_COOKIE_SIZE],
    /// That of the upstream; empty if it has sent none yet.
    server: Vec<u8>,
}

/// What the cookie of an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The sender has heard the question.
    Proven,
    /// There is no cookie, and the upstream has never sent one.
    Unknown,
    /// There is no cookie, although the upstream has sent one before.
    Missing,
    /// The sender has not heard the question.
    Wrong,
}

impl Jar {
    /// Returns the cookies of a new port.
    pub(super) fn new(client: [u8; CLIENT_COOKIE_SIZE]) -> Self {
        Self { client, server: Vec::new() }
    }

    /// Returns the content of the option of a question.
    pub(super) fn content(&self) -> Vec<u8> {
        [&self.client[..], &self.server].concat()
    }

    /// Returns what the cookie of an answer shows.
    pub(super) fn proof(&self, answer: &Message<'_>) -> Proof {
        let content = answer.edns().and_then(|edns| edns.option(option::COOKIE));
        match content.map(Cookie::parse) {
            Some(Some(cookie)) if cookie.client == self.client => Proof::Proven,
            Some(_) => Proof::Wrong,
            None if self.server.is_empty() => Proof::Unknown,
            None => Proof::Missing,
        }
    }

    /// Takes the cookie of the upstream out of an answer that repeats that of the port.
    pub(super) fn learn(&mut self, answer: &Message<'_>) {
        let content = answer.edns().and_then(|edns| edns.option(option::COOKIE));
        if let Some(cookie) = content.and_then(Cookie::parse)
            && cookie.client == self.client
            && !cookie.server.is_empty()
            && cookie.server != self.server
        {
            self.server = cookie.server.to_vec();
        }
    }
}
