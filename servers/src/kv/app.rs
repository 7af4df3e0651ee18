//! The application state of the loop, which all connections share.

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
use super::moving::Moving;

/// Keys that one tick expires at most: about a millisecond of work.
const EXPIRED_PER_TICK: usize = 4000;

/// The settings that `CONFIG SET` may change, and those that `CONFIG GET` shows besides them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of keys and values at which commands that add to them are refused; `None` means no
    /// limit.
    pub memory_max: Option<u64>,
    /// The password that `AUTH` has to give; empty if none is needed.
    pub password: String,
    /// Bytes that a subscriber may leave unread before it is closed.
    pub pubsub_backlog_max: u64,
    /// Bytes that any other client may leave unread before it is closed.
    pub normal_backlog_max: u64,
    /// Bytes that all clients except subscribers may hold together: unread replies and requests
    /// that are kept for later.
    pub clients_memory_max: u64,
    /// How long a client may be silent; `None` means no limit.
    pub idle_timeout: Option<Duration>,
    /// Clients served at once.
    pub connections_max: usize,
}

/// Counts of what has happened since the server started.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connections: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Clients closed because they exceeded their own limit of unread output, and because all
    /// clients together exceeded theirs.
    pub(crate) over_limit: u64,
    pub(crate) evicted: u64,
}

/// The state of the server: one value, which is lent to every call, so there are no locks.
#[derive(Debug)]
pub struct App {
    pub(crate) store: Databases,
    /// In boxes, so that a slot without a client takes no more than a pointer.
    pub(crate) clients: Slab<Box<Client>>,
    /// Bytes that all clients hold together.
    pub(crate) held: u64,
    pub(crate) channels: Channels,
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) counters: Counters,
    /// The clock, which the store shares.
    pub(crate) clock: Rc<Clock>,
    pub(crate) random: fastrand::Rng,
    /// The number of the next client, and the queue ticket of the next client that blocks.
    pub(crate) next_id: u64,
    pub(crate) next_ticket: u64,
    /// Connections to wake: they have something new to send.
    pub(crate) wakes: Vec<ConnectionId>,
    /// Whether it moves to another program.
    pub(crate) moving: Moving,
    /// Messages posted since a publisher last yielded to its subscribers.
    pub(crate) posted: usize,
}

impl App {
    /// Returns a state with empty databases. `now` returns the time; only commands that need it
    /// call it. `time_of_day` returns the time since 1970; each [`tick`](Self::tick) calls it.
    ///
    /// With two functions that repeat their results, and a [`seed`](Self::seed), the same calls get
    /// the same replies, except for the facts about the process in `INFO`.
    pub fn new(
        config: Config,
        now: impl Fn() -> Instant + 'static,
        time_of_day: impl Fn() -> Duration + 'static,
    ) -> Self {
        let clock = Rc::new(Clock::new(now, time_of_day));
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
            moving: Moving::No,
            posted: 0,
        }
    }

    /// Makes the random choices of commands such as `SPOP` repeatable.
    pub fn seed(&mut self, seed: u64) {
        self.random.seed(seed);
    }

    /// Returns the string of a key in the first database, for programs that embed the server.
    pub fn text(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let mut text = None;
        self.store.within(0, |store| {
            // A value of another type has no string.
            text = store.string(key).ok().flatten().map(|it| it.to_vec());
        });
        text
    }

    /// Does the periodic work: adjusts the clock and expires a bounded number of keys.
    pub fn tick(&mut self) {
        if !matches!(self.moving, Moving::No) {
            return;
        }
        self.clock.adjust();
        self.clock.begin();
        self.store.expire_due(EXPIRED_PER_TICK);
    }

    /// Returns whether keys and values take more memory than allowed.
    pub(crate) fn is_full(&self) -> bool {
        self.config.memory_max.is_some_and(|max| self.store.used() as u64 > max)
    }

    /// Returns how many bytes a client may leave unread.
    pub(crate) fn backlog_max(&self, number: usize) -> u64 {
        match self.clients[number].subscriptions() {
            0 => self.config.normal_backlog_max,
            _ => self.config.pubsub_backlog_max,
        }
    }

    /// Returns whether a client has given the password, or needs none.
    pub(crate) fn trusts(&self, client: &Client) -> bool {
        client.authenticated || self.config.password.is_empty()
    }

    /// Returns the clients that are connected. A client that was killed is hidden from all but its
    /// own connection, which is woken to close itself.
    pub(crate) fn connected(&self) -> impl Iterator<Item = (usize, &Client)> {
        let all = self.clients.iter().map(|(number, client)| (number, &**client));
        all.filter(|(_, client)| !client.killed)
    }

    /// Closes a client at once, without sending what it still has to receive.
    pub(crate) fn kill(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.killed = true;
        self.wakes.push(client.connection);
        self.retire(number);
    }

    /// Marks a client that has left more unread than it may, and wakes it to be closed. It is not
    /// closed here, since this may happen while output is written to it.
    pub(crate) fn close_over_limit(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.killed = true;
        client.outbox = Vec::new();
        log::warn!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            client.line(self.clock.instant())
        );
        self.stats.over_limit += 1;
    }

    /// Updates the count of what a client holds: unread replies and requests that are kept for it.
    ///
    /// When all clients hold too much together, the one with the most is closed. Messages to
    /// subscribers are held once for all of them, so subscribers have only their own limit. Clients
    /// with `CLIENT NO-EVICT` on are spared.
    #[inline]
    pub(crate) fn count_held(&mut self, number: usize, unread: u64) {
        let client = &mut self.clients[number];
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
        let Some((number, client)) = self.connected().max_by_key(|(_, client)| client.held) else {
            return;
        };
        log::info!("Evicting client: {}", client.line(self.clock.instant()));
        self.stats.evicted += 1;
        self.kill(number);
    }

    /// Removes a client from all queues and channels, so nothing is sent to it any more. Its
    /// connection may last for a while.
    pub(crate) fn retire(&mut self, number: usize) {
        blocking::forget(self, number);
        pubsub::forget(self, number);
        self.held -= std::mem::take(&mut self.clients[number].held);
        let client = &mut self.clients[number];
        client.outbox = Vec::new();
        client.waiting = VecDeque::new();
        client.waiting_bytes = 0;
        client.transaction = None;
    }

    /// Queues encoded output for a client and wakes it. A client whose queue exceeds its limit
    /// before it is woken is closed.
    pub(crate) fn post(&mut self, to: usize, encoded: Arc<[u8]>) {
        let limit = self.backlog_max(to);
        let client = &mut self.clients[to];
        if client.killed {
            return;
        }
        // A client whose outbox is not empty has been woken already.
        if client.outbox.is_empty() {
            self.wakes.push(client.connection);
        }
        client.outbox_bytes += encoded.len() as u64;
        client.outbox.push(encoded);
        self.posted += 1;
        if client.outbox_bytes > limit {
            self.close_over_limit(to);
        }
    }
}
