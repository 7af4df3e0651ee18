//! The backend: it reports which descriptors are ready.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use log::warn;

use crate::kernel;
use crate::reactor::clock::nanos;
use crate::source::handler::explained;
use crate::sys::{Epoll, Poll, Select};
use crate::uring::Uring;
use crate::{Completion, Coverage, Interest, Readiness, Tag};

/// One report of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The registration of the descriptor, as passed to [`Backend::add`].
    pub tag: Tag,
    /// The readiness that is new.
    pub readiness: Readiness,
}

/// When a backend reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Once for each change. The loop remembers readiness; a descriptor is registered once.
    Edge,
    /// At every wait, as long as the condition lasts. The loop updates interests before it waits.
    Level,
}

/// Reports to a loop which of its descriptors are ready.
///
/// This is the contract, which `reactor/tests/backends.rs` checks on every backend:
/// - `add`, `modify` and `remove` are called in that order for one descriptor, `remove` before the
///   descriptor is closed; `modify` on level-triggered backends only.
/// - `wait` appends events and returns without error when it was interrupted. It never returns
///   early because a timeout was rounded down.
/// - A hang-up or an error comes with `READABLE` and `WRITABLE`, since the next operation tells the
///   cause.
pub trait Backend {
    /// Returns the name for logs and for `REACTOR_BACKEND`.
    fn name(&self) -> &'static str;

    /// Returns when it reports.
    fn trigger(&self) -> Trigger;

    /// Starts watching a descriptor. An edge-triggered backend watches for everything and ignores
    /// `interest`.
    ///
    /// # Errors
    /// `EPERM` when the descriptor is of a kind that is always ready (a regular file); the loop
    /// then treats it so. Otherwise the error of the kernel.
    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()>;

    /// Starts watching a descriptor that other loops watch too, where each event is for one of them
    /// ([`Registration::exclusive`]). A descriptor that was added so is never modified: it is removed
    /// and added again. The default adds it as any other.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    ///
    /// [`Registration::exclusive`]: crate::Registration::exclusive
    fn add_exclusive(
        &mut self,
        fd: BorrowedFd<'_>,
        tag: Tag,
        interest: Interest,
    ) -> io::Result<()> {
        self.add(fd, tag, interest)
    }

    /// Changes the interest of a level-triggered backend in a descriptor.
    ///
    /// # Errors
    /// The error of the kernel.
    fn modify(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()>;

    /// Sets whether an edge-triggered backend reports that a descriptor is writable. It does unless
    /// it was told otherwise. Datagram sockets become writable whenever a peer has received
    /// something, which would wake the loop for nothing. The default changes nothing.
    ///
    /// # Errors
    /// The error of the kernel.
    fn report_writable(
        &mut self,
        fd: BorrowedFd<'_>,
        tag: Tag,
        is_reported: bool,
    ) -> io::Result<()> {
        let _ = (fd, tag, is_reported);
        Ok(())
    }

    /// Returns whether closing a descriptor removes it, unless other copies of it exist. If a copy
    /// exists all the same, what is reported for it is reported once.
    fn forgets_what_is_closed(&self) -> bool {
        false
    }

    /// Stops watching a descriptor.
    ///
    /// # Errors
    /// The error of the kernel.
    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Waits for events and appends them. It waits until `timeout` has passed, or for ever if that
    /// is `None`. Returns whether the events are all that had happened when the wait began. Until a
    /// wait was complete, the loop considers no peer silent.
    ///
    /// # Errors
    /// The error of the kernel, except for an interruption.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage>;

    /// Returns the name of the system call behind [`wait`](Self::wait), for errors and logs.
    fn wait_call(&self) -> &'static str {
        "wait"
    }

    /// Sleeps for `time`, whatever happens to the descriptors: [`LoopLimits::coalesce_for`]. A
    /// backend with a clock of its own advances that clock.
    ///
    /// [`LoopLimits::coalesce_for`]: crate::LoopLimits::coalesce_for
    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Frees memory that was needed for many descriptors or events, if it is far more than is
    /// needed now. The loop calls it once a second at most.
    fn trim(&mut self) {}

