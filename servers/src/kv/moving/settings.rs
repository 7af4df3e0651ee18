//! What belongs to the server as a whole: settings that were changed while it ran, and counts.

use std::time::Duration;

use protocol::{SavedState, State, StateError};

use crate::kv::app::{App, Stats};
use crate::kv::counters::Counter;
use crate::kv::names;

/// How many counts of databases and commands are read at most.
const COUNTS_MAX: u64 = 10_000;

/// Writes the settings and the counts.
pub(super) fn save(app: &App, state: &mut State) {
    state.flag(app.config.memory_max.is_some());
    state.number(app.config.memory_max.unwrap_or_default());
    state.bytes(app.config.password.as_bytes());
    let Stats { connections, hits, misses, over_limit, evicted } = app.stats;
    for count in [connections, hits, misses, over_limit, evicted, app.next_id, app.next_ticket] {
        state.number(count);
    }
    state.number(app.store.expired());
    state.number(app.counters.iter().count() as u64);
    for (command, counter) in app.counters.iter() {
        state.bytes(command.name.as_bytes());
        let Counter { calls, rejected, failed, timed, time } = *counter;
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        for count in [calls, rejected, failed, timed, time] {
            state.number(count);
        }
    }
}

/// Reads the settings and the counts.
pub(super) fn restore(app: &mut App, state: &mut SavedState<'_>) -> Result<(), StateError> {
    let (has_memory_max, memory_max) = (state.flag()?, state.number()?);
    app.config.memory_max = has_memory_max.then_some(memory_max);
    let password = str::from_utf8(state.bytes()?);
    app.config.password =
        password.map_err(|_| StateError::Invalid("the password is not UTF-8"))?.to_owned();
    app.stats = Stats {
        connections: state.number()?,
        hits: state.number()?,
        misses: state.number()?,
        over_limit: state.number()?,
        evicted: state.number()?,
    };
    (app.next_id, app.next_ticket) = (state.number()?, state.number()?);
    app.store.expired = state.number()?;
    let count = state.number()?;
    if count > COUNTS_MAX {
        return Err(StateError::Invalid("there are too many counts"));
    }
    for _ in 0..count {
        let name = state.bytes()?;
        let (calls, rejected, failed) = (state.number()?, state.number()?, state.number()?);
        let (timed, time) = (state.number()?, Duration::from_nanos(state.number()?));
        // Another version may not have the command.
        if let Some(command) = names::find_any(name) {
            *app.counters.of(command) = Counter { calls, rejected, failed, timed, time };
        }
    }
    Ok(())
}
