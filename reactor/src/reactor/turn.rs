//! The turn: what a loop does over and over, in eight phases.

use std::io;
use std::time::Duration;

use log::{debug, trace};

use crate::reactor::core::RunState;
use crate::source::table::Phase;
use crate::{Cx, Expired, Handler, LoopCx, Reactor, Readiness, Reason, Tag, TimerId, sys};

/// What a handler is lent while it is called. One that panics does not give it back, and that ends
/// its source (law 7): whoever catches the panic may turn the loop again.
struct Lent<'a, A> {
    cx: Cx<'a, A>,
    is_back: bool,
}

impl<A> Drop for Lent<'_, A> {
    fn drop(&mut self) {
        if !self.is_back {
            self.cx.core.end(self.cx.me, Reason::Panicked);
        }
    }
}

impl<A: 'static> Reactor<A> {
    /// One turn, waiting no longer than `limit`.
    pub(crate) fn turn(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.core.refuse_copy()?;
        self.core.counters.turns += 1;
        self.adopt();
        self.core.rearm();
        self.wait(limit)?;
        self.fold();
        self.notify_stopping();
        self.run_queue();
        self.expire();
        self.run_remote_calls();
        // A handler may have forked: its copy of the loop ends here.
        self.core.refuse_copy()?;
        self.reap(self.ends_now());
        self.core.refuse_copy()?;
        self.core.weed();
        self.core.compact_timers();
        // Once more, for a host that waits for the backend's descriptor before it turns again.
        self.core.rearm();
        self.core.wheel.settle();
        self.trim();
        Ok(())
    }

    /// Phase 4: event to tag to source.
    fn fold(&mut self) {
        for event in self.events.drain(..) {
            self.core.fold(event);
            // The handlers come next: their memory is fetched for all of them at once, instead of
            // being waited for one by one.
            if let Some(Some(handler)) = self.handlers.get(event.tag.slot() as usize) {
                sys::prefetch(handler.as_ref());
            }
        }
    }

    /// Tells every source once that the loop winds down. What is registered meanwhile is told in the
    /// next turn: sources that make others like themselves must not keep the loop here.
    fn notify_stopping(&mut self) {
        if let RunState::Stopping { until, told: false } = self.core.run_state {
            self.core.run_state = RunState::Stopping { until, told: true };
            self.core.to_notify = self.core.sources.tags().into();
        }
        // One by one, so that a panic which is caught leaves the others to be told. What is to be
        // told again waits for the next turn.
        for told in 0..self.core.to_notify.len() {
            let RunState::Stopping { .. } = self.core.run_state else { return };
            if !self.may_call(told) {
                return;
            }
            let Some(tag) = self.core.to_notify.pop_front() else { return };
            self.dispatch(tag, |handler, cx| handler.stopping(cx));
        }
    }

    /// Whether a phase that has called so many handlers calls another one in this turn.
    fn may_call(&self, called: usize) -> bool {
        match self.core.run_state {
            RunState::StopNow => false,
            RunState::StopAfterBatch => true,
            RunState::Running | RunState::Stopping { .. } => {
                called < self.core.limits.calls_per_turn
            }
        }
    }

    /// Phase 5: runs what is queued now. What queues again in the meantime comes in the next turn,
    /// after the kernel has been asked: nobody starves.
    fn run_queue(&mut self) {
        self.core.is_behind = false;
        for called in 0..self.core.queue.len() {
            if !self.may_call(called) {
                self.core.is_behind = true;
                break;
            }
            let Some(tag) = self.core.queue.pop_front() else { break };
            let Some(source) = self.core.sources.get_mut(tag) else { continue };
            source.queued = false;
            if !source.is_runnable() {
                continue;
            }
            let woken = std::mem::take(&mut source.woken);
            let told = source.ready.and(source.interest.mask() | Readiness::ERROR);
            self.core.counters.runs += 1;
            let operations = self.core.counters.operations();
            self.dispatch(tag, |handler, cx| {
                cx.woken = woken;
                handler.ready(cx)
            });
            self.after_run(tag, told);
            if self.core.audit.is_some() {
                let untouched = !woken && self.core.counters.operations() == operations;
                self.note_for_audit(tag, untouched);
            }
        }
    }

    /// An error and an exceptional condition are delivered once for each event: no operation has to
    /// block when they are gone. The rest of what is known stays until an operation takes it.
    fn after_run(&mut self, tag: Tag, told: Readiness) {
        let once = told.and(Readiness::ERROR | Readiness::PRIORITY);
        self.core.update(tag, |source| source.ready = source.ready.without(once));
    }

    /// Lends a handler itself, the loop and the application at once (law 4).
    fn dispatch(
        &mut self,
        tag: Tag,
        call: impl FnOnce(&mut dyn Handler<A>, &mut Cx<'_, A>) -> io::Result<()>,
    ) {
        if self.core.is_copy() {
            return;
        }
        let live = self.core.sources.get(tag).is_some_and(|it| it.phase == Phase::Live);
        let Some(Some(handler)) = self.handlers.get_mut(tag.slot() as usize) else { return };
        if !live {
            return;
        }
        let mut lent = Lent { cx: Cx::new(&mut self.core, &mut self.app, tag), is_back: false };
        let result = call(handler.as_mut(), &mut lent.cx);
        lent.is_back = true;
        let operation = lent.cx.failed.unwrap_or("handler");
        drop(lent);
        // Law 7: an error ends its source, never the loop.
        if let Err(error) = result {
            self.core.end(tag, Reason::Failed { operation, error });
        }
        self.adopt();
    }

    /// Takes in the handlers that were registered during a call, or replace others.
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

    /// Phase 6: what is due is collected first, then fired, so that a timer that arms another
    /// which is due at once cannot keep the loop here.
    fn expire(&mut self) {
        // What a loop that stops now leaves here is fired when it is run again.
        for called in 0..self.core.collect_due() {
            if !self.may_call(called) {
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
            self.dispatch(tag, |handler, cx| handler.timer(expired, cx));
        }
    }

    /// The source's own timer has fired. Where its limits have moved since it was armed, or nothing
    /// is known yet of what it did in time, it is armed again.
    fn expire_source(&mut self, tag: Tag) {
        if let Some(timeout) = self.core.passed_limit(tag) {
            self.core.counters.timers += 1;
            self.dispatch(tag, |handler, cx| handler.timeout(timeout, cx));
        }
        self.core.arm(tag);
    }

    /// Phase 7: up to so many closures from other threads.
    fn run_remote_calls(&mut self) {
        if !self.core.mailbox.is_pending() {
            return;
        }
        for _ in 0..self.core.limits.remote_calls_per_turn {
            if self.core.run_state == RunState::StopNow || self.core.is_copy() {
                return;
            }
            let Some(call) = self.core.mailbox.next_call() else { return };
            self.core.counters.remote_calls += 1;
            call(&mut LoopCx::new(&mut self.core, &mut self.app, Tag::NONE));
            self.adopt();
        }
    }

    /// How many sources are reaped in this turn. Where the loop stops, there are no others to wait.
    fn ends_now(&self) -> usize {
        if self.has_ended() { usize::MAX } else { self.core.limits.ends_per_turn }
    }

    /// Phase 8: removes, closes, tells, frees the slot, for each source that has ended, up to so many.
    /// What ends meanwhile is reaped in the next turn.
    pub(crate) fn reap(&mut self, most: usize) {
        // One by one, so that a panic of one, which may be caught, costs the others nothing.
        for _ in 0..self.core.ending.len().min(most) {
            let Some((tag, reason)) = self.core.ending.pop_front() else { return };
            let Some(mut source) = self.core.sources.remove(tag) else { continue };
            self.core.forget_timers(&source);
            self.core.strike(tag, &source);
            // Law 2: out of the poller, then closed, once, here. Closing is both where the kernel
            // does it so and nobody has a copy.
            if let Some(fd) = source.fd.take() {
                use std::os::fd::{AsFd, AsRawFd};
                debug!("{tag} fd {}: {reason}", fd.as_raw_fd());
                // A copy's kernel objects are the original's too: this would deafen or cut that.
                if source.is_unsent && !self.core.is_copy() {
                    self.core.cut_short(tag, fd.as_fd(), &reason);
                }
                if self.core.must_remove(&source)
                    && !self.core.is_copy()
                    && let Err(error) = self.core.backend.remove(fd.as_fd())
                {
                    debug!("{tag}: not removed from {}: {error}", self.core.backend.name());
                }
                drop(fd);
                for starved in std::mem::take(&mut self.core.starved) {
                    self.core.wake(starved);
                }
            } else {
                trace!("{tag}: {reason}");
            }
            self.core.counters.closes[reason.index()] += 1;
            let place = self.handlers.get_mut(tag.slot() as usize);
            if let Some(handler) = place.and_then(Option::take) {
                let mut cx = LoopCx::new(&mut self.core, &mut self.app, tag);
                handler.closed(reason, &mut cx);
                self.adopt();
            }
        }
    }
}
