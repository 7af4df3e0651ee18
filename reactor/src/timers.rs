//! The timers of sources: whose they are, and what becomes of them when their source ends.

use crate::core::Core;
use crate::sources::{NEVER, Source};
use crate::wheel::{Due, Payload};
use crate::{TimerId, Token};

/// So many timers of sources that have ended are not worth looking for.
const ORPHANS_KEPT: usize = 1024;
/// A timer is fetched while so many others fire: a fetch takes as long as a few of them.
const AHEAD: usize = 8;

impl<A> Core<A> {
    /// Sees to it that the source's own timer fires no later than its deadline and idle limit ask.
    /// One that fires too early is armed again for what is left, so that moving a limit further
    /// away, as every event does, costs one store.
    pub(crate) fn arm(&mut self, token: Token) {
        let Some(source) = self.sources.get_mut(token) else { return };
        let expires_at = source.expires_at();
        if expires_at == NEVER {
            return;
        }
        match source.timer {
            None => {
                let payload = Payload { owner: token.to_bits(), key: 0 };
                source.timer = Some(self.wheel.insert_own(expires_at, payload));
            }
            Some(timer) => {
                let armed = self.wheel.deadline(timer).unwrap_or(NEVER);
                // One that is due already fires with the next batch, or with this one if it has
                // been collected: moving it would take it out of that.
                if armed > expires_at && armed > self.ticks {
                    self.wheel.rearm_own(timer, expires_at);
                }
            }
        }
    }

    /// Arms a timer that a source asked for. One that has ended gets the name of a cancelled one.
    pub(crate) fn set_timer(
        &mut self,
        token: Token,
        deadline: u64,
        period: u64,
        key: u64,
    ) -> TimerId {
        let timer = self.wheel.insert(deadline, period, Payload { owner: token.to_bits(), key });
        match self.sources.get_mut(token) {
            Some(source) => source.timers = source.timers.saturating_add(1),
            None => _ = self.wheel.cancel(timer),
        }
        timer
    }

    /// Takes a timer away that a source asked for. Returns whether it was armed. Whose it was is not
    /// looked up, which would cost as much again: see [`forget_timers`](Self::forget_timers). A
    /// source's own timer is left alone: the name is that of another loop's timer.
    pub(crate) fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.wheel.cancel(timer)
    }

    /// Collects what is due. Returns how many timers wait to be fired.
    pub(crate) fn collect_due(&mut self) -> usize {
        self.wheel.expire(self.ticks, &mut self.due);
        self.due.len()
    }

    /// The next timer that is to be fired, and whose it is. `None` when the one that was next has
    /// been cancelled or moved, or its owner has ended.
    pub(crate) fn next_due(&mut self) -> Option<(Token, Due)> {
        let timer = self.due.pop_front()?;
        if let Some(later) = self.due.get(AHEAD) {
            self.wheel.prefetch(*later);
        }
        let due = self.wheel.take(timer, self.ticks)?;
        let owner = Token::from_bits(due.payload.owner);
        match self.sources.get_mut(owner) {
            Some(source) if source.timer == Some(due.id) => {}
            Some(source) if self.wheel.deadline(due.id).is_none() => {
                source.timers = source.timers.saturating_sub(1);
            }
            Some(_) => {}
            None => {
                self.orphans = self.orphans.saturating_sub(1);
                // A periodic one would go on for nobody.
                self.wheel.cancel(due.id);
                return None;
            }
        }
        Some((owner, due))
    }

    /// A source has ended, and its timers with it. Nothing tells which they are but looking at all,
    /// so that is done only once they may be half of all: each end costs no more than what its source
    /// has armed. Those that it cancelled count too, since nobody looked whose they were.
    pub(crate) fn forget_timers(&mut self, source: &Source) {
        if let Some(timer) = source.timer {
            self.wheel.cancel_own(timer);
        }
        self.orphans += source.timers as usize;
        if self.orphans > ORPHANS_KEPT.max(self.wheel.len() / 2) {
            self.orphans = 0;
            let sources = &self.sources;
            self.wheel.retain(|payload| sources.get(Token::from_bits(payload.owner)).is_some());
        }
    }
}
