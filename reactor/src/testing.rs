//! A scripted backend with a virtual clock, for tests without sleeps.
//!
//! A [`Script`] says what each wait of a loop reports, and what time it is. A test keeps the
//! script, gives its [`backend`](Script::backend) to a reactor, and then turns the reactor through
//! situations that a kernel produces once in a million turns.
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
//! // An hour passes at once: where nothing is scripted, a wait takes as long as it may.
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

/// What a loop asked of a scripted backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// To watch a descriptor.
    Add {
        /// The descriptor.
        fd: RawFd,
        /// The registration it is for.
        tag: Tag,
        /// What it wants.
        interest: Interest,
    },
    /// To watch a descriptor for something else.
    Modify {
        /// The registration it is for.
        tag: Tag,
        /// What it wants now.
        interest: Interest,
    },
    /// To watch a descriptor no longer.
    Remove {
        /// The descriptor.
        fd: RawFd,
    },
    /// To wait.
    Wait {
        /// How long at most; `None` for ever.
        timeout: Option<Duration>,
    },
    /// To sleep.
    Sleep {
        /// How long.
        time: Duration,
    },
}

/// What one wait comes to.
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
    /// Error numbers for the calls of `add` to come.
    refusals: VecDeque<i32>,
    calls: Vec<Call>,
    ctl_calls: u64,
}

/// What the waits of a loop report, and what time it is. Clones are handles to the same script, so
/// that a handler may go on writing it while it is being played.
#[derive(Clone, Debug)]
pub struct Script {
    state: Arc<Mutex<State>>,
}

impl Script {
    /// An empty script for a backend that reports as `trigger` says.
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

    /// The backend that plays this script. It asks no kernel and watches nothing: descriptors are
    /// ready when the script says so.
    pub fn backend(&self) -> Box<dyn Backend> {
        Box::new(Scripted { script: self.clone() })
    }

    /// The state, also after a test has panicked with it: it is whole between any two calls.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next wait that is not scripted yet report `events`, in their order. No time passes
    /// in such a wait.
    pub fn events(&self, events: &[Event]) {
        self.lock().steps.push_back(Step::Events(events.to_vec(), Coverage::Complete));
    }

    /// [`events`](Self::events), of a wait that has no room for more.
    pub fn some_events(&self, events: &[Event]) {
        self.lock().steps.push_back(Step::Events(events.to_vec(), Coverage::Partial));
    }

    /// Interrupts the next wait that is not scripted yet, after `time`: the process handled a
    /// signal, or was stopped meanwhile. A wait that does not sleep is never interrupted: it
    /// reports nothing, and this waits for the next one.
    pub fn interrupt(&self, time: Duration) {
        self.lock().steps.push_back(Step::Interrupt(time));
    }

    /// [`events`](Self::events), for a wait that reports one.
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

    /// Lets time pass. The loop notices when it reads the clock next.
    pub fn advance(&self, time: Duration) {
        self.lock().now += time;
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// What the loop has asked for since this was called last.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    /// How many waits are scripted and have not been played.
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