    /// Returns the time, on the clock of the timeouts.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Returns the time on the same clock, in nanoseconds since a point that stays the same. By default it is
    /// made of [`now`](Self::now).
    fn nanoseconds(&self) -> u64 {
        /// What is counted from, whenever that is.
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        /// Both sides of it have centuries of room.
        const MIDDLE: u64 = 1 << 62;
        let (now, origin) = (self.now(), *ORIGIN.get_or_init(Instant::now));
        match now.checked_duration_since(origin) {
            Some(after) => MIDDLE + nanos(after).min(MIDDLE),
            None => MIDDLE - nanos(origin.saturating_duration_since(now)).min(MIDDLE),
        }
    }

    /// Returns a new backend of the same kind that watches nothing, for a loop in a forked process
    /// ([`Reactor::rebuild`](crate::Reactor::rebuild)). The default refuses.
    ///
    /// # Errors
    /// When it cannot be opened again, or the kernel gives no descriptor for it.
    fn reopen(&self) -> io::Result<Box<dyn Backend>> {
        let text = format!("the backend {} cannot be opened again", self.name());
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// Returns a descriptor that becomes readable when there are events, for hosting the loop in
    /// another. Only backends that are a descriptor themselves have one.
    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Returns whether its wait coalesces events. [`LoopLimits::coalesce_for`] and
    /// [`LoopLimits::spin_max`] have no effect then.
    ///
    /// [`LoopLimits::coalesce_for`]: crate::LoopLimits::coalesce_for
    /// [`LoopLimits::spin_max`]: crate::LoopLimits::spin_max
    fn coalesces(&self) -> bool {
        false
    }

    /// Tells the kernel what waits to be told with the next wait. The loop calls it before it returns to its
    /// caller. The default has nothing that waits.
    ///
    /// # Errors
    /// The error of the kernel.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Returns what moves the bytes of connections, if this backend does that itself.
    fn completion(&mut self) -> Option<&mut dyn Completion> {
        None
    }

    /// Returns how many system calls added, modified and removed descriptors.
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
    /// `poll(2)`. Its cost is proportional to the number of descriptors.
    Poll,
    /// `select(2)`. It sizes its sets itself, so `FD_SETSIZE` does not limit it. It reports
    /// readable, writable and priority only; the next operation tells how a descriptor ended.
    Select,
    /// `io_uring(7)`: completions instead of readiness. The kernel moves the bytes of connections, and is
    /// told of a whole turn at once. It needs Linux 6.1. Where that or a filter of system calls refuses it,
    /// it cannot be opened.
    Uring,
}

/// The environment variable that chooses the backend of [`Reactor::new`](crate::Reactor::new).
pub const BACKEND_VARIABLE: &str = "REACTOR_BACKEND";

impl BackendKind {
    /// All kinds, for tests and comparisons.
    pub const ALL: [Self; 5] =
        [Self::Epoll, Self::EpollLevel, Self::Poll, Self::Select, Self::Uring];

    /// Returns the name for command lines and for `REACTOR_BACKEND`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::EpollLevel => "epoll-lt",
            Self::Poll => "poll",
            Self::Select => "select",
            Self::Uring => "uring",
        }
    }

    /// Returns the kind that `REACTOR_BACKEND` names, or the default when it is unset or empty.
    ///
    /// # Errors
    /// When it names no backend.
    pub fn from_env() -> io::Result<Self> {
        BackendChoice::from_env().map(|choice| choice.kind)
    }

    /// Returns the kinds that can be opened now, the default first. A kernel may lack `epoll(7)`, or a
    /// filter of system calls may refuse it. Each is opened and closed again. A simulated host has all.
    pub fn available() -> Vec<Self> {
        let opens = |kind: &Self| kernel::is_simulated() || kind.open_itself().is_ok();
        Self::ALL.into_iter().filter(opens).collect()
    }

    /// Opens a backend of this kind. On a host of a [`Sim`](crate::sim::Sim), it is the simulated
    /// one, which then works as this kind does: for [`Uring`](Self::Uring), it moves the bytes of
    /// connections.
    ///
    /// Where io_uring is refused, by the kernel, a filter of system calls or a limit, epoll takes its place,
    /// and a line of the log says why ([`Backend::name`] tells which it is).
    ///
    /// # Errors
    /// When the kernel gives no descriptor for it.
    pub fn open(self) -> io::Result<Box<dyn Backend>> {
        if let Some(kernel) = kernel::simulated() {
            return Ok(Box::new(kernel.loop_like(self)));
        }
        match self.open_itself() {
            Err(error) if self == Self::Uring => {
                warn!("the backend uring cannot be used, so epoll takes its place: {error}");
                Self::Epoll.open_itself()
            }
            result => result,
        }
    }

    /// Opens a backend of this kind, and no other in its place.
    fn open_itself(self) -> io::Result<Box<dyn Backend>> {
        let epoll =
            |trigger| Epoll::new(trigger).map_err(|error| explained("epoll_create1", error));
        Ok(match self {
            Self::Epoll => Box::new(epoll(Trigger::Edge)?),
            Self::EpollLevel => Box::new(epoll(Trigger::Level)?),
            Self::Poll => Box::new(Poll::new()),
            Self::Select => Box::new(Select::new()),
            Self::Uring => Box::new(Uring::new()?),
        })
    }
}

