//! The keys whose values are strings.

use super::super::error::{Error, WRONG_TYPE};
use super::super::value::{Other, Value};
use super::Store;

impl Store {
    /// Returns the string of a key.
    pub(crate) fn string(&mut self, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_string().map(Some).ok_or(WRONG_TYPE),
        }
    }

    /// Sets a key to a string. Removes its expiry unless `keeps_expiry` is true.
    pub(crate) fn set_string(&mut self, key: &[u8], bytes: &[u8], keeps_expiry: bool) {
        match self.find(key) {
            None => {
                self.add(key, Value::String(bytes.into()));
            }
            Some(slot) => {
                self.overwrite(slot, bytes);
                if !keeps_expiry {
                    self.forget_expiry(slot);
                }
            }
        }
        self.touch(key);
    }

    fn overwrite(&mut self, slot: u32, bytes: &[u8]) {
        self.change(slot, |value| match value {
            Value::String(old) if old.len() == bytes.len() => old.copy_from_slice(bytes),
            value => *value = Value::String(bytes.into()),
        });
    }

    /// Replaces the string of a key, if there is one, by what `next` returns. The key is looked up
    /// once and keeps its expiry.
    pub(crate) fn replace_string<T: AsRef<[u8]>>(
        &mut self,
        key: &[u8],
        next: impl FnOnce(Option<&[u8]>) -> Result<T, Error>,
    ) -> Result<(), Error> {
        let slot = self.find(key);
        let old = slot.and_then(|slot| self.entry(slot)).map(|entry| &entry.value);
        let new = next(old.map(|value| value.as_string().ok_or(WRONG_TYPE)).transpose()?)?;
        match slot {
            Some(slot) => self.overwrite(slot, new.as_ref()),
            None => {
                self.add(key, Value::String(new.as_ref().into()));
            }
        }
        self.touch(key);
        Ok(())
    }

    /// Changes the string of a key, which is created empty if it does not exist.
    pub(crate) fn edit_string<R>(
        &mut self,
        key: &[u8],
        edit: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, Error> {
        let Some(slot) = self.find(key) else {
            let mut text = Vec::new();
            let result = edit(&mut text);
            self.add(key, Value::Other(Box::new(Other::Text(text))));
            self.touch(key);
            return Ok(result);
        };
        let outcome = self.change(slot, |value| {
            if let Value::String(bytes) = value {
                let text = std::mem::take(bytes).into_vec();
                *value = Value::Other(Box::new(Other::Text(text)));
            }
            match value {
                Value::Other(other) => match &mut **other {
                    Other::Text(text) => Some(edit(text)),
                    _ => None,
                },
                Value::String(_) => None,
            }
        });
        let result = outcome.flatten().ok_or(WRONG_TYPE)?;
        self.touch(key);
        Ok(result)
    }
}
