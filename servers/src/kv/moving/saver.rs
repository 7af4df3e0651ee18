//! Writes the state in pieces.

use protocol::State;

use super::{FORMAT, GAP_MAX, entry, settings};
use crate::Progress;
use crate::kv::app::App;
use crate::kv::databases::DATABASES;
use crate::kv::store::Located;
use crate::kv::value::{Other, Value};

/// The size at which a piece is full.
const PIECE_SIZE: usize = 64 * 1024;
/// The most bytes of a string in one entry.
const PART_SIZE: usize = 32 * 1024;

/// How far the state has been written.
#[derive(Debug)]
pub(crate) struct Saver {
    has_settings: bool,
    database: usize,
    /// Whether this database was named.
    is_named: bool,
    /// The place of the next key.
    place: usize,
    /// The place after the last key that was written.
    end: usize,
    /// The next string of this key: the key itself, then the parts of its value.
    string: usize,
    /// How much of that string was written.
    offset: usize,
    keys: u64,
    piece_size: usize,
}

impl Default for Saver {
    fn default() -> Self {
        Self {
            has_settings: false,
            database: 0,
            is_named: false,
            place: 0,
            end: 0,
            string: 0,
            offset: 0,
            keys: 0,
            piece_size: PIECE_SIZE,
        }
    }
}

impl Saver {
    /// Returns one with smaller pieces.
    #[cfg(test)]
    pub(super) fn with_piece_size(piece_size: usize) -> Self {
        Self { piece_size, ..Self::default() }
    }

    /// Writes the next piece.
    pub(super) fn save(&mut self, app: &App, piece: &mut State) -> Progress {
        if !self.has_settings {
            self.has_settings = true;
            piece.number(FORMAT);
            settings::save(app, piece);
            return Progress::More;
        }
        for (number, store) in app.store.iter().skip(self.database) {
            if store.len() > 0 && !self.is_named {
                piece.number(entry::DATABASE);
                piece.number(number as u64);
                self.is_named = true;
            }
            for located in store.located_from(self.place) {
                self.place = located.place;
                if !self.save_key(&located, piece) {
                    return Progress::More;
                }
                self.place += 1;
                self.end = self.place;
            }
            (self.database, self.is_named) = (number + 1, false);
            (self.place, self.end) = (0, 0);
        }
        self.database = DATABASES;
        piece.number(entry::END);
        piece.number(self.keys);
        Progress::Whole
    }

    /// Writes a key and its value. Returns whether the piece has room for all of it.
    fn save_key(&mut self, located: &Located<'_>, piece: &mut State) -> bool {
        loop {
            let string = match self.string {
                0 => Some(located.key),
                number => located.value.part(number - 1),
            };
            let Some(string) = string else { break };
            while string.len() - self.offset > PART_SIZE {
                if piece.len() >= self.piece_size {
                    return false;
                }
                piece.number(entry::PART);
                piece.bytes(&string[self.offset..self.offset + PART_SIZE]);
                self.offset += PART_SIZE;
            }
            if piece.len() >= self.piece_size {
                return false;
            }
            match self.string {
                0 => self.save_head(located, piece),
                _ => piece.number(entry::ITEM),
            }
            piece.bytes(&string[self.offset..]);
            self.offset = 0;
            self.string += 1;
        }
        self.string = 0;
        true
    }

    /// Writes what precedes the bytes of a key.
    fn save_head(&mut self, located: &Located<'_>, piece: &mut State) {
        let mut gap = located.place - self.end;
        while gap > GAP_MAX {
            piece.number(entry::GAP);
            piece.number(GAP_MAX as u64);
            gap -= GAP_MAX;
        }
        piece.number(entry::KEY);
        piece.number(gap as u64);
        let (kind, is_large) = kind(located.value);
        piece.number(kind);
        piece.flag(is_large);
        piece.number(located.value.parts() as u64);
        piece.flag(located.expiry.is_some());
        located.expiry.into_iter().for_each(|at| piece.number(at));
        self.keys += 1;
    }
}

/// Returns the number of the kind of a value, and whether it was ever large.
fn kind(value: &Value) -> (u64, bool) {
    match value {
        Value::String(_) => (0, false),
        Value::Other(other) => match &**other {
            Other::Text(_) => (1, false),
            Other::List(_) => (2, false),
            Other::Hash(hash) => (3, hash.is_large()),
            Other::Set(set) => (4, set.is_large()),
        },
    }
}
