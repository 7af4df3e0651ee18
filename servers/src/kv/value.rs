//! The values of keys.

use std::collections::VecDeque;
use std::hash::RandomState;

use indexmap::{IndexMap, IndexSet};
use protocol::resp::parse_integer;

use super::room::GiveBack;

/// Bytes without spare capacity.
pub(crate) type Bytes = Box<[u8]>;

/// The assumed overhead of an allocation, in bytes.
const ALLOCATION: usize = 16;
/// The overhead of an element: a hash, an index and, in hashes, a second pointer and length.
const ELEMENT: usize = 48;
/// Up to this size, removing an element keeps the order and moves all elements after it, as in Redis's
/// small encodings. In a larger collection, the last element takes the free place.
const ORDERED_MAX: usize = 128;

/// The longest string that Redis stores in one allocation with its header (`embstr`).
const EMBEDDED_MAX: usize = 44;
/// The number of fields that Redis stores in a listpack, and the longest field or value in it.
const LISTPACK_ENTRIES_MAX: usize = 512;
const LISTPACK_VALUE_MAX: usize = 64;
/// The number of members, all of them integers, that Redis stores in an intset.
const INTSET_ENTRIES_MAX: usize = 512;

/// A value. Most values are strings, which take two words here and one allocation.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    String(Bytes),
    Other(Box<Other>),
}

/// A value that is not a string, or a string that has been appended to.
#[derive(Clone, Debug)]
pub(crate) enum Other {
    /// A string that has been appended to, with spare capacity.
    Text(Vec<u8>),
    List(List),
    Hash(Hash),
    Set(Set),
}

impl Value {
    /// Returns the bytes, if it is a string.
    pub(crate) fn as_string(&self) -> Option<&[u8]> {
        match self {
            Self::String(bytes) => Some(bytes),
            Self::Other(other) => match &**other {
                Other::Text(bytes) => Some(bytes),
                _ => None,
            },
        }
    }

    /// Returns the name that `TYPE` replies.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Other(other) => match **other {
                Other::Text(_) => "string",
                Other::List(_) => "list",
                Other::Hash(_) => "hash",
                Other::Set(_) => "set",
            },
        }
    }

    /// Returns how many strings it consists of.
    pub(crate) fn parts(&self) -> usize {
        match self {
            Self::String(_) => 1,
            Self::Other(other) => match &**other {
                Other::Text(_) => 1,
                Other::List(list) => list.items.len(),
                Other::Hash(hash) => 2 * hash.items.len(),
                Other::Set(set) => set.items.len(),
            },
        }
    }

    /// Returns one of these strings: of a hash, fields and values by turns.
    pub(crate) fn part(&self, number: usize) -> Option<&[u8]> {
        match self {
            Self::String(bytes) => (number == 0).then_some(&**bytes),
            Self::Other(other) => match &**other {
                Other::Text(bytes) => (number == 0).then_some(&**bytes),
                Other::List(list) => list.items.get(number).map(|it| &**it),
                Other::Hash(hash) => {
                    let (field, value) = hash.items.get_index(number / 2)?;
                    Some(if number.is_multiple_of(2) { field } else { value })
                }
                Other::Set(set) => set.items.get_index(number).map(|it| &**it),
            },
        }
    }

    /// Returns the encoding that Redis would use, which `OBJECT ENCODING` replies.
    pub(crate) fn encoding(&self) -> &'static str {
        match self {
            Self::String(bytes) if is_integer(bytes) => "int",
            Self::String(bytes) if bytes.len() <= EMBEDDED_MAX => "embstr",
            Self::String(_) => "raw",
            Self::Other(other) => match &**other {
                Other::Text(_) => "raw",
                Other::List(_) => "quicklist",
                Other::Hash(hash) if hash.is_large => "hashtable",
                Other::Hash(_) => "listpack",
                Other::Set(set) if set.is_large => "hashtable",
                Other::Set(_) => "intset",
            },
        }
    }

    /// Returns about how many bytes of memory it takes besides the two words.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::String(bytes) => bytes.len() + ALLOCATION,
            Self::Other(other) => {
                let inner = match &**other {
                    Other::Text(bytes) => bytes.capacity(),
                    Other::List(list) => list.bytes,
                    Other::Hash(hash) => hash.bytes,
                    Other::Set(set) => set.bytes,
                };
                size_of::<Other>() + inner + 2 * ALLOCATION
            }
        }
    }
}

