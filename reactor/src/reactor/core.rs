//! The state of the loop: everything in a reactor but its handlers and the application.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use log::{Level, debug, log_enabled, warn};

use crate::group::seat::Seat;
use crate::net::stream::Shared;
use crate::planted::{self, Planted};
use crate::reactor::audit::Audit;
use crate::reactor::backoff::Folding;
use crate::reactor::clock::{idle_nanos, moment, nanos};
use crate::reactor::departures::Departures;
use crate::reactor::hooks::Hooks;
use crate::reactor::notifier::{Notifier, Wakes};
use crate::reactor::patience::Patience;
use crate::reactor::peers::Peers;
use crate::reactor::remote::Mailbox;
use crate::reactor::restored::Restored;
use crate::reactor::run_queue::RunQueue;
use crate::reactor::run_state::RunState;
use crate::source::registration::{Idle, Mode, Sharing};
use crate::source::table::{Lent, NEVER, Own, Phase, Source, Sources};
use crate::source::token::Home;
use crate::source::wall::Wall;
use crate::sys::Process;
use crate::time::wheel::{Collected, Wheel};
use crate::{
    Backend, Counters, Event, Handler, LoopLimits, Priority, Readiness, Reason, Registration, Role,
    Tag, Trigger, kernel,
};

/// The state of the loop. A handler gets it through `Cx`, in addition to itself (law 4).
pub(crate) struct Core<A> {
    /// The number of the loop within the process, which distinguishes its names from those of
    /// others (law 3).
    pub(crate) home: Home,
    /// The process that made it.
    pub(crate) process: Process,
    pub(crate) backend: Box<dyn Backend>,
    trigger: Trigger,
    pub(crate) sources: Sources,
    /// The part of a source that is lent to its handler during a call.
    pub(crate) lent: Lent,
    /// The sources to run, in order.
    pub(crate) queue: RunQueue,
    /// The budget of the turn ended before all queued sources had run.
    pub(crate) is_behind: bool,
    /// The sources whose interest a level-triggered backend may have to be told before the next
    /// wait.
    pub(crate) dirty: Vec<Tag>,
    /// Handlers for the reactor to store: of new sources, and replacements.
    pub(crate) arrivals: Vec<(Tag, Box<dyn Handler<A>>)>,
    /// Sources that have ended and wait to be reaped.
    pub(crate) ending: VecDeque<(Tag, Reason)>,
    /// Sources that have not been told yet that the loop winds down.
    pub(crate) to_notify: VecDeque<Tag>,
    /// Sources whose would-block the kernel contradicts, and the readiness to try again.
    pub(crate) disputed: Vec<(Tag, Readiness)>,
    /// Listeners that wait for a descriptor or a connection to be freed, or for a handshake to end.
    pub(crate) starved: Vec<Tag>,
    /// How many connections are in the handshake of their layer.
    pub(crate) handshakes: usize,
    pub(crate) connections: usize,
    pub(crate) listeners: Vec<Tag>,
    /// What the acceptor of the group knows of this loop, if it hands connections over to it.
    pub(crate) seat: Option<Arc<Seat>>,
    pub(crate) wheel: Wheel,
    /// Timers that were collected and have not fired.
    pub(crate) due: VecDeque<Collected>,
    pub(crate) peers: Peers,
    /// Limits how often a connection that is reset before its end is logged.
    pub(crate) cut_short: Folding,
    /// When tables shrink next, in nanoseconds of loop time; `NEVER` if none has spare room.
    pub(crate) trim_at: u64,
    /// How many steps remain in the search for timers of sources that have ended.
    pub(crate) unweeded: usize,
    pub(super) epoch: Instant,
    /// `epoch` in nanoseconds of the backend.
    pub(super) origin: u64,
    pub(crate) now: Instant,
    /// `now`, in nanoseconds since `epoch`.
    pub(crate) ticks: u64,
    /// The part of `ticks` that counts against peers.
    pub(crate) charged: u64,
    pub(crate) patience: Patience,
    /// When a host has to turn the loop next.
    pub(super) left_until: Option<u64>,
    pub(crate) counters: Counters,
    /// The last turn that has found `SIGPIPE` to be ignored.
    pub(crate) sigpipe_ignored: u64,
    pub(crate) limits: LoopLimits,
    /// It changes through [`enter`](Self::enter) alone.
    pub(crate) run_state: RunState,
    /// How many sources have another priority than most.
    pub(crate) unequal: usize,
    /// The sources that are called around the wait, if there are any.
    pub(crate) hooks: Option<Box<Hooks>>,
    /// The loop runs, and its turns have nothing rare to do. One test tells.
    pub(crate) is_plain: bool,
    pub(crate) mailbox: Arc<Mailbox<A>>,
    pub(crate) notifier: Arc<Notifier>,
    /// Wakes from other threads that the loop has taken: none, except while it takes them.
    pub(crate) wakes_taken: Wakes,
    /// The state that the drivers of connections share.
    pub(crate) shared: Shared,
    /// The connections that are being handed over to another process, if they are.
    pub(crate) departures: Option<Box<Departures<A>>>,
    /// The connections that another process has handed over.
    pub(crate) restored: Restored,
    /// Sources that have not been told yet that another process goes on with their descriptors.
    pub(crate) retired: VecDeque<Tag>,
    /// The timers by the clock of the wall, if there are any.
    pub(crate) wall: Option<Box<Wall>>,
    /// The auditor, when it is on.
    pub(crate) audit: Option<Audit>,
}

