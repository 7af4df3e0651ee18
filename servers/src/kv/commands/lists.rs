//! The commands of lists.

use crate::kv::blocking::{self, Wish, grant, grant_or_block, move_item, pop_many};
use crate::kv::call::{Call, Options, bulk_or_null, integer, is, positive, range};
use crate::kv::error::{Done, Error, NO_KEY, OUT_OF_RANGE, SYNTAX, error, errorf, fixed};
use crate::kv::text::wrong_arity;
use crate::kv::value::{Bytes, End, List};

fn push(call: &mut Call<'_>, end: End, only_existing: bool) -> Done {
    let (key, items) = (call.args[1], &call.args[2..]);
    if only_existing && call.app.store.read::<List>(key)?.is_none() {
        call.reply_count(0);
        return Ok(());
    }
    let length = call.app.store.edit_or_create(key, |list: &mut List| {
        items.iter().for_each(|item| list.push(end, Box::from(*item)));
        list.len()
    })?;
    call.app.store.touch(key);
    call.reply_count(length);
    Ok(())
}

pub(crate) fn lpush(call: &mut Call<'_>) -> Done {
    push(call, End::Left, false)
}

pub(crate) fn rpush(call: &mut Call<'_>) -> Done {
    push(call, End::Right, false)
}

pub(crate) fn lpushx(call: &mut Call<'_>) -> Done {
    push(call, End::Left, true)
}

pub(crate) fn rpushx(call: &mut Call<'_>) -> Done {
    push(call, End::Right, true)
}

fn pop(call: &mut Call<'_>, end: End) -> Done {
    let key = call.args[1];
    if call.args.len() > 3 {
        let name = if end == End::Left { "lpop" } else { "rpop" };
        return Err(errorf(wrong_arity(name)));
    }
    match call.args.get(2) {
        None => {
            let item = blocking::pop(&mut call.app.store, key, end)?;
            call.reply(item.as_deref());
        }
        Some(count) => {
            let count = positive(count)?;
            let Some(list) = call.app.store.read::<List>(key)? else {
                call.out.null_array();
                return Ok(());
            };
            let count = count.min(list.len());
            pop_many(&mut call.app.store, key, end, count, &mut call.out)?;
        }
    }
    Ok(())
}

pub(crate) fn lpop(call: &mut Call<'_>) -> Done {
    pop(call, End::Left)
}

pub(crate) fn rpop(call: &mut Call<'_>) -> Done {
    pop(call, End::Right)
}

pub(crate) fn llen(call: &mut Call<'_>) -> Done {
    let length = call.app.store.read(call.args[1])?.map_or(0, List::len);
    call.reply_count(length);
    Ok(())
}

pub(crate) fn lrange(call: &mut Call<'_>) -> Done {
    let (start, stop) = (integer(call.args[2])?, integer(call.args[3])?);
    let Some(list) = call.app.store.read::<List>(call.args[1])? else {
        call.out.array(0);
        return Ok(());
    };
    let range = range(start, stop, list.len());
    call.out.array(range.len());
    list.items.range(range).for_each(|item| call.out.bulk(item));
    Ok(())
}

/// Returns the position that an index stands for, if there is one.
fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

pub(crate) fn lindex(call: &mut Call<'_>) -> Done {
    let list = call.app.store.read::<List>(call.args[1])?;
    let item = match list {
        None => None,
        Some(list) => place(integer(call.args[2])?, list.len()).map(|it| &*list.items[it]),
    };
    bulk_or_null(&mut call.out, item);
    Ok(())
}

pub(crate) fn lset(call: &mut Call<'_>) -> Done {
    let (key, item) = (call.args[1], call.args[3]);
    let length = call.app.store.read(key)?.map(List::len).ok_or(NO_KEY)?;
    let place = place(integer(call.args[2])?, length).ok_or(OUT_OF_RANGE)?;
    call.app.store.edit(key, |list: &mut List| list.replace(place, item.into()))?;
    call.app.store.touch(key);
    call.out.ok();
    Ok(())
}

pub(crate) fn linsert(call: &mut Call<'_>) -> Done {
    let (key, pivot, item) = (call.args[1], call.args[3], call.args[4]);
    let behind = match call.args[2] {
        word if is(word, "AFTER") => 1,
        word if is(word, "BEFORE") => 0,
        _ => return Err(SYNTAX),
    };
    let length = call.app.store.edit(key, |list: &mut List| {
        let place = list.items.iter().position(|it| **it == *pivot)?;
        list.insert(place + behind, item.into());
        Some(list.len())
    })?;
    if let Some(Some(_)) = length {
        call.app.store.touch(key);
    }
    // A missing list is reported as 0, a missing pivot as -1.
    let missing = if length.is_some() { -1 } else { 0 };
    call.out.integer(length.flatten().map_or(missing, |length| length as i64));
    Ok(())
}

pub(crate) fn lrem(call: &mut Call<'_>) -> Done {
    let (key, count, item) = (call.args[1], integer(call.args[2])?, call.args[3]);
    let from = if count < 0 { End::Right } else { End::Left };
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let removed = call.app.store.edit(key, |list: &mut List| list.remove(from, most, item))?;
    let removed = removed.unwrap_or_default();
    if removed > 0 {
        call.app.store.touch(key);
    }
    call.reply_count(removed);
    Ok(())
}

pub(crate) fn ltrim(call: &mut Call<'_>) -> Done {
    let (key, start, stop) = (call.args[1], integer(call.args[2])?, integer(call.args[3])?);
    let trimmed = call.app.store.edit(key, |list: &mut List| {
        let range = range(start, stop, list.len());
        list.trim(range.start, range.end);
    })?;
    if trimmed.is_some() {
        call.app.store.touch(key);
    }
    call.out.ok();
    Ok(())
}

