//! The commands of sets.

use std::collections::HashSet;
use std::ops::Range;

use protocol::resp::Item;

use super::keys::{Scan, cursor};
use crate::kv::call::{Call, Options, bulk_or_null, integer, is, positive, two_sided};
use crate::kv::error::{Done, Error, SYNTAX, error};
use crate::kv::value::{Bytes, Kind, Set};

/// Collections up to this size are scanned in one call, as Redis does with its small encodings.
const SCAN_WHOLE_MAX: usize = 128;
/// How many elements a command may choose at random, so that its reply stays bounded.
const CHOICE_MAX: u64 = 1024 * 1024;

/// Redis builds a new set if it removes this many times the members that stay.
const KEEP_FACTOR: usize = 5;

pub(crate) fn sadd(call: &mut Call<'_>) -> Done {
    let (key, members) = (call.args[1], &call.args[2..]);
    let added = call.app.store.edit_or_create(key, |set: &mut Set| {
        members.iter().filter(|member| set.add(member)).count()
    })?;
    if added > 0 {
        call.app.store.touch(key);
    }
    call.reply_count(added);
    Ok(())
}

pub(crate) fn srem(call: &mut Call<'_>) -> Done {
    let (key, members) = (call.args[1], &call.args[2..]);
    let removed = call
        .app
        .store
        .edit(key, |set: &mut Set| members.iter().filter(|member| set.remove(member)).count())?;
    let removed = removed.unwrap_or_default();
    if removed > 0 {
        call.app.store.touch(key);
    }
    call.reply_count(removed);
    Ok(())
}

pub(crate) fn sismember(call: &mut Call<'_>) -> Done {
    let set = call.app.store.read::<Set>(call.args[1])?;
    let is_member = set.is_some_and(|set| set.contains(call.args[2]));
    call.out.integer(i64::from(is_member));
    Ok(())
}

