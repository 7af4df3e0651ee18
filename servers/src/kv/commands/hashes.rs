//! The commands of hashes.

use protocol::resp::{Item, Protocol};

use super::keys::{Scan, cursor};
use super::sets::{Choice, choose, page};
use super::strings::sum;
use crate::kv::call::{Call, bulk_or_null, float, integer, is, two_sided};
use crate::kv::decimal;
use crate::kv::error::{Done, Error, OVERFLOW, SYNTAX, error, errorf, fixed};
use crate::kv::text::wrong_arity;
use crate::kv::value::Hash;

/// Sets fields of a hash. Returns how many are new.
fn set_fields(call: &mut Call<'_>, name: &str) -> Result<usize, Error> {
    let (key, pairs) = (call.args[1], &call.args[2..]);
    if pairs.len() % 2 == 1 {
        return Err(errorf(wrong_arity(name)));
    }
    let created = call.app.store.edit_or_create(key, |hash: &mut Hash| {
        pairs.chunks(2).filter(|pair| hash.set(pair[0], pair[1])).count()
    })?;
    call.app.store.touch(key);
    Ok(created)
}

pub(crate) fn hset(call: &mut Call<'_>) -> Done {
    let created = set_fields(call, "hset")?;
    call.reply_count(created);
    Ok(())
}

pub(crate) fn hmset(call: &mut Call<'_>) -> Done {
    set_fields(call, "hmset")?;
    call.out.ok();
    Ok(())
}

pub(crate) fn hsetnx(call: &mut Call<'_>) -> Done {
    let (key, field, value) = (call.args[1], call.args[2], call.args[3]);
    let hash = call.app.store.read::<Hash>(key)?;
    let is_new = hash.is_none_or(|hash| hash.get(field).is_none());
    if is_new {
        call.app.store.edit_or_create(key, |hash: &mut Hash| hash.set(field, value))?;
        call.app.store.touch(key);
    }
    call.out.integer(i64::from(is_new));
    Ok(())
}

pub(crate) fn hget(call: &mut Call<'_>) -> Done {
    let hash = call.app.store.read::<Hash>(call.args[1])?;
    bulk_or_null(&mut call.out, hash.and_then(|hash| hash.get(call.args[2])));
    Ok(())
}

pub(crate) fn hmget(call: &mut Call<'_>) -> Done {
    let limit = call.app.backlog_max(call.me);
    let hash = call.app.store.read::<Hash>(call.args[1])?;
    call.out.array(call.args.len() - 2);
    for field in &call.args[2..] {
        bulk_or_null(&mut call.out, hash.and_then(|hash| hash.get(field)));
        if call.out.backlog() > limit {
            break;
        }
    }
    Ok(())
}

pub(crate) fn hgetall(call: &mut Call<'_>) -> Done {
    let Some(hash) = call.app.store.read::<Hash>(call.args[1])? else {
        call.out.map(0);
        return Ok(());
    };
    call.out.map(hash.len());
    for (field, value) in &hash.items {
        call.out.bulk(field);
        call.out.bulk(value);
    }
    Ok(())
}

pub(crate) fn hkeys(call: &mut Call<'_>) -> Done {
    let hash = call.app.store.read::<Hash>(call.args[1])?;
    call.out.array(hash.map_or(0, Hash::len));
    hash.iter().flat_map(|hash| hash.items.keys()).for_each(|field| call.out.bulk(field));
    Ok(())
}

pub(crate) fn hvals(call: &mut Call<'_>) -> Done {
    let hash = call.app.store.read::<Hash>(call.args[1])?;
    call.out.array(hash.map_or(0, Hash::len));
    hash.iter().flat_map(|hash| hash.items.values()).for_each(|value| call.out.bulk(value));
    Ok(())
}

pub(crate) fn hdel(call: &mut Call<'_>) -> Done {
    let (key, fields) = (call.args[1], &call.args[2..]);
    let removed = call
        .app
        .store
        .edit(key, |hash: &mut Hash| fields.iter().filter(|field| hash.remove(field)).count())?;
    let removed = removed.unwrap_or_default();
    if removed > 0 {
        call.app.store.touch(key);
    }
    call.reply_count(removed);
    Ok(())
}

pub(crate) fn hexists(call: &mut Call<'_>) -> Done {
    let hash = call.app.store.read::<Hash>(call.args[1])?;
    let exists = hash.is_some_and(|hash| hash.get(call.args[2]).is_some());
    call.out.integer(i64::from(exists));
    Ok(())
}

