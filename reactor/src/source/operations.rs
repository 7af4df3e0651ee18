//! The operations on the descriptor of a source, and what each tells about its readiness.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use crate::planted::{self, Planted};
use crate::reactor::run_state::RunState;
use crate::source::registration::{ExhaustedBy, Mode};
use crate::source::table::Own;
use crate::sys::Sigpipe;
use crate::{Backend, Completion, Cx, Exchanged, Interest, Readiness, Storage, kernel, sys};

/// The most bytes of one write to a descriptor in blocking mode: a writable pipe takes them without
/// blocking (`PIPE_BUF`, `pipe(7)`).
const BLOCKING_WRITE_MAX: usize = 4096;

impl<A> Cx<'_, A> {
    /// Reads into `buffer`. Returns `Ok(Some(0))` at the end of the stream, and `Ok(None)` when the
    /// read would block. The loop does not wait for a stream that has ended, unless an edge reports
    /// new input. A program that wants a FIFO to outlive its writers opens it for writing too
    /// (`fifo(7)`).
    ///
    /// # Errors
    /// The error of the kernel (`read(2)`).
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.read_inline(buffer)
    }

    /// [`read`](Self::read) in line, for the driver of connections.
    #[inline(always)]
    pub(crate) fn read_inline(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let capacity = buffer.len();
        let count = self.attempt(
            "read",
            Interest::READ,
            #[inline(always)]
            |fd, kind| match kind.mode {
                Mode::Unknown | Mode::Nonblocking => sys::read(fd, buffer),
                Mode::Blocking | Mode::Simulated => kernel::read(fd, buffer),
                Mode::Completed => completion(kind)?.read(fd, buffer),
            },
        )?;
        let Some(count) = count else { return Ok(None) };
        self.core.counters.bytes_read += count as u64;
        self.note_read(count, capacity);
        Ok(Some(count))
    }

    /// Returns whether the backend moves the bytes of this source.
    pub(crate) fn is_completed(&self) -> bool {
        self.core.lent.own.mode == Mode::Completed
    }

    /// Exchanges storage for a block that the backend has received, if it moves the bytes of this source and
    /// has a large one ([`Completion::exchange`]).
    pub(crate) fn exchange(&mut self, storage: Storage<'_>) -> io::Result<Option<Exchanged>> {
        let Own { fd: Some(fd), mode: Mode::Completed, .. } = &self.core.lent.own else {
            return Ok(None);
        };
        let Some(completion) = self.core.backend.completion() else { return Ok(None) };
        let exchanged = completion.exchange(fd.as_fd(), storage)?;
        if let Some(Exchanged { count, has_more }) = exchanged {
            self.core.counters.bytes_read += count as u64;
            self.core.lent.is_active = true;
            if has_more {
                self.core.lent.own.ready |= Readiness::READABLE;
            }
        }
        Ok(exchanged)
    }

    /// Updates the readiness after a read of `count` bytes into room for `capacity`.
    #[inline(always)]
    pub(super) fn note_read(&mut self, count: usize, capacity: usize) {
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
            && (!own.ready.intersects(uncertain) || planted::is(Planted::EndHidden))
        {
            own.ready = own.ready.without(Readiness::READABLE);
        }
    }

    /// Writes the bytes of `slices`, or some of them. Returns `Ok(None)` when the write would
    /// block. It never raises `SIGPIPE`.
    ///
    /// # Errors
    /// The error of the kernel (`sendmsg(2)`, `writev(2)`).
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        self.write_inline(slices)
    }

    /// [`write`](Self::write) in line, for the driver of connections.
    #[inline(always)]
    pub(crate) fn write_inline(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        // The kernel takes no more slices at once; with more, a full write would look short.
        let slices = &slices[..slices.len().min(sys::SLICES_MAX)];
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let count = self.attempt(
            "write",
            Interest::WRITE,
            #[inline(always)]
            |fd, kind| write_any(fd, kind, slices),
        )?;
        self.note_write(count, wanted);
        if planted::is(Planted::ShortWriteWhole) {
            return Ok(count.map(|_| wanted));
        }
        Ok(count)
    }

    /// Like [`write`](Self::write), when more follows at once: TCP sends both in the same segments
    /// (`MSG_MORE`, `send(2)`).
    pub(crate) fn write_more(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let slices = &slices[..slices.len().min(sys::SLICES_MAX)];
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let count = self.attempt("write", Interest::WRITE, |fd, kind| {
            match kind.mode == Mode::Nonblocking && !*kind.not_socket {
                true => sys::send_more(fd, slices),
                false => write_any(fd, kind, slices),
            }
        })?;
        self.note_write(count, wanted);
        Ok(count)
    }

    /// Writes `length` bytes of `file` from `offset` on, or some of them, without copying them
    /// through user memory. Returns `Ok(None)` when the write would block, and `Ok(Some(0))` when
    /// the file ends.
    ///
    /// It never raises `SIGPIPE`. The action of that signal is looked at once a turn, so what sets the
    /// default action after that, and before the loop waits, risks the signal.
    ///
    /// # Errors
    /// The error of the kernel (`sendfile(2)`).
    pub fn send_file(
        &mut self,
        file: &std::fs::File,
        offset: u64,
        length: u64,
    ) -> io::Result<Option<usize>> {
        let turn = self.core.counters.turns;
        let mut known = match self.core.sigpipe_ignored == turn {
            true => Sigpipe::Ignored,
            false => Sigpipe::Unknown,
        };
        let count = self.attempt("sendfile", Interest::WRITE, |fd, kind| {
            if kind.mode != Mode::Completed {
                return kernel::sendfile(fd, file, offset, length, &mut known);
            }
            let completion = completion(kind)?;
            completion.flush(fd)?;
            let sent = kernel::sendfile(fd, file, offset, length, &mut known);
            if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                completion.await_room(fd)?;
            }
            sent
        })?;
        if known == Sigpipe::Ignored {
            self.core.sigpipe_ignored = turn;
        }
        // A short count may come from the file, so it proves nothing about the socket.
        self.core.counters.bytes_written += count.unwrap_or(0) as u64;
        Ok(count)
    }

    /// Updates the readiness after a write of `count` out of `wanted` bytes. A short write has
    /// filled the socket, and the kernel reports when there is room again.
    #[inline]
    pub(super) fn note_write(&mut self, count: Option<usize>, wanted: usize) {
        let Some(count) = count else { return };
        self.core.counters.bytes_written += count as u64;
        let own = &mut self.core.lent.own;
        if count < wanted && !own.not_socket && own.mode != Mode::Blocking {
            own.ready = own.ready.without(Readiness::WRITABLE);
        }
    }

    /// Performs any other operation on the descriptor of this source. `operation` is its name in errors. `call`
    /// returns `Ok(Some(..))` when it got something. When there is nothing now, it returns
    /// `Ok(None)`, as libraries do that have no error for it, or an error of the kind
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), as system calls do. Either way the answer is
    /// `Ok(None)`, and the source waits for the kernel to report `interest` again. Until then,
    /// `call` is not made: the answer is known.
    ///
    /// ```
    /// # use reactor::{Cx, Interest};
    /// # use std::{io, net::UdpSocket};
    /// # fn example(cx: &mut Cx<'_>, socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<()> {
    /// while let Some((length, peer)) =
    ///     cx.try_io("recvfrom", Interest::READ, |_fd| socket.recv_from(buffer).map(Some))?
    /// {
    ///     println!("{length} bytes from {peer}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `call` returned, unless it is a would-block; the source has ended or has no descriptor.
    pub fn try_io<T>(
        &mut self,
        operation: &'static str,
        interest: Interest,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        self.attempt(operation, interest, |fd, _| {
            call(fd)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        })
    }

    /// The only implementation of an operation that may block. The part of law 1 that "only an
    /// operation that would block removes a bit" is here.
    #[inline(always)]
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
        // A loop that winds down asks once more, since no later wait may report it.
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
        let kind = Kind { mode: *mode, not_socket, backend: core.backend.as_mut() };
        let result = match kind.mode {
            Mode::Blocking => ask_first(fd.as_fd(), interest).and_then(|()| call(fd.as_fd(), kind)),
            Mode::Unknown | Mode::Nonblocking | Mode::Simulated | Mode::Completed => {
                call(fd.as_fd(), kind)
            }
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

    /// Updates the readiness after a failed operation. One that would block is no error.
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
        // No second edge comes for data that is already there. So a would-block that poll(2)
        // contradicts is not believed the first time. Hot paths never get here: a short read or
        // write has told them already.
        let Some(fd) = &own.fd else { return Ok(()) };
        let contradicted = is_edge_triggered
            && own.mode != Mode::Completed
            && !planted::is(Planted::BlockBelieved)
            && !kernel::ready_now(fd.as_fd(), interest)?.is_empty();
        let disputed = std::mem::replace(&mut own.disputed, contradicted);
        if !contradicted || disputed {
            own.ready = own.ready.without(interest.mask());
            own.urgent &= !interest.contains(Interest::READ);
        }
        if contradicted && disputed && !planted::is(Planted::DisputeForgotten) {
            core.dispute(self.me, interest.mask());
        }
        Ok(())
    }

    /// Returns and clears the pending error of the socket of this source (`SO_ERROR`).
    ///
    /// # Errors
    /// When the kernel refuses, or the source has no descriptor.
    pub fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        let own = &self.core.lent.own;
        let Some(fd) = &own.fd else { return Err(no_descriptor()) };
        if own.mode == Mode::Completed
            && let Some(completion) = self.core.backend.completion()
        {
            return completion.take_error(fd.as_fd());
        }
        let error = kernel::take_error(fd.as_fd())?;
        if error.is_some() && own.polled && !self.core.is_edge_triggered() {
            // A condition that was reported once may occur again, and has to be reported again.
            self.core.backend.modify(fd.as_fd(), self.me, own.armed)?;
        }
        Ok(error)
    }

    /// Ends the sending side of the socket of this source: the peer reads the end of the stream.
    ///
    /// # Errors
    /// The error of the kernel (`shutdown(2)`), or the source has no descriptor.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        let Own { fd: Some(fd), mode, .. } = &self.core.lent.own else {
            return Err(no_descriptor());
        };
        match (mode, self.core.backend.completion()) {
            (Mode::Completed, Some(completion)) => completion.shutdown_write(fd.as_fd()),
            _ => kernel::shutdown_write(fd.as_fd()),
        }
    }
}

