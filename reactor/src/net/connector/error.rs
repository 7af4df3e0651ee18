//! Why a connection was not made.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::net::connector::Target;
use crate::source::handler::exhaustion;
use crate::{Address, ResolveError, ResolveErrorKind};

/// The most likely cause of a connection that was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectErrorKind {
    /// Nothing listens there (`ECONNREFUSED`).
    Refused,
    /// The host is not reached (`EHOSTUNREACH`, `EHOSTDOWN`).
    HostUnreachable,
    /// This host has no route to the network (`ENETUNREACH`, `ENETDOWN`).
    NetworkUnreachable,
    /// There was no answer in time.
    TimedOut,
    /// A route, a firewall or the permissions of a Unix socket do not allow it (`EACCES`, `EPERM`).
    NotPermitted,
    /// The name is not known, or has no address.
    UnknownName,
    /// The service is not known.
    UnknownService,
    /// The name was not resolved for another reason: its name servers do not answer, for example.
    NotResolved,
    /// No local port is left (`EADDRNOTAVAIL`).
    NoLocalPort,
    /// The kernel has connected the socket to itself: nothing listens at the local port that it got
    /// by chance.
    SelfConnect,
    /// There is no such Unix socket (`ENOENT`).
    NoSuchSocket,
    /// Anything else. The attempts say what.
    Other,
}

impl ConnectErrorKind {
    /// Returns the kind of an error of the kernel.
    fn of_errno(operation: &str, errno: Option<i32>) -> Self {
        match errno {
            Some(libc::ECONNREFUSED) => Self::Refused,
            Some(libc::EHOSTUNREACH | libc::EHOSTDOWN) => Self::HostUnreachable,
            Some(libc::ENETUNREACH | libc::ENETDOWN) => Self::NetworkUnreachable,
            Some(libc::ETIMEDOUT) => Self::TimedOut,
            Some(libc::ENOENT) => Self::NoSuchSocket,
            Some(libc::EACCES | libc::EPERM) if operation == "connect" => Self::NotPermitted,
            // In `bind`, it means that this host does not have the address.
            Some(libc::EADDRNOTAVAIL) if operation == "connect" => Self::NoLocalPort,
            _ => Self::Other,
        }
    }

    fn of_lookup(error: &ResolveError) -> Self {
        match error.kind() {
            ResolveErrorKind::UnknownName | ResolveErrorKind::NoAddress => Self::UnknownName,
            ResolveErrorKind::UnknownService => Self::UnknownService,
            ResolveErrorKind::TimedOut(_) => Self::TimedOut,
            _ => Self::NotResolved,
        }
    }

    /// Returns how much a failed attempt says about the target: of several, the highest counts.
    fn weight(self) -> u8 {
        match self {
            Self::Refused => 6,
            Self::NoSuchSocket | Self::SelfConnect => 5,
            Self::NoLocalPort | Self::NotPermitted => 4,
            Self::TimedOut => 3,
            Self::HostUnreachable => 2,
            Self::NetworkUnreachable => 1,
            _ => 0,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::HostUnreachable => "host unreachable",
            Self::NetworkUnreachable => "network unreachable",
            Self::TimedOut => "no answer in time",
            Self::NotPermitted => "not permitted",
            Self::UnknownName => "unknown name",
            Self::UnknownService => "unknown service",
            Self::NotResolved => "name not resolved",
            Self::NoLocalPort => "no local port left",
            Self::SelfConnect => "the socket was connected to itself",
            Self::NoSuchSocket => "no such socket",
            Self::Other => "failed",
        }
    }

