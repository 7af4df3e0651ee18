//! What becomes of a request, and the states of a client.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use protocol::Exchange;

use crate::{LoopCx, Reason};

/// The state of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ClientState {
    /// There is no connection, and none is needed: no request waits.
    Idle,
    /// The addresses of the target are being looked up.
    Resolving,
    /// A connection is being made, or is not yet open for requests.
    Connecting,
    /// There is a connection, and requests are sent.
    Up,
    /// The last connection or attempt failed. The client waits before the next attempt.
    BackingOff,
    /// The client has ended, and takes no requests.
    Closed,
}

impl ClientState {
    const ALL: [Self; 6] =
        [Self::Idle, Self::Resolving, Self::Connecting, Self::Up, Self::BackingOff, Self::Closed];

    /// Returns the state of a number of the discriminants.
    pub(super) fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Closed)
    }
}

impl fmt::Display for ClientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Resolving => "resolving",
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::BackingOff => "backing off",
            Self::Closed => "closed",
        })
    }
}

/// Why a request was not sent.
#[derive(Clone, Debug)]
pub enum NotSent {
    /// The client is closed or about to close, or its loop stops.
    Closed,
    /// Too many requests, or too many bytes of them, wait to be sent. The text names the limit.
    Full(&'static str),
    /// The last connection or attempt has failed, and requests do not wait for the next
    /// ([`ClientOptions::waits`](crate::ClientOptions)).
    Down(Option<Arc<Reason>>),
}

/// Why a request has no reply.
#[derive(Clone, Debug)]
pub enum Unanswered {
    /// The request was not sent. It may be sent again without being carried out twice.
    NotSent(NotSent),
    /// The request was sent, and the connection ended before the reply came: the server has carried
    /// it out or not.
    Unknown(Arc<Reason>),
    /// The reply did not come in time.
    TimedOut {
        /// Whether the request was sent. If so, the server has carried it out, may still do so, or
        /// may not. If not, it is never sent.
        sent: bool,
        /// The time that there was.
        after: Duration,
    },
}

impl Unanswered {
    /// Returns whether the request may have been carried out.
    pub fn may_be_done(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::TimedOut { sent: true, .. })
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the client is closed"),
            Self::Full(limit) => write!(f, "limit reached: {limit}"),
            Self::Down(None) => f.write_str("there is no connection"),
            Self::Down(Some(reason)) => write!(f, "there is no connection: {reason}"),
        }
    }
}

impl Error for NotSent {}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Unknown(reason) => {
                write!(f, "sent, but the connection ended before the reply: {reason}")
            }
            Self::TimedOut { sent: true, after } => write!(f, "sent, but no reply in {after:?}"),
            Self::TimedOut { sent: false, after } => write!(f, "could not be sent in {after:?}"),
        }
    }
}

impl Error for Unanswered {}

impl From<NotSent> for Unanswered {
    fn from(why: NotSent) -> Self {
        Self::NotSent(why)
    }
}

/// What is called with the result of a request, on the loop.
pub(super) type Completion<A, E> = Box<dyn FnOnce(Answer<E>, &mut LoopCx<'_, A>) + Send>;

/// The result of a request.
type Answer<E> = Result<<E as Exchange>::Reply, Unanswered>;

/// Completions that are due, with their results.
pub(super) struct Outcomes<A, E: Exchange> {
    due: Vec<(Completion<A, E>, Answer<E>)>,
}

impl<A, E: Exchange> Outcomes<A, E> {
    pub(super) fn new() -> Self {
        Self { due: Vec::new() }
    }

    pub(super) fn add(&mut self, completion: Completion<A, E>, result: Answer<E>) {
        self.due.push((completion, result));
    }

    /// Calls all completions. If one panics, the others are called all the same, and the panic goes
    /// on afterwards.
    pub(super) fn call(self, cx: &mut LoopCx<'_, A>) {
        let mut panicked: Option<Box<dyn Any + Send>> = None;
        for (completion, result) in self.due {
            let outcome = catch_unwind(AssertUnwindSafe(|| completion(result, cx)));
            panicked = panicked.or(outcome.err());
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }
}
