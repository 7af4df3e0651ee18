//! What a handler is lent of the loop: the only path to I/O.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::core::{Core, Course, idle_nanos, nanos};
use crate::sources::{Drains, Mode, NEVER, Phase, Source};
use crate::{
    Counters, Handler, Interest, LoopLimits, Readiness, Reason, Registration, Remote, Tag, Token,
    sys,
};

/// The most that is written at once to a descriptor in blocking mode: what a pipe that reported
/// writable takes without blocking (`PIPE_BUF`, `pipe(7)`).
const BLOCKING_WRITE_MAX: usize = 4096;

/// What a handler is lent for one call: its own descriptor, the loop, and the application state.
///
/// All I/O goes through here, so that readiness has one implementation (law 1): an operation that
/// would block returns `Ok(None)` and is what makes the loop wait for the kernel again.
pub struct Cx<'a, A = ()> {
    pub(crate) core: &'a mut Core<A>,
    /// The application's state.
    pub app: &'a mut A,
    pub(crate) me: Tag,
    pub(crate) woken: bool,
    /// The last operation on the own descriptor that failed.
    pub(crate) failed: Option<&'static str>,
}

impl<'a, A> Cx<'a, A> {
    pub(crate) fn new(core: &'a mut Core<A>, app: &'a mut A, me: Tag) -> Self {
        Self { core, app, me, woken: false, failed: None }
    }

    /// The source that is being called. Outside of a call, a token that names nothing.
    pub fn me(&self) -> Token {
        Token::new(self.me, self.core.home)
    }

    /// The time, read once for the whole turn.
    pub fn now(&self) -> Instant {
        self.core.now
    }

    /// What the loop has done since it started.
    pub fn counters(&self) -> Counters {
        Counters { ctl_calls: self.core.backend.ctl_calls(), ..self.core.counters }
    }