    /// Returns what to do about it.
    fn hint(self) -> &'static str {
        match self {
            Self::Refused => "nothing listens there; is the server running?",
            Self::HostUnreachable | Self::NetworkUnreachable => "there is no route to it",
            Self::TimedOut => "the peer does not answer; is it down, or behind a firewall?",
            Self::NotPermitted => {
                "a route or a firewall prohibits it, or the Unix socket is another user's"
            }
            Self::NoLocalPort => "see net.ipv4.ip_local_port_range, and close connections",
            Self::SelfConnect => "nothing listens there, and its port is one for clients",
            Self::NoSuchSocket => "is the server running?",
            _ => "",
        }
    }

    fn io_kind(self) -> io::ErrorKind {
        match self {
            Self::Refused | Self::SelfConnect => io::ErrorKind::ConnectionRefused,
            Self::HostUnreachable => io::ErrorKind::HostUnreachable,
            Self::NetworkUnreachable => io::ErrorKind::NetworkUnreachable,
            Self::TimedOut => io::ErrorKind::TimedOut,
            Self::NotPermitted => io::ErrorKind::PermissionDenied,
            Self::UnknownName | Self::UnknownService | Self::NoSuchSocket => {
                io::ErrorKind::NotFound
            }
            Self::NoLocalPort => io::ErrorKind::AddrNotAvailable,
            Self::NotResolved | Self::Other => io::ErrorKind::Other,
        }
    }
}

/// One attempt to connect that failed.
#[derive(Debug)]
pub struct FailedAttempt {
    /// The address.
    pub address: Address,
    /// What failed: `socket`, `setsockopt`, `bind`, `connect` or `register`.
    pub operation: &'static str,
    /// What became of it.
    pub kind: ConnectErrorKind,
    /// The error; `None` when it had no answer in time, or the socket was connected to itself.
    pub error: Option<io::Error>,
    /// How long it took.
    pub took: Duration,
}

impl FailedAttempt {
    /// Returns the attempt for an error.
    pub(super) fn of_error(
        address: Address,
        operation: &'static str,
        error: io::Error,
        took: Duration,
    ) -> Self {
        let kind = ConnectErrorKind::of_errno(operation, error.raw_os_error());
        Self { address, operation, kind, error: Some(error), took }
    }

    /// Returns the attempt that had no answer.
    pub(super) fn without_answer(address: Address, took: Duration) -> Self {
        let kind = ConnectErrorKind::TimedOut;
        Self { address, operation: "connect", kind, error: None, took }
    }

    /// Returns the name of the number of its error (`errno(3)`), if it has one.
    pub fn errno(&self) -> Option<String> {
        self.error.as_ref()?.raw_os_error().map(errno_name)
    }
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.error, self.errno()) {
            (_, Some(errno)) => write!(f, "{} in {}", errno, self.operation),
            (Some(error), None) => write!(f, "{error} in {}", self.operation),
            (None, _) => f.write_str(self.kind.words()),
        }
    }
}

/// Returns the name of an error number (`errno(3)`), or the number itself if it is an unusual one.
pub(super) fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::EACCES => "EACCES",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EAGAIN => "EAGAIN",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::ECONNRESET => "ECONNRESET",
        libc::EHOSTDOWN => "EHOSTDOWN",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ENFILE => "ENFILE",
        libc::ENOBUFS => "ENOBUFS",
        libc::ENODEV => "ENODEV",
        libc::ENOENT => "ENOENT",
        libc::ENOMEM => "ENOMEM",
        libc::ENOPROTOOPT => "ENOPROTOOPT",
        libc::ENOSPC => "ENOSPC",
        libc::ENOTDIR => "ENOTDIR",
        libc::EPERM => "EPERM",
        libc::EPROTOTYPE => "EPROTOTYPE",
        libc::ETIMEDOUT => "ETIMEDOUT",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

/// Why a connection was not made, with what became of every attempt.
///
/// It is in the [`io::Error`] with which a connection ends ([`Reason::Failed`] with the operation
/// `connect`):
///
/// ```
/// use reactor::{ConnectError, ConnectErrorKind, Reason};
///
/// fn is_refused(reason: &Reason) -> bool {
///     let Reason::Failed { error, .. } = reason else { return false };
///     let error = error.get_ref().and_then(|it| it.downcast_ref::<ConnectError>());
///     error.is_some_and(|it| it.kind() == ConnectErrorKind::Refused)
/// }
/// # assert!(!is_refused(&Reason::Finished));
/// ```
///
/// [`Reason::Failed`]: crate::Reason::Failed
#[derive(Debug)]
pub struct ConnectError {
    target: Target,
    kind: ConnectErrorKind,
    attempts: Vec<FailedAttempt>,
    lookup: Option<ResolveError>,
    took: Duration,
}

