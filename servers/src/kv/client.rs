//! The state of one client.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use indexmap::{IndexMap, IndexSet};
use protocol::ConnectionId;
use protocol::resp::Protocol;

use super::blocking::Blocked;
use super::command::Command;
use super::value::Bytes;

/// A request that is kept for later: its name and its arguments.
pub(crate) type Kept = Box<[Bytes]>;

/// Whether a client receives replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Replies {
    #[default]
    On,
    Off,
    /// The reply of the current command and that of the next are left out.
    SkipNext,
    Skip,
}

/// The transaction that `MULTI` has begun.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) requests: Vec<Kept>,
    pub(crate) bytes: usize,
    /// Whether one of its requests may add to the memory used.
    pub(crate) grows: bool,
    /// Whether a request was refused, so that `EXEC` fails.
    pub(crate) failed: bool,
}

/// The state of one client, which others reach by its number.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) connection: ConnectionId,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) name: Bytes,
    pub(crate) protocol: Protocol,
    pub(crate) authenticated: bool,
    pub(crate) replies: Replies,
    pub(crate) transaction: Option<Transaction>,
    /// The database that it has selected.
    pub(crate) db: usize,
    /// The keys it watches, each with its database and the number of changes when it began to
    /// watch.
    pub(crate) watched: IndexMap<(usize, Bytes), u64>,
    pub(crate) blocked: Option<Blocked>,
    /// The requests that arrived while it was blocked.
    pub(crate) waiting: VecDeque<Kept>,
    pub(crate) waiting_bytes: usize,
    /// The bytes counted for it of the memory that all clients hold.
    pub(crate) held: u64,
    /// Output that other clients have queued for it.
    pub(crate) outbox: Vec<Arc<[u8]>>,
    pub(crate) outbox_bytes: u64,
    pub(crate) channels: IndexSet<Bytes>,
    pub(crate) patterns: IndexSet<Bytes>,
    /// To be closed: after its replies are sent, or at once.
    pub(crate) ending: bool,
    pub(crate) killed: bool,
    /// When it connected, and when it sent its last request.
    pub(crate) since: Instant,
    pub(crate) active: Instant,
    pub(crate) last_command: Option<&'static Command>,
    /// Whether it is spared when all clients hold too much together.
    pub(crate) no_evict: bool,
}

impl Client {
    pub(crate) fn new(
        id: u64,
        connection: ConnectionId,
        address: Option<SocketAddr>,
        authenticated: bool,
        now: Instant,
    ) -> Self {
        Self {
            id,
            connection,
            address,
            name: Bytes::default(),
            protocol: Protocol::Resp2,
            authenticated,
            replies: Replies::On,
            transaction: None,
            db: 0,
            watched: IndexMap::new(),
            blocked: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            held: 0,
            outbox: Vec::new(),
            outbox_bytes: 0,
            channels: IndexSet::new(),
            patterns: IndexSet::new(),
            ending: false,
            killed: false,
            since: now,
            active: now,
            last_command: None,
            no_evict: false,
        }
    }

    /// Returns about how many bytes of requests are kept for it.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let transaction = self.transaction.as_ref().map_or(0, |it| it.bytes);
        (self.waiting_bytes + transaction) as u64
    }

    /// Returns how many channels and patterns it has subscribed to.
    pub(crate) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Returns whether it waits for others, so that its own silence is no reason to close it.
    pub(crate) fn listens(&self) -> bool {
        self.blocked.is_some() || self.subscriptions() > 0
    }

    /// Returns a line of `CLIENT LIST`, with those of Redis's fields that apply here.
    pub(crate) fn line(&self, now: Instant) -> String {
        let address = self.address.map_or("unix".to_owned(), |address| address.to_string());
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
        let mut flags = String::new();
        flags.extend((self.subscriptions() > 0).then_some('P'));
        flags.extend(self.transaction.is_some().then_some('x'));
        flags.extend(self.blocked.is_some().then_some('b'));
        flags.extend(self.address.is_none().then_some('U'));
        flags.extend(self.no_evict.then_some('e'));
        if flags.is_empty() {
            flags.push('N');
        }
        let multi = self.transaction.as_ref().map_or(-1, |it| it.requests.len() as i64);
        format!(
            "id={} addr={address} name={} age={} idle={} flags={flags} db={} sub={} psub={} \
             multi={multi} tot-mem={} cmd={} user=default resp={}",
            self.id,
            String::from_utf8_lossy(&self.name),
            seconds(self.since),
            seconds(self.active),
            self.db,
            self.channels.len(),
            self.patterns.len(),
            self.held,
            self.last_command.map_or("NULL", |it| it.name),
            if self.protocol == Protocol::Resp3 { 3 } else { 2 },
        )
    }
}
