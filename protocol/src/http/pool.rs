//! Idle connections that are kept.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The limits of an [`IdlePool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleOptions {
    /// Connections that are kept for one key. Default 8.
    pub per_key_max: usize,
    /// Connections that are kept for all keys together. Default 100.
    pub total_max: usize,
    /// How long a connection is kept. Default 50 s: many servers close idle ones after 60 s, and a
    /// request that crosses that end is lost.
    pub expiry: Duration,
}

impl Default for IdleOptions {
    fn default() -> Self {
        Self { per_key_max: 8, total_max: 100, expiry: Duration::from_secs(50) }
    }
}

/// Keeps account of idle connections: which may serve the next request, and which have to be closed.
///
/// `K` is what connections are looked up by, such as scheme, host and port. `T` names a connection.
/// What the pool returns is no longer in it; closing it is up to the caller.
///
/// ```
/// use protocol::http::{IdleOptions, IdlePool};
/// use std::time::Instant;
///
/// let now = Instant::now();
/// let mut pool = IdlePool::new(IdleOptions { per_key_max: 2, ..IdleOptions::default() });
/// for connection in 1..=3 {
///     let evicted = pool.put("example.org:80", connection, now);
///     assert_eq!(evicted, (connection == 3).then_some(1));
/// }
/// // The one that was used last is the least likely to be closed by the server.
/// assert_eq!(pool.take(&"example.org:80", now), Some(3));
/// assert_eq!(pool.take(&"example.net:80", now), None);
/// ```
#[derive(Debug)]
pub struct IdlePool<K, T> {
    options: IdleOptions,
    /// All connections, by the order in which they became idle, which is that of their expiry.
    by_age: BTreeMap<u64, Idle<K, T>>,
    /// The numbers of the connections of a key, in the same order.
    by_key: HashMap<K, Vec<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Idle<K, T> {
    key: K,
    since: Instant,
    connection: T,
}

impl<K: Eq + Hash + Clone, T> IdlePool<K, T> {
    /// Returns an empty pool.
    pub fn new(options: IdleOptions) -> Self {
        Self { options, by_age: BTreeMap::new(), by_key: HashMap::new(), next: 0 }
    }

    /// Returns how many connections there are.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Returns whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// Adds a connection that has become idle at `now`. Returns the connection that has to be closed
    /// since there would be too many: one that has been idle for the longest time, or `connection`
    /// itself if none is to be kept.
    pub fn put(&mut self, key: K, connection: T, now: Instant) -> Option<T> {
        if self.options.per_key_max == 0 || self.options.total_max == 0 {
            return Some(connection);
        }
        let of_key = self.by_key.get(&key).filter(|it| it.len() >= self.options.per_key_max);
        let oldest = match of_key {
            Some(numbers) => numbers.first().copied(),
            None if self.len() >= self.options.total_max => self.by_age.keys().next().copied(),
            None => None,
        };
        let evicted = oldest.and_then(|number| self.take_number(number));
        let number = self.next;
        self.next += 1;
        self.by_key.entry(key.clone()).or_default().push(number);
        self.by_age.insert(number, Idle { key, since: now, connection });
        evicted
    }

    /// Takes the connection for `key` that became idle last, unless it has expired at `now`.
    pub fn take(&mut self, key: &K, now: Instant) -> Option<T> {
        let number = *self.by_key.get(key)?.last()?;
        let since = self.by_age.get(&number)?.since;
        if now.saturating_duration_since(since) >= self.options.expiry {
            return None;
        }
        self.take_number(number)
    }

    /// Removes a connection that has ended by itself. Returns it if it was there.
    pub fn remove(&mut self, key: &K, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let numbers = self.by_key.get(key)?.iter();
        let mut all = numbers.filter_map(|number| Some((*number, self.by_age.get(number)?)));
        let (number, _) = all.find(|(_, idle)| is_it(&idle.connection))?;
        self.take_number(number)
    }

    /// Takes a connection that has expired at `now`, which has to be closed. Call it until it returns
    /// `None`.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        let (number, idle) = self.by_age.first_key_value()?;
        if now.saturating_duration_since(idle.since) < self.options.expiry {
            return None;
        }
        self.take_number(*number)
    }

    /// Returns the time at which the next connection expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        let (_, idle) = self.by_age.first_key_value()?;
        idle.since.checked_add(self.options.expiry)
    }

    fn take_number(&mut self, number: u64) -> Option<T> {
        let idle = self.by_age.remove(&number)?;
        if let Some(numbers) = self.by_key.get_mut(&idle.key) {
            numbers.retain(|it| *it != number);
            if numbers.is_empty() {
                self.by_key.remove(&idle.key);
            }
        }
        Some(idle.connection)
    }
}
