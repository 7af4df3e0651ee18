//! The side of a server: drives a connection to its end.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use protocol::link::{Event, IdleLimit, Layer, Passed, Step, Wait};
use protocol::{Reason, Session};

use super::Driver;
use super::driver::ME;
use crate::Readiness;
use crate::sys::{self, Polled};

/// How long a wait takes at most. A connection without a limit waits again then.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// Whether a server was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// No: the connection goes on.
    Nothing,
    /// Gracefully: the connection finishes what it is about, and ends when it is silent for
    /// [`stopping_quiet`](protocol::Limits::stopping_quiet).
    Stop,
    /// At once: the connection ends, and its output is cut short.
    StopNow,
}

/// Tells a connection that is being [served](Driver::serve) whether the server was told to stop.
pub trait Orders {
    /// Returns what the server was told. It is called after each wait, so it has to be cheap.
    fn told(&mut self) -> Told;

    /// Returns the same after a wait in which nothing came, or during which this thread has handled a
    /// signal. By default it asks [`told`](Self::told).
    fn interrupted(&mut self) -> Told {
        self.told()
    }

    /// Returns how long a wait may take before the orders are asked again. By default, it may take an
    /// hour: something else ends the wait when there are orders.
    fn patience(&self) -> Duration {
        WAIT_MAX
    }
}

/// How long a peer may be silent.
struct Silence {
    limit: Option<Duration>,
    allowed: IdleLimit,
    since: Instant,
    /// The time of the last pass.
    now: Instant,
    /// Whether bytes were moved since the last pass.
    has_moved: bool,
    is_stopping: bool,
}

impl Silence {
    /// Notes that a pass begins.
    fn begin(&mut self, now: Instant) {
        self.now = now;
        if std::mem::take(&mut self.has_moved) {
            self.since = now;
        }
    }

    /// Returns when the peer has been silent for too long.
    fn until(&self) -> Option<Instant> {
        let is_exempt = match self.allowed {
            IdleLimit::ByLoop => false,
            IdleLimit::Never => !self.is_stopping,
            IdleLimit::Busy => true,
        };
        let limit = self.limit.filter(|_| !is_exempt)?;
        self.since.checked_add(limit)
    }
}