    /// The limits of the loop.
    pub fn limits(&self) -> &LoopLimits {
        &self.core.limits
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.core.connections
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote<A> {
        Remote::new(&self.core.mailbox)
    }

    /// Whether somebody woke the source since its last call.
    pub fn was_woken(&self) -> bool {
        self.woken
    }

    /// What is known of the own descriptor.
    pub fn readiness(&self) -> Readiness {
        self.core.sources.get(self.me).map_or(Readiness::NONE, |source| source.ready)
    }

    /// The number of the own descriptor, for logs; `None` when there is none.
    pub fn raw_fd(&self) -> Option<i32> {
        use std::os::fd::AsRawFd;
        self.core.sources.get(self.me)?.fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Registers a source: the loop owns the descriptor from now on, and closes it once, when the
    /// source ends (law 2). The handler is not called before this call has returned.
    ///
    /// A descriptor that epoll refuses because it never blocks (a regular file, `/dev/null`) is
    /// always ready. Other descriptors are made non-blocking unless `registration` says otherwise.
    ///
    /// # Errors
    /// What the kernel said to watching the descriptor, which is closed then; the handler is
    /// dropped without being called. An idle limit of zero is refused too. A loop that is being dropped refuses, and so does one that was
    /// [forked](crate::Forked).
    pub fn register(
        &mut self,
        fd: OwnedFd,
        registration: Registration,
        handler: impl Handler<A> + 'static,
    ) -> io::Result<Token> {
        self.register_boxed(Some(fd), registration, Box::new(handler))
    }

    /// Registers a source that has no descriptor: it lives of wakes, deadlines and timers.
    ///
    /// # Errors
    /// A loop that is being dropped refuses.
    pub fn spawn(&mut self, handler: impl Handler<A> + 'static) -> io::Result<Token> {
        self.register_boxed(None, Registration::new(Interest::NONE), Box::new(handler))
    }

    fn register_boxed(
        &mut self,
        fd: Option<OwnedFd>,
        registration: Registration,
        handler: Box<dyn Handler<A>>,
    ) -> io::Result<Token> {
        self.core.refuse_copy()?;
        if self.core.mailbox.is_closed() {
            return Err(io::Error::other("the loop is being dropped and takes no new source"));
        }
        let tag = self.core.register(fd, &registration, handler)?;
        Ok(Token::new(tag, self.core.home))
    }

    /// Ends a source, this one or another. It is called no more but for its `closed`, which comes
    /// at the end of this turn, or of a later one where more sources have ended than
    /// [`LoopLimits::ends_per_turn`]. Ending what has ended, or what is another loop's, does nothing.
    pub fn close(&mut self, token: Token) {
        self.core.doom(token.tag_in(self.core.home), Reason::Cancelled);
    }

    /// Has a source run soon whatever its readiness, once however often it is woken before that.
    /// Waking what has ended, or what is another loop's, does nothing.
    pub fn wake(&mut self, token: Token) {
        self.core.wake(token.tag_in(self.core.home));
    }

    /// Sets what this source wants to be called for. Edge-triggered, this is a store; otherwise
    /// the kernel is told before the next wait, if it still makes a difference then.
    pub fn set_interest(&mut self, interest: Interest) {
        self.core.set_interest(self.me, interest);
    }

    /// Says whether ending this source now would cut short what is said to its peer. If so, however
    /// it ends, its TCP connection is reset (`SO_LINGER`, `socket(7)`): the peer takes no part of an
    /// answer for all of it. A Unix socket cannot be reset. [`Stream`](crate::Stream) does this by
    /// itself.
    pub fn set_unsent(&mut self, is_unsent: bool) {
        if let Some(source) = self.core.sources.get_mut(self.me) {
            source.is_unsent = is_unsent;
        }
    }

    /// What this source wants to be called for.
    pub fn interest(&self) -> Interest {
        self.core.sources.get(self.me).map_or(Interest::NONE, |source| source.interest)
    }

    /// Has [`Handler::timeout`] called with [`Timeout::Deadline`](crate::Timeout::Deadline) once
    /// `at` has passed, never early; `None` takes the deadline away. A source has one deadline.
    pub fn set_deadline(&mut self, at: Option<Instant>) {
        let deadline = at.map_or(NEVER, |at| self.core.to_ticks(at));
        self.update_limits(|source| source.deadline = deadline);
    }

    /// [`set_deadline`](Self::set_deadline), counted from now.
    pub fn set_timeout(&mut self, after: Duration) {
        let deadline = self.core.ticks_after(after);
        self.update_limits(|source| source.deadline = deadline);
    }

    /// [`set_timeout`](Self::set_timeout), for a source that was just registered.
    pub(crate) fn set_timeout_of(&mut self, token: Token, after: Duration) {
        let tag = token.tag_in(self.core.home);
        Cx::new(self.core, self.app, tag).set_timeout(after);
    }

    /// Sets how long this source may be silent; `None` exempts it.
    ///
    /// # Errors
    /// When `limit` is zero, which would allow nothing.
    pub fn set_idle_timeout(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let idle = limit.map_or(Ok(NEVER), idle_nanos)?;
        self.update_limits(|source| source.idle = idle);
        Ok(())
    }

    /// Whether the loop drains, and was not merely stopped.
    pub(crate) fn is_winding_down(&self) -> bool {
        matches!(self.core.course, Course::Draining { .. })
    }

    /// Exempts this source from the loop's idle limit, or not; a loop that winds down exempts none.
    pub(crate) fn allow_silence(&mut self, allowed: bool) {
        if !self.is_winding_down() {
            let limit = self.limits().idle_timeout.filter(|_| !allowed);
            let idle = limit.map_or(NEVER, nanos);
            self.update_limits(|source| source.idle = idle);
        }
    }

    fn update_limits(&mut self, change: impl FnOnce(&mut Source)) {
        if let Some(source) = self.core.sources.get_mut(self.me) {
            change(source);
            self.core.arm(self.me);
        }
    }

    /// Stops the loop once what is ready has been run.
    pub fn stop(&mut self) {
        if self.core.course != Course::StopNow {
            self.core.course = Course::StopAfterBatch;
        }
    }

    /// Stops the loop before any other handler is called, but for the `closed` of those that have
    /// ended.
    pub fn stop_now(&mut self) {
        self.core.course = Course::StopNow;
    }

    /// Winds the loop down: every source is told to finish ([`Handler::drain`]), and the loop
    /// stops when no connection is left, or after `patience`. Draining again does nothing.
    pub fn drain(&mut self, patience: Duration) {
        if self.core.course == Course::Running {
            let until = self.core.charged.saturating_add(nanos(patience));
            self.core.course = Course::Draining { until, told: false };
        }
    }

    /// Whether the loop is winding down or stopping.
    pub fn is_draining(&self) -> bool {
        self.core.course != Course::Running
    }

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
            && source.drains == Drains::ShortRead
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
        let is_certain = !matches!(self.core.course, Course::Draining { .. });
        if is_certain && source.is_drained(interest, is_edge_triggered) {
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
        let is_final =
            result.as_ref().err().is_none_or(|it| it.kind() != io::ErrorKind::WouldBlock);
        if interest == Interest::PRIORITY && is_final {
            // There is one at a time, and the next comes with an event of its own.
            source.ready = source.ready.without(Readiness::PRIORITY);
        }
        match result {
            Ok(value) => {
                source.doubtful = false;
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
                let doubtful = std::mem::replace(&mut source.doubtful, contradicted);
                if !contradicted || doubtful {
                    source.ready = source.ready.without(interest.mask());
                    source.urgent &= !interest.contains(Interest::READ);
                }
                if contradicted && doubtful {
                    self.core.doubt(self.me, interest.mask());
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
    /// What the kernel said to asking.
    pub fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        let Some(source) = self.core.sources.get(self.me) else { return Ok(None) };
        let Some(fd) = &source.fd else { return Ok(None) };
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
    /// What the kernel said (`shutdown(2)`).
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        let fd = self.core.sources.get(self.me).and_then(|source| source.fd.as_ref());
        fd.map_or(Ok(()), |fd| sys::shutdown_write(fd.as_fd()))
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