/// The backend that a loop gets, and why. [`Reactor::new`](crate::Reactor::new) logs it at the level
/// `debug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendChoice {
    /// The kind of backend.
    pub kind: BackendKind,
    /// What has chosen it.
    pub chosen_by: ChosenBy,
}

/// What has chosen a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// Nothing: `REACTOR_BACKEND` is unset or empty.
    Default,
    /// The environment variable `REACTOR_BACKEND`.
    Variable,
}

impl BackendChoice {
    /// Returns what `REACTOR_BACKEND` chooses, or the default when it is unset or empty.
    ///
    /// # Errors
    /// When it names no backend.
    pub fn from_env() -> io::Result<Self> {
        let name = std::env::var_os(BACKEND_VARIABLE).unwrap_or_default();
        Self::named(&name.to_string_lossy())
    }

    /// Returns what a value of the variable chooses.
    fn named(name: &str) -> io::Result<Self> {
        if name.is_empty() {
            return Ok(Self { kind: BackendKind::default(), chosen_by: ChosenBy::Default });
        }
        let kind = name.parse().map_err(|error: UnknownBackend| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{BACKEND_VARIABLE}: {error}"))
        })?;
        Ok(Self { kind, chosen_by: ChosenBy::Variable })
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chosen_by {
            ChosenBy::Default => {
                write!(f, "{}, the default, since {BACKEND_VARIABLE} is not set", self.kind)
            }
            ChosenBy::Variable => write!(f, "{}, which {BACKEND_VARIABLE} names", self.kind),
        }
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
            let name = kind.open().expect("the backend opens").name();
            let has_kind = BackendKind::available().contains(&kind);
            assert_eq!(name, if has_kind { kind.name() } else { "epoll" });
        }
    }

    #[test]
    fn every_backend_is_available_here_but_the_one_that_is_often_forbidden() {
        let others = |kind: &BackendKind| *kind != BackendKind::Uring;
        let available: Vec<_> = BackendKind::available().into_iter().filter(others).collect();
        assert_eq!(available, BackendKind::ALL[..4]);
    }

    #[test]
    fn a_choice_says_why() {
        let text = |name| BackendChoice::named(name).map(|choice| choice.to_string());
        for kind in BackendKind::ALL {
            let expected = format!("{kind}, which REACTOR_BACKEND names");
            assert_eq!(text(kind.name()).expect("it is known"), expected);
        }
        let expected = "epoll, the default, since REACTOR_BACKEND is not set";
        assert_eq!(text("").expect("there is a default"), expected);
        let error = text("kqueue").expect_err("there is no kqueue here").to_string();
        assert!(error.starts_with("REACTOR_BACKEND: no backend is called"), "{error}");
    }

    #[test]
    fn an_unknown_backend_is_told_what_there_is() {
        let error = "kqueue".parse::<BackendKind>().expect_err("there is no kqueue here");
        assert_eq!(
            error.to_string(),
            "no backend is called \"kqueue\"; there are epoll, epoll-lt, poll, select, uring"
        );
    }
}
