//! A question in flight, and the socket that it is asked over.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use protocol::dns::{CLIENT_COOKIE_SIZE, Cookie, Header, Message, Name, Received, option};
use reactor::Token;

use super::ask::Ask;
use super::options::Transport;

/// How many questions wait for answers on one socket at most. Their answers fit in the receive buffer that
/// the system gives a socket.
pub(super) const EACH_MAX: usize = 64;
/// After how many questions a socket is replaced by another one, whose port is another random number.
pub(super) const QUESTIONS_MAX: u64 = 1000;
/// The number of a socket, which is never used again.
pub(super) type ChannelId = u64;
/// The number of a question, in the order in which they were begun.
pub(super) type Serial = u64;

/// A socket over which one server is asked.
pub(super) struct Channel {
    /// The source of the socket, once it is open.
    pub(super) token: Token,
    pub(super) server: usize,
    pub(super) transport: Transport,
    /// The cookie of this side (RFC 7873), and that of the server; empty if it has sent none yet.
    pub(super) cookie: [u8; CLIENT_COOKIE_SIZE],
    pub(super) server_cookie: Vec<u8>,
    /// Questions that are to be sent.
    pub(super) outbox: Vec<Vec<u8>>,
    /// The questions that wait for answers, by their message numbers.
    pub(super) numbers: HashMap<u16, Serial>,
    pub(super) asked: u64,
    pub(super) answered: u64,
}

impl Channel {
    /// Returns whether the socket can take one more question.
    pub(super) fn has_room(&self) -> bool {
        self.numbers.len() < EACH_MAX && self.asked < QUESTIONS_MAX
    }

    /// Returns the cookie of an answer, or that it is not one that the server has made for this side.
    pub(super) fn check_cookie<'a>(&self, answer: &Message<'a>) -> Result<Option<Cookie<'a>>, ()> {
        let content = answer.edns().and_then(|edns| edns.option(option::COOKIE));
        match content.map(Cookie::parse) {
            None => Ok(None),
            Some(Some(cookie)) if cookie.client == self.cookie => Ok(Some(cookie)),
            Some(_) => Err(()),
        }
    }

    /// Takes the cookie of the server out of an answer.
    pub(super) fn learn_cookie(&mut self, answer: &Message<'_>) {
        if let Ok(Some(cookie)) = self.check_cookie(answer) {
            self.server_cookie = cookie.server.to_vec();
        }
    }

    /// Asks nothing more over this socket.
    pub(super) fn retire(&mut self) {
        self.asked = QUESTIONS_MAX;
    }

    /// Returns whether the socket has done its part.
    pub(super) fn is_spent(&self) -> bool {
        self.asked >= QUESTIONS_MAX && self.numbers.is_empty() && self.outbox.is_empty()
    }
}

/// A question that has no answer yet.
pub(super) struct Flight {
    pub(super) ask: Ask,
    pub(super) begun: Instant,
    /// The number of attempts that have failed.
    pub(super) attempts: u32,
    pub(super) transport: Transport,
    pub(super) was_truncated: bool,
    /// The server wanted its own cookie first.
    pub(super) had_bad_cookie: bool,
    pub(super) troubles: Vec<Trouble>,
    /// The last message that was sent.
    pub(super) sent: Option<Sent>,
}

/// A message that was sent.
pub(super) struct Sent {
    /// It distinguishes this message from earlier ones of the same question.
    pub(super) order: u64,
    pub(super) channel: ChannelId,
    pub(super) number: u16,
    pub(super) at: Instant,
    /// The name, with the case of its letters.
    pub(super) name: Name,
}

/// Why an attempt has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) server: SocketAddr,
    pub(super) text: String,
}

/// Returns the header of what was received.
pub(super) fn header_of(received: &Received<'_>) -> Header {
    match received {
        Received::Message(message) => message.header(),
        Received::Malformed { header, .. } => *header,
    }
}
