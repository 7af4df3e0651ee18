//! How a source is registered: its interest, and what the loop may assume about its descriptor.

use std::time::Duration;

use crate::{Interest, Priority, Readiness};

/// The role of a source in the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A connection: it counts towards the limit, has an idle limit, and is waited for when the
    /// loop winds down.
    Connection,
    /// Accepts connections.
    Listener,
    /// Anything else: timers, signals, other descriptors.
    Other,
}

/// How a source is registered: its interest, and what the loop may assume about its descriptor.
///
/// ```
/// use reactor::{Interest, Registration};
///
/// let registration = Registration::new(Interest::READ);
/// # let _ = registration;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    pub(crate) interest: Interest,
    pub(crate) role: Role,
    pub(crate) idle: Idle,
    pub(crate) mode: Mode,
    pub(crate) exhausted_by: ExhaustedBy,
    pub(crate) sharing: Sharing,
    pub(crate) priority: Priority,
    pub(crate) moved_by: MovedBy,
    /// The readiness that is assumed before the first report.
    pub(crate) assumed: Readiness,
}

/// How long a source may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// As long as its role allows.
    ByRole,
    /// For ever.
    Exempt,
    /// As long as this.
    Limit(Duration),
}

/// The blocking mode of the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is unknown. The loop checks it and makes the descriptor non-blocking.
    Unknown,
    /// The descriptor is non-blocking.
    Nonblocking,
    /// The descriptor stays blocking, since other processes share it.
    Blocking,
    /// The backend moves its bytes ([`Completion`](crate::Completion)).
    Completed,
    /// It is non-blocking, and belongs to a simulated host, whose kernel is asked first.
    Simulated,
}

/// What moves the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MovedBy {
    /// Its handler, when the descriptor is ready.
    Handler,
    /// The backend, if it can ([`Completion`](crate::Completion)).
    Backend,
}

/// Whether other code may have copies of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Copies may exist, so closing the descriptor may not be its end.
    Possible,
    /// No other code has had the descriptor.
    Excluded,
    /// Other loops wait for the same socket, and each event is for one of them.
    Competing,
}

/// The result of an operation that proves that a descriptor is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExhaustedBy {
    /// Only an operation that would block.
    WouldBlock,
    /// A short read too. This holds for TCP unless there is urgent data, an end or an error, which
    /// the kernel reports beforehand. It does not hold for Unix sockets, whose reads stop where
    /// descriptors were passed, nor for most other descriptors.
    ShortRead,
}

impl Registration {
    /// Returns a registration with this interest. It assumes only that the descriptor may be
    /// writable.
    pub const fn new(interest: Interest) -> Self {
        Self {
            interest,
            role: Role::Other,
            idle: Idle::ByRole,
            mode: Mode::Unknown,
            exhausted_by: ExhaustedBy::WouldBlock,
            sharing: Sharing::Possible,
            priority: Priority::Normal,
            moved_by: MovedBy::Handler,
            assumed: Readiness::WRITABLE,
        }
    }

    /// Sets the role of the source.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets the priority of the source.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how long the source may be silent, instead of the default of its role; `None` exempts
    /// it. Zero is refused when the source is registered.
    #[must_use]
    pub const fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.idle = match limit {
            Some(limit) => Idle::Limit(limit),
            None => Idle::Exempt,
        };
        self
    }

    /// Leaves the descriptor in blocking mode, because other processes share its open file
    /// description and rely on that, as with standard input and output. Every operation then calls
    /// `poll(2)` first, and writes are limited to what a pipe takes without blocking.
    #[must_use]
    pub const fn keep_blocking(mut self) -> Self {
        self.mode = Mode::Blocking;
        self
    }

    /// Declares that the descriptor is non-blocking already, which saves two system calls.
    #[must_use]
    pub const fn known_nonblocking(mut self) -> Self {
        self.mode = Mode::Nonblocking;
        self
    }

    /// Declares that a read which does not fill its buffer has read everything. This saves the read
    /// that would block. It holds for TCP (the kernel reports urgent data, an end or an error
    /// beforehand, and the loop then reads again), for pipes, and for Unix stream sockets whose
    /// peer passes no descriptors. It does not hold for terminals and datagrams.
    #[must_use]
    pub const fn short_read_exhausts(mut self) -> Self {
        self.exhausted_by = ExhaustedBy::ShortRead;
        self
    }

    /// Declares that other loops, or other processes, wait for the same socket, and that each event is
    /// for one of them (`EPOLLEXCLUSIVE`, `epoll_ctl(2)`; Linux 4.5 and later). The kernel then wakes
    /// one waiting loop, or few, instead of all. The poll and select backends wake all of them. An
    /// exclusive source is told of input, output and errors; the kernel does not report `PRIORITY` and
    /// `HANG_UP` for it.
    ///
    /// Its handler has to take what it is told of, or the event is lost to the other loops. A handler
    /// that takes nothing for a while leaves the poller meanwhile ([`Cx::set_watched`]).
    ///
    /// [`Cx::set_watched`]: crate::Cx::set_watched
    #[must_use]
    pub const fn exclusive(mut self) -> Self {
        self.sharing = Sharing::Competing;
        self
    }

    /// Returns the registration of a connection.
    pub(crate) const fn stream(is_tcp: bool, sharing: Sharing) -> Self {
        let plain = Self::new(Interest::BOTH).role(Role::Connection).known_nonblocking();
        let plain = if is_tcp { plain.short_read_exhausts() } else { plain };
        Self { sharing, moved_by: MovedBy::Backend, ..plain }
    }

    /// Returns the registration of a connection that stands still: nothing of it is received.
    pub(crate) const fn frozen_stream(is_tcp: bool, sharing: Sharing) -> Self {
        Self { moved_by: MovedBy::Handler, ..Self::stream(is_tcp, sharing) }
    }
}
