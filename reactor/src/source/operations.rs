//! The operations on a source's own descriptor, and what each says about it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use crate::reactor::core::RunState;
use crate::source::registration::{ExhaustedBy, Mode};
use crate::source::table::Own;
use crate::{Cx, Interest, Readiness, sys};

/// The most that is written at once to a descriptor in blocking mode: what a pipe that reported
/// writable takes without blocking (`PIPE_BUF`, `pipe(7)`).
const BLOCKING_WRITE_MAX: usize = 4096;

impl<A> Cx<'_, A> {
    /// Reads into `buffer`: `Ok(Some(0))` at the end of the stream, `Ok(None)` when it would
    /// block. A stream that has ended is not waited for any more, unless an edge says that it goes
    /// on; a FIFO that is to outlive its writers is opened for writing too (`fifo(7)`).
    ///
    /// # Errors
    /// What the kernel said (`read(2)`).
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let capacity = buffer.len();
        let count = self.attempt("read", Interest::READ, |fd, _| sys::read(fd, buffer))?;
        let Some(count) = count else { return Ok(None) };
        self.core.counters.bytes_read += count as u64;
        self.note_read(count, capacity);
        Ok(Some(count))
    }

    /// What a read of `count` into room for `capacity` says about the descriptor.
    #[inline]
    fn note_read(&mut self, count: usize, capacity: usize) {
        let own = &mut self.core.lent.own;
        if count >= capacity {
            return;
        }
        if count == 0 {
            if own.is_stream() {
                own.ended = true;
                own.ready = own.ready.without(Readiness::READABLE);
            }
            return;
        }
        let uncertain = Readiness::READ_CLOSED | Readiness::ERROR;
        if own.exhausted_by == ExhaustedBy::ShortRead
            && !own.urgent
            && !own.ready.intersects(uncertain)
        {
            own.ready = own.ready.without(Readiness::READABLE);
        }
    }

    /// Writes what `slices` hold, or some of it: `Ok(None)` when it would block. Never raises
    /// `SIGPIPE` on a socket.
    ///
    /// # Errors
    /// What the kernel said (`sendmsg(2)`, `writev(2)`).
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        // The kernel takes no more at once, and more than it takes would look like a short write.
        let slices = &slices[..slices.len().min(sys::SLICES_MAX)];
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let count =
            self.attempt("write", Interest::WRITE, |fd, kind| write_any(fd, kind, slices))?;
        self.note_write(count, wanted);
        Ok(count)
    }

    /// Writes `length` bytes of `file` from `offset` on, or some of them, without their passing
    /// through user memory: `Ok(None)` when it would block, `Ok(Some(0))` when the file ends.
    ///
    /// # Errors
    /// What the kernel said (`sendfile(2)`).
    pub fn send_file(
        &mut self,
        file: &std::fs::File,
        offset: u64,
        length: u64,
    ) -> io::Result<Option<usize>> {
        let count = self.attempt("sendfile", Interest::WRITE, |fd, _| {
            sys::sendfile(fd, file, offset, length)
        })?;
        // A short count may be the file's doing, so it proves nothing about the socket.
        self.core.counters.bytes_written += count.unwrap_or(0) as u64;
        Ok(count)
    }

    /// What a write of `count` out of `wanted` says about the descriptor: a short one has filled
    /// it, and the kernel reports when there is room again.
    #[inline]
    fn note_write(&mut self, count: Option<usize>, wanted: usize) {
        let Some(count) = count else { return };
        self.core.counters.bytes_written += count as u64;
        let own = &mut self.core.lent.own;
        if count < wanted && !own.not_socket && own.mode != Mode::Blocking {
            own.ready = own.ready.without(Readiness::WRITABLE);
        }
    }

    /// Any other operation on the own descriptor. `operation` names it in errors; when it fails
    /// with [`io::ErrorKind::WouldBlock`], the answer is `Ok(None)`, and the source waits for the
    /// kernel to report `interest` again. Until then, `call` is not made: the answer is known.
    ///
    /// # Errors
    /// What `call` returned.
    pub fn try_io<T>(
        &mut self,
        operation: &'static str,
        interest: Interest,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        self.attempt(operation, interest, |fd, _| call(fd))
    }

    /// The one implementation of an operation that may block: law 1's "only a would-block takes
    /// away" is here.
    #[inline]
    pub(crate) fn attempt<T>(
        &mut self,
        operation: &'static str,
        interest: Interest,
        call: impl FnOnce(BorrowedFd<'_>, Kind<'_>) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let core = &mut *self.core;
        let is_edge_triggered = core.is_edge_triggered();
        if !core.lent.is_live {
            return Err(no_descriptor());
        }
        // A loop that winds down asks once more: no wait may be left that reports it.
        if core.lent.own.is_exhausted(interest, is_edge_triggered)
            && !matches!(core.run_state, RunState::Stopping { .. })
        {
            return Ok(None);
        }
        let Own { fd: Some(fd), mode, not_socket, .. } = &mut core.lent.own else {
            return Err(no_descriptor());
        };
        match interest {
            Interest::WRITE => core.counters.writes += 1,
            _ => core.counters.reads += 1,
        }
        let kind = Kind { mode: *mode, not_socket };
        let result = match kind.mode {
            Mode::Blocking => ask_first(fd.as_fd(), interest).and_then(|()| call(fd.as_fd(), kind)),
            Mode::Unknown | Mode::Nonblocking => call(fd.as_fd(), kind),
        };
        match result {
            Ok(value) => {
                if interest == Interest::PRIORITY {
                    core.lent.own.take_priority();
                }
                core.lent.own.disputed = false;
                core.lent.is_active = true;
                Ok(Some(value))
            }
            Err(error) => self.fail(operation, interest, error).map(|()| None),
        }
    }

    /// What an operation that failed says about the descriptor: nothing is wrong if it would block.
    #[cold]
    fn fail(
        &mut self,
        operation: &'static str,
        interest: Interest,
        error: io::Error,
    ) -> io::Result<()> {
        let core = &mut *self.core;
        let is_edge_triggered = core.is_edge_triggered();
        let own = &mut core.lent.own;
        if error.kind() != io::ErrorKind::WouldBlock {
            if interest == Interest::PRIORITY {
                own.take_priority();
            }
            self.failed = Some(operation);
            return Err(error);
        }
        core.counters.would_blocks += 1;
        // No second edge comes for what is already there, so a would-block that the kernel takes
        // back when asked is not believed, the first time. Hot paths never get here: a short read
        // or write has told them already.
        let Some(fd) = &own.fd else { return Ok(()) };
        let contradicted = is_edge_triggered && !sys::ready_now(fd.as_fd(), interest)?.is_empty();
        let disputed = std::mem::replace(&mut own.disputed, contradicted);
        if !contradicted || disputed {
            own.ready = own.ready.without(interest.mask());
            own.urgent &= !interest.contains(Interest::READ);
        }
        if contradicted && disputed {
            core.dispute(self.me, interest.mask());
        }
        Ok(())
    }

    /// The pending error of the own socket (`SO_ERROR`), which reading clears.
    ///
    /// # Errors
    /// What the kernel said to asking; the source has no descriptor.
    pub fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        let own = &self.core.lent.own;
        let Some(fd) = &own.fd else { return Err(no_descriptor()) };
        let error = sys::take_error(fd.as_fd())?;
        if error.is_some() && own.polled && !self.core.is_edge_triggered() {
            // What was reported once may happen again, and is to be reported again.
            self.core.backend.modify(fd.as_fd(), self.me, own.armed)?;
        }
        Ok(error)
    }

    /// Ends the sending side of the own socket: the peer reads to the end of the stream.
    ///
    /// # Errors
    /// What the kernel said (`shutdown(2)`); the source has no descriptor.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        let fd = self.core.lent.own.fd.as_ref();
        fd.map_or_else(|| Err(no_descriptor()), |fd| sys::shutdown_write(fd.as_fd()))
    }
}

