//! The keys that clients watch, and how often each has changed.

use std::collections::HashMap;

use super::room::GiveBack;
use super::value::Bytes;

#[derive(Debug, Default)]
struct Watch {
    watchers: usize,
    changes: u64,
}

/// The watched keys of one database, whether they exist or not.
#[derive(Debug, Default)]
pub(crate) struct Watches(HashMap<Bytes, Watch>);

impl Watches {
    /// Counts a change of a key, if it is watched.
    #[inline]
    pub(crate) fn touch(&mut self, key: &[u8]) {
        if !self.0.is_empty()
            && let Some(watch) = self.0.get_mut(key)
        {
            watch.changes += 1;
        }
    }

    /// Adds a watcher of a key. Returns how often the key has changed.
    pub(crate) fn add(&mut self, key: &[u8]) -> u64 {
        let watch = self.0.entry(key.into()).or_default();
        watch.watchers += 1;
        watch.changes
    }

    /// Returns whether a watched key has changed since then.
    pub(crate) fn has_changed(&self, key: &[u8], since: u64) -> bool {
        self.0.get(key).is_none_or(|watch| watch.changes != since)
    }

    /// Removes a watcher of a key.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(watch) = self.0.get_mut(key) {
            watch.watchers -= 1;
            if watch.watchers == 0 {
                self.0.remove(key);
                self.0.give_back();
            }
        }
    }

    /// Returns all watched keys.
    pub(crate) fn keys(&self) -> Vec<Bytes> {
        self.0.keys().cloned().collect()
    }
}