pub(crate) fn smismember(call: &mut Call<'_>) -> Done {
    let set = call.app.store.read::<Set>(call.args[1])?;
    call.out.array(call.args.len() - 2);
    for member in &call.args[2..] {
        call.out.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

pub(crate) fn scard(call: &mut Call<'_>) -> Done {
    let length = call.app.store.read(call.args[1])?.map_or(0, Set::len);
    call.reply_count(length);
    Ok(())
}

pub(crate) fn smembers(call: &mut Call<'_>) -> Done {
    let set = call.app.store.read::<Set>(call.args[1])?;
    call.out.set(set.map_or(0, Set::len));
    set.iter().flat_map(|set| &set.items).for_each(|member| call.out.bulk(member));
    Ok(())
}

pub(crate) fn smove(call: &mut Call<'_>) -> Done {
    let (source, destination, member) = (call.args[1], call.args[2], call.args[3]);
    let Some(set) = call.app.store.read::<Set>(source)? else {
        call.reply_count(0);
        return Ok(());
    };
    let is_member = set.contains(member);
    call.app.store.read::<Set>(destination)?;
    if is_member && source != destination {
        call.app.store.edit(source, |set: &mut Set| set.remove(member))?;
        let is_new = call.app.store.edit_or_create(destination, |set: &mut Set| set.add(member))?;
        call.app.store.touch(source);
        if is_new {
            call.app.store.touch(destination);
        }
    }
    call.out.integer(i64::from(is_member));
    Ok(())
}

/// How many elements to choose at random, and whether they may repeat.
pub(crate) enum Choice {
    Different(usize),
    Any(usize),
}

impl Choice {
    /// Reads the argument `count`, which allows repetition if it is negative.
    pub(crate) fn of(count: i64) -> Result<Self, Error> {
        if count >= 0 {
            return Ok(Self::Different(count as usize));
        }
        if count.unsigned_abs() > CHOICE_MAX {
            return error("ERR value is out of range");
        }
        Ok(Self::Any(count.unsigned_abs() as usize))
    }
}

/// Returns the indices of elements chosen at random among `length`.
pub(crate) fn choose(choice: Choice, length: usize, random: &mut fastrand::Rng) -> Vec<usize> {
    match choice {
        Choice::Any(count) => (0..count).map(|_| random.usize(..length)).collect(),
        Choice::Different(count) if count >= length => (0..length).collect(),
        Choice::Different(count) => {
            // Floyd's algorithm: one draw for each index.
            let mut taken = HashSet::with_capacity(count);
            let mut places = Vec::with_capacity(count);
            for last in length - count..length {
                let place = random.usize(..last + 1);
                let place = if taken.insert(place) { place } else { last };
                taken.insert(place);
                places.push(place);
            }
            places
        }
    }
}

pub(crate) fn srandmember(call: &mut Call<'_>) -> Done {
    if call.args.len() > 3 {
        return Err(SYNTAX);
    }
    let count = call.args.get(2).map(|count| two_sided(count)).transpose()?;
    let limit = call.app.backlog_max(call.me);
    let Some(set) = call.app.store.read::<Set>(call.args[1])? else {
        match count {
            Some(_) => call.out.array(0),
            None => call.out.null(),
        }
        return Ok(());
    };
    let Some(count) = count else {
        let place = call.app.random.usize(..set.len());
        bulk_or_null(&mut call.out, set.items.get_index(place).map(|member| &**member));
        return Ok(());
    };
    let chosen = choose(Choice::of(count)?, set.len(), &mut call.app.random);
    call.out.array(chosen.len());
    for place in chosen {
        call.out.bulk(&set.items[place]);
        if call.out.backlog() > limit {
            break;
        }
    }
    Ok(())
}

pub(crate) fn spop(call: &mut Call<'_>) -> Done {
    let key = call.args[1];
    let count = match &call.args[2..] {
        [] => None,
        [count] => Some(positive(count)?),
        _ => return Err(SYNTAX),
    };
    let length = call.app.store.read(key)?.map_or(0, Set::len);
    let wanted = count.unwrap_or(1).min(length);
    match count {
        None if length == 0 => call.out.null(),
        None => {}
        Some(_) => call.out.set(wanted),
    }
    for taken in 0..wanted {
        let place = call.app.random.usize(..length - taken);
        let member = call.app.store.edit(key, |set: &mut Set| set.take(place))?.flatten();
        bulk_or_null(&mut call.out, member.as_deref());
    }
    if wanted > 0 {
        call.app.store.touch(key);
        if count.is_some() && wanted >= (length - wanted) * KEEP_FACTOR {
            call.app.store.edit(key, Set::settle)?;
        }
    }
    Ok(())
}

/// Returns the elements that one call of `SSCAN` or `HSCAN` replies, and the next cursor. It goes
/// from the end to the front: a removed element is replaced by the last one or by the one after
/// it, so the elements before the cursor have not been replied yet and stay there.
pub(crate) fn page(scan: &Scan<'_>, length: usize) -> (Range<usize>, usize) {
    if length <= SCAN_WHOLE_MAX && scan.cursor == 0 {
        return (0..length, 0);
    }
    let end = match scan.cursor {
        0 => length,
        cursor => usize::try_from(cursor).unwrap_or(usize::MAX).min(length),
    };
    let start = end.saturating_sub(scan.count);
    (start..end, start)
}

pub(crate) fn sscan(call: &mut Call<'_>) -> Done {
    cursor(call.args[2])?;
    let set = call.app.store.read::<Set>(call.args[1])?;
    // Redis does not look at the options if there is no set.
    let options = if set.is_some() { &call.args[2..] } else { &call.args[2..3] };
    let scan = Scan::read(options, false)?;
    let (range, next) = page(&scan, set.map_or(0, Set::len));
    call.out.array(2);
    call.out.bulk_display(next);
    call.out.counted(Item::Array, |out| {
        let items = set.and_then(|set| set.items.get_range(range));
        let members = items.into_iter().flatten().filter(|member| scan.takes(member));
        members.map(|member| out.bulk(member)).count()
    });
    Ok(())
}

/// An operation on several sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

/// Returns the result of an operation on several sets, up to `most` members.
fn combine(
    call: &mut Call<'_>,
    operation: Operation,
    keys: &[&[u8]],
    most: usize,
) -> Result<Set, Error> {
    let mut result = Set::default();
    for (number, key) in keys.iter().enumerate() {
        let Some(set) = call.app.store.read::<Set>(key)? else {
            if operation == Operation::Intersection {
                result = Set::default();
                // Redis checks the types of the remaining keys, too.
                for key in &keys[number + 1..] {
                    call.app.store.read::<Set>(key)?;
                }
                break;
            }
            continue;
        };
        match operation {
            Operation::Union => add_all(&mut result, set),
            _ if number == 0 => add_all(&mut result, set),
            Operation::Intersection => retain(&mut result, |it| set.contains(it)),
            Operation::Difference => retain(&mut result, |it| !set.contains(it)),
        }
    }
    while result.len() > most {
        result.take(result.len() - 1);
    }
    Ok(result)
}

fn add_all(set: &mut Set, more: &Set) {
    for member in &more.items {
        set.add(member);
    }
}

fn retain(set: &mut Set, keep: impl Fn(&[u8]) -> bool) {
    let gone: Vec<Bytes> = set.items.iter().filter(|member| !keep(member)).cloned().collect();
    if gone.len() == set.len() {
        *set = Set::default();
        return;
    }
    for member in &gone {
        set.remove(member);
    }
}

fn reply_combined(call: &mut Call<'_>, operation: Operation) -> Done {
    let set = combine(call, operation, &call.args[1..], usize::MAX)?;
    call.out.set(set.len());
    set.items.iter().for_each(|member| call.out.bulk(member));
    Ok(())
}

/// Returns whether Redis computes a difference by removing members from a copy of the first set,
/// which it does when that is less work than looking up each member in all other sets.
fn removes_from_copy(call: &mut Call<'_>, keys: &[&[u8]]) -> Result<bool, Error> {
    let (mut first, mut count, mut all) = (0, 0, 0);
    for (number, key) in keys.iter().enumerate() {
        if let Some(set) = call.app.store.read::<Set>(key)? {
            first = if number == 0 { set.len() } else { first };
            count += 1;
            all += set.len();
        }
    }
    Ok(first * count / 2 > all)
}

fn store_combined(call: &mut Call<'_>, operation: Operation) -> Done {
    let keys = &call.args[2..];
    let mut set = combine(call, operation, keys, usize::MAX)?;
    if operation != Operation::Difference || !removes_from_copy(call, keys)? {
        set.settle();
    }
    let length = set.len();
    let value = (length > 0).then(|| set.into_value());
    call.app.store.put(call.args[1], value);
    call.reply_count(length);
    Ok(())
}

pub(crate) fn sinter(call: &mut Call<'_>) -> Done {
    reply_combined(call, Operation::Intersection)
}

pub(crate) fn sunion(call: &mut Call<'_>) -> Done {
    reply_combined(call, Operation::Union)
}

pub(crate) fn sdiff(call: &mut Call<'_>) -> Done {
    reply_combined(call, Operation::Difference)
}

pub(crate) fn sinterstore(call: &mut Call<'_>) -> Done {
    store_combined(call, Operation::Intersection)
}

pub(crate) fn sunionstore(call: &mut Call<'_>) -> Done {
    store_combined(call, Operation::Union)
}

pub(crate) fn sdiffstore(call: &mut Call<'_>) -> Done {
    store_combined(call, Operation::Difference)
}

pub(crate) fn sintercard(call: &mut Call<'_>) -> Done {
    let Some(count) = integer(call.args[1]).ok().filter(|count| *count > 0) else {
        return error("ERR numkeys should be greater than 0");
    };
    let rest = &call.args[2..];
    let Some((keys, options)) = rest.split_at_checked(count as usize) else {
        return error("ERR Number of keys can't be greater than number of args");
    };
    let (mut most, mut options) = (0, Options::new(options));
    while let Some(option) = options.next() {
        if !is(option, "LIMIT") {
            return Err(SYNTAX);
        }
        most = positive(options.value()?).or(error("ERR LIMIT can't be negative"))?;
    }
    let most = if most == 0 { usize::MAX } else { most };
    let length = combine(call, Operation::Intersection, keys, most)?.len();
    call.reply_count(length);
    Ok(())
}
