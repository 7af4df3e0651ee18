//! A simulated host whose waits a test dictates.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use crate::reactor::clock::nanos;
use crate::sim::calls::{Simulated, error};
use crate::sim::world::{Host, Shared, World};
use crate::{Backend, BackendKind, Coverage, Event, Interest, Readiness, Tag, Token, Trigger};

/// A call that a loop made to the kernel of a scripted host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Start watching a descriptor.
    Add {
        /// The descriptor.
        fd: RawFd,
        /// Its registration.
        tag: Tag,
        /// Its interest.
        interest: Interest,
    },
    /// Change the interest in a descriptor.
    Modify {
        /// Its registration.
        tag: Tag,
        /// Its new interest.
        interest: Interest,
    },
    /// Stop watching a descriptor.
    Remove {
        /// The descriptor.
        fd: RawFd,
    },
    /// Wait for events.
    Wait {
        /// The timeout; `None` waits for ever.
        timeout: Option<Duration>,
    },
    /// Sleep.
    Sleep {
        /// The duration.
        time: Duration,
    },
}

/// The result of one wait.
enum Step {
    Events(Vec<Event>, Coverage),
    Interrupt(Duration),
    Fail(i32),
}

/// What a test dictates to a host, and what the loop on it has called.
#[derive(Default)]
pub(super) struct Plan {
    steps: VecDeque<Step>,
    /// Error numbers for the next registrations.
    refusals: VecDeque<i32>,
    calls: Vec<Call>,
}

impl Plan {
    /// Returns the result of a registration.
    pub(super) fn add(&mut self) -> io::Result<()> {
        self.refusals.pop_front().map_or(Ok(()), error)
    }

    /// Returns the step that a wait plays.
    fn next(&mut self, timeout: Option<Duration>) -> Option<Step> {
        let is_interruption = matches!(self.steps.front(), Some(Step::Interrupt(_)));
        // Only a wait that sleeps is interrupted.
        if is_interruption && timeout == Some(Duration::ZERO) {
            None
        } else {
            self.steps.pop_front()
        }
    }
}

impl Host {
    /// Records a call, and returns the plan, if this host is scripted.
    pub(super) fn dictated(&mut self, call: Call) -> Option<&mut Plan> {
        let plan = self.plan.as_mut()?;
        plan.calls.push(call);
        Some(plan)
    }

    /// Plays a wait. The clock of a scripted host moves only here, in a sleep, and in
    /// [`Script::advance`].
    pub(super) fn play(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<Coverage> {
        match (self.plan.as_mut().and_then(|plan| plan.next(timeout)), timeout) {
            (Some(Step::Events(scripted, coverage)), _) => {
                events.extend(scripted);
                Ok(coverage)
            }
            (Some(Step::Interrupt(after)), _) => {
                self.pass(after);
                Ok(Coverage::Partial)
            }
            (Some(Step::Fail(errno)), _) => error(errno),
            (None, Some(timeout)) => {
                self.pass(timeout);
                Ok(Coverage::Complete)
            }
            (None, None) => {
                let text = "the script is exhausted: the loop would wait for ever";
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
            }
        }
    }

    /// Advances the clock.
    fn pass(&mut self, time: Duration) {
        self.local = self.local.saturating_add(nanos(time));
    }
}

/// A host on its own whose waits a test dictates, for orders of events that a kernel, or a
/// [`Sim`](super::Sim), produces once in a million turns.
///
/// A test keeps the script and passes its [`backend`](Self::backend) to a reactor. The script
/// determines what each wait of the loop reports, and the time, which passes in no call. A wait that
/// is not scripted reports nothing and takes its whole timeout. The descriptors are real: a handler
/// reads and writes as the system allows.
///
/// Clones are handles to the same script, so a handler may extend it while it is being played.
///
/// ```
/// use reactor::sim::Script;
/// use reactor::{LoopLimits, Reactor, Trigger};
/// use std::time::Duration;
///
/// let script = Script::new(Trigger::Edge);
/// let mut reactor = Reactor::with_backend(script.backend(), LoopLimits::DEFAULT, false)?;
/// reactor.cx().after(Duration::from_secs(3600), |cx| *cx.app = true)?;
/// let started = script.now();
/// // An hour passes at once.
/// reactor.run_until(|fired| *fired)?;
/// assert!(script.now() - started >= Duration::from_secs(3600));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Script {
    kernel: Simulated,
}

impl Script {
    /// Returns an empty script for a loop with this trigger.
    ///
    /// # Panics
    /// When the system has no descriptor left for it.
    pub fn new(trigger: Trigger) -> Self {
        let mut world = World::new(0).expect("the system has a descriptor for a poller");
        let host = world.add_host(Ipv4Addr::LOCALHOST.into());
        world.hosts[host].kind = match trigger {
            Trigger::Edge => BackendKind::Epoll,
            Trigger::Level => BackendKind::EpollLevel,
        };
        world.hosts[host].plan = Some(Plan::default());
        Self { kernel: Simulated { world: Shared::new(world), host } }
    }

    /// Returns the backend that plays this script. Descriptors are ready when the script says so.
    pub fn backend(&self) -> Box<dyn Backend> {
        Box::new(self.kernel.clone())
    }

    /// Lends the host to `call`.
    fn with<T>(&self, call: impl FnOnce(&mut Host) -> T) -> T {
        call(&mut self.kernel.world.lock().hosts[self.kernel.host])
    }

    /// Lends the plan of the host to `call`.
    fn plan<T: Default>(&self, call: impl FnOnce(&mut Plan) -> T) -> T {
        self.with(|host| host.plan.as_mut().map(call).unwrap_or_default())
    }

    /// Makes the next wait that is not scripted yet report `events`, in this order. No time passes
    /// in that wait.
    pub fn events(&self, events: &[Event]) {
        let step = Step::Events(events.to_vec(), Coverage::Complete);
        self.plan(|plan| plan.steps.push_back(step));
    }

    /// [`events`](Self::events), in a wait whose array of events is full.
    pub fn some_events(&self, events: &[Event]) {
        let step = Step::Events(events.to_vec(), Coverage::Partial);
        self.plan(|plan| plan.steps.push_back(step));
    }

    /// [`events`](Self::events), for a single event.
    pub fn event(&self, token: Token, readiness: Readiness) {
        self.events(&[Event { tag: token.tag(), readiness }]);
    }

    /// Interrupts the next wait that is not scripted yet, after `time`: the process has handled a
    /// signal, or was stopped. A wait without sleep is never interrupted: it reports nothing, and
    /// the interruption applies to the next one.
    pub fn interrupt(&self, time: Duration) {
        self.plan(|plan| plan.steps.push_back(Step::Interrupt(time)));
    }

    /// Makes the next wait that is not scripted yet fail with an error number (`errno(3)`).
    pub fn fail_wait(&self, errno: i32) {
        self.plan(|plan| plan.steps.push_back(Step::Fail(errno)));
    }

    /// Makes the next registration fail with an error number (`errno(3)`).
    pub fn fail_add(&self, errno: i32) {
        self.plan(|plan| plan.refusals.push_back(errno));
    }

    /// Advances the clock. The loop notices when it reads the clock next.
    pub fn advance(&self, time: Duration) {
        self.with(|host| host.pass(time));
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.kernel.now()
    }

    /// Returns the calls of the loop since the last call of this method.
    pub fn take_calls(&self) -> Vec<Call> {
        self.plan(|plan| std::mem::take(&mut plan.calls))
    }

    /// Returns how many scripted waits have not been played.
    pub fn left(&self) -> usize {
        self.plan(|plan| plan.steps.len())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("now", &self.now())
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}
