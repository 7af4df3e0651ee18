//! The driver: moves the bytes of a `protocol::link::Link` over a blocking socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use protocol::link::{Event, Layer, Link, Moment, Passed, Plain, Scratch, Step, Wait};
use protocol::{ConnectionId, Reason, Session};

use super::wait::wait_one;
use super::{Cutter, Deadline, Error, Socket, Wants};
use crate::Readiness;

/// The only connection of its driver.
pub(super) const ME: ConnectionId = ConnectionId(0);

/// Drives one link over a blocking socket. The link keeps its buffers from pass to pass, so that
/// nothing is copied between two answers.
///
/// Every operation first calls the session with [`Cause::Woken`](protocol::Cause::Woken), since the
/// caller may have put a request into the application's state. Timeouts of the session pass while an
/// operation waits. There are no other connections and no loop, so requests for them
/// ([`Effects`](protocol::Effects)) do nothing.
#[derive(Debug)]
pub struct Driver<S, L = Plain> {
    pub(super) socket: Socket,
    pub(super) link: Link<S, L>,
    pub(super) scratch: Scratch,
    /// What the link waited for at the end of the last pass.
    wait: Wait,
    /// Why the last bytes could not be sent. An earlier answer of the server may explain more.
    write_error: Option<io::Error>,
}

impl<S, L: Layer> Driver<S, L> {
    /// Returns a driver for a connected socket.
    pub fn new(socket: Socket, link: Link<S, L>) -> Self {
        let wait = Wait { read: true, ..Wait::default() };
        Self { socket, link, scratch: Scratch::new(Instant::now()), wait, write_error: None }
    }

    /// Returns the session.
    pub fn session(&self) -> &S {
        self.link.session()
    }

    /// Returns a handle that cuts the connection from another thread.
    pub fn cutter(&self) -> Cutter {
        self.socket.cutter()
    }

    /// Sends what the session appends to its output. Reads while the peer accepts nothing, until the
    /// session pauses. `timeout` is how long the peer may accept nothing.
    ///
    /// If the peer fails or ends the connection, this is not an error here, since its earlier
    /// answers can still be received.
    ///
    /// # Errors
    /// When the timeout passes, waiting fails, or the session ends the connection.
    pub fn send<A>(&mut self, app: &mut A, timeout: Option<Duration>) -> Result<(), Error>
    where
        S: Session<A>,
    {
        if !self.is_sending() {
            return Ok(());
        }
        let mut deadline = Deadline::after(timeout);
        self.link.tell(Event::Woken);
        self.begin();
        self.link.read_blocked(&mut self.scratch);
        loop {
            let is_sending = self.is_sending();
            match self.link.step(&mut self.scratch) {
                Step::Call => drop(self.call(app)),
                _ if self.link.is_lingering() => return Err(self.ended()),
                Step::Read(room) => {
                    match self.socket.read(room, &mut Deadline::after(None), None) {
                        Ok(count) => self.link.received(&mut self.scratch, count, false),
                        Err(error) => {
                            self.stop_sending(error);
                            return Ok(());
                        }
                    }
                }
                Step::Write if !is_sending => return Ok(()),
                Step::Write => {
                    if self.write() {
                        deadline = Deadline::after(timeout);
                    }
                }
                Step::Wait(wait) if wait.write && is_sending => {
                    self.wait_for_room(wait, &mut deadline)?;
                }
                Step::Wait(_) => return Ok(()),
                Step::ShutDown => self.socket.end_output()?,
                Step::ReadFile | Step::Close => return Err(self.ended()),
            }
        }
    }

    /// Reads until `is_done` returns true. It is called after each call of the session. What the
    /// session appends to its output meanwhile is sent.
    ///
    /// # Errors
    /// When the deadline passes, or the connection has ended. After a deadline, the connection stays
    /// usable.
    pub fn receive<A>(
        &mut self,
        app: &mut A,
        deadline: &mut Deadline,
        mut is_done: impl FnMut(&mut A) -> bool,
    ) -> Result<(), Error>
    where
        S: Session<A>,
    {
        self.link.tell(Event::Woken);
        self.begin();
        loop {
            let until = self.link.deadline();
            let is_sending = self.is_sending();
            if !L::IS_PLAIN && is_sending && self.has_output() {
                // A layer answers by itself, and that is sent before anything is waited for.
                self.link.read_blocked(&mut self.scratch);
            }
            match self.link.step(&mut self.scratch) {
                Step::Call => {
                    let is_asked = self.call(app);
                    if is_done(app) {
                        return Ok(());
                    }
                    if is_asked || self.has_output() && is_sending {
                        // This is done before anything is waited for.
                        self.link.read_blocked(&mut self.scratch);
                    }
                }
                _ if self.link.is_lingering() => return Err(self.ended()),
                Step::Read(room) => match self.socket.read(room, deadline, until) {
                    Ok(count) => self.link.received(&mut self.scratch, count, true),
                    Err(error) => self.pass_deadline(error)?,
                },
                Step::Close => return Err(self.ended()),
                _ if self.link.input_ended() => return Err(self.closed()),
                Step::Write if !is_sending => self.link.write_blocked(&mut self.scratch),
                Step::Write => drop(self.write()),
                Step::Wait(wait) if wait.write && is_sending => {
                    self.wait_for_room(wait, deadline)?;
                }
                // The next pass waits by reading.
                Step::Wait(wait) if wait.read => {
                    self.begin();
                }
                Step::Wait(wait) => self.wait_for_room(wait, deadline)?,
                Step::ShutDown => self.socket.end_output()?,
                Step::ReadFile => return Err(self.ended()),
            }
        }
    }

