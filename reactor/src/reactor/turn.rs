//! The turn: one iteration of the loop, in eight phases.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use log::{Level, debug, log_enabled, trace};

use crate::planted::{self, Planted};
use crate::reactor::run_state::RunState;
use crate::source::table::{Phase, Source};
use crate::{
    Cx, Expired, Handler, LoopCx, Priority, Reactor, Readiness, Reason, Role, Tag, TimerId, sys,
};

/// The loan of a handler during a call. The source gets it back however the call ends. A panic ends
/// the source (law 7); a program that catches it may turn the loop again.
struct Loan<'a, A> {
    cx: Cx<'a, A>,
    is_back: bool,
}

impl<A> Loan<'_, A> {
    /// Ends the loan of a call that has returned.
    #[inline(always)]
    fn give_back(&mut self) {
        self.cx.core.take_back();
        self.is_back = true;
    }

    #[cold]
    fn end_panicked(&mut self) {
        self.cx.core.notifier.set_turning(false);
        self.cx.core.take_back();
        // The handler may have had more to say, and what it had said in this call is lost.
        if let Some(source) = self.cx.core.sources.get_mut(self.cx.me)
            && source.role == Role::Connection
        {
            source.own.is_unsent = true;
        }
        self.cx.core.end(self.cx.me, Reason::Panicked);
    }
}

impl<A> Drop for Loan<'_, A> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.is_back {
            self.end_panicked();
        }
    }
}

/// A loop that runs code of the program, apart from calls of handlers. If that panics, the turn is
/// over. A guard of the whole turn would do the same for 31 instructions more in each.
struct Running<'a, A: 'static>(&'a mut Reactor<A>);

impl<A> Drop for Running<'_, A> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.core.notifier.set_turning(false);
        }
    }
}