/// The options of `LPOS`.
struct Search {
    rank: i64,
    /// The number of positions to return; `None` for the first only.
    count: Option<usize>,
    looks_at: usize,
}

fn search(args: &[&[u8]]) -> Result<Search, Error> {
    let mut search = Search { rank: 1, count: None, looks_at: usize::MAX };
    let mut options = Options::new(args);
    while let Some(option) = options.next() {
        if is(option, "RANK") {
            search.rank = integer(options.value()?)?;
            if search.rank == 0 {
                return error(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                     second ... or use negative to start from the end of the list",
                );
            }
        } else if is(option, "COUNT") {
            let count = positive(options.value()?).or(error("ERR COUNT can't be negative"))?;
            search.count = Some(if count == 0 { usize::MAX } else { count });
        } else if is(option, "MAXLEN") {
            let most = positive(options.value()?).or(error("ERR MAXLEN can't be negative"))?;
            search.looks_at = if most == 0 { usize::MAX } else { most };
        } else {
            return Err(SYNTAX);
        }
    }
    Ok(search)
}

pub(crate) fn lpos(call: &mut Call<'_>) -> Done {
    let (key, item) = (call.args[1], call.args[2]);
    let search = search(&call.args[3..])?;
    let places: Vec<usize> = match call.app.store.read::<List>(key)? {
        None => Vec::new(),
        Some(list) => {
            let all = list.items.iter().enumerate();
            let hit = |(place, it): (usize, &Bytes)| (**it == *item).then_some(place);
            let (skip, most) = (search.rank.unsigned_abs() as usize - 1, search.count.unwrap_or(1));
            match search.rank {
                1.. => all.take(search.looks_at).filter_map(hit).skip(skip).take(most).collect(),
                _ => {
                    let all = all.rev().take(search.looks_at);
                    all.filter_map(hit).skip(skip).take(most).collect()
                }
            }
        }
    };
    match (search.count, places.first()) {
        (Some(_), _) => {
            call.out.array(places.len());
            places.iter().for_each(|place| call.out.integer(*place as i64));
        }
        (None, Some(place)) => call.reply_count(*place),
        (None, None) => call.out.null(),
    }
    Ok(())
}

fn end(argument: &[u8]) -> Result<End, Error> {
    match argument {
        word if is(word, "LEFT") => Ok(End::Left),
        word if is(word, "RIGHT") => Ok(End::Right),
        _ => Err(SYNTAX),
    }
}

pub(crate) fn lmove(call: &mut Call<'_>) -> Done {
    let (from, to) = (end(call.args[3])?, end(call.args[4])?);
    let (source, destination) = (call.args[1], call.args[2]);
    if !move_item(&mut call.app.store, source, destination, from, to, &mut call.out)? {
        call.out.null();
    }
    Ok(())
}

pub(crate) fn rpoplpush(call: &mut Call<'_>) -> Done {
    let (source, destination) = (call.args[1], call.args[2]);
    let (from, to) = (End::Right, End::Left);
    if !move_item(&mut call.app.store, source, destination, from, to, &mut call.out)? {
        call.out.null();
    }
    Ok(())
}

fn move_or_block(call: &mut Call<'_>, from: End, to: End, timeout: &[u8]) -> Done {
    let wish = Wish::Move { from, to, destination: call.args[2].into() };
    grant_or_block(call, &call.args[1..2], wish, timeout)
}

pub(crate) fn blmove(call: &mut Call<'_>) -> Done {
    let (from, to) = (end(call.args[3])?, end(call.args[4])?);
    move_or_block(call, from, to, call.args[5])
}

pub(crate) fn brpoplpush(call: &mut Call<'_>) -> Done {
    move_or_block(call, End::Right, End::Left, call.args[3])
}

fn pop_or_block(call: &mut Call<'_>, end: End) -> Done {
    let last = call.args.len() - 1;
    grant_or_block(call, &call.args[1..last], Wish::Pop(end), call.args[last])
}

pub(crate) fn blpop(call: &mut Call<'_>) -> Done {
    pop_or_block(call, End::Left)
}

pub(crate) fn brpop(call: &mut Call<'_>) -> Done {
    pop_or_block(call, End::Right)
}

/// Reads the arguments of `LMPOP` and `BLMPOP` from the number of keys on: the keys, and the wish.
fn many<'a>(args: &'a [&'a [u8]]) -> Result<(&'a [&'a [u8]], Wish), Error> {
    let above_zero = |argument| positive(argument).ok().filter(|count| *count > 0);
    let count = above_zero(args[0]).ok_or(fixed("ERR numkeys should be greater than 0"))?;
    let (keys, rest) = args[1..].split_at_checked(count).ok_or(SYNTAX)?;
    let [side, options @ ..] = rest else { return Err(SYNTAX) };
    let end = end(side)?;
    let count = match options {
        [] => 1,
        [word, count, rest @ ..] if is(word, "COUNT") => {
            let count = above_zero(count).ok_or(fixed("ERR count should be greater than 0"))?;
            if rest.is_empty() { count } else { return Err(SYNTAX) }
        }
        _ => return Err(SYNTAX),
    };
    Ok((keys, Wish::PopUpTo(count, end)))
}

pub(crate) fn lmpop(call: &mut Call<'_>) -> Done {
    let (keys, wish) = many(&call.args[1..])?;
    for key in keys {
        if grant(&mut call.app.store, key, &wish, &mut call.out)? {
            return Ok(());
        }
    }
    call.out.null_array();
    Ok(())
}

pub(crate) fn blmpop(call: &mut Call<'_>) -> Done {
    let (keys, wish) = many(&call.args[2..])?;
    grant_or_block(call, keys, wish, call.args[1])
}
