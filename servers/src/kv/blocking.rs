//! Clients that wait for a list.
//!
//! A blocked client queues at each of its keys. When such a list is created, the first client in
//! the queue is served directly after the command that created the list, before any other client's
//! command. The reply is put into the client's outbox, and the client is woken to send it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::resp::{Protocol, Writer, shared};
use protocol::{SavedState, State, StateError};

use super::app::App;
use super::call::{Call, bulk_or_null, float};
use super::client::Replies;
use super::error::{Done, Error, error, fixed};
use super::moving::client::{later, save_span, span};
use super::room::GiveBack;
use super::store::Store;
use super::value::{Bytes, End, List};

/// What to do for a blocked client once a list has items.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// Remove an item from this end.
    Pop(End),
    /// Remove up to this many items, which are sent as an array.
    PopUpTo(usize, End),
    /// Move an item to another list.
    Move { from: End, to: End, destination: Bytes },
}

/// A client's wait.
#[derive(Debug)]
pub(crate) struct Blocked {
    /// Its position in every queue, the same for all keys.
    ticket: u64,
    keys: Vec<Bytes>,
    wish: Wish,
    pub(crate) deadline: Option<Instant>,
    /// Whether the loop knows the deadline.
    pub(crate) is_timed: bool,
}

impl Blocked {
    /// Writes the wait, with the time that is left.
    pub(crate) fn save(&self, now: Instant, state: &mut State) {
        state.number(self.ticket);
        state.number(self.keys.len() as u64);
        self.keys.iter().for_each(|key| state.bytes(key));
        let save_end = |end: End, state: &mut State| state.flag(end == End::Left);
        match &self.wish {
            Wish::Pop(end) => {
                state.number(0);
                save_end(*end, state);
            }
            Wish::PopUpTo(count, end) => {
                state.number(1);
                state.number(*count as u64);
                save_end(*end, state);
            }
            Wish::Move { from, to, destination } => {
                state.number(2);
                save_end(*from, state);
                save_end(*to, state);
                state.bytes(destination);
            }
        }
        state.flag(self.deadline.is_some());
        let left = self.deadline.map(|at| at.saturating_duration_since(now));
        save_span(left.unwrap_or_default(), state);
        state.flag(self.is_timed);
    }

    /// Reads a wait.
    pub(crate) fn restored(now: Instant, state: &mut SavedState<'_>) -> Result<Self, StateError> {
        let (ticket, mut keys) = (state.number()?, Vec::new());
        for _ in 0..state.number()? {
            keys.push(Bytes::from(state.bytes()?));
        }
        let end = |state: &mut SavedState<'_>| {
            state.flag().map(|is_left| if is_left { End::Left } else { End::Right })
        };
        let wish = match state.number()? {
            0 => Wish::Pop(end(state)?),
            1 => {
                let count = usize::try_from(state.number()?).unwrap_or(usize::MAX);
                Wish::PopUpTo(count, end(state)?)
            }
            2 => Wish::Move {
                from: end(state)?,
                to: end(state)?,
                destination: state.bytes()?.into(),
            },
            _ => return Err(StateError::Invalid("there is no such wish")),
        };
        let (has_deadline, left) = (state.flag()?, span(state)?);
        let deadline = if has_deadline { later(now, left) } else { None };
        Ok(Self { ticket, keys, wish, deadline, is_timed: state.flag()? })
    }
}

/// Returns whether another client has this position in a queue.
pub(crate) fn is_taken(app: &App, db: usize, blocked: &Blocked) -> bool {
    app.store.iter().nth(db).is_some_and(|(_, store)| {
        let mut lines = blocked.keys.iter().filter_map(|key| store.awaited.get(key));
        lines.any(|line| line.contains_key(&blocked.ticket))
    })
}

/// Makes a client of another program wait here.
pub(crate) fn enter(app: &mut App, number: usize, db: usize, blocked: Blocked) {
    app.store.within(db, |store| {
        for key in &blocked.keys {
            store.awaited.entry(key.clone()).or_default().insert(blocked.ticket, number);
        }
    });
    app.clients[number].blocked = Some(blocked);
}

/// Returns the deadline that an argument gives in seconds; `None`, for no deadline, if it is 0.
fn deadline(argument: &[u8], now: Instant) -> Result<Option<Instant>, Error> {
    let seconds =
        float(argument).map_err(|_| fixed("ERR timeout is not a float or out of range"))?;
    let milliseconds = (seconds * 1000.0).ceil();
    if milliseconds < 0.0 {
        return error("ERR timeout is negative");
    }
    if milliseconds > i64::MAX as f64 {
        return error("ERR timeout is out of range");
    }
    let milliseconds = milliseconds as u64;
    if milliseconds == 0 {
        return Ok(None);
    }
    // A deadline beyond the range of the clock never comes.
    Ok(now.checked_add(Duration::from_millis(milliseconds)))
}

/// Blocks the client until one of `keys` has an item. In a transaction, nothing blocks: the reply
/// is null.
fn block(call: &mut Call<'_>, keys: &[&[u8]], wish: Wish, deadline: Option<Instant>) {
    if call.in_transaction {
        match wish {
            Wish::Pop(_) | Wish::PopUpTo(..) => call.out.null_array(),
            Wish::Move { .. } => call.out.null(),
        }
        return;
    }
    let ticket = call.app.next_ticket;
    call.app.next_ticket += 1;
    let keys: Vec<Bytes> = keys.iter().map(|key| Bytes::from(*key)).collect();
    for key in &keys {
        call.app.store.awaited.entry(key.clone()).or_default().insert(ticket, call.me);
    }
    call.client().blocked = Some(Blocked { ticket, keys, wish, deadline, is_timed: false });
}