impl<A> Core<A> {
    pub(crate) fn new(
        backend: Box<dyn Backend>,
        limits: LoopLimits,
        notifier: Arc<Notifier>,
    ) -> io::Result<Self> {
        let (now, origin) = moment(backend.as_ref());
        Ok(Self {
            home: Home::new()?,
            process: Process::this(),
            trigger: backend.trigger(),
            backend,
            sources: Sources::with_capacity(limits.sources_expected()),
            lent: Lent::NOTHING,
            queue: RunQueue::default(),
            is_behind: false,
            dirty: Vec::new(),
            arrivals: Vec::new(),
            ending: VecDeque::new(),
            to_notify: VecDeque::new(),
            disputed: Vec::new(),
            starved: Vec::new(),
            handshakes: 0,
            connections: 0,
            listeners: Vec::new(),
            seat: None,
            wheel: Wheel::with_room(limits.sources_expected()),
            due: VecDeque::new(),
            peers: Peers::default(),
            cut_short: Folding::default(),
            trim_at: NEVER,
            unweeded: 0,
            epoch: now,
            origin,
            now,
            ticks: 0,
            charged: 0,
            patience: Patience::default(),
            left_until: None,
            counters: Counters::default(),
            sigpipe_ignored: u64::MAX,
            limits,
            run_state: RunState::Running,
            unequal: 0,
            hooks: None,
            is_plain: true,
            mailbox: Arc::new(Mailbox::new(limits.remote_calls_max, Arc::clone(&notifier))),
            notifier,
            wakes_taken: Wakes::new(),
            shared: Shared::default(),
            departures: None,
            restored: Restored::default(),
            retired: VecDeque::new(),
            wall: None,
            audit: cfg!(debug_assertions).then(Audit::default),
        })
    }

    /// Returns whether the backend reports each change only once.
    pub(crate) fn is_edge_triggered(&self) -> bool {
        self.trigger == Trigger::Edge
    }

    pub(crate) fn register(
        &mut self,
        fd: Option<OwnedFd>,
        registration: &Registration,
        handler: Box<dyn Handler<A>>,
    ) -> io::Result<Tag> {
        if let (Some(fd), Mode::Unknown) = (&fd, registration.mode) {
            kernel::set_nonblocking(fd.as_fd())?;
        }
        let idle = self.idle_of(registration)?;
        let mut source = Source::new(fd, registration, idle, self.charged);
        if source.own.mode != Mode::Blocking && kernel::is_simulated() {
            source.own.mode = Mode::Simulated;
        }
        let tag = self.sources.insert(source);
        if let Err(error) = self.watch(tag, registration.moved_by) {
            self.sources.remove(tag);
            return Err(error);
        }
        self.counters.registered += 1;
        self.count_priority(Priority::Normal, registration.priority);
        match registration.role {
            Role::Connection => {
                self.connections += 1;
                self.publish();
                self.note_peer(tag);
            }
            Role::Listener => self.listeners.push(tag),
            Role::Other => {}
        }
        self.arrivals.push((tag, handler));
        self.arm(tag);
        self.update(tag, |_| {});
        Ok(tag)
    }

