//! Hooks around the wait: what is called before the loop waits, after it, and when nothing else is to
//! be done.

use std::time::Duration;

use crate::planted::{self, Planted};
use crate::reactor::clock::nanos;
use crate::reactor::core::Core;
use crate::reactor::run_state::RunState;
use crate::source::table::{NEVER, Phase};
use crate::{Cx, Reactor, Tag};

/// A point of the turn at which a source is called, besides its own events ([`Cx::add_hook`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before the loop waits: [`Handler::prepare`](crate::Handler::prepare).
    Prepare,
    /// After it has waited: [`Handler::check`](crate::Handler::check).
    Check,
    /// When it has nothing else to do: [`Handler::idle`](crate::Handler::idle).
    Idle,
}

/// The outcome of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many events the kernel has reported.
    pub events: u64,
    /// How long the loop has waited. The time of a host that waits for the loop counts.
    pub waited: Duration,
}

/// The sources with hooks, each kind in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    lists: [Vec<Tag>; 3],
    /// When the loop has to turn, at the latest, in nanoseconds of loop time.
    until: u64,
    /// The hooks were called since the last wait, by a loop that was left to its host.
    is_prepared: bool,
    /// When the wait began, and how many events there had been before.
    began: u64,
    events: u64,
    /// How many calls idle hooks have had.
    pub(crate) idle_calls: u64,
}

impl Hooks {
    fn list(&mut self, hook: Hook) -> &mut Vec<Tag> {
        &mut self.lists[hook as usize]
    }

    fn has(&self, hook: Hook) -> bool {
        !self.lists[hook as usize].is_empty()
    }
}

impl<A> Cx<'_, A> {
    /// Calls this source at a point of each turn, until the hook is removed or the source ends. Of
    /// several sources, the one that was added first is called first. A source is called once, however
    /// often its hook is added. A loop without hooks pays nothing for them.
    ///
    /// For a closure, see [`on_prepare`](Self::on_prepare), [`on_check`](Self::on_check) and
    /// [`on_idle`](Self::on_idle).
    pub fn add_hook(&mut self, hook: Hook) {
        self.core.add_hook(self.me, hook);
    }

    /// Removes a hook of this source. It is not called any more, also not in this turn.
    pub fn remove_hook(&mut self, hook: Hook) {
        let me = self.me;
        if let Some(hooks) = &mut self.core.hooks
            && !planted::is(Planted::HookKept)
            && let Some(place) = hooks.list(hook).iter_mut().find(|it| **it == me)
        {
            // The list may be in use: the place is given back later.
            *place = Tag::NONE;
        }
    }
}

impl<A> Core<A> {
    /// Adds a hook of a live source.
    pub(crate) fn add_hook(&mut self, tag: Tag, hook: Hook) {
        let hooks = self.hooks.get_or_insert_default();
        hooks.is_prepared = false;
        if !hooks.list(hook).contains(&tag) {
            hooks.list(hook).push(tag);
        }
        self.note_extras();
    }

    /// Returns the source at a place in the list of a hook. Sources that are added meanwhile come
    /// behind those that there were.
    fn hooked(&self, hook: Hook, place: usize) -> Option<Tag> {
        self.hooks.as_ref()?.lists[hook as usize].get(place).copied()
    }

    /// Returns how many places the list of a hook has now.
    fn hooked_count(&self, hook: Hook) -> usize {
        self.hooks.as_ref().map_or(0, |hooks| hooks.lists[hook as usize].len())
    }

    /// Forgets hooks that were removed, and those of sources that have ended.
    fn forget_hooks(&mut self) {
        let Some(hooks) = &mut self.hooks else { return };
        let is_live = |tag: &Tag| self.sources.get(*tag).is_some_and(|it| it.phase == Phase::Live);
        for list in &mut hooks.lists {
            list.retain(is_live);
        }
        if hooks.lists.iter().all(Vec::is_empty) {
            self.hooks = None;
            self.note_extras();
        }
    }

    /// Returns when the hooks want the loop to turn at the latest, in nanoseconds of loop time, or
    /// `NEVER`.
    pub(crate) fn hooked_until(&self) -> u64 {
        match &self.hooks {
            Some(hooks) if hooks.has(Hook::Idle) => self.ticks,
            Some(hooks) if hooks.has(Hook::Prepare) => hooks.until,
            _ => NEVER,
        }
    }

