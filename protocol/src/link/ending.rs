//! How a connection ends, and what waits for a time (P26).

use std::time::{Duration, Instant};

use super::{Layer, Link, Scratch, Stage, UNKNOWN, WriteHalf, cause, flag};
use crate::Reason;

/// What only some connections need: timeouts of the session, and why and how the connection ends.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// When each timeout passes, and its key.
    timeouts: Vec<(Instant, u8)>,
    /// How many of them are still to be reported to the session in this pass. A timeout that is set
    /// meanwhile waits for the next pass, even if it passes at once, so that other connections run
    /// first.
    due: usize,
    /// The limit of the layer's handshake, while it goes on.
    handshake: Option<Handshake>,
    ending: Option<Ending>,
}

/// The time of a peer to complete the handshake of a layer.
#[derive(Debug)]
struct Handshake {
    until: Instant,
    /// How much time the driver had lost when it began.
    lost: Duration,
}

/// The end of a connection: its reason, and what the link still accepts. Once all output was sent
/// and the sending side has ended, the link discards what the peer still sends, until the peer ends
/// its stream too. Closing with unread input would reset the connection, and the peer would lose
/// what it has not read yet.
#[derive(Debug)]
struct Ending {
    reason: Reason,
    /// How many more bytes are discarded.
    discard_left: usize,
    /// When the time of the peer ends.
    until: Option<Instant>,
    /// How much time the driver had lost when the peer's time began.
    lost: Duration,
}

/// The result of a limit of time that has passed.
#[derive(Debug)]
pub enum Passed {
    /// The link goes on.
    GoesOn,
    /// The link goes on, and the peer is not silent: it has acknowledged some output.
    Progress,
    /// The driver has to close the connection for this reason.
    Over(Reason),
}

impl<S, L: Layer> Link<S, L> {
    /// Returns the time at which the driver has to call [`deadline_passed`](Self::deadline_passed).
    pub fn deadline(&self) -> Option<Instant> {
        let extra = self.extra.as_ref().filter(|_| !self.is_frozen())?;
        match &extra.ending {
            Some(ending) => ending.until,
            None => {
                let handshake = extra.handshake.iter().map(|it| it.until);
                extra.timeouts.iter().map(|(at, _)| *at).chain(handshake).min()
            }
        }
    }

    /// Tells the link that its deadline has passed: a timeout of the session, the limit of the
    /// layer's handshake, or the time that the peer had to receive the output. `unacknowledged` returns how many bytes the peer has not
    /// acknowledged (`SIOCOUTQ`, `tcp(7)`), or zero if that is not known. The driver calls it
    /// within a pass.
    pub fn deadline_passed(
        &mut self,
        scratch: &mut Scratch,
        unacknowledged: impl FnOnce() -> u32,
    ) -> Passed {
        scratch.pass.deadline_changed = true;
        let Some(extra) = self.extra.as_mut() else { return Passed::GoesOn };
        if extra.ending.is_none() {
            let now = scratch.pass.now;
            if let Some(handshake) = &mut extra.handshake
                && handshake.until <= now
            {
                let lost = scratch.pass.lost.saturating_sub(handshake.lost);
                if lost.is_zero() {
                    return Passed::Over(Reason::Limit("handshake: it takes too long"));
                }
                // What the driver itself has lost does not count.
                *handshake = Handshake { until: handshake.until + lost, lost: scratch.pass.lost };
            }
            extra.due = extra.timeouts.iter().filter(|(at, _)| *at <= now).count();
            self.pending |= cause::TIMEOUT;
            return Passed::GoesOn;
        }
        if self.has_progressed(scratch, unacknowledged) {
            return Passed::Progress;
        }
        if self.make_up(scratch) {
            return Passed::GoesOn;
        }
        match self.stage {
            Stage::Lingering => Passed::Over(self.take_reason()),
            _ => Passed::Over(Reason::Deadline),
        }
    }

