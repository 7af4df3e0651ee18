//! The blocking driver of a connection: moves the bytes of a `protocol::link::Link`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::link::{Event, Link, Moment, Scratch, Step};
use protocol::resp::{self, Value};
use protocol::{ConnectionId, Limits, Output};

use super::Cause;
use super::session::{ClientSession, Request};
use super::socket::{Patience, Ready, Socket};

/// The limits of a client. The session bounds its input itself. The caller bounds what it sends.
const LIMITS: Limits = Limits {
    message_size_max: usize::MAX,
    output_high: u64::MAX,
    output_max: u64::MAX,
    read_budget: usize::MAX,
    ..Limits::DEFAULT
};

/// The only connection of its driver.
const ME: ConnectionId = ConnectionId(0);

/// Drives one link over a blocking socket. The link keeps its buffers from pass to pass, so that
/// nothing is copied between two answers.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) socket: Socket,
    link: Link<ClientSession>,
    scratch: Scratch,
    /// The time of every pass. The session sets no timeouts, so the time need not advance.
    moment: Moment,
    /// Why the last bytes could not be sent. An earlier answer of the server may explain more.
    write_error: Option<io::Error>,
}

impl Driver {
    /// Returns a driver for a connected socket.
    pub(super) fn new(socket: Socket, limits: resp::Limits, input_max: usize) -> Self {
        let moment = Moment { now: Instant::now(), lost: Duration::ZERO };
        Self {
            socket,
            link: Link::new(ClientSession::new(limits, input_max), Arc::new(LIMITS)),
            scratch: Scratch::new(moment.now),
            moment,
            write_error: None,
        }
    }

    /// Sends `commands`. Reads answers while the server accepts nothing, up to the limit of the
    /// session. `timeout` is how long the server may accept nothing.
    ///
    /// If the server fails or ends the connection, this is not an error here, since its earlier
    /// answers can still be received.
    ///
    /// # Errors
    /// When the timeout passes, or waiting fails.
    pub(super) fn send(
        &mut self,
        commands: &mut Output,
        timeout: Option<Duration>,
    ) -> Result<(), Cause> {
        if commands.is_empty() || self.write_error.is_some() || self.link.input_ended() {
            return Ok(());
        }
        let mut request = Request { commands: Some(commands), look: None, error: None };
        let mut patience = Patience::new(timeout);
        self.link.tell(Event::Woken);
        self.link.begin(&mut self.scratch, self.moment);
        self.link.read_blocked(&mut self.scratch);
        loop {
            match self.link.step(&mut self.scratch) {
                Step::Call => self.link.call(&mut self.scratch, ME, &mut request),
                Step::Read(room) => match self.socket.read(room, &mut Patience::new(None)) {
                    Ok(count) => self.link.received(&mut self.scratch, count, false),
                    Err(error) => return self.stop_sending(error),
                },
                Step::Write if self.link.input_ended() => return Ok(()),
                Step::Write => match self.socket.write(self.link.output(&self.scratch)) {
                    Ok(Some(count)) => {
                        self.link.sent(&mut self.scratch, count as u64, true);
                        patience = Patience::new(timeout);
                    }
                    Ok(None) => self.link.write_blocked(&mut self.scratch),
                    Err(error) => return self.stop_sending(error),
                },
                Step::Wait(wait) if wait.write => {
                    let ready = self.socket.wait(wait.read, &mut patience).map_err(Cause::from)?;
                    self.link.begin(&mut self.scratch, self.moment);
                    if ready == Ready::Writable {
                        self.link.read_blocked(&mut self.scratch);
                    }
                }
                Step::Wait(_) => return Ok(()),
                Step::ReadFile | Step::ShutDown | Step::Close => return Err(self.ended()),
            }
        }
    }

    fn stop_sending(&mut self, error: io::Error) -> Result<(), Cause> {
        self.write_error = Some(error);
        Ok(())
    }

    /// Waits for the next value, and calls `look` with it.
    ///
    /// # Errors
    /// When nothing arrives in time, or the connection has ended. After a timeout, the connection
    /// stays usable.
    pub(super) fn receive(
        &mut self,
        patience: &mut Patience,
        look: &mut dyn FnMut(Value<'_>),
    ) -> Result<(), Cause> {
        let mut request = Request { commands: None, look: Some(look), error: None };
        self.link.tell(Event::Woken);
        self.link.begin(&mut self.scratch, self.moment);
        loop {
            match self.link.step(&mut self.scratch) {
                Step::Call => {
                    self.link.call(&mut self.scratch, ME, &mut request);
                    if let Some(error) = request.error.take() {
                        return Err(Cause::Protocol(error));
                    }
                    if request.look.is_none() {
                        return Ok(());
                    }
                }
                Step::Read(room) => {
                    let count = self.socket.read(room, patience).map_err(Cause::from)?;
                    self.link.received(&mut self.scratch, count, true);
                }
                _ if self.link.input_ended() => {
                    let error = self.write_error.take();
                    return Err(error.map_or(Cause::Closed, Cause::from));
                }
                _ => return Err(self.ended()),
            }
        }
    }

    /// Returns the cause when the link has ended the connection.
    fn ended(&mut self) -> Cause {
        Cause::from(io::Error::other(self.link.take_reason().to_string()))
    }
}
