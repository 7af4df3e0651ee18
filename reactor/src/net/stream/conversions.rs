//! What has one name in `protocol` and another in the loop.

use protocol::ConnectionId;

use crate::source::handler::hint;
use crate::{Reason, Timeout, Token};

impl From<Token> for ConnectionId {
    fn from(token: Token) -> Self {
        Self(token.to_bits())
    }
}

impl From<ConnectionId> for Token {
    fn from(connection: ConnectionId) -> Self {
        Self::from_bits(connection.0)
    }
}

impl From<protocol::Reason> for Reason {
    fn from(reason: protocol::Reason) -> Self {
        match reason {
            protocol::Reason::Finished => Self::Finished,
            protocol::Reason::PeerClosed => Self::PeerClosed,
            protocol::Reason::Refused(error) => Self::Refused(error),
            protocol::Reason::Limit(limit) => Self::Limit(limit),
            protocol::Reason::Idle => Self::TimedOut(Timeout::Idle),
            protocol::Reason::Deadline => Self::TimedOut(Timeout::Deadline),
            protocol::Reason::Failed { operation, error, .. } => Self::Failed { operation, error },
            protocol::Reason::Cancelled => Self::Cancelled,
            protocol::Reason::HandedOver => Self::HandedOver,
            protocol::Reason::Stopped => Self::Stopped,
            protocol::Reason::Panicked => Self::Panicked,
        }
    }
}

impl From<Reason> for protocol::Reason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Finished => Self::Finished,
            Reason::PeerClosed => Self::PeerClosed,
            Reason::Refused(error) => Self::Refused(error),
            Reason::Limit(limit) => Self::Limit(limit),
            Reason::TimedOut(Timeout::Idle) => Self::Idle,
            Reason::TimedOut(Timeout::Deadline) => Self::Deadline,
            Reason::Failed { operation, error } => {
                let hint = hint(&error);
                Self::Failed { operation, error, hint }
            }
            Reason::Cancelled => Self::Cancelled,
            Reason::HandedOver => Self::HandedOver,
            Reason::Stopped => Self::Stopped,
            Reason::Panicked => Self::Panicked,
        }
    }
}
