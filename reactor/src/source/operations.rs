//! The operations on a source's own descriptor, and what each says about it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use crate::reactor::core::RunState;
use crate::source::registration::{ExhaustedBy, Mode};
use crate::source::table::Phase;
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
    fn note_read(&mut self, count: usize, capacity: usize) {
        if count == 0 && capacity > 0 {
            self.core.update(self.me, |source| {
                if source.is_stream() {
                    source.ended = true;
                    source.ready = source.ready.without(Readiness::READABLE);
                }
            });
            return;
        }
        let Some(source) = self.core.sources.get_mut(self.me) else { return };
        let uncertain = Readiness::READ_CLOSED | Readiness::ERROR;
        if count < capacity
            && source.exhausted_by == ExhaustedBy::ShortRead
            && !source.urgent
            && !source.ready.intersects(uncertain)
        {
            source.ready = source.ready.without(Readiness::READABLE);
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
            self.attempt("write", Interest::WRITE, |fd, source| write_any(fd, source, slices))?;
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
    fn note_write(&mut self, count: Option<usize>, wanted: usize) {
        let Some(count) = count else { return };
        self.core.counters.bytes_written += count as u64;
        let Some(source) = self.core.sources.get_mut(self.me) else { return };
        if count < wanted && !source.not_socket && source.mode != Mode::Blocking {
            source.ready = source.ready.without(Readiness::WRITABLE);
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
    pub(crate) fn attempt<T>(
        &mut self,
        operation: &'static str,
        interest: Interest,
        call: impl FnOnce(BorrowedFd<'_>, &mut Flags) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let is_edge_triggered = self.core.is_edge_triggered();
        let live = self.core.sources.get_mut(self.me).filter(|it| it.phase == Phase::Live);
        let Some(source) = live else { return Err(no_descriptor()) };
        let Some(fd) = &source.fd else { return Err(no_descriptor()) };
        // A loop that winds down asks once more: no wait may be left that reports it.
        let is_certain = !matches!(self.core.run_state, RunState::Stopping { .. });
        if is_certain && source.is_exhausted(interest, is_edge_triggered) {
            return Ok(None);
        }
        match interest {
            Interest::WRITE => self.core.counters.writes += 1,
            _ => self.core.counters.reads += 1,
        }
        let mut flags = Flags { mode: source.mode, not_socket: source.not_socket };
        let result = match source.mode {
            Mode::Blocking => {
                ask_first(fd.as_fd(), interest).and_then(|()| call(fd.as_fd(), &mut flags))
            }
            Mode::Unknown | Mode::Nonblocking => call(fd.as_fd(), &mut flags),
        };
        source.not_socket = flags.not_socket;
        if interest == Interest::PRIORITY
            && result.as_ref().err().is_none_or(|it| it.kind() != io::ErrorKind::WouldBlock)
        {
            // There is one at a time, and the next comes with an event of its own.
            source.ready = source.ready.without(Readiness::PRIORITY);
        }
        match result {
            Ok(value) => {
                source.disputed = false;
                source.last_active = self.core.charged;
                Ok(Some(value))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.core.counters.would_blocks += 1;
                // No second edge comes for what is already there, so a would-block that the
                // kernel takes back when asked is not believed, the first time. Hot paths never
                // get here: a short read or write has told them already.
                let contradicted =
                    is_edge_triggered && !sys::ready_now(fd.as_fd(), interest)?.is_empty();
                let disputed = std::mem::replace(&mut source.disputed, contradicted);
                if !contradicted || disputed {
                    source.ready = source.ready.without(interest.mask());
                    source.urgent &= !interest.contains(Interest::READ);
                }
                if contradicted && disputed {
                    self.core.dispute(self.me, interest.mask());
                }
                Ok(None)
            }
            Err(error) => {
                self.failed = Some(operation);
                Err(error)
            }
        }
    }

    /// The pending error of the own socket (`SO_ERROR`), which reading clears.
    ///
    /// # Errors
    /// What the kernel said to asking; the source has no descriptor.
    pub fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        let Some(source) = self.core.sources.get(self.me) else { return Err(no_descriptor()) };
        let Some(fd) = &source.fd else { return Err(no_descriptor()) };
        let error = sys::take_error(fd.as_fd())?;
        if error.is_some() && source.polled && !self.core.is_edge_triggered() {
            // What was reported once may happen again, and is to be reported again.
            self.core.backend.modify(fd.as_fd(), self.me, source.armed)?;
        }
        Ok(error)
    }

    /// Ends the sending side of the own socket: the peer reads to the end of the stream.
    ///
    /// # Errors
    /// What the kernel said (`shutdown(2)`); the source has no descriptor.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        let fd = self.core.sources.get(self.me).and_then(|source| source.fd.as_ref());
        fd.map_or_else(|| Err(no_descriptor()), |fd| sys::shutdown_write(fd.as_fd()))
    }
}

/// What an operation has to know of its descriptor, and may find out about it.
pub(crate) struct Flags {
    mode: Mode,
    not_socket: bool,
}

/// Writes to a socket or to anything else, whichever the descriptor turns out to be.
fn write_any(fd: BorrowedFd<'_>, flags: &mut Flags, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    if flags.mode == Mode::Blocking {
        let first = slices.iter().find(|slice| !slice.is_empty());
        let Some(first) = first else { return Ok(0) };
        let bounded = IoSlice::new(&first[..first.len().min(BLOCKING_WRITE_MAX)]);
        return sys::writev(fd, &[bounded]);
    }
    if !flags.not_socket {
        match sys::send(fd, slices) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => flags.not_socket = true,
            result => return result,
        }
    }
    sys::writev(fd, slices)
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