    /// Tells the link that its connection has been silent for as long as the idle limit allows. For
    /// `unacknowledged`, see [`deadline_passed`](Self::deadline_passed). The driver calls it within
    /// a pass.
    pub fn idle_passed(
        &mut self,
        scratch: &mut Scratch,
        unacknowledged: impl FnOnce() -> u32,
    ) -> Passed {
        if self.has_progressed(scratch, unacknowledged) {
            return Passed::Progress;
        }
        // A session that pauses waits for something else than its peer, and a peer that is owed
        // something is waited for: the loop's patience is the limit.
        let is_owed = self.has(flag::PAUSED) || !self.is_flushed(scratch);
        match self.stage {
            Stage::Frozen | Stage::FrozenNew | Stage::FrozenRestored => Passed::Progress,
            Stage::Lingering | Stage::Over => Passed::Over(self.take_reason()),
            Stage::Open if self.has(flag::STOPS) && is_owed => Passed::GoesOn,
            // It has a limit of its own.
            Stage::Closing if self.has(flag::STOPS) => Passed::GoesOn,
            _ if self.has(flag::STOPS) => Passed::Over(Reason::Stopped),
            _ => Passed::Over(Reason::Idle),
        }
    }

    /// Tells the link how many bytes the peer has not acknowledged. The driver calls it when the
    /// output was written until there was no more room. A later change of that number is progress.
    pub fn unacknowledged(&mut self, count: u32) {
        self.unacknowledged = count;
    }

    /// Returns whether the peer has taken something of what was sent since that was last looked at:
    /// then all of its time begins anew.
    fn has_progressed(
        &mut self,
        scratch: &mut Scratch,
        unacknowledged: impl FnOnce() -> u32,
    ) -> bool {
        let now = unacknowledged();
        let before = std::mem::replace(&mut self.unacknowledged, now);
        let has_progressed = (now > 0 || !self.is_flushed(scratch)) && now != before;
        if has_progressed {
            self.wait_for_peer(scratch, self.limits.linger);
        }
        has_progressed
    }

    /// Gives the peer of a connection that ends `patience` from now on.
    pub(super) fn wait_for_peer(&mut self, scratch: &mut Scratch, patience: Duration) {
        let Some(ending) = self.extra.as_mut().and_then(|extra| extra.ending.as_mut()) else {
            return;
        };
        ending.until = scratch.pass.now.checked_add(patience);
        ending.lost = scratch.pass.lost;
        scratch.pass.deadline_changed = true;
    }

    /// Gives the peer the part of its time that the driver itself has lost. Returns whether there is
    /// any.
    fn make_up(&mut self, scratch: &mut Scratch) -> bool {
        let ending = self.extra.as_ref().and_then(|extra| extra.ending.as_ref());
        let lost = ending.map_or(Duration::ZERO, |it| scratch.pass.lost.saturating_sub(it.lost));
        if !lost.is_zero() {
            self.wait_for_peer(scratch, lost);
        }
        !lost.is_zero()
    }

    /// Ends the session's part unless that has ended.
    #[cold]
    pub(super) fn close_open(&mut self, scratch: &mut Scratch, reason: Reason) {
        if self.stage == Stage::Open {
            self.close(scratch, reason);
        }
    }

    /// Ends the session's part: sends what is left to be sent, and nothing more.
    pub(super) fn close(&mut self, scratch: &mut Scratch, reason: Reason) {
        scratch.input.clear();
        scratch.sealed.clear();
        if !self.is_ready() {
            // It can never be sealed.
            scratch.output.clear();
        }
        self.pending = 0;
        self.stage = Stage::Closing;
        let extra = self.extra.get_or_insert_default();
        extra.timeouts = Vec::new();
        extra.ending = Some(Ending {
            reason,
            discard_left: self.limits.linger_bytes_max,
            until: None,
            lost: scratch.pass.lost,
        });
        // In place of the timeouts of the session, which mean nothing any more.
        scratch.pass.deadline_changed = true;
        if !self.is_flushed(scratch) {
            self.wait_for_peer(scratch, self.limits.linger);
        }
    }

