//! The commands of strings, and of numbers written as strings.

use super::keys::Unit;
use crate::kv::call::{Call, Options, bulk_or_null, integer, is, range};
use crate::kv::decimal;
use crate::kv::error::{Done, Error, NOT_FLOAT, OVERFLOW, SYNTAX, TOO_LONG, error, errorf, fixed};
use crate::kv::text::wrong_arity;

/// The longest string, Redis's `proto-max-bulk-len`.
pub(crate) const STRING_SIZE_MAX: usize = 512 * 1024 * 1024;

pub(crate) fn get(call: &mut Call<'_>) -> Done {
    let found = call.app.store.string(call.args[1])?;
    match found {
        Some(_) => call.app.stats.hits += 1,
        None => call.app.stats.misses += 1,
    }
    bulk_or_null(&mut call.out, found);
    Ok(())
}

/// The options after the value of `SET`.
#[derive(Default)]
struct SetOptions<'a> {
    only_new: bool,
    only_old: bool,
    returns_old: bool,
    keeps_expiry: bool,
    expiry: Option<(Unit, &'a [u8])>,
}

fn set_options<'a>(call: &Call<'a>) -> Result<SetOptions<'a>, Error> {
    let mut options = SetOptions::default();
    let mut rest = Options::new(&call.args[3..]);
    while let Some(option) = rest.next() {
        if is(option, "NX") && !options.only_old {
            options.only_new = true;
        } else if is(option, "XX") && !options.only_new {
            options.only_old = true;
        } else if is(option, "GET") {
            options.returns_old = true;
        } else if is(option, "KEEPTTL") && options.expiry.is_none() {
            options.keeps_expiry = true;
        } else if let Some(unit) = Unit::of(option)
            && !options.keeps_expiry
            && options.expiry.is_none_or(|(other, _)| other == unit)
        {
            options.expiry = Some((unit, rest.value()?));
        } else {
            return Err(SYNTAX);
        }
    }
    Ok(options)
}

pub(crate) fn set(call: &mut Call<'_>) -> Done {
    let (key, value) = (call.args[1], call.args[2]);
    if call.args.len() == 3 {
        call.app.store.set_string(key, value, false);
        call.out.ok();
        return Ok(());
    }
    let options = set_options(call)?;
    let now = call.app.store.now();
    let expiry = options.expiry.map(|(unit, time)| unit.read(time, now, "set")).transpose()?;
    if options.returns_old {
        bulk_or_null(&mut call.out, call.app.store.string(key)?);
    }
    let exists = call.app.store.get(key).is_some();
    if exists && options.only_new || !exists && options.only_old {
        if !options.returns_old {
            call.out.null();
        }
        return Ok(());
    }
    call.app.store.set_string(key, value, options.keeps_expiry);
    if expiry.is_some() {
        call.app.store.set_expiry(key, expiry);
    }
    if !options.returns_old {
        call.out.ok();
    }
    Ok(())
}

pub(crate) fn setnx(call: &mut Call<'_>) -> Done {
    let is_new = call.app.store.get(call.args[1]).is_none();
    if is_new {
        call.app.store.set_string(call.args[1], call.args[2], false);
    }
    call.out.integer(i64::from(is_new));
    Ok(())
}

fn set_with_expiry(call: &mut Call<'_>, unit: Unit, name: &str) -> Done {
    let at = unit.read(call.args[2], call.app.store.now(), name)?;
    call.app.store.set_string(call.args[1], call.args[3], false);
    call.app.store.set_expiry(call.args[1], Some(at));
    call.out.ok();
    Ok(())
}

pub(crate) fn setex(call: &mut Call<'_>) -> Done {
    set_with_expiry(call, Unit::Seconds, "setex")
}

pub(crate) fn psetex(call: &mut Call<'_>) -> Done {
    set_with_expiry(call, Unit::Milliseconds, "psetex")
}

pub(crate) fn getset(call: &mut Call<'_>) -> Done {
    get(call)?;
    call.app.store.set_string(call.args[1], call.args[2], false);
    Ok(())
}

pub(crate) fn getdel(call: &mut Call<'_>) -> Done {
    get(call)?;
    call.app.store.remove(call.args[1]);
    Ok(())
}

pub(crate) fn getex(call: &mut Call<'_>) -> Done {
    let key = call.key();
    let (mut persists, mut expiry) = (false, None);
    let mut options = Options::new(&call.args[2..]);
    while let Some(option) = options.next() {
        if is(option, "PERSIST") && expiry.is_none() {
            persists = true;
        } else if let Some(unit) = Unit::of(option)
            && !persists
            && expiry.is_none_or(|(other, _)| other == unit)
        {
            expiry = Some((unit, options.value()?));
        } else {
            return Err(SYNTAX);
        }
    }
    if call.app.store.string(key)?.is_none() {
        return get(call);
    }
    let now = call.app.store.now();
    let expiry = expiry.map(|(unit, time)| unit.read(time, now, "getex")).transpose()?;
    get(call)?;
    if persists && call.app.store.expiry(key).flatten().is_some() {
        call.app.store.set_expiry(key, None);
    } else if expiry.is_some() {
        call.app.store.set_expiry(key, expiry);
    }
    Ok(())
}