impl ConnectError {
    /// Returns the error for attempts that all failed. `took` is the time of all together.
    pub(super) fn of_attempts(
        target: Target,
        attempts: Vec<FailedAttempt>,
        took: Duration,
    ) -> Self {
        let kinds = attempts.iter().map(|attempt| attempt.kind);
        // Of several that say the same, the first: it is the preferred one.
        let kind = kinds.rev().max_by_key(|kind| kind.weight());
        let kind = kind.unwrap_or(ConnectErrorKind::Other);
        Self { target, kind, attempts, lookup: None, took }
    }

    /// Returns the error for a target that took too long altogether.
    pub(super) fn timed_out(target: Target, attempts: Vec<FailedAttempt>, took: Duration) -> Self {
        let kind = ConnectErrorKind::TimedOut;
        Self { target, kind, attempts, lookup: None, took }
    }

    /// Returns the error for a name that was not resolved.
    pub(crate) fn of_lookup(target: Target, error: ResolveError, took: Duration) -> Self {
        let kind = ConnectErrorKind::of_lookup(&error);
        Self { target, kind, attempts: Vec::new(), lookup: Some(error), took }
    }

    /// Returns what was to be connected to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the most likely cause. Of several attempts, it is that of the one that says most about
    /// the target: a refusal rather than a missing route.
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// Returns the attempts that failed, in the order in which they did.
    pub fn attempts(&self) -> &[FailedAttempt] {
        &self.attempts
    }

    /// Returns why the name was not resolved, if that was the reason.
    pub fn lookup(&self) -> Option<&ResolveError> {
        self.lookup.as_ref()
    }

    /// Returns how long it took altogether.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Returns the text of this error without the target, for a message that names it already.
    pub fn without_target(&self) -> impl fmt::Display + '_ {
        WithoutTarget(self)
    }

    /// Returns the hint for its kind, or for a resource that is exhausted.
    fn hint(&self) -> &'static str {
        let errors = self.attempts.iter().filter_map(|attempt| attempt.error.as_ref());
        let exhausted = errors.filter_map(exhaustion).next();
        match self.kind {
            ConnectErrorKind::Other => exhausted.unwrap_or_default(),
            kind => kind.hint(),
        }
    }
}

impl fmt::Display for ConnectError {
    /// Writes one sentence: the target, what went wrong, what every attempt came to, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lookup {
            Some(lookup) => lookup.fmt(f),
            None => write!(f, "{}: {}", self.target, WithoutTarget(self)),
        }
    }
}

/// An error whose text does not begin with the target.
struct WithoutTarget<'a>(&'a ConnectError);

impl fmt::Display for WithoutTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        if let Some(lookup) = &error.lookup {
            return lookup.without_query().fmt(f);
        }
        if error.attempts.is_empty() && error.kind == ConnectErrorKind::Other {
            return f.write_str("there is nothing to connect to");
        }
        f.write_str(error.kind.words())?;
        match error.attempts.as_slice() {
            [only] if only.error.is_some() => write!(f, " ({only})")?,
            [] | [_] => {}
            several => {
                f.write_str(" (")?;
                for (place, attempt) in several.iter().enumerate() {
                    let separator = if place == 0 { "" } else { ", " };
                    write!(f, "{separator}{}: {attempt}", attempt.address)?;
                }
                f.write_str(")")?;
            }
        }
        let hint = error.hint();
        if hint.is_empty() { Ok(()) } else { write!(f, ": {hint}") }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let lookup = self.lookup.as_ref().map(|it| it as &(dyn std::error::Error + 'static));
        let last = self.attempts.last().and_then(|it| it.error.as_ref());
        lookup.or(last.map(|it| it as &(dyn std::error::Error + 'static)))
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::new(error.kind.io_kind(), error)
    }
}
