//! The keys of one database: values, expiry, watches, and the clients that wait for lists.

mod moved;
mod strings;

pub(crate) use moved::Located;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;

use hashbrown::HashTable;
use indexmap::IndexMap;

use super::clock::Clock;
use super::error::{Error, WRONG_TYPE};
use super::expiry::{EXPIRY_SIZE, Expiry};
use super::places::Places;
use super::room::less_room;
use super::value::{Bytes, Kind, List, Value};
use super::watches::Watches;

/// The number of entries in one block.
const BLOCK: usize = 128;
/// The index is split into this many tables. When one grows, only a 64th of the keys moves.
const TABLES: usize = 64;
/// About how many bytes a key costs besides its bytes and its value: an entry, its number in a table
/// that is at least half full, and the overhead of the allocator.
const KEY_SIZE: usize = size_of::<Entry>() + 10 + 16;

#[derive(Debug)]
struct Entry {
    key: Bytes,
    value: Value,
}

impl Entry {
    /// Returns about how many bytes of memory the entry takes, without its expiry.
    fn size(&self) -> usize {
        KEY_SIZE + self.key.len() + self.value.size()
    }
}

/// All keys of one database and their values.
///
/// Entries keep their places. So tables hold only numbers of four bytes, a cursor of `SCAN` is a
/// place, and a random key is one at a random place. The memory of removed keys is freed a part at
/// a time: blocks of entries once they are empty, tables once they are sparse. Keys are hashed with
/// the standard library's SipHash and random keys, as in Redis, so that clients cannot choose keys
/// that collide.
#[derive(Debug)]
pub(crate) struct Store {
    /// Empty until the first key.
    tables: Vec<HashTable<u32>>,
    entries: Places<Entry, BLOCK>,
    hasher: RandomState,
    expiry: Expiry,
    clock: Rc<Clock>,
    used: usize,
    /// The number of keys that have expired.
    pub(crate) expired: u64,
    pub(crate) watched: Watches,
    /// The clients that wait for a list, by key, then by ticket. `SWAPDB` serves the keys in this
    /// order.
    pub(crate) awaited: IndexMap<Bytes, BTreeMap<u64, usize>>,
    /// Lists that have been created and for which clients wait.
    pub(crate) ready: VecDeque<Bytes>,
}

fn hash(hasher: &RandomState, key: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(key);
    state.finish()
}

/// Returns the hash of the key at a place.
fn hash_at(entries: &Places<Entry, BLOCK>, hasher: &RandomState, slot: u32) -> u64 {
    entries.get(slot as usize).map_or(0, |entry| hash(hasher, &entry.key))
}

/// Returns the table for a hash, chosen by bits that the table itself does not use.
fn table_of(hash: u64) -> usize {
    (hash >> 40) as usize % TABLES
}

