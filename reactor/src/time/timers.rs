//! The timers of sources: whose they are, and what becomes of them when their source ends.

use std::time::Duration;

use crate::reactor::core::{Core, nanos};
use crate::source::table::{NEVER, Source};
use crate::time::wheel::{Due, Payload, TimerTag};
use crate::{Cx, Tag, Timeout, TimerId};

/// How much of the wheel is looked at for each timer that an ended source may have left behind.
/// Those left behind during one way round the wheel are then at most half of what there is to look
/// at.
const LOOKS_PER_TIMER: usize = 2;
/// How much of the wheel is looked at in a turn: about a tenth of a millisecond.
const LOOKS_PER_TURN: usize = 4096;
/// A timer is fetched while so many others fire: a fetch takes as long as a few of them.
const AHEAD: usize = 8;

impl<A> Cx<'_, A> {
    /// Arms a timer of this source: [`Handler::timer`](crate::Handler::timer) is called with `key`
    /// once `after` has passed from [`now`](Self::now) on, never early, and every `period` after
    /// that when there is one. Due times stay on their grid however late the loop is. A timer does
    /// not outlive its source. A period of zero is none, as for `timerfd_settime(2)`.
    ///
    /// For a point in time, give what is left until then:
    /// `at.saturating_duration_since(cx.now())`.
    #[inline]
    pub fn set_timer(&mut self, after: Duration, period: Option<Duration>, key: u64) -> TimerId {
        let deadline = self.core.ticks_after(after);
        let period = period.map_or(0, nanos);
        let timer = self.core.set_timer(self.me, deadline, period, key);
        TimerId::new(timer, self.core.home)
    }
}

impl<A, P> Cx<'_, A, P> {
    /// Takes a timer away, which does not fire any more even if it is due. Returns whether it was
    /// still armed, and this loop's.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        timer.timer_in(self.core.home).is_some_and(|timer| self.core.cancel_timer(timer))
    }

    /// Moves a timer, even if it is due: it fires once `after` has passed from [`now`](Self::now)
    /// on. Returns whether it was still armed, and this loop's.
    pub fn move_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        let deadline = self.core.ticks_after(after);
        timer.timer_in(self.core.home).is_some_and(|timer| self.core.wheel.rearm(timer, deadline))
    }
}

impl<A> Core<A> {
    /// A time from now on, on the loop's own scale.
    pub(crate) fn ticks_after(&self, after: Duration) -> u64 {
        self.ticks.saturating_add(nanos(after))
    }

    /// Changes the deadline or the idle limit of a source.
    pub(crate) fn update_limits(&mut self, tag: Tag, change: impl FnOnce(&mut Source)) {
        let is_active = self.lent.is_active && tag == self.lent.tag;
        if let Some(source) = self.sources.get_mut(tag) {
            if is_active {
                source.last_active = self.charged;
            }
            change(source);
            self.arm(tag);
        }
    }

