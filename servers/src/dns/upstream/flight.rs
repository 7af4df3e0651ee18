//! A question that is asked of upstreams, for all clients that ask it at the same time.

use std::time::{Duration, Instant};

use protocol::dns::{Builder, Class, Edns, Header, Name, RecordType, ResponseCode};
use protocol::{ConnectionId, Peer};

use super::ports::PortId;
use crate::dns::front::Asked;

/// A client: where its answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dns) struct Client {
    /// The connection, or the socket for datagrams.
    pub(in crate::dns) source: ConnectionId,
    /// The sender of the datagram.
    pub(in crate::dns) peer: Option<Peer>,
}

/// A client that waits for an answer, and its question.
#[derive(Clone, Debug)]
pub(in crate::dns) struct Waiter {
    pub(in crate::dns) client: Client,
    pub(in crate::dns) asked: Asked,
}

/// A question that has its answer, or will have none.
#[derive(Debug)]
pub(in crate::dns) struct Done {
    /// Those that wait for it: one at least.
    pub(in crate::dns) waiters: Vec<Waiter>,
    /// Why there is no answer; `None` if the message of the upstream is the answer.
    pub(in crate::dns) failure: Option<ResponseCode>,
}

/// How a question was sent.
#[derive(Debug)]
pub(super) enum Route {
    /// In a datagram, from a port, with a number and a spelling of its own, and the cookie of the port or not.
    Datagram { port: PortId, number: u16, spelled: Name, has_cookie: bool },
    /// On a connection.
    Connection,
}

/// A question that was sent to an upstream.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) upstream: usize,
    pub(super) route: Route,
    pub(super) sent: Instant,
    /// It has neither an answer nor failed.
    pub(super) is_pending: bool,
}

/// What comes next while there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another upstream is asked too.
    Hedge,
    /// The attempt counts as lost, and there is another one.
    Retry,
    /// There will be no answer.
    GiveUp,
}

/// A question that is being asked.
#[derive(Debug)]
pub(super) struct Flight {
    /// Tells this flight from earlier ones in its place.
    pub(super) serial: u64,
    pub(super) key: Box<[u8]>,
    /// The question of the first client.
    pub(super) asked: Asked,
    pub(super) group: usize,
    /// Those that wait. None once it is answered; it stays until the other attempts are settled.
    pub(super) waiters: Vec<Waiter>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) deadline: Instant,
    /// When `next` is due.
    pub(super) due: Instant,
    pub(super) next: Next,
    pub(super) retry_at: Instant,
    pub(super) pause: Duration,
    /// What an upstream has said that could not answer.
    pub(super) failure: Option<ResponseCode>,
}

impl Flight {
    /// Returns whether its clients have their answer.
    pub(super) fn is_answered(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn has_tried(&self, upstream: usize) -> bool {
        self.attempts.iter().any(|attempt| attempt.upstream == upstream)
    }

    pub(super) fn has_pending(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.is_pending)
    }

    /// Returns whether a question of a client is one that this server has itself sent: it has come back
    /// in a loop. Names with few letters are spelled alike by chance, so the number counts too, unless
    /// another forwarder on the way has replaced it.
    pub(super) fn is_own(&self, asked: &Asked) -> bool {
        self.attempts.iter().any(|attempt| match &attempt.route {
            Route::Datagram { number, spelled, .. } => {
                let letters =
                    spelled.as_bytes().iter().filter(|it| it.is_ascii_alphabetic()).count();
                spelled.as_bytes() == asked.name.as_bytes()
                    && (*number == asked.header.id || letters >= LETTERS_MIN)
            }
            Route::Connection => false,
        })
    }
}

/// A name with this many letters is not spelled alike by chance.
const LETTERS_MIN: usize = 24;

/// Returns what questions have in common that get the same answer.
pub(super) fn key(asked: &Asked) -> Box<[u8]> {
    let header = &asked.header;
    let flags = [
        header.recursion_desired,
        header.checking_disabled,
        header.is_authentic,
        asked.dnssec_ok(),
    ];
    let flags = flags.iter().fold(0, |all, flag| all << 1 | u8::from(*flag));
    let mut key = asked.name.as_bytes().to_ascii_lowercase();
    key.extend(asked.kind.0.to_be_bytes());
    key.extend(asked.class.0.to_be_bytes());
    key.push(flags);
    key.into()
}

/// Whether a question has an OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style<'a> {
    /// It has, with the size of the largest datagram that this server receives, and these options.
    Extended(u16, &'a [u8]),
    /// It has not, for upstreams that refuse it.
    Plain,
}

/// Returns the message that asks an upstream.
pub(super) fn question(asked: &Asked, name: &Name, number: u16, style: Style<'_>) -> Vec<u8> {
    let header = Header {
        recursion_desired: asked.header.recursion_desired,
        checking_disabled: asked.header.checking_disabled,
        is_authentic: asked.header.is_authentic,
        ..Header::question(number)
    };
    let mut builder = Builder::new(header, u16::MAX.into());
    let (kind, class): (RecordType, Class) = (asked.kind, asked.class);
    // A name has 255 bytes at most, so there is room.
    let _ = builder.question(name.view(), kind, class);
    if let Style::Extended(size, options) = style {
        let edns = Edns::new(size);
        let mut edns = edns.with_options(options).unwrap_or(edns);
        edns.dnssec_ok = asked.dnssec_ok();
        let _ = builder.edns(&edns);
    }
    builder.finish()
}