impl Own {
    /// Removes the exceptional condition. There is one at a time, and the next has an event of its
    /// own.
    pub(super) fn take_priority(&mut self) {
        self.ready = self.ready.without(Readiness::PRIORITY);
    }
}

/// The properties of a descriptor that an operation needs, and may update.
pub(crate) struct Kind<'a> {
    mode: Mode,
    not_socket: &'a mut bool,
    backend: &'a mut dyn Backend,
}

/// Returns what moves the bytes of a connection of this kind.
#[cold]
fn completion(kind: Kind<'_>) -> io::Result<&mut dyn Completion> {
    kind.backend.completion().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Writes to a socket or any other descriptor.
#[inline(always)]
fn write_any(fd: BorrowedFd<'_>, kind: Kind<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match kind.mode {
        Mode::Unknown | Mode::Nonblocking | Mode::Simulated => {}
        Mode::Blocking => return write_bounded(fd, slices),
        Mode::Completed => return completion(kind)?.write(fd, slices),
    }
    if !*kind.not_socket {
        let sent = match kind.mode {
            Mode::Simulated => kernel::send(fd, slices),
            _ => sys::send(fd, slices),
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => *kind.not_socket = true,
            result => return result,
        }
    }
    kernel::writev(fd, slices)
}

/// Writes at most what a descriptor in blocking mode takes without blocking.
fn write_bounded(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let first = slices.iter().find(|slice| !slice.is_empty());
    let Some(first) = first else { return Ok(0) };
    let bounded = IoSlice::new(&first[..first.len().min(BLOCKING_WRITE_MAX)]);
    kernel::writev(fd, &[bounded])
}

/// Returns an error if an operation on a blocking descriptor would block.
fn ask_first(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
    if kernel::ready_now(fd, interest)?.is_empty() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(())
}

pub(super) fn no_descriptor() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "this source has ended or has no descriptor")
}
