//! Reads the pieces of a state.

use protocol::{SavedState, StateError};

use super::{FORMAT, GAP_MAX, entry, settings};
use crate::kv::app::App;
use crate::kv::commands::strings::STRING_SIZE_MAX;
use crate::kv::databases::DATABASES;
use crate::kv::value::{Bytes, End, Hash, Kind, List, Other, Set, Value};

/// How far a state has been read.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    stage: Stage,
    /// The place after the last key, or gap.
    place: u64,
    /// The beginning of a string that is not whole.
    begun: Vec<u8>,
    /// A key whose value is not whole.
    growing: Option<Growing>,
    keys: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Settings,
    /// No database was named.
    Databases,
    Keys,
    Whole,
}

/// A key, and as much of its value as has come.
#[derive(Debug)]
struct Growing {
    place: u32,
    key: Bytes,
    expiry: Option<u64>,
    value: Parts,
    /// How many strings are missing.
    left: u64,
}

#[derive(Debug)]
enum Parts {
    String(Bytes),
    Text(Vec<u8>),
    List(List),
    /// With a field that has no value yet.
    Hash(Hash, Option<Bytes>),
    Set(Set),
}

impl Parts {
    /// Returns a value without anything.
    fn new(kind: u64, is_large: bool, count: u64) -> Result<Self, StateError> {
        let value = match kind {
            0 => Self::String(Bytes::default()),
            1 => Self::Text(Vec::new()),
            2 => Self::List(List::default()),
            3 => Self::Hash(Hash::once_large(is_large), None),
            4 => Self::Set(Set::once_large(is_large)),
            _ => return Err(StateError::Invalid("there is no such type of a value")),
        };
        let fits = match value {
            Self::String(_) | Self::Text(_) => count == 1,
            Self::Hash(..) => count > 0 && count.is_multiple_of(2),
            Self::List(_) | Self::Set(_) => count > 0,
        };
        if fits { Ok(value) } else { Err(StateError::Invalid("a value has a wrong length")) }
    }

    /// Adds a string. Returns whether it is new where all have to differ.
    fn add(&mut self, string: Bytes) -> bool {
        match self {
            Self::String(bytes) => *bytes = string,
            Self::Text(bytes) => *bytes = string.into_vec(),
            Self::List(list) => list.push(End::Right, string),
            Self::Hash(hash, field) => match field.take() {
                Some(field) => return hash.set(&field, &string),
                None => *field = Some(string),
            },
            Self::Set(set) => return set.add(&string),
        }
        true
    }

    fn into_value(self) -> Value {
        match self {
            Self::String(bytes) => Value::String(bytes),
            Self::Text(bytes) => Value::Other(Box::new(Other::Text(bytes))),
            Self::List(list) => list.into_value(),
            Self::Hash(hash, _) => hash.into_value(),
            Self::Set(set) => set.into_value(),
        }
    }
}

impl Loader {
    /// Returns whether the end has come.
    pub(super) fn is_whole(&self) -> bool {
        self.stage == Stage::Whole
    }

    /// Reads the next piece.
    pub(super) fn load(
        &mut self,
        app: &mut App,
        mut piece: SavedState<'_>,
    ) -> Result<(), StateError> {
        if self.stage == Stage::Settings {
            match piece.number()? {
                FORMAT => settings::restore(app, &mut piece)?,
                format => return Err(StateError::Format { format }),
            }
            self.stage = Stage::Databases;
        }
        while piece.end().is_err() {
            self.entry(app, &mut piece)?;
        }
        Ok(())
    }

    fn entry(&mut self, app: &mut App, piece: &mut SavedState<'_>) -> Result<(), StateError> {
        let kind = piece.number()?;
        let is_between = self.growing.is_none() && self.begun.is_empty();
        match kind {
            entry::DATABASE if is_between && !self.is_whole() => self.select(app, piece.number()?),
            entry::GAP if is_between && self.stage == Stage::Keys => {
                self.skip(piece.number()?).map(drop)
            }
            entry::PART if self.stage == Stage::Keys => self.begin(piece.bytes()?),
            entry::KEY if self.growing.is_none() && self.stage == Stage::Keys => self.key(piece),
            entry::ITEM => self.item(app, piece.bytes()?),
            entry::END if is_between && !self.is_whole() => self.end(app, piece.number()?),
            _ => Err(StateError::Invalid("an entry is unknown, or comes at the wrong time")),
        }
    }

    fn select(&mut self, app: &mut App, number: u64) -> Result<(), StateError> {
        let number = usize::try_from(number).ok().filter(|number| *number < DATABASES);
        let number = number.ok_or(StateError::Invalid("there is no such database"))?;
        app.store.select(number);
        if app.store.len() > 0 {
            return Err(StateError::Invalid("a database is there twice"));
        }
        (self.stage, self.place) = (Stage::Keys, 0);
        Ok(())
    }

    /// Skips places. Returns the first one after them.
    fn skip(&mut self, gap: u64) -> Result<u32, StateError> {
        if gap > GAP_MAX as u64 {
            return Err(StateError::Invalid("there are too many places without a key"));
        }
        self.place += gap;
        let place = u32::try_from(self.place).ok().filter(|place| *place < u32::MAX);
        place.ok_or(StateError::Invalid("there are too many places"))
    }

    /// Adds to a string that is not whole.
    fn begin(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        if bytes.is_empty() || self.begun.len() + bytes.len() > STRING_SIZE_MAX {
            return Err(StateError::Invalid("a string is too long, or a part of it is empty"));
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the string that ends with `bytes`.
    fn string(&mut self, bytes: &[u8]) -> Result<Bytes, StateError> {
        if self.begun.is_empty() {
            return Ok(bytes.into());
        }
        if !bytes.is_empty() {
            self.begin(bytes)?;
        }
        Ok(std::mem::take(&mut self.begun).into())
    }

    fn key(&mut self, piece: &mut SavedState<'_>) -> Result<(), StateError> {
        let place = self.skip(piece.number()?)?;
        let (kind, is_large, left) = (piece.number()?, piece.flag()?, piece.number()?);
        let expiry = if piece.flag()? { Some(piece.number()?) } else { None };
        let value = Parts::new(kind, is_large, left)?;
        let key = self.string(piece.bytes()?)?;
        self.growing = Some(Growing { place, key, expiry, value, left });
        Ok(())
    }

    fn item(&mut self, app: &mut App, bytes: &[u8]) -> Result<(), StateError> {
        let string = self.string(bytes)?;
        let Some(growing) = &mut self.growing else {
            return Err(StateError::Invalid("a string belongs to no key"));
        };
        if !growing.value.add(string) {
            return Err(StateError::Invalid("a collection has an element twice"));
        }
        growing.left -= 1;
        if growing.left == 0
            && let Some(Growing { place, key, expiry, value, .. }) = self.growing.take()
        {
            if !app.store.restore(place, key, value.into_value(), expiry) {
                return Err(StateError::Invalid("a key is there twice"));
            }
            self.place = u64::from(place) + 1;
            self.keys += 1;
        }
        Ok(())
    }

    fn end(&mut self, app: &mut App, keys: u64) -> Result<(), StateError> {
        if keys != self.keys {
            return Err(StateError::Invalid("some keys are missing"));
        }
        app.store.select(0);
        self.stage = Stage::Whole;
        Ok(())
    }
}
