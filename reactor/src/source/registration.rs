//! How a source is registered: what it wants, and what the loop may assume of its descriptor.

use std::time::Duration;

use crate::{Interest, Readiness};

/// What a source is to the loop as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One peer's connection: counted, limited in idle time, waited for when draining.
    Connection,
    /// Accepts connections.
    Listener,
    /// Anything else: timers, signals, descriptors of the embedder's own.
    Other,
}

/// How a source is registered: what it wants, and what the loop may assume of its descriptor.
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
    /// What is assumed of the descriptor before the first report.
    pub(crate) assumed: Readiness,
}

/// How long a source may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// As long as its role may.
    ByRole,
    /// For ever.
    Exempt,
    /// As long as this.
    Limit(Duration),
}

/// What is known of the descriptor's blocking mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing: it is looked at, and made non-blocking.
    Unknown,
    /// Its maker made it non-blocking.
    Nonblocking,
    /// It stays blocking, since other processes share it.
    Blocking,
}

/// Whether others may have copies of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// They may: closing it does not have to be its end.
    Possible,
    /// It was made here and was lent to nobody.
    Excluded,
}

/// What proves that a descriptor has been drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExhaustedBy {
    /// Only an operation that would block.
    WouldBlock,
    /// A short read too. True of TCP unless urgent data, an end or an error is about, which the
    /// kernel reports beforehand; not of Unix sockets, whose reads stop where descriptors were
    /// passed, nor of most other things.
    ShortRead,
}

impl Registration {
    /// A source that wants `interest`, of whose descriptor nothing is assumed but that writing is
    /// worth trying.
    pub const fn new(interest: Interest) -> Self {
        Self {
            interest,
            role: Role::Other,
            idle: Idle::ByRole,
            mode: Mode::Unknown,
            exhausted_by: ExhaustedBy::WouldBlock,
            sharing: Sharing::Possible,
            assumed: Readiness::WRITABLE,
        }
    }

    /// Sets what the source is to the loop as a whole.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets how long the source may be silent, instead of what its role has by default; `None`
    /// exempts it. Zero is refused when the source is registered.
    #[must_use]
    pub const fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.idle = match limit {
            Some(limit) => Idle::Limit(limit),
            None => Idle::Exempt,
        };
        self
    }

    /// Leaves the descriptor in blocking mode, because its open file description is shared with
    /// other processes that rely on it, as standard input and output are. Every operation then
    /// asks first with `poll(2)`, and writes are cut to what a pipe takes without blocking.
    #[must_use]
    pub const fn keep_blocking(mut self) -> Self {
        self.mode = Mode::Blocking;
        self
    }

    /// The descriptor is known to be non-blocking: saves two system calls.
    #[must_use]
    pub const fn known_nonblocking(mut self) -> Self {
        self.mode = Mode::Nonblocking;
        self
    }

    /// A read that does not fill its buffer proves that the descriptor was drained, which saves the
    /// read that would block. That is so of TCP (where urgent data, an end or an error is about, the
    /// kernel says so beforehand, and the loop looks twice), of pipes, and of Unix stream sockets
    /// whose peer passes no descriptors; not of terminals, and not of datagrams.
    #[must_use]
    pub const fn short_read_exhausts(mut self) -> Self {
        self.exhausted_by = ExhaustedBy::ShortRead;
        self
    }

    /// One of a connection, whose descriptor is lent to nobody who could copy it.
    pub(crate) const fn stream(is_tcp: bool, sharing: Sharing) -> Self {
        let plain = Self::new(Interest::BOTH).role(Role::Connection).known_nonblocking();
        let plain = if is_tcp { plain.short_read_exhausts() } else { plain };
        Self { sharing, ..plain }
    }
}