impl Store {
    pub(crate) fn new(clock: Rc<Clock>) -> Self {
        Self {
            tables: Vec::new(),
            entries: Places::new(),
            hasher: RandomState::new(),
            expiry: Expiry::default(),
            clock,
            used: 0,
            expired: 0,
            watched: Watches::default(),
            awaited: IndexMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Returns the number of keys, including expired ones that have not been removed yet.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the number of keys with an expiry.
    pub(crate) fn expiring(&self) -> usize {
        self.expiry.len()
    }

    /// Returns about how many bytes of memory keys and values take.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Returns the milliseconds since 1970, which are the same throughout a command.
    pub(crate) fn now(&self) -> u64 {
        self.clock.milliseconds()
    }

    /// Returns about how many bytes of memory a key and its value take, if the key exists.
    pub(crate) fn usage(&mut self, key: &[u8]) -> Option<usize> {
        let slot = self.find(key)?;
        let time = if self.expiry.get(slot).is_some() { EXPIRY_SIZE } else { 0 };
        self.entry(slot).map(|entry| entry.size() + time)
    }

    fn entry(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(slot as usize)
    }

    /// Returns the place of a key. Removes the key if it has expired.
    fn find(&mut self, key: &[u8]) -> Option<u32> {
        let hash = hash(&self.hasher, key);
        let is_it = |slot: &u32| self.entry(*slot).is_some_and(|it| *it.key == *key);
        let slot = *self.tables.get(table_of(hash))?.find(hash, is_it)?;
        if self.expiry.get(slot).is_some_and(|at| at <= self.now()) {
            self.expire(slot);
            return None;
        }
        Some(slot)
    }

    fn expire(&mut self, slot: u32) {
        if let Some(entry) = self.take(slot) {
            self.expired += 1;
            self.touch(&entry.key);
        }
    }

    /// Removes up to `budget` expired keys. Returns how many.
    pub(crate) fn expire_due(&mut self, budget: usize) -> usize {
        for done in 0..budget {
            let Some(slot) = self.expiry.due(self.now()) else { return done };
            self.expire(slot);
        }
        budget
    }

    /// Removes an entry.
    fn take(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.entries.remove(slot as usize)?;
        self.used -= entry.size();
        self.forget_expiry(slot);
        let hash = hash(&self.hasher, &entry.key);
        if let Some(table) = self.tables.get_mut(table_of(hash)) {
            if let Ok(found) = table.find_entry(hash, |it| *it == slot) {
                found.remove();
            }
            if let Some(room) = less_room(table.len(), table.capacity()) {
                table.shrink_to(room, |slot| hash_at(&self.entries, &self.hasher, *slot));
            }
        }
        Some(entry)
    }

    fn forget_expiry(&mut self, slot: u32) -> bool {
        let had = self.expiry.remove(slot);
        self.used -= if had { EXPIRY_SIZE } else { 0 };
        had
    }

    /// Adds a key that does not exist yet.
    fn add(&mut self, key: &[u8], value: Value) -> u32 {
        self.used += KEY_SIZE + key.len() + value.size();
        if !self.awaited.is_empty() && List::of(&value).is_some() && self.awaited.contains_key(key)
        {
            self.ready.push_back(key.into());
        }
        // The cast is safe: 2^32 keys would take 400 GB.
        let slot = self.entries.insert(Entry { key: key.into(), value }) as u32;
        let hash_of = |slot: &u32| hash_at(&self.entries, &self.hasher, *slot);
        let hash = hash(&self.hasher, key);
        if self.tables.is_empty() {
            self.tables.resize_with(TABLES, HashTable::new);
        }
        self.tables[table_of(hash)].insert_unique(hash, slot, hash_of);
        slot
    }

    /// Notes a change of a key for the clients that watch it.
    #[inline]
    pub(crate) fn touch(&mut self, key: &[u8]) {
        self.watched.touch(key);
    }

    /// Returns the value of a key.
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<&Value> {
        let slot = self.find(key)?;
        self.entry(slot).map(|entry| &entry.value)
    }

    /// Returns the collection of a key.
    pub(crate) fn read<K: Kind>(&mut self, key: &[u8]) -> Result<Option<&K>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => K::of(value).map(Some).ok_or(WRONG_TYPE),
        }
    }

    /// Changes the value at `slot` and updates the count of used memory.
    fn change<R>(&mut self, slot: u32, change: impl FnOnce(&mut Value) -> R) -> Option<R> {
        let entry = self.entries.get_mut(slot as usize)?;
        let before = entry.value.size();
        let result = change(&mut entry.value);
        self.used = self.used + entry.value.size() - before;
        Some(result)
    }

    /// Changes the collection of a key, if it exists, and removes the key if the collection becomes
    /// empty. The caller calls [`touch`](Self::touch) if something has really changed.
    pub(crate) fn edit<K: Kind, R>(
        &mut self,
        key: &[u8],
        edit: impl FnOnce(&mut K) -> R,
    ) -> Result<Option<R>, Error> {
        let Some(slot) = self.find(key) else { return Ok(None) };
        let outcome = self.change(slot, |value| {
            let kind = K::of_mut(value)?;
            let result = edit(kind);
            kind.shrink();
            Some((result, kind.is_empty()))
        });
        let (result, is_empty) = outcome.flatten().ok_or(WRONG_TYPE)?;
        if is_empty {
            self.take(slot);
        }
        Ok(Some(result))
    }

