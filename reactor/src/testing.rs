//! A scripted backend with a virtual clock, for tests without sleeps.
//!
//! A [`Script`] says what each wait reports. When nothing is scripted, a wait with a timeout lets
//! the virtual time pass at once, and one without is an error: the loop would sleep for ever.
//!
//! ```
//! use reactor::testing::Script;
//! use reactor::{LoopLimits, Reactor, Trigger};
//! use std::time::{Duration, Instant};
//!
//! let script = Script::new(Trigger::Edge);
//! let mut reactor = Reactor::with_backend(script.backend(), LoopLimits::DEFAULT, false)?;
//! reactor.cx().after(Duration::from_secs(3600), |cx| *cx.app = true)?;
//! let start = Instant::now();
//! reactor.run_until(|fired| *fired)?;
//! assert!(start.elapsed() < Duration::from_secs(60));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Backend, Event, Interest, Token, Trigger};

/// What one wait does.
#[derive(Clone, Debug)]
pub enum Step {
    /// It reports these events, at once.
    Events(Vec<Event>),
    /// It fails with this `errno`.
    Fail(i32),
}

/// A call that the loop made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A descriptor was added.
    Add(RawFd, Token),
    /// What a descriptor is watched for was changed.
    Modify(RawFd, Interest),
    /// A descriptor was removed.
    Remove(RawFd),
    /// The loop waited this long at most.
    Wait(Option<Duration>),
}

#[derive(Debug)]
struct State {
    steps: VecDeque<Step>,
    refusals: VecDeque<i32>,
    calls: Vec<Call>,
    now: Instant,
}

/// What a scripted backend does. Clones say and see the same.
#[derive(Clone, Debug)]
pub struct Script {
    state: Arc<Mutex<State>>,
    trigger: Trigger,
}

impl Script {
    /// An empty script, for a backend that reports as `trigger` says.
    pub fn new(trigger: Trigger) -> Self {
        let state = State {
            steps: VecDeque::new(),
            refusals: VecDeque::new(),
            calls: Vec::new(),
            now: Instant::now(),
        };
        Self { state: Arc::new(Mutex::new(state)), trigger }
    }

    /// A backend that follows this script.
    pub fn backend(&self) -> Box<dyn Backend> {
        Box::new(self.clone())
    }

    /// Adds what the next wait that has nothing scripted before it does.
    pub fn push(&self, step: Step) {
        self.state().steps.push_back(step);
    }

    /// Has the next descriptor refused with this `errno`.
    pub fn refuse(&self, errno: i32) {
        self.state().refusals.push_back(errno);
    }

    /// Lets virtual time pass.
    pub fn advance(&self, time: Duration) {
        self.state().now += time;
    }

    /// The calls that the loop has made since the last time this was asked.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn trigger(&self) -> Trigger {
        self.trigger
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: Token, _interest: Interest) -> io::Result<()> {
        let mut state = self.state();
        state.calls.push(Call::Add(fd.as_raw_fd(), token));
        state.refusals.pop_front().map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, _token: Token, interest: Interest) -> io::Result<()> {
        self.state().calls.push(Call::Modify(fd.as_raw_fd(), interest));
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.state().calls.push(Call::Remove(fd.as_raw_fd()));
        Ok(())
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let mut state = self.state();
        state.calls.push(Call::Wait(timeout));
        match (state.steps.pop_front(), timeout) {
            (Some(Step::Events(scripted)), _) => events.extend(scripted),
            (Some(Step::Fail(errno)), _) => return Err(io::Error::from_raw_os_error(errno)),
            (None, Some(timeout)) => state.now += timeout,
            (None, None) => {
                return Err(io::Error::other(
                    "the script is over, and the loop would sleep for ever",
                ));
            }
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        self.state().now
    }
}
