//! The commands of keys: existence, names, expiry, scans.

use crate::kv::call::{Call, Options, integer, is};
use crate::kv::databases::database;
use crate::kv::error::{Done, Error, NO_KEY, SAME_OBJECT, SYNTAX, error, errorf, fixed};
use crate::kv::glob;
use crate::kv::store::Store;
use crate::kv::text::quoting;
use crate::kv::value::Value;

/// The unit of a time, and what it counts from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
}

impl Unit {
    /// Returns the unit that an option of `SET` or `GETEX` names.
    pub(crate) fn of(option: &[u8]) -> Option<Self> {
        let options = [
            ("EX", Self::Seconds),
            ("PX", Self::Milliseconds),
            ("EXAT", Self::UnixSeconds),
            ("PXAT", Self::UnixMilliseconds),
        ];
        options.into_iter().find(|(word, _)| is(option, word)).map(|(_, unit)| unit)
    }

    /// Reads a time, which has to be positive.
    pub(crate) fn read(self, argument: &[u8], now: u64, name: &str) -> Result<u64, Error> {
        let amount = integer(argument)?;
        if amount <= 0 {
            return Err(invalid_expiry(name));
        }
        deadline(amount, self, now, name).map(|at| at.max(0) as u64)
    }
}

fn invalid_expiry(name: &str) -> Error {
    errorf(format!("ERR invalid expire time in '{name}' command"))
}

/// Converts an amount to milliseconds since 1970.
pub(crate) fn deadline(amount: i64, unit: Unit, now: u64, name: &str) -> Result<i64, Error> {
    let milliseconds = match unit {
        Unit::Seconds | Unit::UnixSeconds => amount.checked_mul(1000),
        Unit::Milliseconds | Unit::UnixMilliseconds => Some(amount),
    };
    let at = match unit {
        Unit::Seconds | Unit::Milliseconds => {
            milliseconds.and_then(|it| it.checked_add(now as i64))
        }
        Unit::UnixSeconds | Unit::UnixMilliseconds => milliseconds,
    };
    at.ok_or_else(|| invalid_expiry(name))
}

pub(crate) fn del(call: &mut Call<'_>) -> Done {
    let keys = call.args[1..].iter();
    let count = keys.filter(|key| call.app.store.remove(key).is_some()).count();
    call.reply_count(count);
    Ok(())
}

pub(crate) fn exists(call: &mut Call<'_>) -> Done {
    let keys = call.args[1..].iter();
    let count = keys.filter(|key| call.app.store.get(key).is_some()).count();
    call.reply_count(count);
    Ok(())
}

pub(crate) fn type_of(call: &mut Call<'_>) -> Done {
    let name = call.app.store.get(call.args[1]).map_or("none", |value| value.type_name());
    call.out.simple(name);
    Ok(())
}

/// Moves the value and the expiry of a key to another key.
fn move_key(call: &mut Call<'_>, from: &[u8], to: &[u8]) {
    let expiry = call.app.store.expiry(from).flatten();
    let value = call.app.store.remove(from);
    put_until(&mut call.app.store, to, value, expiry);
}

fn put_until(store: &mut Store, key: &[u8], value: Option<Value>, expiry: Option<u64>) {
    store.put(key, value);
    if expiry.is_some() {
        store.set_expiry(key, expiry);
    }
}

pub(crate) fn move_to(call: &mut Call<'_>) -> Done {
    let (key, to) = (call.key(), database(call.args[2])?);
    let store = &mut call.app.store;
    if to == store.selected() {
        return Err(SAME_OBJECT);
    }
    let moves = store.get(key).is_some() && store.within(to, |other| other.get(key).is_none());
    if moves {
        let expiry = store.expiry(key).flatten();
        let value = store.remove(key);
        store.within(to, |other| put_until(other, key, value, expiry));
    }
    call.out.integer(i64::from(moves));
    Ok(())
}

pub(crate) fn copy(call: &mut Call<'_>) -> Done {
    let (from, to, store) = (call.args[1], call.args[2], &mut call.app.store);
    let (mut db, mut replaces) = (store.selected(), false);
    let mut options = Options::new(&call.args[3..]);
    while let Some(option) = options.next() {
        if is(option, "REPLACE") {
            replaces = true;
        } else if is(option, "DB") {
            db = database(options.value()?)?;
        } else {
            return Err(SYNTAX);
        }
    }
    if from == to && db == store.selected() {
        return Err(SAME_OBJECT);
    }
    let copies = store.get(from).is_some()
        && (store.within(db, |other| other.get(to).is_none()) || replaces);
    if copies {
        let (value, expiry) = (store.get(from).cloned(), store.expiry(from).flatten());
        store.within(db, |other| put_until(other, to, value, expiry));
    }
    call.out.integer(i64::from(copies));
    Ok(())
}

