//! The keys of a database with their places, for a new program that takes them over.

use super::super::expiry::EXPIRY_SIZE;
use super::super::value::{Bytes, Value};
use super::{Entry, KEY_SIZE, Store, TABLES, hash, hash_at, table_of};
use hashbrown::HashTable;

/// A key with what belongs to it.
pub(crate) struct Located<'a> {
    pub(crate) place: usize,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a Value,
    /// When it expires, in milliseconds since 1970.
    pub(crate) expiry: Option<u64>,
}

impl Store {
    /// Returns all keys from a place on, in the order of their places. Those that have expired are
    /// among them.
    pub(crate) fn located_from(&self, place: usize) -> impl Iterator<Item = Located<'_>> {
        self.entries.range(place, usize::MAX).map(|(place, entry)| Located {
            place,
            key: &entry.key,
            value: &entry.value,
            expiry: self.expiry.get(place as u32),
        })
    }

    /// Adds a key at a place after those of all others, where it was in another program. Cursors of
    /// `SCAN` go on to be valid. Returns whether the key is new; if not, nothing is added.
    pub(crate) fn restore(
        &mut self,
        place: u32,
        key: Bytes,
        value: Value,
        expiry: Option<u64>,
    ) -> bool {
        let hash = hash(&self.hasher, &key);
        if self.tables.is_empty() {
            self.tables.resize_with(TABLES, HashTable::new);
        }
        let Self { tables, entries, hasher, .. } = self;
        let table = &mut tables[table_of(hash)];
        let is_it = |slot: &u32| entries.get(*slot as usize).is_some_and(|it| it.key == key);
        if table.find(hash, is_it).is_some() {
            return false;
        }
        table.insert_unique(hash, place, |slot| hash_at(entries, hasher, *slot));
        self.used += KEY_SIZE + key.len() + value.size();
        self.entries.insert_at(place as usize, Entry { key, value });
        if let Some(at) = expiry {
            self.expiry.set(place, at);
            self.used += EXPIRY_SIZE;
        }
        true
    }
}