/// A collection, whose key is removed when it becomes empty.
pub(crate) trait Kind: Default {
    fn of_other(other: &Other) -> Option<&Self>;
    fn of_other_mut(other: &mut Other) -> Option<&mut Self>;
    fn into_other(self) -> Other;
    fn is_empty(&self) -> bool;
    /// Frees most of the unused capacity, which is not counted as used memory.
    fn shrink(&mut self);

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Other(other) => Self::of_other(other),
            Value::String(_) => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Other(other) => Self::of_other_mut(other),
            Value::String(_) => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Other(Box::new(self.into_other()))
    }
}

impl Kind for List {
    fn of_other(other: &Other) -> Option<&Self> {
        if let Other::List(it) = other { Some(it) } else { None }
    }

    fn of_other_mut(other: &mut Other) -> Option<&mut Self> {
        if let Other::List(it) = other { Some(it) } else { None }
    }

    fn into_other(self) -> Other {
        Other::List(self)
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn shrink(&mut self) {
        self.items.give_back();
    }
}

impl Kind for Hash {
    fn of_other(other: &Other) -> Option<&Self> {
        if let Other::Hash(it) = other { Some(it) } else { None }
    }

    fn of_other_mut(other: &mut Other) -> Option<&mut Self> {
        if let Other::Hash(it) = other { Some(it) } else { None }
    }

    fn into_other(self) -> Other {
        Other::Hash(self)
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn shrink(&mut self) {
        self.items.give_back();
    }
}

impl Kind for Set {
    fn of_other(other: &Other) -> Option<&Self> {
        if let Other::Set(it) = other { Some(it) } else { None }
    }

    fn of_other_mut(other: &mut Other) -> Option<&mut Self> {
        if let Other::Set(it) = other { Some(it) } else { None }
    }

    fn into_other(self) -> Other {
        Other::Set(self)
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn shrink(&mut self) {
        self.items.give_back();
    }
}

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Left,
    Right,
}

/// A list of strings. A caller that changes the items directly updates the count of bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    pub(crate) items: VecDeque<Bytes>,
    bytes: usize,
}

impl List {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    fn cost(item: &[u8]) -> usize {
        item.len() + size_of::<Bytes>() + ALLOCATION
    }

    pub(crate) fn push(&mut self, end: End, item: Bytes) {
        self.bytes += Self::cost(&item);
        match end {
            End::Left => self.items.push_front(item),
            End::Right => self.items.push_back(item),
        }
    }

    pub(crate) fn pop(&mut self, end: End) -> Option<Bytes> {
        let item = match end {
            End::Left => self.items.pop_front(),
            End::Right => self.items.pop_back(),
        }?;
        self.bytes -= Self::cost(&item);
        Some(item)
    }

    pub(crate) fn insert(&mut self, index: usize, item: Bytes) {
        self.bytes += Self::cost(&item);
        self.items.insert(index, item);
    }

    pub(crate) fn replace(&mut self, index: usize, item: Bytes) {
        self.bytes += item.len();
        let old = std::mem::replace(&mut self.items[index], item);
        self.bytes -= old.len();
    }

    /// Keeps the items from `start` to before `end`. It does not look at the items that stay:
    /// programs trim a list whenever they add to it, to keep it short.
    pub(crate) fn trim(&mut self, start: usize, end: usize) {
        let behind = self.items.drain(end.min(self.items.len())..);
        let behind: usize = behind.map(|item| Self::cost(&item)).sum();
        let before = self.items.drain(..start.min(self.items.len()));
        let before: usize = before.map(|item| Self::cost(&item)).sum();
        self.bytes -= behind + before;
    }