    /// Sees to it that the source's own timer fires no later than its deadline and idle limit ask.
    /// One that fires too early is armed again for what is left, so that moving a limit further
    /// away, as every event does, costs one store.
    pub(crate) fn arm(&mut self, tag: Tag) {
        let Some(source) = self.sources.get_mut(tag) else { return };
        let expires_at = source.expires_at(self.patience.lost());
        if expires_at == NEVER {
            return;
        }
        match source.timer {
            None => {
                let payload = Payload { owner: tag.to_bits(), key: 0 };
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

    /// Which of its own limits of time a source has passed. Of one that has a descriptor, that is
    /// judged by what the kernel has reported in full (law 8): what it did in time may still wait
    /// there, or in the queue.
    pub(crate) fn passed_limit(&mut self, tag: Tag) -> Option<Timeout> {
        let source = self.sources.get_mut(tag)?;
        if self.is_behind && source.queued && source.own.fd.is_some() {
            return None;
        }
        let unseen = match source.own.fd {
            Some(_) => self.ticks.saturating_sub(self.patience.looked_at()),
            None => 0,
        };
        if source.deadline <= self.ticks - unseen {
            source.deadline = NEVER;
            Some(Timeout::Deadline)
        } else if source.silent_at() <= self.charged.saturating_sub(unseen) {
            source.last_active = self.charged;
            Some(Timeout::Idle)
        } else {
            None
        }
    }

    /// Arms a timer that a source asked for. One that has ended gets the name of a cancelled one.
    pub(crate) fn set_timer(&mut self, tag: Tag, deadline: u64, period: u64, key: u64) -> TimerTag {
        let timer = self.wheel.insert(deadline, period, Payload { owner: tag.to_bits(), key });
        match self.sources.get_mut(tag) {
            Some(source) => source.timers = source.timers.saturating_add(1),
            None => _ = self.wheel.cancel(timer),
        }
        timer
    }

    /// Takes a timer away that a source asked for. Returns whether it was armed. Whose it was is
    /// not looked up, which would cost as much again: see [`forget_timers`](Self::forget_timers). A
    /// source's own timer is left alone.
    pub(crate) fn cancel_timer(&mut self, timer: TimerTag) -> bool {
        self.wheel.cancel(timer)
    }

    /// Collects what is due, as much as is fired in a context. Returns how many timers wait to be
    /// fired.
    #[inline]
    pub(crate) fn collect_due(&mut self) -> usize {
        if self.due.is_empty() && self.wheel.next_deadline().is_none_or(|at| at > self.ticks) {
            return 0;
        }
        self.wheel.expire(self.ticks, self.limits.calls_per_turn, &mut self.due);
        self.due.len()
    }

    /// The next timer that is to be fired, and whose it is. `None` when the one that was next has
    /// been cancelled or moved, or its owner has ended.
    pub(crate) fn next_due(&mut self) -> Option<(Tag, Due)> {
        let timer = self.due.pop_front()?;
        if let Some(later) = self.due.get(AHEAD) {
            self.wheel.prefetch(*later);
        }
        let due = self.wheel.take(timer, self.ticks)?;
        let owner = Tag::from_bits(due.payload.owner);
        match self.sources.get_mut(owner) {
            Some(source) if source.timer == Some(due.id) => {}
            Some(source) if self.wheel.deadline(due.id).is_none() => {
                source.timers = source.timers.saturating_sub(1);
            }
            Some(_) => {}
            None => {
                // A periodic one would go on for nobody.
                self.wheel.cancel(due.id);
                return None;
            }
        }
        Some((owner, due))
    }

    /// A source has ended, and its timers with it. Nothing tells which they are but looking at all,
    /// so each that it has armed pays for a few looks, which [`weed`](Self::weed) takes: ending
    /// costs no more than arming did. Those that it cancelled pay too, since their owner was not
    /// looked up.
    pub(crate) fn forget_timers(&mut self, source: &Source) {
        if let Some(timer) = source.timer {
            self.wheel.cancel_own(timer);
        }
        let looks = (source.timers as usize).saturating_mul(LOOKS_PER_TIMER);
        // From here, once round finds all of them.
        self.unweeded = self.unweeded.saturating_add(looks).min(self.wheel.round());
    }

    /// Takes timers of sources that have ended out of the wheel, a bounded number of looks in a
    /// context.
    #[inline]
    pub(crate) fn weed(&mut self) {
        if self.unweeded > 0 {
            let looks = self.unweeded.min(LOOKS_PER_TURN);
            self.unweeded -= looks;
            let sources = &self.sources;
            self.wheel.weed(looks, |it| sources.get(Tag::from_bits(it.owner)).is_some());
        }
    }

    /// Goes on with giving back the memory of timers that a burst took.
    #[inline]
    pub(crate) fn compact_timers(&mut self) {
        if self.wheel.is_compacting() {
            let sources = &mut self.sources;
            self.wheel.compact(|it, timer| {
                if let Some(source) = sources.get_mut(Tag::from_bits(it.owner)) {
                    source.timer = Some(timer);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::testing::Script;
    use crate::{Handler, LoopLimits, Reactor, Token, Trigger};

    const HOUR: Duration = Duration::from_secs(3600);

    /// Arms so many timers when it is woken, and cancels so many others.
    struct Owner {
        armed: u64,
        cancelled: u64,
    }

    impl Handler for Owner {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            for key in 0..self.armed {
                cx.set_timer(HOUR, None, key);
            }
            let cancelled: Vec<_> =
                (0..self.cancelled).map(|key| cx.set_timer(HOUR, None, key)).collect();
            assert!(cancelled.into_iter().all(|timer| cx.cancel_timer(timer)));
            Ok(())
        }
    }

    fn reactor() -> Reactor {
        // All end in one turn, so that nothing but their timers takes more.
        let limits = LoopLimits { ends_per_turn: usize::MAX, ..LoopLimits::DEFAULT };
        let backend = Script::new(Trigger::Edge).backend();
        Reactor::with_backend(backend, limits, ()).expect("the reactor opens")
    }

    /// So many sources, each of which has armed and cancelled so many timers.
    fn owners(reactor: &mut Reactor, count: usize, armed: u64, cancelled: u64) -> Vec<Token> {
        let spawn = |_| {
            let token = reactor.cx().spawn(Owner { armed, cancelled }).expect("it registers");
            reactor.cx().wake(token);
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            token
        };
        (0..count).map(spawn).collect()
    }

    /// Ends sources, and turns until nothing is left to do. Returns how many looks that took in a
    /// turn, at most, and in all.
    fn end(reactor: &mut Reactor, tokens: &[Token]) -> (u64, u64) {
        tokens.iter().for_each(|token| reactor.cx().close(*token));
        let (before, mut most) = (reactor.core.wheel.touched, 0);
        while reactor.core.has_work() {
            let before = reactor.core.wheel.touched;
            reactor.run_once(None).expect("it turns");
            most = most.max(reactor.core.wheel.touched - before);
        }
        (most, reactor.core.wheel.touched - before)
    }

    /// A run of places is looked at whole.
    const TURN_MAX: u64 = LOOKS_PER_TURN as u64 + 64;

    #[test]
    fn a_source_that_armed_nothing_ends_without_a_look_at_the_timers_of_others() {
        let mut reactor = reactor();
        owners(&mut reactor, 1, 20_000, 0);
        let ended = owners(&mut reactor, 2000, 0, 0);
        assert_eq!(end(&mut reactor, &ended), (0, 0));
    }

    #[test]
    fn sources_that_end_after_a_burst_of_cancelled_timers_cost_what_they_armed() {
        let mut reactor = reactor();
        owners(&mut reactor, 1, 1, 200_000);
        let ended = owners(&mut reactor, 2000, 0, 2);
        let (most, all) = end(&mut reactor, &ended);
        assert!(most <= TURN_MAX && all <= 2000 * 2 * 2 + 64, "{most} looks, {all} in all");
    }

    #[test]
    fn sources_that_cancelled_many_timers_each_cost_one_way_round_in_all() {
        let mut reactor = reactor();
        let stays = 5000;
        owners(&mut reactor, 1, stays, 0);
        let ended = owners(&mut reactor, 200, 0, 2000);
        let (most, all) = end(&mut reactor, &ended);
        assert!(most <= TURN_MAX && all <= stays + stays / 64 + 200, "{most} looks, {all} in all");
        assert_eq!(reactor.timers() as u64, stays);
    }

    #[test]
    fn the_timers_of_a_crowd_that_ends_are_freed_in_portions_until_none_is_left() {
        let mut reactor = reactor();
        owners(&mut reactor, 1, 100, 0);
        let ended = owners(&mut reactor, 200, 100, 0);
        let (most, all) = end(&mut reactor, &ended);
        assert!(most <= TURN_MAX && all <= 2 * 20_000, "{most} looks, {all} in all");
        assert_eq!(reactor.timers(), 100);
    }

    #[test]
    fn timers_of_ended_sources_are_never_more_than_the_others_or_a_thousand() {
        for stays in [0, 3000] {
            let mut reactor = reactor();
            owners(&mut reactor, 1, stays, 0);
            for _ in 0..2000 {
                let ended = owners(&mut reactor, 1, 10, 3);
                end(&mut reactor, &ended);
                let left = reactor.timers() as u64 - stays;
                assert!(left <= stays.max(1000), "{left} beside {stays}");
            }
        }
    }
}
