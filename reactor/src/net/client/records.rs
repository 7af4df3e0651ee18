//! What the source of a client and its connection tell each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Exchange;

use super::outcome::Completion;
use crate::Reason;

/// A request that was accepted: what it has to be told, and until when.
pub(super) struct Call<A, E: Exchange> {
    pub(super) completion: Completion<A, E>,
    pub(super) deadline: Option<Instant>,
    /// The time from the call to the deadline.
    pub(super) after: Duration,
    pub(super) size: usize,
}

/// What a connection gives with each request.
pub(super) enum Ticket<A, E: Exchange> {
    Call(Call<A, E>),
    /// The client itself asks whether the server lives.
    Health(Option<Instant>),
    /// The client itself gives a sign of life.
    Pulse,
}

impl<A, E: Exchange> Ticket<A, E> {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Call(call) => call.deadline,
            Self::Health(deadline) => *deadline,
            Self::Pulse => None,
        }
    }
}

/// How far a client has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// It takes requests.
    Not,
    /// It sends what it has accepted if it can, and waits for the replies.
    Finishing,
    /// It ends at once.
    Closing,
    /// Its source has ended.
    Gone,
}

/// What the source of a client asks of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing is to be done.
    Nothing,
    /// Find out whether the server lives.
    Health,
    /// End if nothing is under way.
    LetGo,
}

/// How a connection has ended.
pub(super) struct Ended {
    pub(super) reason: Arc<Reason>,
    /// Since when it was open for requests, if it was.
    pub(super) up_since: Option<Instant>,
    /// Whether the server has answered something.
    pub(super) has_answered: bool,
    pub(super) cause: EndCause,
}

/// What has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndCause {
    /// The server, the network, or a limit.
    Failure,
    /// Nothing has used it.
    Idleness,
    /// The client has another target.
    Move,
}

/// What a connection has to do, beside the requests that it has taken.
pub(super) struct Orders {
    pub(super) asked: Asked,
    /// The client ends, and no accepted request waits.
    pub(super) finishes: bool,
    /// The earliest deadline of the requests that were taken.
    pub(super) deadline: Option<Instant>,
    /// How many requests were taken.
    pub(super) taken: usize,
}