    /// Removes up to `count` items that equal `item`, beginning at `from`. Returns how many.
    pub(crate) fn remove(&mut self, from: End, count: usize, item: &[u8]) -> usize {
        let matches = |it: &Bytes| **it == *item;
        let total = self.items.iter().filter(|it| matches(it)).count();
        let removed = total.min(count);
        let skipped = if from == End::Left { 0 } else { total - removed };
        let mut seen = 0;
        self.items.retain(|it| {
            let hit = matches(it);
            seen += usize::from(hit);
            !(hit && seen > skipped && seen <= skipped + removed)
        });
        self.bytes -= removed * Self::cost(item);
        removed
    }
}

/// A map of fields, which keeps their order while it is small.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hash {
    pub(crate) items: IndexMap<Bytes, Bytes, RandomState>,
    bytes: usize,
    /// Whether it has ever exceeded Redis's small encoding.
    is_large: bool,
}

impl Hash {
    /// Returns an empty hash, which may have been large before.
    pub(crate) fn once_large(is_large: bool) -> Self {
        Self { is_large, ..Self::default() }
    }

    /// Returns whether it has ever exceeded Redis's small encoding.
    pub(crate) fn is_large(&self) -> bool {
        self.is_large
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.items.get(field).map(|value| &**value)
    }

    /// Sets a field. Returns whether it is new.
    pub(crate) fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.bytes += value.len();
        self.is_large |= field.len().max(value.len()) > LISTPACK_VALUE_MAX;
        if let Some(old) = self.items.get_mut(field) {
            self.bytes -= old.len();
            *old = value.into();
            return false;
        }
        self.bytes += field.len() + ELEMENT + 2 * ALLOCATION;
        self.items.insert(field.into(), value.into());
        self.is_large |= self.items.len() > LISTPACK_ENTRIES_MAX;
        true
    }

    pub(crate) fn remove(&mut self, field: &[u8]) -> bool {
        let removed = if self.items.len() <= ORDERED_MAX {
            self.items.shift_remove(field)
        } else {
            self.items.swap_remove(field)
        };
        if let Some(value) = &removed {
            self.bytes -= field.len() + value.len() + ELEMENT + 2 * ALLOCATION;
        }
        removed.is_some()
    }
}

fn is_integer(bytes: &[u8]) -> bool {
    parse_integer(bytes).is_some()
}

/// A set of strings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Set {
    pub(crate) items: IndexSet<Bytes, RandomState>,
    bytes: usize,
    /// Whether it has ever exceeded Redis's small encoding.
    is_large: bool,
}

impl Set {
    /// Returns an empty set, which may have been large before.
    pub(crate) fn once_large(is_large: bool) -> Self {
        Self { is_large, ..Self::default() }
    }

    /// Returns whether it has ever exceeded Redis's small encoding.
    pub(crate) fn is_large(&self) -> bool {
        self.is_large
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn contains(&self, member: &[u8]) -> bool {
        self.items.contains(member)
    }

    /// Adds a member. Returns whether it is new.
    pub(crate) fn add(&mut self, member: &[u8]) -> bool {
        if self.items.contains(member) {
            return false;
        }
        self.bytes += member.len() + ELEMENT + ALLOCATION;
        self.items.insert(member.into());
        if !self.is_large {
            self.is_large = self.items.len() > INTSET_ENTRIES_MAX || !is_integer(member);
        }
        true
    }

    /// Recomputes whether it is large, where Redis has built a new set.
    pub(crate) fn settle(&mut self) {
        self.is_large = self.items.len() > INTSET_ENTRIES_MAX
            || !self.items.iter().all(|member| is_integer(member));
    }

    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        let removed = if self.items.len() <= ORDERED_MAX {
            self.items.shift_remove(member)
        } else {
            self.items.swap_remove(member)
        };
        self.bytes -= if removed { member.len() + ELEMENT + ALLOCATION } else { 0 };
        removed
    }

    /// Removes the member at this index, if there is one.
    pub(crate) fn take(&mut self, index: usize) -> Option<Bytes> {
        let member = self.items.swap_remove_index(index)?;
        self.bytes -= member.len() + ELEMENT + ALLOCATION;
        Some(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming_counts_the_removed_items() {
        let mut list = List::default();
        for length in 0..10 {
            list.push(End::Right, vec![b'x'; length].into());
        }
        for (start, end) in [(0, 100), (2, 8), (1, 5), (3, 1), (0, 0)] {
            list.trim(start, end);
            let counted: usize = list.items.iter().map(|item| List::cost(item)).sum();
            assert_eq!(list.bytes, counted);
        }
        assert!(list.items.is_empty());
    }
}