impl<S, L: Layer> Driver<S, L> {
    /// Drives the connection until it has ended, and returns why. A peer that is silent for `idle` is
    /// closed; `None` waits for ever. The rules are those of the loop ([`Stream`](crate::Stream)):
    /// half-close, lingering, timeouts of the session, and a reset where output is cut short.
    ///
    /// Waiting for a message costs one call, `recv(2)`. There are no other connections and no loop, so
    /// requests for them ([`Effects`](protocol::Effects)) do nothing. A range of a file in the output
    /// ends the connection with an error.
    ///
    /// A wait ends when this thread handles a signal, and on another thread [`Cutter`](super::Cutter)
    /// ends it. Then `orders` are asked.
    ///
    /// ```
    /// use protocol::link::Link;
    /// use protocol::{Conversation, Context, Flow, Limits, Reply, Service, codecs::Lines};
    /// use reactor::blocking::{Driver, Orders, Socket, Told};
    /// use reactor::Accepted;
    /// use std::io::{Read, Write};
    /// use std::net::{Shutdown, TcpListener, TcpStream};
    ///
    /// struct Shout;
    /// impl Service<Lines> for Shout {
    ///     fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
    ///         line.make_ascii_uppercase();
    ///         reply.send(line);
    ///         Flow::Continue
    ///     }
    /// }
    ///
    /// struct Never;
    /// impl Orders for Never {
    ///     fn told(&mut self) -> Told {
    ///         Told::Nothing
    ///     }
    /// }
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// client.write_all(b"hello\n")?;
    /// client.shutdown(Shutdown::Write)?;
    ///
    /// let socket = Socket::accepted(Accepted::from_fd(listener.accept()?.0.into())?)?;
    /// let session = Conversation::new(Lines::default(), Shout);
    /// let driver = Driver::new(socket, Link::new(session, Limits::DEFAULT.shared()?));
    /// let server = std::thread::spawn(move || driver.serve(&mut (), None, &mut Never).to_string());
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer)?;
    /// drop(client);
    /// assert_eq!(answer, "HELLO\n");
    /// assert_eq!(server.join().expect("it does not panic"), "peer closed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve<A>(
        mut self,
        app: &mut A,
        idle: Option<Duration>,
        orders: &mut impl Orders,
    ) -> Reason
    where
        S: Session<A>,
    {
        let now = self.begin();
        // What is said first comes before what is waited for.
        self.link.read_blocked(&mut self.scratch);
        let mut silence = Silence {
            limit: idle,
            allowed: IdleLimit::ByLoop,
            since: now,
            now,
            has_moved: false,
            is_stopping: false,
        };
        let reason = self.pass(app, &mut silence, orders).unwrap_or_else(|failure| failure);
        if !self.scratch.is_flushed() || self.link.is_incomplete() {
            self.socket.reset_on_close();
        }
        let moment = super::driver::moment();
        self.link.closed(&reason, &mut self.scratch, moment, ME, app);
        reason
    }

    /// Does what the link wants until it ends. Both results are the reason.
    fn pass<A>(
        &mut self,
        app: &mut A,
        silence: &mut Silence,
        orders: &mut impl Orders,
    ) -> Result<Reason, Reason>
    where
        S: Session<A>,
    {
        let mut may_wait = false;
        loop {
            let time = if may_wait { self.time_left(silence, orders) } else { WAIT_MAX };
            match self.link.step(&mut self.scratch) {
                Step::Call => self.call_served(app, silence),
                Step::Read(room) => {
                    let size = room.len();
                    let read = match std::mem::take(&mut may_wait) {
                        true => self.socket.read_for(room, time).map(Some),
                        false => self.socket.try_read(room),
                    };
                    self.heed_read(read, size, silence, orders)?;
                }
                Step::Write => self.write_served(silence)?,
                Step::ReadFile => return Err(failed("sendfile", no_files())),
                Step::ShutDown => match self.socket.end_output() {
                    // Both sides have ended theirs already.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                    result => result.map_err(|error| failed("shutdown", error))?,
                },
                Step::Close => return Ok(self.link.take_reason()),
                Step::Wait(wait) => {
                    if wait.is_full {
                        self.link.unacknowledged(self.socket.unacknowledged());
                    }
                    may_wait = wait.read && !wait.write;
                    if may_wait {
                        silence.begin(self.begin());
                    } else {
                        self.wait_served(wait, silence, orders)?;
                    }
                }
            }
        }
    }

    /// Tells the link what came of a read.
    fn heed_read(
        &mut self,
        read: io::Result<Option<usize>>,
        size: usize,
        silence: &mut Silence,
        orders: &mut impl Orders,
    ) -> Result<(), Reason> {
        match read {
            Ok(Some(count)) => {
                silence.has_moved = true;
                self.link.received(&mut self.scratch, count, count == size);
                self.heed_orders(orders.told(), silence)
            }
            Ok(None) => {
                self.link.read_blocked(&mut self.scratch);
                Ok(())
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) =>
            {
                self.nothing_came(silence, orders)
            }
            // Everything was sent. How the peer ends makes no difference.
            Err(_) if self.link.is_lingering() => {
                self.link.received(&mut self.scratch, 0, false);
                Ok(())
            }
            Err(error) => Err(failed("recv", error)),
        }
    }

    /// Heeds the orders and the limits of time after a wait in which nothing came.
    fn nothing_came(
        &mut self,
        silence: &mut Silence,
        orders: &mut impl Orders,
    ) -> Result<(), Reason> {
        silence.begin(self.begin());
        self.link.read_blocked(&mut self.scratch);
        self.heed_orders(orders.interrupted(), silence)?;
        self.expire(silence)
    }

    /// Waits for room for output, perhaps for input too, or for the end of the peer.
    fn wait_served(
        &mut self,
        wait: Wait,
        silence: &mut Silence,
        orders: &mut impl Orders,
    ) -> Result<(), Reason> {
        let time = self.time_left(silence, orders);
        let Wait { read, write, hang_up, .. } = wait;
        let fd = self.socket.as_fd();
        let mut polled = [Polled { fd, read, write, hang_up, found: Readiness::NONE }];
        let ready = sys::poll_all(&mut polled, Some(time)).map_err(|it| failed("poll", it))?;
        let found = polled[0].found;
        if ready.unwrap_or(0) == 0 {
            return self.nothing_came(silence, orders);
        }
        silence.begin(self.begin());
        if !found.contains(Readiness::READABLE) {
            self.link.read_blocked(&mut self.scratch);
        }
        if found.contains(Readiness::READ_CLOSED) {
            self.link.hung_up(&mut self.scratch);
        }
        if !read && !write && found.contains(Readiness::WRITE_CLOSED) {
            // The session takes no input and has no output, and the connection is gone.
            return Err(Reason::PeerClosed);
        }
        self.heed_orders(orders.told(), silence)
    }

    fn heed_orders(&mut self, told: Told, silence: &mut Silence) -> Result<(), Reason> {
        match told {
            Told::Nothing => Ok(()),
            Told::Stop if silence.is_stopping => Ok(()),
            Told::Stop => {
                silence.is_stopping = true;
                silence.limit = Some(self.link.limits().stopping_quiet);
                silence.since = Instant::now();
                self.link.tell(Event::Stopping);
                Ok(())
            }
            Told::StopNow => Err(Reason::Stopped),
        }
    }

    /// Ends the connection if a limit of time has passed.
    fn expire(&mut self, silence: &mut Silence) -> Result<(), Reason> {
        let now = silence.now;
        let socket = &self.socket;
        if self.link.deadline().is_some_and(|until| until <= now) {
            let passed = self.link.deadline_passed(&mut self.scratch, || socket.unacknowledged());
            self.heed_passed(passed)?;
        }
        if silence.until().is_some_and(|until| until <= now) {
            silence.since = now;
            let socket = &self.socket;
            let passed = self.link.idle_passed(&mut self.scratch, || socket.unacknowledged());
            self.heed_passed(passed)?;
        }
        Ok(())
    }

    fn heed_passed(&mut self, passed: Passed) -> Result<(), Reason> {
        let Passed::Over(reason) = passed else { return Ok(()) };
        if self.link.take_leave(&mut self.scratch) {
            // The connection ends in any case. A peer that takes nothing misses the message.
            let _ = self.socket.write(self.link.output(&self.scratch));
        }
        Err(reason)
    }

    /// Returns how long nothing has to be done if nothing comes.
    fn time_left(&self, silence: &Silence, orders: &impl Orders) -> Duration {
        let first = [silence.until(), self.link.deadline()].into_iter().flatten().min();
        // Where the peer was not silent and there is no other limit, this is always the same time: the
        // timeout of the socket stays as it is.
        let left = first.map(|first| first.saturating_duration_since(silence.now));
        left.unwrap_or(WAIT_MAX).min(orders.patience()).clamp(Duration::from_micros(1), WAIT_MAX)
    }

    fn call_served<A>(&mut self, app: &mut A, silence: &mut Silence)
    where
        S: Session<A>,
    {
        self.call(app);
        if let Some(limit) = self.scratch.effects_mut().take_idle_limit() {
            silence.allowed = limit;
        }
    }

    fn write_served(&mut self, silence: &mut Silence) -> Result<(), Reason> {
        match self.socket.write(self.link.output(&self.scratch)) {
            Ok(Some(count)) => {
                silence.has_moved = true;
                self.link.sent(&mut self.scratch, count as u64, true);
            }
            Ok(None) => self.link.write_blocked(&mut self.scratch),
            Err(error) => return Err(failed("sendmsg", error)),
        }
        Ok(())
    }
}

fn failed(operation: &'static str, error: io::Error) -> Reason {
    Reason::Failed { operation, error, hint: "" }
}

fn no_files() -> io::Error {
    io::Error::other("a blocking socket cannot send a range of a file")
}
