//! A scripted backend with a virtual clock, for tests without sleeps.
//!
//! A [`Script`] determines what each wait of a loop reports, and the time. A test keeps the script,
//! passes its [`backend`](Script::backend) to a reactor, and turns the reactor through situations
//! that a kernel produces once in a million turns.
//!
//! ```
//! use reactor::testing::Script;
//! use reactor::{LoopLimits, Reactor, Trigger};
//! use std::time::Duration;
//!
//! let script = Script::new(Trigger::Edge);
//! let mut reactor = Reactor::with_backend(script.backend(), LoopLimits::DEFAULT, false)?;
//! reactor.cx().after(Duration::from_secs(3600), |cx| *cx.app = true)?;
//! let started = script.now();
//! // An hour passes at once: a wait that is not scripted takes its whole timeout.
//! reactor.run_until(|fired| *fired)?;
//! assert!(script.now() - started >= Duration::from_secs(3600));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Backend, Coverage, Event, Interest, Readiness, Tag, Token, Trigger};

/// A call that a loop made to a scripted backend.
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
#[derive(Debug)]
enum Step {
    Events(Vec<Event>, Coverage),
    Interrupt(Duration),
    Fail(i32),
}

#[derive(Debug)]
struct State {
    trigger: Trigger,
    now: Instant,
    steps: VecDeque<Step>,
    /// Error numbers for the next calls of `add`.
    refusals: VecDeque<i32>,
    calls: Vec<Call>,
    ctl_calls: u64,
}

/// Determines what the waits of a loop report, and the time. Clones are handles to the same script,
/// so a handler may extend it while it is being played.
#[derive(Clone, Debug)]
pub struct Script {
    state: Arc<Mutex<State>>,
}

impl Script {
    /// Returns an empty script for a backend with this trigger.
    pub fn new(trigger: Trigger) -> Self {
        let state = State {
            trigger,
            now: Instant::now(),
            steps: VecDeque::new(),
            refusals: VecDeque::new(),
            calls: Vec::new(),
            ctl_calls: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Returns the backend that plays this script. It does not ask the kernel: descriptors are
    /// ready when the script says so.
    pub fn backend(&self) -> Box<dyn Backend> {
        Box::new(Scripted { script: self.clone() })
    }

    /// Returns the state, also after a test has panicked with it: it is consistent between calls.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next wait that is not scripted yet report `events`, in this order. No time passes
    /// in that wait.
    pub fn events(&self, events: &[Event]) {
        self.lock().steps.push_back(Step::Events(events.to_vec(), Coverage::Complete));
    }

    /// [`events`](Self::events), in a wait whose array of events is full.
    pub fn some_events(&self, events: &[Event]) {
        self.lock().steps.push_back(Step::Events(events.to_vec(), Coverage::Partial));
    }

    /// Interrupts the next wait that is not scripted yet, after `time`: the process has handled a
    /// signal, or was stopped. A wait without sleep is never interrupted: it reports nothing, and
    /// the interruption applies to the next one.
    pub fn interrupt(&self, time: Duration) {
        self.lock().steps.push_back(Step::Interrupt(time));
    }

    /// [`events`](Self::events), for a single event.
    pub fn event(&self, token: Token, readiness: Readiness) {
        self.events(&[Event { tag: token.tag(), readiness }]);
    }

    /// Makes the next wait that is not scripted yet fail with an error number (`errno(3)`).
    pub fn fail_wait(&self, errno: i32) {
        self.lock().steps.push_back(Step::Fail(errno));
    }

    /// Makes the next registration fail with an error number (`errno(3)`).
    pub fn fail_add(&self, errno: i32) {
        self.lock().refusals.push_back(errno);
    }

    /// Advances the clock. The loop notices when it reads the clock next.
    pub fn advance(&self, time: Duration) {
        self.lock().now += time;
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// Returns the calls of the loop since the last call of this method.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    /// Returns how many scripted waits have not been played.
    pub fn left(&self) -> usize {
        self.lock().steps.len()
    }
}

/// The backend that plays a script.
struct Scripted {
    script: Script,
}

impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "script"
    }

    fn trigger(&self) -> Trigger {
        self.script.lock().trigger
    }

    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        let mut state = self.script.lock();
        state.ctl_calls += 1;
        state.calls.push(Call::Add { fd: fd.as_raw_fd(), tag, interest });
        match state.refusals.pop_front() {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }

    fn modify(&mut self, _fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        let mut state = self.script.lock();
        state.ctl_calls += 1;
        state.calls.push(Call::Modify { tag, interest });
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut state = self.script.lock();
        state.ctl_calls += 1;
        state.calls.push(Call::Remove { fd: fd.as_raw_fd() });
        Ok(())
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage> {
        let mut state = self.script.lock();
        state.calls.push(Call::Wait { timeout });
        let is_due = !matches!(state.steps.front(), Some(Step::Interrupt(_)))
            || timeout != Some(Duration::ZERO);
        let step = if is_due { state.steps.pop_front() } else { None };
        match (step, timeout) {
            (Some(Step::Events(scripted, coverage)), _) => {
                events.extend(scripted);
                return Ok(coverage);
            }
            (Some(Step::Interrupt(after)), _) => {
                state.now += after;
                return Ok(Coverage::Partial);
            }
            (Some(Step::Fail(errno)), _) => return Err(io::Error::from_raw_os_error(errno)),
            (None, Some(timeout)) => state.now += timeout,
            (None, None) => {
                let text = "the script is exhausted: the loop would wait for ever";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        }
        Ok(Coverage::Complete)
    }

    fn sleep(&mut self, time: Duration) {
        let mut state = self.script.lock();
        state.calls.push(Call::Sleep { time });
        state.now += time;
    }

    fn now(&self) -> Instant {
        self.script.now()
    }

    fn ctl_calls(&self) -> u64 {
        self.script.lock().ctl_calls
    }
}
