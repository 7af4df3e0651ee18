//! The demultiplexer: what tells a loop which of its descriptors are ready.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::source::handler::explained;
use crate::sys::{Epoll, Poll, Select};
use crate::{Coverage, Interest, Readiness, Tag};

/// One report of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The registration it is about, as it was when the descriptor was added.
    pub tag: Tag,
    /// What became known.
    pub readiness: Readiness,
}

/// When a backend reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Once for each change. The loop remembers; the kernel is told everything once.
    Edge,
    /// At every wait while it lasts. The loop tells the kernel what is wanted before it waits.
    Level,
}

/// What tells a loop which of its descriptors are ready.
///
/// The contract, which the conformance suite checks on every backend:
/// - `add`, `modify` and `remove` are called in that order for one descriptor, `remove` before the
///   descriptor is closed; `modify` on level-triggered backends only.
/// - `wait` appends events and returns without error when it was interrupted. It never returns
///   early because a timeout was rounded down.
/// - A hang-up or an error comes with `READABLE` and `WRITABLE`, since trying tells how it ended.
pub trait Backend {
    /// What it is called: in logs, and in `REACTOR_BACKEND`.
    fn name(&self) -> &'static str;

    /// When it reports.
    fn trigger(&self) -> Trigger;

    /// Starts watching a descriptor. An edge-triggered backend watches for everything and ignores
    /// `interest`.
    ///
    /// # Errors
    /// `EPERM` when the descriptor is of a kind that is always ready (a regular file); the loop
    /// then treats it so. Otherwise what the kernel said.
    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()>;

    /// Changes what a level-triggered backend watches for.
    ///
    /// # Errors
    /// What the kernel said.
    fn modify(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()>;

    /// Whether a descriptor that nobody else has need not be removed: closing it is enough, and
    /// what is still reported of one that somebody copied nevertheless is reported once.
    fn forgets_what_is_closed(&self) -> bool {
        false
    }

    /// Stops watching a descriptor.
    ///
    /// # Errors
    /// What the kernel said.
    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Waits for events until `timeout` has passed, for ever when it is `None`, and appends them.
    /// Says whether these are all that had happened when the wait began: as long as it cannot be
    /// told, the loop takes no peer for silent.
    ///
    /// # Errors
    /// What the kernel said, other than that the wait was interrupted.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage>;

    /// The system call behind [`wait`](Self::wait), for errors and logs.
    fn wait_call(&self) -> &'static str {
        "wait"
    }

    /// Sleeps for so long, whatever happens to the descriptors: [`LoopLimits::coalesce_for`]. A
    /// backend with a clock of its own lets the time pass there.
    ///
    /// [`LoopLimits::coalesce_for`]: crate::LoopLimits::coalesce_for
    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Gives back the room that a crowd of descriptors or events has left, if it is far more than what
    /// is needed now. The loop asks for that once a second at most, after a crowd.
    fn trim(&mut self) {}

    /// The time, on the clock that timeouts run on.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// A descriptor that becomes readable when there are events, for hosting the loop in another.
    /// Backends that are no descriptor themselves have none.
    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// How many system calls have been spent on adding, modifying and removing.
    fn ctl_calls(&self) -> u64 {
        0
    }
}

/// The backends that come with this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BackendKind {
    /// `epoll(7)`, edge-triggered. Every descriptor is registered once and never modified.
    #[default]
    Epoll,
    /// `epoll(7)`, level-triggered.
    EpollLevel,
    /// `poll(2)`. Costs time in proportion to the number of descriptors.
    Poll,
    /// `select(2)`. Sizes its sets itself, so it is not held to `FD_SETSIZE` descriptors; it tells
    /// readable, writable and priority only, and how a descriptor ended is found by trying.
    Select,
}

/// The variable that chooses the backend of [`Reactor::new`](crate::Reactor::new).
pub const BACKEND_VARIABLE: &str = "REACTOR_BACKEND";

impl BackendKind {
    /// All of them, for tests and comparisons that go through each.
    pub const ALL: [Self; 4] = [Self::Epoll, Self::EpollLevel, Self::Poll, Self::Select];

    /// What it is called on command lines and in `REACTOR_BACKEND`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::EpollLevel => "epoll-lt",
            Self::Poll => "poll",
            Self::Select => "select",
        }
    }

    /// What `REACTOR_BACKEND` asks for, or the default when it is not set or empty.
    ///
    /// # Errors
    /// When it names no backend.
    pub fn from_env() -> io::Result<Self> {
        match std::env::var(BACKEND_VARIABLE) {
            Ok(name) if !name.is_empty() => name.parse().map_err(|error: UnknownBackend| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("{BACKEND_VARIABLE}: {error}"))
            }),
            _ => Ok(Self::default()),
        }
    }

    /// Opens a backend of this kind.
    ///
    /// # Errors
    /// When the kernel gives no descriptor for it.
    pub fn open(self) -> io::Result<Box<dyn Backend>> {
        let epoll =
            |trigger| Epoll::new(trigger).map_err(|error| explained("epoll_create1", error));
        Ok(match self {
            Self::Epoll => Box::new(epoll(Trigger::Edge)?),
            Self::EpollLevel => Box::new(epoll(Trigger::Level)?),
            Self::Poll => Box::new(Poll::new()),
            Self::Select => Box::new(Select::new()),
        })
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownBackend { name: name.to_owned() })
    }
}

/// A name that names no backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBackend {
    name: String,
}

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = BackendKind::ALL.iter().map(|kind| kind.name()).collect();
        write!(f, "no backend is called \"{}\"; there are {}", self.name, known.join(", "))
    }
}

impl std::error::Error for UnknownBackend {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_is_found_by_its_name() {
        for kind in BackendKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(kind.open().expect("the backend opens").name(), kind.name());
        }
    }

    #[test]
    fn an_unknown_backend_is_told_what_there_is() {
        let error = "kqueue".parse::<BackendKind>().expect_err("there is no kqueue here");
        assert_eq!(
            error.to_string(),
            "no backend is called \"kqueue\"; there are epoll, epoll-lt, poll, select"
        );
    }
}
