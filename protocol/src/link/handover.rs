//! Passing a connection to another process: its state as bytes, and a link made of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::scratch::Rest;
use super::{Layer, Link, Plain, Stage, WriteHalf, cause, flag};
use crate::{Buffer, Limits, NotSaved, Output, SavedState, Session, State, StateError};

/// The number of the format of a saved link. It changes whenever that changes.
const FORMAT: u64 = 1;

/// What a saved link still has to tell its session, besides its timeouts.
const PENDING: u8 = cause::OPENED | cause::WOKEN | cause::DRAINED_LATER;

/// The flags of a link that are saved.
const FLAGS: u8 =
    flag::PAUSED | flag::INPUT_ENDED | flag::TOLD_HUNG_UP | flag::ABOVE_LOW | flag::WIRE_ENDED;

/// The states of the sending side by their numbers in the format.
const WRITE_HALVES: [WriteHalf; 4] =
    [WriteHalf::Open, WriteHalf::Incomplete, WriteHalf::Ending, WriteHalf::Ended];

impl<S, L: Layer> Link<S, L> {
    /// Returns the state of the connection as bytes: of its session, the unread input, the unsent
    /// output and the timeouts. A link of another process goes on with them
    /// ([`restored`](Self::restored)).
    ///
    /// The link is frozen then: it neither reads nor writes nor calls its session until the driver
    /// calls [`thaw`](Self::thaw), and loses nothing meanwhile. If the other process has taken the
    /// connection over, the driver closes its descriptor, without a reset, and calls
    /// [`closed`](Self::closed). The driver calls this method between two passes.
    ///
    /// # Errors
    /// When the connection has to stay: the session cannot be saved ([`Session::save`]), the
    /// connection is encrypted, is ending, or has a file in its output, or the loop stops.
    pub fn save<A>(&mut self, app: &A, now: Instant) -> Result<Vec<u8>, NotSaved>
    where
        S: Session<A>,
    {
        if !self.may_be_saved() {
            return Err(NotSaved);
        }
        let is_restored = matches!(self.stage, Stage::Restored | Stage::FrozenRestored);
        let is_new = !is_restored && self.pending & cause::OPENED != 0;
        let mut session = State::new();
        if !is_new {
            self.session.save(app, &mut session)?;
        }
        let mut state = State::new();
        state.number(FORMAT);
        let known = if is_new { PENDING } else { PENDING & !cause::OPENED };
        state.number((self.pending & known).into());
        state.number((self.flags & FLAGS).into());
        let write_half = WRITE_HALVES.iter().position(|it| *it == self.write_half);
        state.number(write_half.ok_or(NotSaved)? as u64);
        let timeouts = self.timeouts();
        state.number(timeouts.len() as u64);
        for (at, key) in timeouts {
            let left = at.saturating_duration_since(now);
            state.number(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
            state.number((*key).into());
        }
        match &self.rest {
            Some(rest) => rest.save(&mut state)?,
            None => Rest::default().save(&mut state)?,
        }
        state.bytes(&session.into_bytes());
        self.freeze();
        Ok(state.into_bytes())
    }

    /// Returns whether nothing prevents [`save`](Self::save) but its session and its output.
    pub fn may_be_saved(&self) -> bool {
        let is_open = matches!(
            self.stage,
            Stage::Restored | Stage::FrozenRestored | Stage::Opening | Stage::Open | Stage::Frozen
        );
        is_open && !self.is_layered() && !self.has(flag::STOPS)
    }

    /// Takes bytes back from a driver that moves them ahead of the link: `received` was read for it and not
    /// delivered, and `unsent` was taken from it and not sent. The driver calls this method between two
    /// passes, for a link that [`may_be_saved`](Self::may_be_saved).
    pub fn take_back(&mut self, received: &[u8], unsent: &[u8]) {
        let mut rest = self.rest.take().map_or_else(Rest::default, |rest| *rest);
        rest.take_back(received, unsent);
        self.rest = rest.boxed();
        if !received.is_empty() {
            self.pending |= cause::INPUT;
        }
    }

    /// Freezes the link without saving it: it neither reads nor writes nor calls its session until
    /// the driver calls [`thaw`](Self::thaw). It may be saved meanwhile. The driver calls this method
    /// between two passes. Returns whether the link is frozen. One whose session's part has ended is
    /// not: it only sends the rest of its output.
    pub fn freeze(&mut self) -> bool {
        self.stage = match self.stage {
            Stage::New => Stage::FrozenNew,
            Stage::Restored => Stage::FrozenRestored,
            Stage::Opening | Stage::Open => Stage::Frozen,
            stage => stage,
        };
        self.is_frozen()
    }

    /// Ends the freeze: the link goes on as if nothing had been. The driver runs a pass then, and
    /// asks for [`deadline`](Self::deadline) again.
    pub fn thaw(&mut self) {
        self.stage = match self.stage {
            Stage::FrozenNew => Stage::New,
            Stage::FrozenRestored => Stage::Restored,
            Stage::Frozen if self.pending & cause::OPENED != 0 => Stage::Opening,
            Stage::Frozen => Stage::Open,
            stage => stage,
        };
    }

    /// Returns whether the link is frozen ([`save`](Self::save), [`freeze`](Self::freeze)).
    pub fn is_frozen(&self) -> bool {
        matches!(self.stage, Stage::FrozenNew | Stage::FrozenRestored | Stage::Frozen)
    }
}

impl<S> Link<S, Plain> {
    /// Returns a link that goes on with a connection which another process has saved
    /// ([`save`](Self::save)). `session` is new, and gets the state of the saved one. It is called
    /// with [`Cause::Restored`](crate::Cause::Restored) first. If it is refused, `app` is unchanged.
    ///
    /// # Errors
    /// When the state is not what `save` returns, is that of another version, or is refused by the
    /// session ([`Session::restore`]).
    pub fn restored<A>(
        mut session: S,
        limits: Arc<Limits>,
        state: &[u8],
        now: Instant,
        app: &mut A,
    ) -> Result<Self, StateError>
    where
        S: Session<A>,
    {
        let mut state = SavedState::new(state);
        let format = state.number()?;
        if format != FORMAT {
            return Err(StateError::Format { format });
        }
        let pending = bits(&mut state, PENDING)?;
        let flags = bits(&mut state, FLAGS)?;
        let write_half = usize::try_from(state.number()?).ok();
        let write_half = write_half.and_then(|it| WRITE_HALVES.get(it)).copied();
        let write_half = write_half.ok_or(StateError::Invalid("no such state of the output"))?;
        let timeouts = timeouts(&mut state, now)?;
        let rest = Rest::restored(&mut state)?;
        let own = state.bytes()?;
        state.end()?;
        let has_ended = flags & flag::WIRE_ENDED != 0;
        if has_ended != (flags & flag::INPUT_ENDED != 0) {
            return Err(StateError::Invalid("the input of the connection has ended in part"));
        }
        if write_half == WriteHalf::Ended && rest.unsent() > 0 {
            return Err(StateError::Invalid("there is output after its end"));
        }
        let is_new = pending & cause::OPENED != 0;
        if !is_new {
            let mut own = SavedState::new(own);
            session.restore(app, &mut own)?;
            own.end()?;
        }
        let stage = if is_new { Stage::Opening } else { Stage::Restored };
        let mut link = Self::build(session, Plain, limits, stage);
        link.pending |= pending | cause::OPENED;
        (link.flags, link.write_half) = (flags, write_half);
        link.rest = rest.boxed();
        link.restore_timeouts(timeouts);
        Ok(link)
    }
}

/// Reads bits, of which only those of `known` may be set.
fn bits(state: &mut SavedState<'_>, known: u8) -> Result<u8, StateError> {
    let bits = u8::try_from(state.number()?).ok().filter(|bits| bits & !known == 0);
    bits.ok_or(StateError::Invalid("the state of the connection has an unknown bit"))
}

/// Reads the timeouts of a session: when each passes, and its key.
fn timeouts(state: &mut SavedState<'_>, now: Instant) -> Result<Vec<(Instant, u8)>, StateError> {
    let mut timeouts: Vec<(Instant, u8)> = Vec::new();
    for _ in 0..state.number()? {
        let left = Duration::from_nanos(state.number()?);
        let key = u8::try_from(state.number()?).ok();
        let key = key.filter(|key| timeouts.iter().all(|(_, other)| other != key));
        let key = key.ok_or(StateError::Invalid("a timeout has no key of its own"))?;
        timeouts.extend(now.checked_add(left).map(|at| (at, key)));
    }
    Ok(timeouts)
}

impl Rest {
    /// Saves the unread input and the unsent output.
    fn save(&self, state: &mut State) -> Result<(), NotSaved> {
        state.bytes(self.input().filled());
        let parts = self.output().memory_parts().ok_or(NotSaved)?;
        state.parts(&parts);
        Ok(())
    }

    fn restored(state: &mut SavedState<'_>) -> Result<Self, StateError> {
        let input = state.bytes()?;
        let input = if input.is_empty() { Buffer::new() } else { Buffer::from(input.to_vec()) };
        let mut output = Output::new();
        output.append(state.bytes()?);
        Ok(Self::of(input, output))
    }
}