    /// Calls the session, and reads and writes as much as is possible without waiting. Then
    /// [`wants`](Self::wants) returns what to wait for, together with other connections.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn advance<A>(&mut self, app: &mut A) -> Result<(), Error>
    where
        S: Session<A>,
    {
        self.link.tell(Event::Woken);
        self.begin();
        if self.link.deadline().is_some_and(|until| until <= Instant::now()) {
            self.session_timed_out()?;
        }
        loop {
            let is_sending = self.is_sending();
            match self.link.step(&mut self.scratch) {
                Step::Call => drop(self.call(app)),
                _ if self.link.is_lingering() => return Err(self.ended()),
                Step::Read(room) => match self.socket.try_read(room)? {
                    Some(count) => self.link.received(&mut self.scratch, count, true),
                    None => self.link.read_blocked(&mut self.scratch),
                },
                Step::Close => return Err(self.ended()),
                _ if self.link.input_ended() => return Err(self.closed()),
                Step::Write if !is_sending => self.link.write_blocked(&mut self.scratch),
                Step::Write => drop(self.write()),
                Step::Wait(wait) => {
                    self.wait = Wait { write: wait.write && is_sending, ..wait };
                    return Ok(());
                }
                Step::ShutDown => self.socket.end_output()?,
                Step::ReadFile => return Err(self.ended()),
            }
        }
    }

    /// Returns what the connection waits for, for [`wait`](super::wait).
    pub fn wants(&self) -> Wants<'_> {
        Wants { fd: self.socket.as_fd(), wait: self.wait, until: self.link.deadline() }
    }

    /// Begins a pass. Returns its time.
    pub(super) fn begin(&mut self) -> Instant {
        let moment = moment();
        self.link.begin(&mut self.scratch, moment);
        moment.now
    }

    /// Calls the session. Returns whether it asks for anything besides bytes.
    pub(super) fn call<A>(&mut self, app: &mut A) -> bool
    where
        S: Session<A>,
    {
        self.link.call(&mut self.scratch, ME, app);
        let effects = self.scratch.effects_mut();
        let is_asked = effects.take_asked();
        if is_asked {
            effects.take_wakes().for_each(drop);
            effects.take_closes().for_each(drop);
        }
        is_asked
    }

    /// Writes as much as the peer accepts now. Returns whether it accepts anything.
    fn write(&mut self) -> bool {
        match self.socket.write(self.link.output(&self.scratch)) {
            Ok(Some(count)) => {
                self.link.sent(&mut self.scratch, count as u64, true);
                return true;
            }
            Ok(None) => self.link.write_blocked(&mut self.scratch),
            Err(error) => self.stop_sending(error),
        }
        false
    }

    /// Waits until there is room for output, or input, and begins the next pass.
    fn wait_for_room(&mut self, wait: Wait, deadline: &mut Deadline) -> Result<(), Error> {
        let until = self.link.deadline();
        let found = wait_one(Wants { fd: self.socket.as_fd(), wait, until }, deadline)?;
        self.begin();
        if !found.contains(Readiness::READABLE) {
            self.link.read_blocked(&mut self.scratch);
        }
        match found.is_empty() {
            true => self.session_timed_out(),
            // The session takes no input, and the connection has failed.
            false if !wait.read && !wait.write => Err(self.closed()),
            false => Ok(()),
        }
    }

    /// Handles an error of a read, which may only mean that a timeout of the session has passed.
    fn pass_deadline(&mut self, error: io::Error) -> Result<(), Error> {
        let is_session = self.link.deadline().is_some_and(|until| until <= Instant::now());
        if error.kind() != io::ErrorKind::TimedOut || !is_session {
            return Err(error.into());
        }
        self.begin();
        self.session_timed_out()
    }

    /// Tells the link that a timeout of its session has passed.
    fn session_timed_out(&mut self) -> Result<(), Error> {
        match self.link.deadline_passed(&mut self.scratch, || 0) {
            Passed::Over(reason) => Err(Error::Session(reason)),
            Passed::GoesOn | Passed::Progress => Ok(()),
        }
    }

    fn has_output(&self) -> bool {
        !self.scratch.is_flushed()
    }

    /// Returns whether the peer can still be sent something.
    fn is_sending(&self) -> bool {
        self.write_error.is_none() && !self.link.input_ended()
    }

    fn stop_sending(&mut self, error: io::Error) {
        self.write_error = Some(error);
    }

    /// Returns the error of a connection whose peer has ended its stream.
    fn closed(&mut self) -> Error {
        self.write_error.take().map_or(Error::Closed, Error::from)
    }

    /// Returns the error of a connection that the session or the link has ended.
    fn ended(&mut self) -> Error {
        match self.link.take_reason() {
            Reason::PeerClosed => self.closed(),
            reason => Error::Session(reason),
        }
    }
}

impl<S, L> AsFd for Driver<S, L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns the time of a pass.
pub(super) fn moment() -> Moment {
    Moment { now: Instant::now(), lost: Duration::ZERO }
}