    /// Ends the connection at once: what is unsent is lost.
    pub(super) fn abort(&mut self, scratch: &mut Scratch, reason: Reason) {
        self.close(scratch, reason);
        self.stage = Stage::Over;
    }

    /// Waits for the peer to end its stream, after all output was sent.
    pub(super) fn linger(&mut self, scratch: &mut Scratch) {
        self.stage = Stage::Lingering;
        self.write_half = WriteHalf::Ended;
        self.unacknowledged = UNKNOWN;
        self.wait_for_peer(scratch, self.limits.linger);
    }

    /// Counts what a lingering link throws away.
    pub(super) fn discard(&mut self, count: usize) {
        let Some(ending) = self.extra.as_mut().and_then(|extra| extra.ending.as_mut()) else {
            return;
        };
        match ending.discard_left.checked_sub(count) {
            Some(left) if count > 0 => ending.discard_left = left,
            _ => self.stage = Stage::Over,
        }
    }

    /// Limits the time of the handshake of the layer, which begins now.
    pub(super) fn limit_handshake(&mut self, scratch: &mut Scratch) {
        let until = scratch.pass.now.checked_add(self.limits.handshake);
        let lost = scratch.pass.lost;
        self.extra.get_or_insert_default().handshake = until.map(|until| Handshake { until, lost });
        scratch.pass.deadline_changed = true;
    }

    /// Removes the limit of the handshake once the layer is ready.
    pub(super) fn unlimit_handshake(&mut self, scratch: &mut Scratch) {
        if self.layer.is_ready()
            && let Some(extra) = &mut self.extra
            && extra.handshake.take().is_some()
        {
            scratch.pass.deadline_changed = true;
            if extra.timeouts.is_empty() && extra.ending.is_none() {
                // An idle connection keeps none.
                self.extra = None;
            }
        }
    }

    /// Takes the reason for the end of the connection. The driver calls it once, after
    /// [`Step::Close`](super::Step::Close).
    pub fn take_reason(&mut self) -> Reason {
        let ending = self.extra.as_mut().and_then(|extra| extra.ending.take());
        ending.map_or(Reason::Finished, |ending| ending.reason)
    }

    /// Sets or removes a timeout of the session.
    pub(super) fn set_timeout(&mut self, scratch: &mut Scratch, key: u8, after: Option<Duration>) {
        scratch.pass.deadline_changed = true;
        if after.is_none() && self.extra.is_none() {
            return;
        }
        let timeouts = &mut self.extra.get_or_insert_default().timeouts;
        timeouts.retain(|(_, other)| *other != key);
        let at = after.and_then(|after| scratch.pass.now.checked_add(after));
        if let Some(at) = at {
            // Most sessions have one timeout, and a vector that grows has room for four.
            timeouts.reserve_exact(1);
            timeouts.push((at, key));
        }
    }

    /// Returns the timeouts of the session: when each passes, and its key.
    pub(super) fn timeouts(&self) -> &[(Instant, u8)] {
        self.extra.as_ref().map_or(&[], |extra| &extra.timeouts)
    }

    /// Sets the timeouts of a session that was saved.
    pub(super) fn restore_timeouts(&mut self, timeouts: Vec<(Instant, u8)>) {
        if !timeouts.is_empty() {
            self.extra.get_or_insert_default().timeouts = timeouts;
        }
    }

    /// Takes the timeout that has passed first, if one is due.
    pub(super) fn take_timeout(&mut self, now: Instant) -> Option<u8> {
        let Extra { timeouts, due, .. } = &mut **self.extra.as_mut()?;
        *due = due.checked_sub(1)?;
        let (place, _) = timeouts.iter().enumerate().min_by_key(|(_, (at, _))| *at)?;
        (timeouts[place].0 <= now).then(|| timeouts.swap_remove(place).1)
    }
}