    /// Records the peer of a connection for log lines.
    #[inline]
    pub(crate) fn note_peer(&mut self, tag: Tag) {
        if log_enabled!(Level::Debug)
            && let Some(Own { fd: Some(fd), .. }) = self.own(tag)
            && let Ok(Some(address)) = kernel::remote_address(fd.as_fd())
        {
            self.peers.note(tag, address);
        }
    }

    /// Returns the idle limit of a registration, in nanoseconds.
    pub(crate) fn idle_of(&self, registration: &Registration) -> io::Result<u64> {
        Ok(match (registration.idle, registration.role) {
            (Idle::Limit(limit), _) => idle_nanos(limit)?,
            (Idle::ByRole, Role::Connection) => self.limits.idle_timeout.map_or(NEVER, nanos),
            (Idle::ByRole | Idle::Exempt, _) => NEVER,
        })
    }

    /// Changes a source and restores law 1: the source is queued if and only if there is a reason
    /// to call it, and a level-triggered backend is told differences before the next wait.
    #[inline]
    pub(crate) fn update(&mut self, tag: Tag, change: impl FnOnce(&mut Source)) {
        let Some(source) = self.sources.get_mut(tag) else { return };
        change(source);
        restore(source, tag, self.trigger, &mut self.queue, &mut self.dirty);
    }

    /// Puts back the part of the source that was lent to its handler, and restores law 1.
    #[inline(always)]
    pub(crate) fn take_back(&mut self) {
        let lent = &mut self.lent;
        let tag = std::mem::replace(&mut lent.tag, Tag::NONE);
        let Some(source) = self.sources.get_mut(tag) else { return };
        std::mem::swap(&mut source.own, &mut lent.own);
        source.own.ready = source.own.ready.without(lent.once);
        if lent.is_active {
            source.last_active = self.charged.cast_signed();
        }
        (lent.is_live, lent.is_active) = (false, false);
        restore(source, tag, self.trigger, &mut self.queue, &mut self.dirty);
    }

    /// Returns the lent part of a source, from the table or from the call.
    pub(crate) fn own(&self, tag: Tag) -> Option<&Own> {
        if self.lent.tag == tag {
            return Some(&self.lent.own);
        }
        self.sources.get(tag).map(|source| &source.own)
    }

    /// Phase 1 of the turn: tells a level-triggered backend the masks that still differ. A pause
    /// that was reverted costs nothing.
    #[inline]
    pub(crate) fn rearm(&mut self) {
        if !self.dirty.is_empty() {
            self.rearm_all();
        }
    }

    #[inline(never)]
    fn rearm_all(&mut self) {
        while let Some(tag) = self.dirty.pop() {
            let Some(source) = self.sources.get_mut(tag) else { continue };
            source.dirty = false;
            let Some(fd) = &source.own.fd else { continue };
            if source.phase == Phase::Ending {
                // It waits to be reaped. Otherwise the backend would report it at every wait until
                // then.
                if std::mem::take(&mut source.own.polled)
                    && let Err(error) = self.backend.remove(fd.as_fd())
                {
                    debug!("{tag}: not removed from {}: {error}", self.backend.name());
                }
                continue;
            }
            let wanted = source.own.wanted();
            if wanted == source.own.armed {
                continue;
            }
            let told = match source.sharing {
                // The kernel refuses to modify an exclusive registration.
                Sharing::Competing => self
                    .backend
                    .remove(fd.as_fd())
                    .and_then(|()| self.backend.add_exclusive(fd.as_fd(), tag, wanted)),
                Sharing::Possible | Sharing::Excluded => {
                    self.backend.modify(fd.as_fd(), tag, wanted)
                }
            };
            match told {
                Ok(()) => source.own.armed = wanted,
                Err(error) => self.end(tag, Reason::Failed { operation: "modify", error }),
            }
        }
    }