impl<A: 'static> Reactor<A> {
    /// Runs one turn, which waits no longer than `limit`.
    pub(crate) fn turn(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let limit = if self.core.is_plain { limit } else { self.prepare(limit) };
        self.turn_plainly(limit)
    }

    /// Runs one turn, without the hooks that precede its wait.
    pub(crate) fn turn_plainly(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.core.refuse_copy()?;
        self.core.notifier.set_turning(true);
        let result = self.run_phases(limit);
        self.core.notifier.set_turning(false);
        result
    }

    #[inline(always)] // It has one caller.
    fn run_phases(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.core.counters.turns += 1;
        self.adopt();
        self.core.rearm();
        self.wait(limit)?;
        self.fold();
        if !self.core.is_plain {
            self.prepare_calls();
        }
        self.run_queue();
        self.expire();
        if planted::is(Planted::TimersInOneTurn) {
            // A chain without end shows too, but does not hang the test.
            (1..self.core.limits.calls_per_turn).for_each(|_| self.expire());
        }
        if self.core.notifier.is_pending() {
            self.run_remote_calls();
        }
        // A handler may have forked: its copy of the loop ends here.
        self.core.refuse_copy()?;
        if self.core.has_chores() {
            self.do_chores()?;
        }
        self.core.wheel.settle();
        self.trim();
        Ok(())
    }

    /// Phase 8, and other work after the calls, if there is any.
    #[inline(never)]
    fn do_chores(&mut self) -> io::Result<()> {
        let running = Running(self);
        running.0.reap(running.0.ends_now());
        running.0.core.refuse_copy()?;
        running.0.core.weed();
        running.0.core.compact_timers();
        // Again, for a host that waits for the backend's descriptor before the next turn.
        running.0.core.rearm();
        Ok(())
    }

    /// Phase 4: event to tag to source.
    #[inline]
    fn fold(&mut self) {
        self.core.counters.events += self.events.len() as u64;
        for event in self.events.drain(..) {
            self.core.fold(event);
            // The handlers run next. Their memory is prefetched together, so that no call waits for
            // its own.
            if let Some(Some(handler)) = self.handlers.get(event.tag.slot() as usize) {
                sys::prefetch(handler.as_ref());
            }
        }
    }

    /// What rarely precedes the calls of handlers.
    #[inline(never)]
    fn prepare_calls(&mut self) {
        self.check();
        self.notify_stopping();
        self.core.arrange();
    }

    /// Tells every source once that the loop winds down. Sources that are registered meanwhile are
    /// told in the next turn, so that sources which register others cannot hold the loop here.
    fn notify_stopping(&mut self) {
        if let RunState::Stopping { until, told: false } = self.core.run_state {
            self.core.enter(RunState::Stopping { until, told: true });
            self.core.to_notify = self.core.sources.tags().into();
        }
        // One by one, so that after a caught panic the others are still told. Sources to be told
        // again wait for the next turn.
        for told in 0..self.core.to_notify.len() {
            let RunState::Stopping { .. } = self.core.run_state else { return };
            if !self.may_call(told) || self.core.is_copy() {
                return;
            }
            let Some(tag) = self.core.to_notify.pop_front() else { return };
            self.tell(tag, |handler, cx| handler.stopping(cx));
        }
    }

    /// Returns whether a phase that has called `count` handlers may call another one in this turn.
    #[inline]
    fn may_call(&self, called: usize) -> bool {
        match self.core.run_state {
            RunState::StopNow => false,
            RunState::StopAfterBatch => true,
            RunState::Running | RunState::Stopping { .. } => {
                called < self.core.limits.calls_per_turn
            }
        }
    }

    /// Phase 5: runs the queued sources. A source that is queued again meanwhile runs in the next
    /// turn, after the kernel was asked, so that no source starves.
    fn run_queue(&mut self) {
        self.core.is_behind = false;
        for called in 0..self.core.queue.len() {
            if !self.may_call(called) {
                self.core.is_behind = true;
                break;
            }
            let Some(tag) = self.core.queue.pop() else { break };
            let audited = self.core.audit.as_ref().map(|_| self.core.counters.operations());
            let told = |source: &mut Source| {
                source.queued = false;
                let woken = source.is_runnable().then(|| std::mem::take(&mut source.woken))?;
                Some((woken, source.news()))
            };
            let run = self.dispatch(tag, told, |(woken, news), handler, cx| {
                // An error and an exceptional condition are told once for each event, since no
                // operation has to block when they are gone. The rest stays until an operation
                // removes it.
                cx.core.lent.once = news.and(Readiness::ERROR | Readiness::PRIORITY);
                if planted::is(Planted::EdgeConsumed) {
                    cx.core.lent.once |= news.and(Readiness::READABLE);
                }
                cx.core.counters.runs += 1;
                cx.woken = woken;
                handler.ready(cx)
            });
            if let (Some((woken, _)), Some(operations)) = (run, audited) {
                let untouched = !woken && self.core.counters.operations() == operations;
                self.note_for_audit(tag, untouched);
            }
        }
        self.core.queue.end_turn();
    }

    /// Calls a live source, for any reason.
    pub(super) fn tell(
        &mut self,
        tag: Tag,
        call: impl FnOnce(&mut dyn Handler<A>, &mut Cx<'_, A>) -> io::Result<()>,
    ) {
        let is_live = |source: &mut Source| (source.phase == Phase::Live).then_some(());
        self.dispatch(tag, is_live, |(), handler, cx| call(handler, cx));
    }

    /// Lends a handler itself, the loop and the application at once (law 4), if `prepare` finds in
    /// its source, which is live then, that there is something to tell. Returns what that is.
    #[inline(always)] // It has one caller for the hot path and one for all others.
    fn dispatch<T: Copy>(
        &mut self,
        tag: Tag,
        prepare: impl FnOnce(&mut Source) -> Option<T>,
        call: impl FnOnce(T, &mut dyn Handler<A>, &mut Cx<'_, A>) -> io::Result<()>,
    ) -> Option<T> {
        if self.core.is_copy() {
            return None;
        }
        let source = self.core.sources.get_mut(tag)?;
        let told = prepare(source)?;
        let handler = self.handlers.get_mut(tag.slot() as usize)?.as_mut()?;
        self.core.lent.begin(tag, source);
        let mut loan = Loan { cx: Cx::new(&mut self.core, &mut self.app, tag), is_back: false };
        let result = call(told, handler.as_mut(), &mut loan.cx);
        loan.give_back();
        // Law 7: an error ends its source, never the loop.
        if let Err(error) = result {
            let operation = loan.cx.failed.unwrap_or("handler");
            loan.cx.core.end(tag, Reason::Failed { operation, error });
        }
        drop(loan);
        self.adopt();
        Some(told)
    }

    /// Stores handlers that were registered during a call, or that replace others.
    #[inline]
    pub(crate) fn adopt(&mut self) {
        if !self.core.arrivals.is_empty() {
            self.adopt_all();
        }
    }

    #[inline(never)]
    fn adopt_all(&mut self) {
        while let Some((tag, handler)) = self.core.arrivals.pop() {
            let slot = tag.slot() as usize;
            if slot >= self.handlers.len() {
                self.handlers.resize_with(slot + 1, || None);
            }
            let replaced = self.handlers[slot].replace(handler);
            if let RunState::Stopping { told: true, .. } = self.core.run_state
                && !(replaced.is_some() && self.core.to_notify.contains(&tag))
            {
                self.core.to_notify.push_back(tag);
            }
        }
    }

    /// Phase 6: collects all due timers first, and then fires them, so that a timer that arms
    /// another one without delay cannot hold the loop here.
    fn expire(&mut self) {
        // If the loop stops now, the remaining timers fire when it is run again.
        for called in 0..self.core.collect_due() {
            if !self.may_call(called) || self.core.is_copy() {
                return;
            }
            let Some((tag, timer)) = self.core.next_due() else { continue };
            let Some(source) = self.core.sources.get_mut(tag) else { continue };
            if source.timer == Some(timer.id) {
                source.timer = None;
                self.expire_source(tag);
                continue;
            }
            self.core.counters.timers += 1;
            let id = TimerId::new(timer.id, self.core.home);
            let expired = Expired { id, key: timer.payload.key, ticks: timer.ticks };
            self.tell(tag, |handler, cx| handler.timer(expired, cx));
        }
    }

    /// Handles the timer of a source itself. It is armed again if the limits have moved since, or
    /// the kernel may hold events from before the limit.
    fn expire_source(&mut self, tag: Tag) {
        if let Some(timeout) = self.core.passed_limit(tag) {
            self.core.counters.timers += 1;
            self.tell(tag, |handler, cx| handler.timeout(timeout, cx));
        }
        if !planted::is(Planted::IdleDisarmed) {
            self.core.arm(tag);
        }
    }

    /// Phase 7: wakes sources for other threads, and runs their closures, within the budget. Hands
    /// connections over, if the program asks for it.
    #[inline(never)]
    fn run_remote_calls(&mut self) {
        let running = Running(self);
        let reactor = &mut *running.0;
        reactor.core.take_wakes();
        reactor.run_closures();
        let core = &reactor.core;
        if core.departures.is_some() || core.restored.has_thawing() || !core.retired.is_empty() {
            reactor.hand_over();
        }
    }

    fn run_closures(&mut self) {
        let reactor = self;
        for _ in 0..reactor.core.limits.remote_calls_per_turn {
            if reactor.core.run_state == RunState::StopNow || reactor.core.is_copy() {
                return;
            }
            let Some(call) = reactor.core.mailbox.next_call() else { return };
            reactor.core.counters.remote_calls += 1;
            call(&mut LoopCx::new(&mut reactor.core, &mut reactor.app, Tag::NONE));
            reactor.adopt();
        }
    }

    /// Returns how many sources are reaped in this turn. A loop that stops has no other sources to
    /// delay.
    fn ends_now(&self) -> usize {
        if self.has_ended() || planted::is(Planted::EndsUnbounded) {
            usize::MAX
        } else {
            self.core.limits.ends_per_turn
        }
    }

    /// Phase 8: for each source that has ended, removes and closes its descriptor, tells its
    /// handler and frees its slot, within the budget. Sources that end meanwhile are reaped in the
    /// next turn.
    pub(crate) fn reap(&mut self, most: usize) {
        // One by one, so that a caught panic of one does not affect the others.
        for _ in 0..self.core.ending.len().min(most) {
            let Some((tag, reason)) = self.core.ending.pop_front() else { return };
            let Some(mut source) = self.core.sources.remove(tag) else { continue };
            self.core.count_priority(source.priority, Priority::Normal);
            self.core.forget_timers(&source);
            self.core.strike(tag, &source);
            // Law 2: the descriptor is removed from the poller, then closed, once, here. Closing
            // does both, if the kernel works so and no other code has a copy.
            if let Some(fd) = source.own.fd.take() {
                if log_enabled!(Level::Debug) {
                    self.log_end(tag, fd.as_fd(), source.role, &reason);
                }
                // A forked copy shares its kernel objects with the original: this would disturb
                // that.
                if source.own.is_unsent && !self.core.is_copy() && !planted::is(Planted::CutInOrder)
                {
                    self.core.cut_short(tag, fd.as_fd(), &reason);
                }
                if self.core.must_remove(&source)
                    && !self.core.is_copy()
                    && let Err(error) = self.core.backend.remove(fd.as_fd())
                {
                    debug!("{tag}: not removed from {}: {error}", self.core.backend.name());
                }
                self.core.peers.forget(tag);
                drop(fd);
                self.core.wake_starved();
            } else {
                trace!("{tag}: {reason}");
                if source.role == Role::Connection {
                    // A connection that other code drives has made room too.
                    self.core.wake_starved();
                }
            }
            self.core.counters.closes[reason.index()] += 1;
            let place = self.handlers.get_mut(tag.slot() as usize);
            if let Some(handler) = place.and_then(Option::take) {
                let mut cx = LoopCx::new(&mut self.core, &mut self.app, tag);
                handler.closed(reason, &mut cx);
                self.adopt();
            }
        }
        if planted::is(Planted::EndsForgotten) {
            self.core.ending.clear();
        }
    }

    /// Logs which source ends and why: its handler, and its peer where it has one.
    #[cold]
    fn log_end(&self, tag: Tag, fd: BorrowedFd<'_>, role: Role, reason: &Reason) {
        let handler = self.handlers.get(tag.slot() as usize).and_then(Option::as_ref);
        let name = handler.map_or("its handler is gone", |handler| handler.name());
        let of = match role {
            Role::Connection => format!(" of {}", self.core.peers.text(tag, fd)),
            Role::Listener | Role::Other => String::new(),
        };
        debug!("{tag} fd {}{of} ended: {reason} ({name})", fd.as_raw_fd());
    }
}
