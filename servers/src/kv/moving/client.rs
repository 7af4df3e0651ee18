//! A client as bytes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use indexmap::IndexSet;
use protocol::resp::Protocol;
use protocol::{ConnectionId, NotSaved, SavedState, State, StateError};

use crate::kv::app::App;
use crate::kv::blocking::{self, Blocked};
use crate::kv::client::{Client, Kept, Replies, Transaction};
use crate::kv::commands::pubsub;
use crate::kv::databases::DATABASES;
use crate::kv::value::Bytes;
use crate::kv::{dispatch, names};

/// The connection of a client before the loop has called it. Waking it has no effect.
const NOT_YET_CALLED: ConnectionId = ConnectionId(u128::MAX);

const REPLIES: [Replies; 4] = [Replies::On, Replies::Off, Replies::SkipNext, Replies::Skip];

/// Writes a client.
///
/// # Errors
/// When it is to be closed.
pub(crate) fn save(app: &App, number: usize, state: &mut State) -> Result<(), NotSaved> {
    let client = app.clients.get(number).filter(|it| !it.killed && !it.ending).ok_or(NotSaved)?;
    let now = app.clock.instant();
    state.number(client.id);
    state.bytes(&client.name);
    state.flag(client.protocol == Protocol::Resp3);
    state.flag(client.authenticated);
    state.number(REPLIES.iter().position(|it| *it == client.replies).ok_or(NotSaved)? as u64);
    state.flag(client.no_evict);
    state.number(client.db as u64);
    state.bytes(client.last_command.map_or("", |it| it.name).as_bytes());
    for at in [client.since, client.active] {
        save_span(now.saturating_duration_since(at), state);
    }
    state.flag(client.transaction.is_some());
    if let Some(transaction) = &client.transaction {
        state.flag(transaction.grows);
        state.flag(transaction.failed);
        save_requests(transaction.requests.iter(), transaction.requests.len(), state);
    }
    save_requests(client.waiting.iter(), client.waiting.len(), state);
    state.bytes(&client.outbox.concat());
    state.number(client.watched.len() as u64);
    for ((db, key), since) in &client.watched {
        let store = app.store.iter().nth(*db).map(|(_, store)| store);
        state.number(*db as u64);
        state.bytes(key);
        state.flag(store.is_none_or(|it| it.watched.has_changed(key, *since)));
    }
    for names in [&client.channels, &client.patterns] {
        state.number(names.len() as u64);
        names.iter().for_each(|name| state.bytes(name));
    }
    state.flag(client.blocked.is_some());
    if let Some(blocked) = &client.blocked {
        blocked.save(now, state);
    }
    Ok(())
}

/// Enters a client that was saved. Returns its number. The app is unchanged when it is refused.
pub(crate) fn restore(
    app: &mut App,
    address: Option<SocketAddr>,
    state: &mut SavedState<'_>,
) -> Result<usize, StateError> {
    app.clock.begin();
    let now = app.clock.instant();
    let mut client = Client::new(state.number()?, NOT_YET_CALLED, address, false, now);
    client.name = state.bytes()?.into();
    client.protocol = if state.flag()? { Protocol::Resp3 } else { Protocol::Resp2 };
    client.authenticated = state.flag()?;
    let replies = usize::try_from(state.number()?).ok().and_then(|it| REPLIES.get(it));
    client.replies = *replies.ok_or(StateError::Invalid("there is no such state of replies"))?;
    client.no_evict = state.flag()?;
    client.db = database(state.number()?)?;
    client.last_command = names::find_any(state.bytes()?);
    client.since = now.checked_sub(span(state)?).unwrap_or(now);
    client.active = now.checked_sub(span(state)?).unwrap_or(now);
    if state.flag()? {
        let (grows, failed) = (state.flag()?, state.flag()?);
        let (requests, bytes) = requests(state)?;
        client.transaction = Some(Transaction { requests: requests.into(), bytes, grows, failed });
    }
    (client.waiting, client.waiting_bytes) = requests(state)?;
    let outbox = state.bytes()?;
    client.outbox_bytes = outbox.len() as u64;
    client.outbox.extend((!outbox.is_empty()).then(|| outbox.into()));
    let mut watched = Vec::new();
    for _ in 0..state.number()? {
        watched.push((database(state.number()?)?, Bytes::from(state.bytes()?), state.flag()?));
    }
    let (channels, patterns) = (strings(state)?, strings(state)?);
    let blocked = if state.flag()? { Some(Blocked::restored(now, state)?) } else { None };
    if blocked.as_ref().is_some_and(|it| blocking::is_taken(app, client.db, it)) {
        return Err(StateError::Invalid("another client waits at the same place"));
    }
    // Nothing may follow, and nothing fails from here on.
    state.end()?;
    for (db, key, has_changed) in watched {
        let changes = app.store.within(db, |store| store.watched.add(&key));
        let since = if has_changed { changes.wrapping_sub(1) } else { changes };
        if client.watched.insert((db, key.clone()), since).is_some() {
            app.store.within(db, |store| store.watched.remove(&key));
        }
    }
    let db = client.db;
    let number = app.clients.insert(Box::new(client));
    pubsub::enter(app, number, channels, patterns);
    if let Some(blocked) = blocked {
        blocking::enter(app, number, db, blocked);
    }
    Ok(number)
}

fn database(number: u64) -> Result<usize, StateError> {
    let number = usize::try_from(number).ok().filter(|number| *number < DATABASES);
    number.ok_or(StateError::Invalid("there is no such database"))
}

pub(crate) fn save_span(time: Duration, state: &mut State) {
    state.number(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

pub(crate) fn span(state: &mut SavedState<'_>) -> Result<Duration, StateError> {
    state.number().map(Duration::from_nanos)
}

/// Returns the time that is `left` from now; `None` if the clock does not reach it.
pub(crate) fn later(now: Instant, left: Duration) -> Option<Instant> {
    now.checked_add(left)
}

fn save_requests<'a>(requests: impl Iterator<Item = &'a Kept>, count: usize, state: &mut State) {
    state.number(count as u64);
    for request in requests {
        state.number(request.len() as u64);
        request.iter().for_each(|part| state.bytes(part));
    }
}

/// Reads requests, and how many bytes they take.
fn requests(state: &mut SavedState<'_>) -> Result<(VecDeque<Kept>, usize), StateError> {
    let (mut requests, mut bytes) = (VecDeque::new(), 0);
    for _ in 0..state.number()? {
        let mut parts = Vec::new();
        for _ in 0..state.number()? {
            parts.push(state.bytes()?);
        }
        if parts.is_empty() {
            return Err(StateError::Invalid("a request is empty"));
        }
        bytes += dispatch::size_of_request(&parts);
        requests.push_back(dispatch::kept(&parts));
    }
    Ok((requests, bytes))
}

fn strings(state: &mut SavedState<'_>) -> Result<IndexSet<Bytes>, StateError> {
    let mut strings = IndexSet::new();
    for _ in 0..state.number()? {
        strings.insert(state.bytes()?.into());
    }
    Ok(strings)
}
