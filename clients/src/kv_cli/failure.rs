//! Errors of a connection: their text, and whether a new connection may help.

use std::io;

use nix::errno::Errno;
use reactor::ConnectError;

use crate::resp::{Cause, Connection, Error, connect_error};

/// Returns whether the next command should use a new connection. After a protocol error it should
/// not: a new connection would get the same bytes.
pub(super) fn wants_another(connection: &Connection) -> bool {
    connection.lost().is_some_and(|cause| !matches!(cause, Cause::Protocol(_)))
}

/// Returns whether a new connection may help.
pub(super) fn is_reconnectable(cause: &Cause) -> bool {
    match cause {
        Cause::Closed => true,
        Cause::Io(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        }
        _ => false,
    }
}

/// Returns the text that redis-cli prints for the error.
pub(super) fn context(cause: &Cause) -> String {
    match cause {
        Cause::Closed => "Server closed the connection".to_owned(),
        Cause::Io(error) => system_text(error),
        Cause::Protocol(error) => error.to_string(),
        other => other.to_string(),
    }
}

pub(super) fn connect_failure(error: &Error) -> String {
    match error.cause() {
        Cause::Connect(error) => {
            let attempts = connect_error(error).map(ConnectError::attempts).unwrap_or_default();
            system_text(attempts.last().and_then(|it| it.error.as_ref()).unwrap_or(error))
        }
        // The text of the system is in parentheses.
        Cause::Address(text) => {
            let inner = text.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
            inner.map_or_else(|| text.clone(), |(why, _)| why.to_owned())
        }
        other => other.to_string(),
    }
}

/// Returns the text of the system for the error, without its number.
pub(super) fn system_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None if error.kind() == io::ErrorKind::TimedOut => Errno::ETIMEDOUT.desc().to_owned(),
        None => error.to_string(),
    }
}