/// Removes a client from all queues. Returns whether it was in one.
pub(crate) fn forget(app: &mut App, number: usize) -> bool {
    take(app, number).is_some()
}

fn take(app: &mut App, number: usize) -> Option<(Wish, Protocol)> {
    let client = app.clients.get_mut(number)?;
    let blocked = client.blocked.take()?;
    app.store.within(client.db, |store| {
        for key in &blocked.keys {
            if let Some(line) = store.awaited.get_mut(key) {
                line.remove(&blocked.ticket);
                if line.is_empty() {
                    store.awaited.swap_remove(key);
                    store.awaited.give_back();
                }
            }
        }
    });
    Some((blocked.wish, client.protocol))
}

/// Serves the clients that wait for lists that have been created, in every database.
#[inline]
pub(crate) fn serve(app: &mut App) {
    serve_selected(app);
    while app.store.select_ready() {
        serve_selected(app);
    }
}

#[inline]
fn serve_selected(app: &mut App) {
    while let Some(key) = app.store.ready.pop_front() {
        while app.store.read::<List>(&key).is_ok_and(|list| list.is_some())
            && let Some(number) = app.store.awaited.get(&key).and_then(|line| line.values().next())
        {
            let number = *number;
            let Some((wish, protocol)) = take(app, number) else { break };
            let encoded = shared(protocol, |out| fulfil(&mut app.store, &key, &wish, out));
            answer(app, number, encoded);
        }
        app.store.ready.give_back();
    }
}

/// Sends a client the result of its wait.
fn answer(app: &mut App, number: usize, encoded: Arc<[u8]>) {
    match app.clients[number].replies {
        Replies::On => app.post(number, encoded),
        // The client goes on with the requests that arrived during the wait.
        _ => app.wakes.push(app.clients[number].connection),
    }
}

/// How another client ends a wait.
pub(crate) enum Wait {
    /// As a timeout.
    Over,
    /// With an error.
    Broken,
}

/// Ends the wait of a client. Returns whether there was one.
pub(crate) fn unblock(app: &mut App, number: usize, end: Wait) -> bool {
    let Some((_, protocol)) = take(app, number) else { return false };
    let encoded = shared(protocol, |out| match end {
        Wait::Over => out.null_array(),
        Wait::Broken => out.error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    });
    answer(app, number, encoded);
    // Redis counts this as a failed call.
    if let Some(command) = app.clients[number].last_command {
        app.counters.of(command).failed += 1;
    }
    true
}

fn fulfil(store: &mut Store, key: &[u8], wish: &Wish, out: &mut Writer<'_>) {
    if let Err(refusal) = grant(store, key, wish, out) {
        out.error(&*refusal.0);
    }
}

/// Fulfils a wish and writes its reply, if the key has a list.
pub(crate) fn grant(
    store: &mut Store,
    key: &[u8],
    wish: &Wish,
    out: &mut Writer<'_>,
) -> Result<bool, Error> {
    match wish {
        Wish::Pop(end) => pop_named(store, key, *end, out),
        Wish::PopUpTo(count, end) => {
            let Some(length) = store.read(key)?.map(List::len) else { return Ok(false) };
            out.array(2);
            out.bulk(key);
            pop_many(store, key, *end, length.min(*count), out)?;
            Ok(true)
        }
        Wish::Move { from, to, destination } => move_item(store, key, destination, *from, *to, out),
    }
}

/// Removes up to `count` items and writes them as an array.
pub(crate) fn pop_many(
    store: &mut Store,
    key: &[u8],
    end: End,
    count: usize,
    out: &mut Writer<'_>,
) -> Done {
    out.array(count);
    for _ in 0..count {
        let item = pop(store, key, end)?;
        bulk_or_null(out, item.as_deref());
    }
    Ok(())
}

/// Removes an item from a list, if there is one.
pub(crate) fn pop(store: &mut Store, key: &[u8], end: End) -> Result<Option<Bytes>, Error> {
    let item = store.edit(key, |list: &mut List| list.pop(end))?.flatten();
    if item.is_some() {
        store.touch(key);
    }
    Ok(item)
}

/// Writes the key and an item removed from it; writes nothing if there is none.
fn pop_named(store: &mut Store, key: &[u8], end: End, out: &mut Writer<'_>) -> Result<bool, Error> {
    let Some(item) = pop(store, key, end)? else { return Ok(false) };
    out.array(2);
    out.bulk(key);
    out.bulk(item);
    Ok(true)
}

/// Moves an item and writes it; writes nothing if there is none.
pub(crate) fn move_item(
    store: &mut Store,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
    out: &mut Writer<'_>,
) -> Result<bool, Error> {
    if store.read::<List>(source)?.is_none() {
        return Ok(false);
    }
    if source == destination {
        // One edit, so that the list is never empty in between and keeps its expiry.
        let turned = store.edit(source, |list: &mut List| {
            let item = list.pop(from)?;
            out.bulk(&item);
            list.push(to, item);
            Some(())
        })?;
        store.touch(source);
        return Ok(turned.flatten().is_some());
    }
    store.read::<List>(destination)?;
    let Some(item) = pop(store, source, from)? else { return Ok(false) };
    out.bulk(&item);
    store.edit_or_create(destination, |list: &mut List| list.push(to, item))?;
    store.touch(destination);
    Ok(true)
}

/// Fulfils a wish from the first of the keys that has a list, or blocks the client.
pub(crate) fn grant_or_block(
    call: &mut Call<'_>,
    keys: &[&[u8]],
    wish: Wish,
    timeout: &[u8],
) -> Done {
    let deadline = deadline(timeout, call.app.clock.instant())?;
    for key in keys {
        if grant(&mut call.app.store, key, &wish, &mut call.out)? {
            return Ok(());
        }
    }
    block(call, keys, wish, deadline);
    Ok(())
}