pub(crate) fn hlen(call: &mut Call<'_>) -> Done {
    let length = call.app.store.read(call.args[1])?.map_or(0, Hash::len);
    call.reply_count(length);
    Ok(())
}

pub(crate) fn hstrlen(call: &mut Call<'_>) -> Done {
    let hash = call.app.store.read::<Hash>(call.args[1])?;
    let length = hash.and_then(|hash| hash.get(call.args[2])).map_or(0, <[u8]>::len);
    call.reply_count(length);
    Ok(())
}

fn set_field(call: &mut Call<'_>, value: &[u8]) -> Done {
    let (key, field) = (call.args[1], call.args[2]);
    call.app.store.edit_or_create(key, |hash: &mut Hash| hash.set(field, value))?;
    call.app.store.touch(key);
    Ok(())
}

pub(crate) fn hincrby(call: &mut Call<'_>) -> Done {
    let amount = integer(call.args[3])?;
    let hash = call.app.store.read::<Hash>(call.args[1])?;
    let old = hash.and_then(|hash| hash.get(call.args[2])).unwrap_or(b"0");
    let old = integer(old).map_err(|_| fixed("ERR hash value is not an integer"))?;
    let new = old.checked_add(amount).ok_or(OVERFLOW)?;
    set_field(call, decimal::digits(new).as_ref())?;
    call.out.integer(new);
    Ok(())
}

pub(crate) fn hincrbyfloat(call: &mut Call<'_>) -> Done {
    if !float(call.args[3])?.is_finite() {
        return error("ERR value is NaN or Infinity");
    }
    let hash = call.app.store.read::<Hash>(call.args[1])?;
    let old = hash.and_then(|hash| hash.get(call.args[2])).unwrap_or(b"0");
    let sum = sum(old, call.args[3], fixed("ERR hash value is not a float"))?;
    set_field(call, sum.as_bytes())?;
    call.out.bulk(sum);
    Ok(())
}

pub(crate) fn hscan(call: &mut Call<'_>) -> Done {
    cursor(call.args[2])?;
    let hash = call.app.store.read::<Hash>(call.args[1])?;
    // Redis does not look at the options if there is no hash.
    let options = if hash.is_some() { &call.args[2..] } else { &call.args[2..3] };
    let scan = Scan::read(options, false)?;
    let (range, next) = page(&scan, hash.map_or(0, Hash::len));
    call.out.array(2);
    call.out.bulk_display(next);
    call.out.counted(Item::Array, |out| {
        let items = hash.and_then(|hash| hash.items.get_range(range));
        let mut count = 0;
        for (field, value) in items.into_iter().flatten().filter(|(field, _)| scan.takes(field)) {
            out.bulk(field);
            out.bulk(value);
            count += 2;
        }
        count
    });
    Ok(())
}

pub(crate) fn hrandfield(call: &mut Call<'_>) -> Done {
    let count = call.args.get(2).map(|count| two_sided(count)).transpose()?;
    let with_values = match call.args.get(3) {
        None => false,
        Some(word) if is(word, "WITHVALUES") && call.args.len() == 4 => true,
        Some(_) => return Err(SYNTAX),
    };
    // A reply with values has twice as many elements, whose number has to fit, too.
    if with_values && count.is_some_and(|count| count.unsigned_abs() > i64::MAX as u64 / 2) {
        return error("ERR value is out of range");
    }
    let limit = call.app.backlog_max(call.me);
    let Some(hash) = call.app.store.read::<Hash>(call.args[1])? else {
        match count {
            Some(_) => call.out.array(0),
            None => call.out.null(),
        }
        return Ok(());
    };
    let Some(count) = count else {
        let place = call.app.random.usize(..hash.len());
        bulk_or_null(&mut call.out, hash.items.get_index(place).map(|(field, _)| &**field));
        return Ok(());
    };
    let chosen = choose(Choice::of(count)?, hash.len(), &mut call.app.random);
    // RESP3 puts each pair into an array of its own; RESP2 has one flat array.
    let in_pairs = with_values && call.out.protocol() == Protocol::Resp3;
    call.out.array(if with_values && !in_pairs { chosen.len() * 2 } else { chosen.len() });
    for (field, value) in chosen.into_iter().filter_map(|place| hash.items.get_index(place)) {
        if in_pairs {
            call.out.array(2);
        }
        call.out.bulk(field);
        if with_values {
            call.out.bulk(value);
        }
        if call.out.backlog() > limit {
            break;
        }
    }
    Ok(())
}