pub(crate) fn rename(call: &mut Call<'_>) -> Done {
    let (from, to) = (call.args[1], call.args[2]);
    if call.app.store.get(from).is_none() {
        return Err(NO_KEY);
    }
    if from != to {
        move_key(call, from, to);
    }
    call.out.ok();
    Ok(())
}

pub(crate) fn renamenx(call: &mut Call<'_>) -> Done {
    let (from, to) = (call.args[1], call.args[2]);
    if call.app.store.get(from).is_none() {
        return Err(NO_KEY);
    }
    let is_free = call.app.store.get(to).is_none();
    if is_free {
        move_key(call, from, to);
    }
    call.out.integer(i64::from(is_free));
    Ok(())
}

pub(crate) fn object_encoding(call: &mut Call<'_>) -> Done {
    let encoding = call.app.store.get(call.args[2]).map(Value::encoding);
    call.reply(encoding.map(str::as_bytes));
    Ok(())
}

pub(crate) fn memory_usage(call: &mut Call<'_>) -> Done {
    let mut options = Options::new(&call.args[3..]);
    while let Some(option) = options.next() {
        // All elements are counted, so the number of samples does not matter.
        if !is(option, "SAMPLES") || integer(options.value()?)? < 0 {
            return Err(SYNTAX);
        }
    }
    match call.app.store.usage(call.args[2]) {
        Some(size) => call.reply_count(size),
        None => call.out.null(),
    }
    Ok(())
}

pub(crate) fn keys(call: &mut Call<'_>) -> Done {
    let (pattern, store) = (call.args[1], &call.app.store);
    call.out.counted(protocol::resp::Item::Array, |out| {
        let (all, _) = store.scan(0, usize::MAX);
        all.filter(|(key, _)| glob::finds(pattern, key)).map(|(key, _)| out.bulk(key)).count()
    });
    Ok(())
}

/// Reads a cursor like `strtoul(3)`: an empty text is 0, and negative numbers wrap around.
pub(crate) fn cursor(argument: &[u8]) -> Result<u64, Error> {
    let (digits, is_negative) = match argument {
        [] => return Ok(0),
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] => (digits, false),
        digits => (digits, false),
    };
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    let cursor: Option<u64> = text.and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or(fixed("ERR invalid cursor"))?;
    Ok(if is_negative { cursor.wrapping_neg() } else { cursor })
}

/// The arguments of `SCAN` and its relatives.
pub(crate) struct Scan<'a> {
    pub(crate) cursor: u64,
    pub(crate) count: usize,
    pub(crate) pattern: Option<&'a [u8]>,
    pub(crate) kind: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    /// Reads a cursor and the options after it, of which only `SCAN` itself takes `TYPE`.
    pub(crate) fn read(args: &'a [&'a [u8]], takes_type: bool) -> Result<Self, Error> {
        let cursor = cursor(args[0])?;
        let mut scan = Self { cursor, count: 10, pattern: None, kind: None };
        let mut options = Options::new(&args[1..]);
        while let Some(option) = options.next() {
            if is(option, "MATCH") {
                scan.pattern = Some(options.value()?);
            } else if is(option, "COUNT") {
                let count = integer(options.value()?)?;
                scan.count = usize::try_from(count).ok().filter(|it| *it > 0).ok_or(SYNTAX)?;
            } else if takes_type && is(option, "TYPE") {
                scan.kind = Some(options.value()?);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(scan)
    }

    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::finds(pattern, name))
    }
}

pub(crate) fn scan(call: &mut Call<'_>) -> Done {
    let scan = Scan::read(&call.args[1..], true)?;
    let (found, next) = call.app.store.scan(scan.cursor, scan.count);
    let found = found.filter(|(key, value)| {
        let is_kind = |kind: &[u8]| is(kind, value.type_name());
        scan.takes(key) && scan.kind.is_none_or(is_kind)
    });
    call.out.array(2);
    call.out.bulk_display(next);
    call.out
        .counted(protocol::resp::Item::Array, |out| found.map(|(key, _)| out.bulk(key)).count());
    Ok(())
}

