//! Waiting for sockets, one or several.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use protocol::link::Wait;

use super::Deadline;
use crate::Readiness;
use crate::sys::{Polled, poll_all};

/// What a connection waits for: see [`Driver::wants`](super::Driver::wants).
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) wait: Wait,
    /// When the next timeout of the session passes.
    pub(super) until: Option<Instant>,
}

impl<'a> Wants<'a> {
    fn polled(&self) -> Polled<'a> {
        let Wait { read, write, .. } = self.wait;
        Polled { fd: self.fd, read, write, hang_up: false, found: Readiness::NONE }
    }

    fn has_passed(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Waits until at least one of several connections can go on, or `deadline` passes. Returns the
/// indexes of those that can, in order. It returns none if the deadline has passed.
///
/// The caller then calls [`Driver::advance`](super::Driver::advance) of each, and waits again.
///
/// # Errors
/// When `poll(2)` fails.
pub fn wait(connections: &[Wants<'_>], deadline: &mut Deadline) -> io::Result<Vec<usize>> {
    let mut fds: Vec<_> = connections.iter().map(Wants::polled).collect();
    match poll_until_ready(&mut fds, connections, deadline) {
        Ok(now) => {
            let is_ready =
                |it: &usize| !fds[*it].found.is_empty() || connections[*it].has_passed(now);
            Ok((0..connections.len()).filter(is_ready).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Waits as [`wait`] does, for one connection. Returns what it is ready for: nothing when a timeout
/// of its session has passed. A deadline that passes is an error.
pub(super) fn wait_one(wants: Wants<'_>, deadline: &mut Deadline) -> io::Result<Readiness> {
    let mut fds = [wants.polled()];
    poll_until_ready(&mut fds, &[wants], deadline)?;
    Ok(fds[0].found)
}

/// Waits until one of `fds` is ready, or a timeout of a session has passed. Returns the time.
fn poll_until_ready(
    fds: &mut [Polled<'_>],
    connections: &[Wants<'_>],
    deadline: &mut Deadline,
) -> io::Result<Instant> {
    let first = connections.iter().filter_map(|wants| wants.until).min();
    loop {
        let timeout = deadline.left_until(first)?;
        let Some(ready) = poll_all(fds, timeout)? else { continue };
        let now = Instant::now();
        if ready > 0 || connections.iter().any(|wants| wants.has_passed(now)) {
            return Ok(now);
        }
    }
}
