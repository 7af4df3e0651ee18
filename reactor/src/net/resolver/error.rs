//! Why a name was not resolved.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::net::resolver::literal;
use crate::net::resolver::query::Query;
use crate::reactor::forked::Forked;
use crate::sys;

/// `getaddrinfo(3)`: the host has no address of the family that was asked for. `libc` does not
/// define it.
const EAI_ADDRFAMILY: i32 = -9;

/// What went wrong with a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveErrorKind {
    /// Neither the hosts file nor a name server knows the name.
    UnknownName,
    /// The name exists, but has no address of the family that was asked for.
    NoAddress,
    /// The service is not known, or has no port for this type of socket (`services(5)`).
    UnknownService,
    /// The name servers did not answer, or cannot answer now. It may work later.
    Temporary,
    /// The name servers refused to answer, or the system failed.
    Failed,
    /// There was no answer within this time ([`ResolverOptions::timeout`]).
    ///
    /// [`ResolverOptions::timeout`]: crate::ResolverOptions::timeout
    TimedOut(Duration),
    /// So many lookups wait for an answer already ([`ResolverOptions::waiting_max`]).
    ///
    /// [`ResolverOptions::waiting_max`]: crate::ResolverOptions::waiting_max
    TooManyWaiting(usize),
    /// The lookup was closed, or its loop ended.
    Cancelled,
    /// The system does not support these hints.
    Unsupported,
    /// The question cannot be asked. The text says why.
    Invalid(&'static str),
    /// The resolver belongs to the process that this one was forked from.
    Forked,
}

impl ResolveErrorKind {
    /// Returns the kind of a code of `getaddrinfo(3)`.
    fn of_code(code: i32, query: &Query) -> Self {
        match code {
            // It does not say which of the two is not known. Only a number is refused so.
            libc::EAI_NONAME => {
                let is_number =
                    query.service.as_deref().is_none_or(|it| literal::port_of(it).is_some());
                if query.hints.numeric_service && !is_number {
                    Self::UnknownService
                } else {
                    Self::UnknownName
                }
            }
            libc::EAI_NODATA | EAI_ADDRFAMILY => Self::NoAddress,
            libc::EAI_SERVICE => Self::UnknownService,
            libc::EAI_AGAIN => Self::Temporary,
            libc::EAI_BADFLAGS | libc::EAI_FAMILY | libc::EAI_SOCKTYPE => Self::Unsupported,
            _ => Self::Failed,
        }
    }

    /// Returns what went wrong in a few words.
    fn words(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName => f.write_str("unknown name"),
            Self::NoAddress => f.write_str("the name has no address"),
            Self::UnknownService => f.write_str("unknown service"),
            Self::Temporary => f.write_str("no name server answers now"),
            Self::Failed => f.write_str("the lookup failed"),
            Self::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
            Self::TooManyWaiting(most) => write!(f, "{most} lookups wait already, the limit"),
            Self::Cancelled => f.write_str("the lookup was cancelled"),
            Self::Unsupported => f.write_str("the system does not support these hints"),
            Self::Invalid(why) => write!(f, "this cannot be asked: {why}"),
            Self::Forked => f.write_str("the resolver belongs to another process"),
        }
    }

    /// Returns what to do about it; nothing if the words say that.
    fn hint(self, query: &Query) -> &'static str {
        match self {
            Self::UnknownName if query.hints.numeric_host => "an IP address is expected",
            Self::UnknownName => "check its spelling, /etc/hosts, and what the name server knows",
            Self::NoAddress => "try without the hints for a family",
            Self::UnknownService if query.hints.numeric_service => {
                "a port number from 0 to 65535 is expected"
            }
            Self::UnknownService => "check /etc/services, or use the number of the port",
            Self::Temporary | Self::TimedOut(_) => {
                "try again later, or check the name servers in /etc/resolv.conf"
            }
            Self::TooManyWaiting(_) => "try again later, or raise ResolverOptions::waiting_max",
            Self::Forked => "make a new Resolver here",
            Self::Failed | Self::Cancelled | Self::Unsupported | Self::Invalid(_) => "",
        }
    }
}

/// Why a [`Query`] was not answered.
///
/// Functions that return an [`io::Error`] contain it ([`io::Error::get_ref`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveError {
    query: Query,
    kind: ResolveErrorKind,
    /// The words of the system.
    detail: Option<String>,
}

impl ResolveError {
    /// Returns an error, for a [`Resolver`](crate::Resolver) with a function of its own.
    pub fn new(query: Query, kind: ResolveErrorKind) -> Self {
        Self { query, kind, detail: None }
    }

    /// Returns an error with the words of whatever failed.
    pub(crate) fn with_detail(query: Query, kind: ResolveErrorKind, detail: String) -> Self {
        Self { query, kind, detail: Some(detail) }
    }

    /// Returns the error for a failure of the system.
    pub(crate) fn of_system(query: Query, failure: &sys::LookupFailure) -> Self {
        let kind = ResolveErrorKind::of_code(failure.code, &query);
        let detail = match &failure.system {
            Some(error) => error.to_string(),
            None => sys::lookup_message(failure.code),
        };
        Self::with_detail(query, kind, detail)
    }

    /// Returns what was asked.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Returns what went wrong.
    pub fn kind(&self) -> ResolveErrorKind {
        self.kind
    }

    /// Returns the text of this error without the question.
    pub(crate) fn without_query(&self) -> impl fmt::Display + '_ {
        WithoutQuery(self)
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.query, WithoutQuery(self))
    }
}

/// An error whose text does not begin with the question.
struct WithoutQuery<'a>(&'a ResolveError);

impl fmt::Display for WithoutQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        error.kind.words(f)?;
        if let Some(detail) = &error.detail {
            write!(f, " ({detail})")?;
        }
        let hint = error.kind.hint(&error.query);
        if hint.is_empty() { Ok(()) } else { write!(f, "; {hint}") }
    }
}

impl std::error::Error for ResolveError {}

impl From<ResolveError> for io::Error {
    fn from(error: ResolveError) -> Self {
        let kind = match error.kind {
            ResolveErrorKind::UnknownName
            | ResolveErrorKind::NoAddress
            | ResolveErrorKind::UnknownService => io::ErrorKind::NotFound,
            ResolveErrorKind::TimedOut(_) => io::ErrorKind::TimedOut,
            ResolveErrorKind::TooManyWaiting(_) => io::ErrorKind::QuotaExceeded,
            ResolveErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ResolveErrorKind::Invalid(_) => io::ErrorKind::InvalidInput,
            ResolveErrorKind::Forked => return Forked.into(),
            ResolveErrorKind::Temporary
            | ResolveErrorKind::Failed
            | ResolveErrorKind::Cancelled => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