pub(crate) fn randomkey(call: &mut Call<'_>) -> Done {
    let places = call.app.store.places();
    if call.app.store.len() == 0 {
        call.out.null();
        return Ok(());
    }
    // Where most places are free, the next key after a random place is nearly as random.
    let start = call.app.random.usize(..places);
    let key = [start, 0].into_iter().find_map(|from| {
        let (mut found, _) = call.app.store.scan(from as u64, usize::MAX);
        found.next().map(|(key, _)| key)
    });
    crate::kv::call::bulk_or_null(&mut call.out, key);
    Ok(())
}

/// The conditions of `EXPIRE` and its relatives.
#[derive(Default)]
struct Conditions {
    no_expiry: bool,
    has_expiry: bool,
    later: bool,
    earlier: bool,
}

impl Conditions {
    fn read(args: &[&[u8]]) -> Result<Self, Error> {
        let mut it = Self::default();
        for option in args {
            match () {
                () if is(option, "NX") => it.no_expiry = true,
                () if is(option, "XX") => it.has_expiry = true,
                () if is(option, "GT") => it.later = true,
                () if is(option, "LT") => it.earlier = true,
                () => {
                    return Err(quoting("ERR Unsupported option ", option, ""));
                }
            }
        }
        if it.no_expiry && (it.has_expiry || it.later || it.earlier) {
            return error("ERR NX and XX, GT or LT options at the same time are not compatible");
        }
        if it.later && it.earlier {
            return error("ERR GT and LT options at the same time are not compatible");
        }
        Ok(it)
    }

    /// Returns whether an expiry may be replaced by `at`. No expiry counts as later than any.
    fn allow(&self, old: Option<u64>, at: i64) -> bool {
        match old.map(|old| old as i64) {
            None => !self.has_expiry && !self.later,
            Some(old) => {
                !self.no_expiry && (!self.later || at > old) && (!self.earlier || at < old)
            }
        }
    }
}

fn expire_in(call: &mut Call<'_>, unit: Unit, name: &str) -> Done {
    let conditions = Conditions::read(&call.args[3..])?;
    let at = deadline(integer(call.args[2])?, unit, call.app.store.now(), name)?;
    let old = call.app.store.expiry(call.args[1]);
    let acts = old.is_some_and(|old| conditions.allow(old, at));
    if acts && at <= call.app.store.now() as i64 {
        call.app.store.remove(call.args[1]);
    } else if acts {
        call.app.store.set_expiry(call.args[1], Some(at as u64));
    }
    call.out.integer(i64::from(acts));
    Ok(())
}

pub(crate) fn expire(call: &mut Call<'_>) -> Done {
    expire_in(call, Unit::Seconds, "expire")
}

pub(crate) fn pexpire(call: &mut Call<'_>) -> Done {
    expire_in(call, Unit::Milliseconds, "pexpire")
}

pub(crate) fn expireat(call: &mut Call<'_>) -> Done {
    expire_in(call, Unit::UnixSeconds, "expireat")
}

pub(crate) fn pexpireat(call: &mut Call<'_>) -> Done {
    expire_in(call, Unit::UnixMilliseconds, "pexpireat")
}

/// Replies with -2 if there is no key, -1 if it has no expiry, and otherwise what `of` returns.
fn time_of(call: &mut Call<'_>, of: impl FnOnce(i64, i64) -> i64) -> Done {
    let now = call.app.store.now() as i64;
    call.out.integer(match call.app.store.expiry(call.args[1]) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => of(at as i64, now),
    });
    Ok(())
}

pub(crate) fn ttl(call: &mut Call<'_>) -> Done {
    time_of(call, |at, now| ((at - now).max(0) + 500) / 1000)
}

pub(crate) fn pttl(call: &mut Call<'_>) -> Done {
    time_of(call, |at, now| (at - now).max(0))
}

pub(crate) fn expiretime(call: &mut Call<'_>) -> Done {
    time_of(call, |at, _| at.saturating_add(500) / 1000)
}

pub(crate) fn pexpiretime(call: &mut Call<'_>) -> Done {
    time_of(call, |at, _| at)
}

pub(crate) fn persist(call: &mut Call<'_>) -> Done {
    let had = call.app.store.expiry(call.args[1]).flatten().is_some();
    if had {
        call.app.store.set_expiry(call.args[1], None);
    }
    call.out.integer(i64::from(had));
    Ok(())
}
