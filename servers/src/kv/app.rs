//! What all connections share: the application state of the loop.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ConnectionId;
use slab::Slab;

use super::blocking;
use super::client::Client;
use super::clock::Clock;
use super::commands::pubsub::{self, Channels};
use super::counters::Counters;
use super::databases::Databases;

/// Keys whose time has come that one tick lets go of: about a millisecond of work.
const EXPIRED_PER_TICK: usize = 4000;

/// The limits and secrets that `CONFIG SET` may change, and what `CONFIG GET` shows beside them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of keys and values at which commands that add to them are refused.
    pub memory_max: Option<u64>,
    /// What `AUTH` has to say; empty when nobody has to.
    pub password: String,
    /// Bytes that a subscriber may leave unread before it is closed.
    pub pubsub_backlog_max: u64,
    /// Bytes that another client may leave unread before it is closed.
    pub normal_backlog_max: u64,
    /// Bytes that all clients but subscribers may leave unread together, with the requests that are
    /// kept for them.
    pub clients_memory_max: u64,
    /// How long a client may be silent.
    pub idle_timeout: Option<Duration>,
    /// Clients served at once.
    pub connections_max: usize,
}

/// What has happened since the server started.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connections: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Clients closed because they left more unread than they may, and because all did.
    pub(crate) overcome: u64,
    pub(crate) evicted: u64,
}

/// The state of the server: one value, lent to every call, so nothing is locked.
#[derive(Debug)]
pub struct App {
    pub(crate) store: Databases,
    /// In boxes, so that those who are gone leave no room but for a pointer.
    pub(crate) clients: Slab<Box<Client>>,
    /// What all of them hold.
    pub(crate) held: u64,
    pub(crate) channels: Channels,
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) counters: Counters,
    /// The clock of the store, too.
    pub(crate) clock: Rc<Clock>,
    pub(crate) random: fastrand::Rng,
    /// The number of the next client, and the place in line of the next that waits.
    pub(crate) next_id: u64,
    pub(crate) next_ticket: u64,
    /// Connections that have something new to say.
    pub(crate) wakes: Vec<ConnectionId>,
    /// How much was posted since somebody last gave way to those who have to say it.
    pub(crate) posted: usize,
}

impl App {
    /// Empty databases. `clock` tells the time, which only the commands that need it ask for.
    pub fn new(config: Config, clock: impl Fn() -> Instant + 'static) -> Self {
        let clock = Rc::new(Clock::new(clock));
        Self {
            store: Databases::new(&clock),
            clients: Slab::new(),
            held: 0,
            channels: Channels::default(),
            config,
            stats: Stats::default(),
            counters: Counters::new(),
            clock,
            random: fastrand::Rng::new(),
            next_id: 1,
            next_ticket: 0,
            wakes: Vec::new(),
            posted: 0,
        }
    }

    /// What there is to do every now and then: a bounded number of keys whose time has come goes.
    pub fn tick(&mut self) {
        self.clock.adjust();
        self.clock.begin();
        self.store.expire_due(EXPIRED_PER_TICK);
    }

    /// Whether keys and values take more memory than they may.
    pub(crate) fn is_full(&self) -> bool {
        self.config.memory_max.is_some_and(|max| self.store.used() as u64 > max)
    }

    /// How many bytes a client may leave unread.
    pub(crate) fn backlog_max(&self, who: usize) -> u64 {
        match self.clients[who].subscriptions() {
            0 => self.config.normal_backlog_max,
            _ => self.config.pubsub_backlog_max,
        }
    }

    /// Whether a client has given the password, if there is one.
    pub(crate) fn trusts(&self, client: &Client) -> bool {
        client.authenticated || self.config.password.is_empty()
    }

    /// The clients that are there. One that was killed is gone for everyone but its connection, which
    /// is woken to hear of it.
    pub(crate) fn connected(&self) -> impl Iterator<Item = (usize, &Client)> {
        let all = self.clients.iter().map(|(number, client)| (number, &**client));
        all.filter(|(_, client)| !client.killed)
    }

    /// Closes a client at once, whatever it has still to be told.
    pub(crate) fn kill(&mut self, who: usize) {
        let client = &mut self.clients[who];
        client.killed = true;
        self.wakes.push(client.peer);
        self.retire(who);
    }

    /// A client has left more unread than it may: it is closed in its own turn, which comes soon. It
    /// may be in the middle of being told something.
    pub(crate) fn overcome(&mut self, who: usize) {
        let client = &mut self.clients[who];
        client.killed = true;
        client.outbox = Vec::new();
        log::warn!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            client.line(self.clock.instant())
        );
        self.stats.overcome += 1;
    }

    /// Counts what a client holds: replies that it has not read and requests that are kept for it.
    /// Once all hold too much, the one with the most is closed. Messages to subscribers are held once
    /// for all of them, so those are bounded by their class alone, and so are clients that are to be
    /// spared.
    #[inline]
    pub(crate) fn count_held(&mut self, who: usize, unread: u64) {
        let client = &mut self.clients[who];
        let is_counted = client.subscriptions() == 0 && !client.no_evict;
        let held = if is_counted { unread + client.kept_bytes() } else { 0 };
        if held != client.held {
            self.held = self.held - client.held + held;
            client.held = held;
            if self.held > self.config.clients_memory_max {
                self.evict();
            }
        }
    }

    fn evict(&mut self) {
        let Some((who, client)) = self.connected().max_by_key(|(_, client)| client.held) else {
            return;
        };
        log::info!("Evicting client: {}", client.line(self.clock.instant()));
        self.stats.evicted += 1;
        self.kill(who);
    }

    /// Nobody is to tell a client anything any more, though it may take a while until it is gone.
    pub(crate) fn retire(&mut self, who: usize) {
        blocking::forget(self, who);
        pubsub::forget(self, who);
        self.held -= std::mem::take(&mut self.clients[who].held);
        let client = &mut self.clients[who];
        client.outbox = Vec::new();
        client.waiting = VecDeque::new();
        client.waiting_bytes = 0;
        client.transaction = None;
    }

    /// Makes a client say what has been encoded, in its own time. One that is told more than it may
    /// leave unread before its turn comes is closed in it.
    pub(crate) fn post(&mut self, to: usize, encoded: Arc<[u8]>) {
        let limit = self.backlog_max(to);
        let client = &mut self.clients[to];
        if client.killed {
            return;
        }
        // Whoever has something in its outbox has been woken for it.
        if client.outbox.is_empty() {
            self.wakes.push(client.peer);
        }
        client.outbox_bytes += encoded.len() as u64;
        client.outbox.push(encoded);
        self.posted += 1;
        if client.outbox_bytes > limit {
            self.overcome(to);
        }
    }
}