    /// Phase 4 of the turn: adds the readiness of an event to that of its source.
    #[inline]
    pub(crate) fn fold(&mut self, event: Event) {
        match self.sources.get_mut(event.tag) {
            Some(source) if source.phase == Phase::Live => {
                source.own.ready |= event.readiness;
                source.own.urgent |= event.readiness.contains(Readiness::PRIORITY);
                source.own.ended &= !event.readiness.contains(Readiness::READABLE);
                source.last_active = self.charged.cast_signed();
                restore(source, event.tag, self.trigger, &mut self.queue, &mut self.dirty);
            }
            _ => self.counters.stale_events += 1,
        }
    }

    /// Ends a source. The first reason counts.
    pub(crate) fn end(&mut self, tag: Tag, reason: Reason) {
        let Some(source) = self.sources.get_mut(tag) else { return };
        if source.phase == Phase::Live {
            source.phase = Phase::Ending;
            if tag == self.lent.tag {
                self.lent.is_live = false;
            }
            if self.trigger == Trigger::Level && !source.dirty {
                source.dirty = true;
                self.dirty.push(tag);
            }
            self.ending.push_back((tag, reason));
        }
    }

    /// Runs a source soon, whatever its readiness.
    pub(crate) fn wake(&mut self, tag: Tag) {
        let merges = planted::is(Planted::WakeMerged);
        self.update(tag, |source| source.woken |= !(merges && source.queued));
    }

    /// Wakes the listeners that wait for room, and the acceptor of the group if it does.
    pub(crate) fn wake_starved(&mut self) {
        if let Some(seat) = &self.seat {
            seat.announce_room();
        }
        for starved in std::mem::take(&mut self.starved) {
            self.wake(starved);
        }
    }

    /// Makes closing a connection reset it, because not everything was sent.
    pub(crate) fn cut_short(&mut self, tag: Tag, fd: BorrowedFd<'_>, reason: &Reason) {
        if matches!(reason, Reason::Failed { error, .. } if is_gone(error)) {
            return;
        }
        self.counters.cut_short += 1;
        if let Err(error) = kernel::reset_on_close(fd) {
            debug!("{tag}: cannot be reset: {error}");
        }
        if self.cut_short.admit(self.now).is_some() {
            let total = self.counters.cut_short;
            let peer = self.peers.text(tag, fd);
            warn!("connection of {peer} reset before its end: {reason} ({total} so far)");
        }
    }

    /// Returns whether a descriptor has to be removed from the backend before it is closed.
    pub(crate) fn must_remove(&self, source: &Source) -> bool {
        let unshared = source.sharing == Sharing::Excluded;
        source.own.polled && !(unshared && self.backend.forgets_what_is_closed())
    }

    /// Returns whether there is work that does not wait for the kernel.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        // These are almost always empty, so their sizes are added up for a single test.
        let queued = if planted::is(Planted::SleepsBehind) { 0 } else { self.queue.len() };
        let left = queued | self.due.len() | self.ending.len() | self.unweeded;
        left != 0
            || self.wheel.is_compacting()
            || self.notifier.is_pending()
            || !self.is_plain && self.has_to_notify()
    }

    /// Returns whether there is work after the calls of handlers.
    #[inline]
    pub(crate) fn has_chores(&self) -> bool {
        let left = self.ending.len() | self.dirty.len() | self.unweeded;
        left != 0 || self.wheel.is_compacting()
    }
}

/// Returns whether an error says that the connection itself is gone. After any other, such as that of a
/// file that was sent or of the handler, the peer is still there.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
    )
}

/// Restores law 1: queues a source if there is a reason to call it, and records it if a
/// level-triggered backend knows another interest.
#[inline]
fn restore(
    source: &mut Source,
    tag: Tag,
    trigger: Trigger,
    queue: &mut RunQueue,
    dirty: &mut Vec<Tag>,
) {
    if !source.queued && source.is_runnable() {
        source.queued = true;
        queue.push(tag);
    }
    if trigger == Trigger::Level && !source.dirty && source.own.differs() {
        source.dirty = true;
        dirty.push(tag);
    }
}
