//! What went wrong with a connection: in which words it is told, and whether another may help.

use std::io;

use nix::errno::Errno;

use crate::resp::{Cause, Connection, Error};

/// Whether a connection is made again for the next command. One that said nonsense is not: the
/// next would say the same.
pub(super) fn wants_another(connection: &Connection) -> bool {
    connection.lost().is_some_and(|cause| !matches!(cause, Cause::Protocol(_)))
}

/// Whether a new connection may help.
pub(super) fn is_reconnectable(cause: &Cause) -> bool {
    match cause {
        Cause::Closed => true,
        Cause::Io(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        }
        _ => false,
    }
}

/// What went wrong, in the words of redis-cli.
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
        Cause::Connect(error) => system_text(error),
        // Behind the address and the name of the function is what the system says of a name.
        Cause::Address(text) => match text.rsplit_once(": ") {
            Some((_, why)) => why.trim_end_matches(')').to_owned(),
            None => text.clone(),
        },
        other => other.to_string(),
    }
}

/// What the system calls the error, without its number.
pub(super) fn system_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None if error.kind() == io::ErrorKind::TimedOut => Errno::ETIMEDOUT.desc().to_owned(),
        None => error.to_string(),
    }
}
