//! The cache: answers of upstreams, kept for as long as their TTLs say.
//!
//! Each answer is kept as the bytes of a message, together with the places of its TTLs. An answer from
//! the cache is a copy of these bytes with another number, other flags, the spelling of the question and
//! smaller TTLs. What was not used for the longest time makes room for what is new.

mod args;
mod entry;
mod kept;
mod table;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use protocol::dns::{Class, Header, Message, Question, RecordType};

use self::kept::{Kept, What};
use self::table::Table;
use super::lower_name::LowerName;

pub(super) use self::args::CacheArgs;
pub(super) use self::entry::Entry;

/// The limits of a cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheOptions {
    /// The memory that it takes, in bytes.
    pub(super) size_max: usize,
    /// For how long an answer is kept, in seconds. A longer TTL is made shorter, for the client too.
    pub(super) ttl_max: u32,
    /// For how long it is known that there is no such name, or no record of a type, in seconds (RFC 2308
    /// section 5: one to three hours).
    pub(super) negative_ttl_max: u32,
    /// For how long after its end an answer may be used if no upstream answers (RFC 8767).
    pub(super) stale: Option<Duration>,
}

/// Answers of upstreams.
#[derive(Debug)]
pub(super) struct Cache {
    options: CacheOptions,
    table: Table,
    /// A key of the process, so that no client can choose names that collide.
    hasher: RandomState,
}

/// What the cache has about a question.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// An answer. With `prefetch`, it is popular and ends soon, so the upstreams should be asked now. This
    /// is said once.
    Fresh {
        /// The answer.
        entry: Entry<'a>,
        /// Whether to ask the upstreams.
        prefetch: bool,
    },
    /// An answer whose time is over. The upstreams have to be asked, and it may be used if none answers.
    Stale(Entry<'a>),
    /// Nothing.
    Missing,
}

/// What clients want besides the records. Answers to one combination do not suit another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// DO: records of DNSSEC.
    pub(super) dnssec_ok: bool,
    /// CD: records that the upstream has not verified.
    pub(super) checking_disabled: bool,
    /// AD: whether the upstream has verified them.
    pub(super) authentic: bool,
}

impl Wants {
    /// Returns what a question wants that has this header, and DO or not.
    pub(super) fn of(header: &Header, dnssec_ok: bool) -> Self {
        let Header { checking_disabled, is_authentic, .. } = *header;
        // DO asks for AD, too (RFC 6840 section 5.7).
        Self { dnssec_ok, checking_disabled, authentic: is_authentic || dnssec_ok }
    }
}

/// Stands for all types of a name that does not exist (RFC 2308 section 5). It is a reserved number.
const ALL_TYPES: RecordType = RecordType(0);

/// How often an answer is used at least to be popular.
const POPULAR: u32 = 2;
/// A popular answer is prefetched in the last of so many parts of its time.
const PREFETCH_PART: u64 = 10;

/// What is looked for in the table.
#[derive(Clone, Copy)]
struct Key<'a> {
    name: &'a [u8],
    kind: RecordType,
    class: Class,
    wants: Wants,
}

impl Cache {
    /// Returns a cache that is empty.
    pub(super) fn new(options: CacheOptions) -> Self {
        Self { options, table: Table::new(options.size_max), hasher: RandomState::new() }
    }

    /// Returns the answer to a question, whose name is `name`.
    pub(super) fn look_up(
        &mut self,
        name: &LowerName,
        question: &Question<'_>,
        wants: Wants,
        now: Instant,
    ) -> Found<'_> {
        let Question { kind, class, .. } = *question;
        let exact = self.find(Key { name, kind, class, wants }, now);
        let found = match exact {
            Some((_, Age::Fresh)) => exact,
            _ => {
                let all = self.find(Key { name, kind: ALL_TYPES, class, wants }, now);
                all.filter(|(_, age)| *age == Age::Fresh).or(exact).or(all)
            }
        };
        let Some((place, age)) = found else { return Found::Missing };
        self.table.touch(place);
        let kept = self.table.get_mut(place);
        let seconds = kept.age(now);
        let prefetch = age == Age::Fresh && is_to_prefetch(kept, seconds);
        let entry = Entry::new(kept, name.len(), seconds);
        match age {
            Age::Fresh => Found::Fresh { entry, prefetch },
            Age::Stale => Found::Stale(entry),
        }
    }

    /// Stores what a response says, if it may be stored. The response is that of an upstream to this
    /// question, so its number and its question are right.
    pub(super) fn store(
        &mut self,
        question: &Question<'_>,
        wants: Wants,
        response: &Message<'_>,
        now: Instant,
    ) {
        let Some((kept, what)) = Kept::new(question, wants, response, &self.options, now) else {
            return;
        };
        let name = LowerName::new(question.name);
        let Question { kind, class, .. } = *question;
        let (own, other) = match what {
            What::Records | What::NoRecords => (kind, ALL_TYPES),
            What::NoName => (ALL_TYPES, kind),
        };
        // What was known before and says something else is wrong now.
        for kind in [own, other] {
            if let Some(place) = self.place_of(Key { name: &name, kind, class, wants }) {
                self.table.remove(place);
            }
        }
        let hash = self.hash(Key { name: &name, kind: own, class, wants });
        self.table.insert(hash, kept.of_kind(own));
    }

    /// Returns how many answers there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns the memory that they take, in bytes.
    pub(super) fn size(&self) -> usize {
        self.table.size()
    }

    fn place_of(&self, key: Key<'_>) -> Option<u32> {
        self.table.find(self.hash(key), |kept| kept.has(&key))
    }

    /// Returns where an answer is, and whether it is still true. One that is of no use is removed.
    fn find(&mut self, key: Key<'_>, now: Instant) -> Option<(u32, Age)> {
        let place = self.place_of(key)?;
        let over = self.table.get(place).time_over(now);
        match over {
            None => Some((place, Age::Fresh)),
            Some(over) if self.options.stale.is_some_and(|limit| over < limit) => {
                Some((place, Age::Stale))
            }
            Some(_) => {
                self.table.remove(place);
                None
            }
        }
    }

    fn hash(&self, key: Key<'_>) -> u64 {
        let Wants { dnssec_ok, checking_disabled, authentic } = key.wants;
        let wants = [dnssec_ok, checking_disabled, authentic];
        let wants = wants.iter().fold(0, |all, flag| all << 1 | u64::from(*flag));
        let rest = wants << 32 | u64::from(key.kind.0) << 16 | u64::from(key.class.0);
        self.hasher.hash_one((key.name, rest))
    }
}

/// Whether an answer is still true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    Stale,
}

/// Returns whether an answer of this age in seconds is to be asked for again before it ends, and notes that
/// this was said.
fn is_to_prefetch(kept: &mut Kept, age: u64) -> bool {
    kept.uses = kept.uses.saturating_add(1);
    let left = u64::from(kept.ttl).saturating_sub(age);
    let is_due = kept.uses > POPULAR && left * PREFETCH_PART <= u64::from(kept.ttl);
    is_due && !std::mem::replace(&mut kept.is_prefetched, true)
}

#[cfg(test)]
mod tests;