    /// Returns how long the loop would wait, within `limit`; `None` if until the first event.
    fn wait_max(&mut self, limit: Option<Duration>) -> Option<Duration> {
        self.wheel.settle();
        let left = self.timeout(limit, self.next_deadline());
        (left != NEVER).then(|| Duration::from_nanos(left))
    }
}

impl<A: 'static> Reactor<A> {
    /// Calls the hooks that precede a wait, unless they were called when the loop was left. Returns
    /// how long it may take, within `limit`.
    #[cold]
    #[inline(never)]
    pub(crate) fn prepare(&mut self, limit: Option<Duration>) -> Option<Duration> {
        self.adopt();
        self.core.forget_hooks();
        let Some(hooks) = &mut self.core.hooks else { return limit };
        let is_prepared = std::mem::take(&mut hooks.is_prepared);
        // The time before belongs to the turn, and is measured when the wait begins.
        let (ticks, now) = (self.core.ticks, self.core.now);
        self.core.read_clock();
        if !is_prepared {
            self.call_prepare(limit);
            self.core.read_ticks();
        }
        let left = match self.core.hooked_until() {
            NEVER => None,
            until => Some(Duration::from_nanos(until.saturating_sub(self.core.ticks))),
        };
        (self.core.ticks, self.core.now) = (ticks, now);
        self.core.charge();
        limit.into_iter().chain(left).min()
    }

    /// Calls the hooks before a host waits for the loop, which is to know how long it may.
    pub(crate) fn prepare_host(&mut self) {
        if let Some(hooks) = &mut self.core.hooks {
            hooks.is_prepared = false;
            self.prepare(None);
        }
        if let Some(hooks) = &mut self.core.hooks {
            hooks.is_prepared = true;
        }
    }

    /// Calls all prepare hooks, and stores until when the loop may wait.
    fn call_prepare(&mut self, limit: Option<Duration>) {
        let mut until = NEVER;
        let limit =
            if self.core.hooked_count(Hook::Idle) > 0 { Some(Duration::ZERO) } else { limit };
        for place in 0..self.core.hooked_count(Hook::Prepare) {
            let Some(tag) = self.core.hooked(Hook::Prepare, place) else { break };
            let bound = until.saturating_sub(self.core.ticks);
            let bound = (until != NEVER).then(|| Duration::from_nanos(bound));
            let wait = self.core.wait_max(limit.into_iter().chain(bound).min());
            let mut most = None;
            self.tell(tag, |handler, cx| {
                most = handler.prepare(wait, cx)?;
                Ok(())
            });
            if let Some(most) = most.filter(|_| !planted::is(Planted::WaitUnbounded)) {
                until = until.min(self.core.ticks.saturating_add(nanos(most)));
            }
        }
        let (ticks, events) = (self.core.ticks, self.core.counters.events);
        if let Some(hooks) = &mut self.core.hooks {
            (hooks.until, hooks.began, hooks.events) = (until, ticks, events);
        }
    }

    /// Calls the hooks that follow a wait.
    pub(super) fn check(&mut self) {
        let Some(hooks) = &self.core.hooks else { return };
        let events = self.core.counters.events.saturating_sub(hooks.events);
        let waited = Duration::from_nanos(self.core.ticks.saturating_sub(hooks.began));
        for place in 0..self.core.hooked_count(Hook::Check) {
            let Some(tag) = self.core.hooked(Hook::Check, place) else { break };
            self.tell(tag, |handler, cx| handler.check(Found { events, waited }, cx));
        }
        if self.core.hooked_count(Hook::Idle) > 0 && self.is_idle() {
            self.call_idle();
        }
    }

    /// Returns whether the wait has found nothing, and nothing was left over.
    fn is_idle(&self) -> bool {
        let core = &self.core;
        let is_due = core.wheel.next_deadline().is_some_and(|at| at <= core.ticks);
        core.run_state == RunState::Running && !core.has_work() && !is_due
    }

    fn call_idle(&mut self) {
        for place in 0..self.core.hooked_count(Hook::Idle) {
            let Some(tag) = self.core.hooked(Hook::Idle, place) else { break };
            if let Some(hooks) = &mut self.core.hooks {
                hooks.idle_calls += 1;
            }
            self.tell(tag, |handler, cx| handler.idle(cx));
        }
    }
}
