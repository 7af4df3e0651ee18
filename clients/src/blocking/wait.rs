//! Waiting for sockets, one or several.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use protocol::link::Wait;

use super::Deadline;

/// What a connection waits for: see [`Driver::wants`](super::Driver::wants).
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) wait: Wait,
    /// When the next timeout of the session passes.
    pub(super) until: Option<Instant>,
}

impl Wants<'_> {
    fn events(&self) -> PollFlags {
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, self.wait.read);
        events.set(PollFlags::POLLOUT, self.wait.write);
        events
    }

    fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.fd, self.events())
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
    let mut fds: Vec<_> = connections.iter().map(Wants::poll_fd).collect();
    match poll_until_ready(&mut fds, connections, deadline) {
        Ok(now) => {
            let is_ready =
                |it: &usize| !found(&fds[*it]).is_empty() || connections[*it].has_passed(now);
            Ok((0..connections.len()).filter(is_ready).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Waits as [`wait`] does, for one connection. Returns what it is ready for: nothing when a timeout
/// of its session has passed. A deadline that passes is an error.
pub(super) fn wait_one(wants: Wants<'_>, deadline: &mut Deadline) -> io::Result<PollFlags> {
    let mut fds = [wants.poll_fd()];
    poll_until_ready(&mut fds, &[wants], deadline)?;
    Ok(found(&fds[0]))
}

/// Waits until one of `fds` is ready, or a timeout of a session has passed. Returns the time.
fn poll_until_ready(
    fds: &mut [PollFd<'_>],
    connections: &[Wants<'_>],
    deadline: &mut Deadline,
) -> io::Result<Instant> {
    let first = connections.iter().filter_map(|wants| wants.until).min();
    loop {
        // Rounded up, so that the loop does not spin during the last millisecond.
        let timeout = deadline.left_until(first)?.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
        });
        let ready = match poll(fds, timeout) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let now = Instant::now();
        if ready > 0 || connections.iter().any(|wants| wants.has_passed(now)) {
            return Ok(now);
        }
    }
}

fn found(fd: &PollFd<'_>) -> PollFlags {
    fd.revents().unwrap_or(PollFlags::empty())
}