pub(crate) fn mget(call: &mut Call<'_>) -> Done {
    call.out.array(call.args.len() - 1);
    for key in &call.args[1..] {
        let found = call.app.store.string(key).unwrap_or(None);
        bulk_or_null(&mut call.out, found);
        if call.is_over_limit() {
            break;
        }
    }
    Ok(())
}

fn set_pairs(call: &mut Call<'_>) {
    for pair in call.args[1..].chunks(2) {
        call.app.store.set_string(pair[0], pair[1], false);
    }
}

pub(crate) fn mset(call: &mut Call<'_>) -> Done {
    if call.args.len().is_multiple_of(2) {
        return Err(errorf(wrong_arity("mset")));
    }
    set_pairs(call);
    call.out.ok();
    Ok(())
}

pub(crate) fn msetnx(call: &mut Call<'_>) -> Done {
    if call.args.len().is_multiple_of(2) {
        return Err(errorf(wrong_arity("msetnx")));
    }
    let mut keys = call.args[1..].iter().step_by(2);
    let is_new = keys.all(|key| call.app.store.get(key).is_none());
    if is_new {
        set_pairs(call);
    }
    call.out.integer(i64::from(is_new));
    Ok(())
}

pub(crate) fn append(call: &mut Call<'_>) -> Done {
    let (key, more) = (call.args[1], call.args[2]);
    let Some(length) = call.app.store.string(key)?.map(<[u8]>::len) else {
        call.app.store.set_string(key, more, false);
        call.reply_count(more.len());
        return Ok(());
    };
    if length + more.len() > STRING_SIZE_MAX {
        return Err(TOO_LONG);
    }
    call.app.store.edit_string(key, |text| text.extend_from_slice(more))?;
    call.reply_count(length + more.len());
    Ok(())
}

pub(crate) fn strlen(call: &mut Call<'_>) -> Done {
    let length = call.app.store.string(call.args[1])?.map_or(0, <[u8]>::len);
    call.reply_count(length);
    Ok(())
}

pub(crate) fn getrange(call: &mut Call<'_>) -> Done {
    let (start, stop) = (integer(call.args[2])?, integer(call.args[3])?);
    let bytes = call.app.store.string(call.args[1])?.unwrap_or_default();
    call.out.bulk(&bytes[substring(start, stop, bytes.len())]);
    Ok(())
}

/// Returns a range like [`range`], except that negative bounds in the wrong order mean the first
/// byte.
fn substring(start: i64, stop: i64, length: usize) -> std::ops::Range<usize> {
    if start < 0 && stop < 0 && start > stop {
        return 0..0;
    }
    let stop = if stop < 0 { stop.saturating_add(length as i64).max(0) } else { stop };
    range(start, stop, length)
}

pub(crate) fn setrange(call: &mut Call<'_>) -> Done {
    let (key, patch) = (call.args[1], call.args[3]);
    let Ok(offset) = usize::try_from(integer(call.args[2])?) else {
        return error("ERR offset is out of range");
    };
    let length = call.app.store.string(key)?.map_or(0, <[u8]>::len);
    if patch.is_empty() {
        call.reply_count(length);
        return Ok(());
    }
    let end = offset.saturating_add(patch.len());
    if end > STRING_SIZE_MAX {
        return Err(TOO_LONG);
    }
    call.app.store.edit_string(key, |text| {
        text.resize(text.len().max(end), 0);
        text[offset..end].copy_from_slice(patch);
    })?;
    call.reply_count(length.max(end));
    Ok(())
}

fn add(call: &mut Call<'_>, amount: i64) -> Done {
    let mut new = 0;
    call.app.store.replace_string(call.args[1], |old| {
        new = old.map_or(Ok(0), integer)?.checked_add(amount).ok_or(OVERFLOW)?;
        Ok(decimal::digits(new))
    })?;
    call.out.integer(new);
    Ok(())
}

pub(crate) fn incr(call: &mut Call<'_>) -> Done {
    add(call, 1)
}

pub(crate) fn decr(call: &mut Call<'_>) -> Done {
    add(call, -1)
}

pub(crate) fn incrby(call: &mut Call<'_>) -> Done {
    add(call, integer(call.args[2])?)
}

pub(crate) fn decrby(call: &mut Call<'_>) -> Done {
    let amount = integer(call.args[2])?;
    match amount.checked_neg() {
        Some(amount) => add(call, amount),
        None => error("ERR decrement would overflow"),
    }
}

pub(crate) fn incrbyfloat(call: &mut Call<'_>) -> Done {
    let old = call.app.store.string(call.args[1])?.unwrap_or(b"0");
    let sum = sum(old, call.args[2], NOT_FLOAT)?;
    call.app.store.set_string(call.args[1], sum.as_bytes(), true);
    call.out.bulk(sum);
    Ok(())
}

/// Returns the sum of two numbers as Redis writes it, or `wrong` if `old` is not a number.
pub(crate) fn sum(old: &[u8], amount: &[u8], wrong: Error) -> Result<String, Error> {
    crate::kv::call::float(old).map_err(|_| wrong)?;
    crate::kv::call::float(amount)?;
    let text = decimal::add(old, amount);
    text.ok_or(fixed("ERR increment would produce NaN or Infinity"))
}