    /// Changes the collection of a key like [`edit`](Self::edit), but creates the key if it does
    /// not exist.
    pub(crate) fn edit_or_create<K: Kind, R>(
        &mut self,
        key: &[u8],
        edit: impl FnOnce(&mut K) -> R,
    ) -> Result<R, Error> {
        if let Some(slot) = self.find(key) {
            let outcome = self.change(slot, |value| K::of_mut(value).map(edit));
            return outcome.flatten().ok_or(WRONG_TYPE);
        }
        let mut kind = K::default();
        let result = edit(&mut kind);
        self.add(key, kind.into_value());
        Ok(result)
    }

    /// Sets a key to any value without an expiry, or removes it if `value` is `None`.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<Value>) {
        let old = self.find(key);
        if old.is_some() || value.is_some() {
            self.touch(key);
        }
        if let Some(slot) = old {
            self.take(slot);
        }
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    /// Removes a key. Returns its value.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Value> {
        let slot = self.find(key)?;
        let entry = self.take(slot)?;
        self.touch(key);
        Some(entry.value)
    }

    /// Removes all keys.
    pub(crate) fn clear(&mut self) {
        for (_, entry) in self.entries.iter() {
            self.watched.touch(&entry.key);
        }
        self.tables = Vec::new();
        self.entries = Places::new();
        self.expiry = Expiry::default();
        self.used = 0;
    }

    /// Exchanges all keys with another database. Watches and blocked clients stay where they are.
    pub(crate) fn swap_keys(&mut self, other: &mut Self) {
        self.touch_swapped(other);
        other.touch_swapped(self);
        std::mem::swap(self, other);
        std::mem::swap(&mut self.watched, &mut other.watched);
        std::mem::swap(&mut self.awaited, &mut other.awaited);
        std::mem::swap(&mut self.ready, &mut other.ready);
        self.note_ready();
        other.note_ready();
    }

    /// Marks a watched key as changed if either database has it.
    fn touch_swapped(&mut self, other: &mut Self) {
        for key in self.watched.keys() {
            if self.find(&key).is_some() | other.find(&key).is_some() {
                self.touch(&key);
            }
        }
    }

    /// Notes all existing lists for which clients wait.
    fn note_ready(&mut self) {
        let awaited: Vec<Bytes> = self.awaited.keys().cloned().collect();
        for key in awaited {
            if self.get(&key).is_some_and(|value| List::of(value).is_some()) {
                self.ready.push_back(key);
            }
        }
    }

    /// Returns the expiry of a key: `None` if there is no key, `Some(None)` if it does not expire.
    pub(crate) fn expiry(&mut self, key: &[u8]) -> Option<Option<u64>> {
        let slot = self.find(key)?;
        Some(self.expiry.get(slot))
    }

    /// Sets or removes the expiry of a key. Returns whether it had one before.
    pub(crate) fn set_expiry(&mut self, key: &[u8], at: Option<u64>) -> bool {
        let Some(slot) = self.find(key) else { return false };
        let had = self.forget_expiry(slot);
        if let Some(at) = at {
            // Two keys may go for each that gets an expiry, so expired keys cannot pile up.
            self.expire_due(2);
            self.expiry.set(slot, at);
            self.used += EXPIRY_SIZE;
        }
        self.touch(key);
        had
    }

    /// Returns the keys at up to `count` places from `cursor` on, and the next cursor, 0 at the
    /// end. A key keeps its place as long as it exists, so none is missed.
    pub(crate) fn scan(
        &self,
        cursor: u64,
        count: usize,
    ) -> (impl Iterator<Item = (&[u8], &Value)>, u64) {
        let start = usize::try_from(cursor).unwrap_or(usize::MAX);
        let end = self.entries.skip(start, count);
        let next = if end == self.entries.end() { 0 } else { end as u64 };
        let live = self.entries.range(start, end).filter_map(|(slot, it)| {
            let is_due = self.expiry.get(slot as u32).is_some_and(|at| at <= self.now());
            (!is_due).then_some((&*it.key, &it.value))
        });
        (live, next)
    }

    /// Returns the number of places that [`scan`](Self::scan) looks at.
    pub(crate) fn places(&self) -> usize {
        self.entries.end()
    }

    /// Watches a key. Returns how often it has changed.
    pub(crate) fn watch(&mut self, key: &[u8]) -> u64 {
        // An expired key is removed here, so that its removal does not count as a change later.
        self.find(key);
        self.watched.add(key)
    }

    /// Returns whether a watched key has changed since then; expiry counts as a change.
    pub(crate) fn has_changed(&mut self, key: &[u8], since: u64) -> bool {
        self.find(key);
        self.watched.has_changed(key, since)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use super::*;

    fn room(store: &Store) -> usize {
        store.tables.iter().map(HashTable::capacity).sum::<usize>() + store.entries.end()
    }

    #[test]
    fn a_store_without_keys_owns_no_memory() {
        let mut store = Store::new(Rc::new(Clock::new(reactor::now, reactor::time_of_day)));
        for _ in 0..2 {
            assert_eq!((store.tables.capacity(), store.entries.end()), (0, 0));
            assert!(store.get(b"key").is_none() && store.remove(b"key").is_none());
            store.set_string(b"key", b"value", false);
            assert!(store.get(b"key").is_some());
            store.clear();
        }
    }

    #[test]
    fn removed_keys_free_their_capacity() {
        const KEYS: u32 = 50_000;
        let time = Rc::new(Cell::new(Instant::now()));
        let source = Rc::clone(&time);
        let clock = Rc::new(Clock::new(move || source.get(), reactor::time_of_day));
        let mut store = Store::new(Rc::clone(&clock));
        let fill = |store: &mut Store, at| {
            for key in 0..KEYS {
                store.put(&key.to_le_bytes(), Some(Value::String(Bytes::default())));
                store.set_expiry(&key.to_le_bytes(), at);
            }
            assert!(room(store) >= 2 * KEYS as usize);
        };
        fill(&mut store, None);
        (100..KEYS).for_each(|key| drop(store.remove(&key.to_le_bytes())));
        assert!(room(&store) < 4096, "100 keys have room for {}", room(&store));
        assert_eq!(store.scan(0, 1000).0.count(), 100);
        assert!((0..100_u32).all(|key| store.get(&key.to_le_bytes()).is_some()));
        let in_a_second = store.now() + 1000;
        fill(&mut store, Some(in_a_second));
        store.set_expiry(&7_u32.to_le_bytes(), None);
        time.set(time.get() + Duration::from_secs(2));
        clock.begin();
        while store.expire_due(1000) > 0 {}
        assert_eq!((store.len(), store.expiring()), (1, 0));
        assert!(room(&store) < 4096, "a key has room for {}", room(&store));
    }

    #[test]
    fn a_scan_returns_every_key_that_exists_throughout() {
        let mut store = Store::new(Rc::new(Clock::new(reactor::now, reactor::time_of_day)));
        let empty = || Some(Value::String(Bytes::default()));
        (0..10_000_u32).for_each(|key| store.put(&key.to_le_bytes(), empty()));
        let (mut cursor, mut seen, mut steps) = (0, Vec::new(), 0);
        loop {
            let (found, next) = store.scan(cursor, 10);
            seen.extend(found.map(|(key, _)| Bytes::from(key)));
            steps += 1;
            if steps == 300 {
                // Remove what has not been scanned, except the very last key.
                (3000..9_999_u32).for_each(|key| drop(store.remove(&key.to_le_bytes())));
                (20_000..20_500_u32).for_each(|key| store.put(&key.to_le_bytes(), empty()));
            }
            if next == 0 {
                break;
            }
            cursor = next;
        }
        let stayed = (0..3000_u32).chain([9_999]);
        stayed.for_each(|key| assert!(seen.contains(&Bytes::from(key.to_le_bytes()))));
        assert!(steps < 500, "{steps} steps over empty places");
    }
}