impl Own {
    /// There is one exceptional condition at a time, and the next comes with an event of its own.
    fn take_priority(&mut self) {
        self.ready = self.ready.without(Readiness::PRIORITY);
    }
}

/// What an operation has to know of its descriptor, and may find out about it.
pub(crate) struct Kind<'a> {
    mode: Mode,
    not_socket: &'a mut bool,
}

/// Writes to a socket or to anything else, whichever the descriptor turns out to be.
#[inline]
fn write_any(fd: BorrowedFd<'_>, kind: Kind<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    if kind.mode == Mode::Blocking {
        return write_bounded(fd, slices);
    }
    if !*kind.not_socket {
        match sys::send(fd, slices) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => *kind.not_socket = true,
            result => return result,
        }
    }
    sys::writev(fd, slices)
}

/// Writes no more than a descriptor in blocking mode takes without blocking.
fn write_bounded(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let first = slices.iter().find(|slice| !slice.is_empty());
    let Some(first) = first else { return Ok(0) };
    let bounded = IoSlice::new(&first[..first.len().min(BLOCKING_WRITE_MAX)]);
    sys::writev(fd, &[bounded])
}

/// Whether an operation on a blocking descriptor would return at once.
fn ask_first(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
    if sys::ready_now(fd, interest)?.is_empty() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(())
}

fn no_descriptor() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "this source has ended or has no descriptor")
}
