//! Moving to a new program: the keys, the settings and the clients as bytes.
//!
//! The keys go in pieces of whole entries ([`saver`], [`loader`]). An entry is a number for its kind
//! and what belongs to it, and has one string at most. A long string is split into several entries.
//! So neither program ever holds a second copy of the keys.
//!
//! A client is part of the state of its connection ([`client`]): what it waits for, listens to and
//! watches is entered again where it is restored. Since all connections are restored before any of
//! them is served, nothing can happen in between that a client would miss.

pub(super) mod client;
mod loader;
mod saver;
mod settings;

use protocol::{SavedState, State, StateError};

use super::app::App;
use crate::{Progress, SharedState};
use loader::Loader;
use saver::Saver;

/// The number of the format. It changes whenever that changes.
const FORMAT: u64 = 1;

/// The kinds of entries.
mod entry {
    /// Selects a database.
    pub(super) const DATABASE: u64 = 1;
    /// Places without a key.
    pub(super) const GAP: u64 = 2;
    /// The beginning of the string that follows.
    pub(super) const PART: u64 = 3;
    /// A key. Its value follows.
    pub(super) const KEY: u64 = 4;
    /// A string of the value.
    pub(super) const ITEM: u64 = 5;
    /// There are no more keys.
    pub(super) const END: u64 = 6;
}

/// The most places that one entry skips, so that a short stream takes little memory.
const GAP_MAX: usize = 1 << 16;

/// How far a state is on its way.
#[derive(Debug, Default)]
pub(crate) enum Moving {
    /// It is at home.
    #[default]
    No,
    /// It is being saved.
    Leaves(Saver),
    /// It is being restored.
    Arrives(Box<Loader>),
    /// Another program has it.
    Gone,
}

impl SharedState for App {
    fn freeze(&mut self) {
        self.moving = Moving::Leaves(Saver::default());
    }

    fn save(&mut self, piece: &mut State) -> Progress {
        let mut moving = std::mem::take(&mut self.moving);
        let progress = match &mut moving {
            Moving::Leaves(saver) => saver.save(self, piece),
            _ => Progress::Whole,
        };
        self.moving = moving;
        progress
    }

    fn restore(&mut self, piece: SavedState<'_>) -> Result<(), StateError> {
        let mut loader = match std::mem::take(&mut self.moving) {
            Moving::Arrives(loader) => loader,
            _ => Box::default(),
        };
        loader.load(self, piece)?;
        self.moving = Moving::Arrives(loader);
        Ok(())
    }

    fn restored(&mut self) -> Result<(), StateError> {
        match std::mem::take(&mut self.moving) {
            Moving::Arrives(loader) if loader.is_whole() => Ok(()),
            _ => Err(StateError::TooShort),
        }
    }

    fn stays(&mut self) {
        self.moving = Moving::No;
    }

    fn departed(&mut self) {
        self.moving = Moving::Gone;
        self.clients.iter_mut().for_each(|(_, client)| client.ending = true);
    }

    fn extent(&self) -> String {
        let keys: usize = self.store.iter().map(|(_, store)| store.len()).sum();
        format!("{keys} keys")
    }
}

#[cfg(test)]
mod tests;
