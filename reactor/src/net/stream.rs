//! The readiness driver of a connection: moves the bytes of a `protocol::link::Link`.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::link::{
    Event, Front, IdleLimit, Layer, Link, Passed, Plain, Scratch, Step, Stop, Wait,
};
use protocol::{Effects, Limits, Output, Session};

mod completion;
mod conversions;
mod files;
mod half_close;
mod handover;
mod session;
mod waiting;

use crate::net::connector::Connector;
use crate::net::datagrams::Room;
use crate::planted::{self, Planted};
use crate::reactor::core::Core;
use crate::reactor::trim::Table;
use crate::source::registration::Sharing;
use crate::{
    Accepted, ConnectOptions, Cx, Exchanged, Handler, Interest, Listener, LoopCx, Readiness,
    Reason, Registration, Target, Timeout, Token,
};

/// How many segments one write gathers at most.
const GATHER_MAX: usize = 32;

/// The buffers that all connections of a loop share, while no connection works with them.
#[derive(Default)]
pub(crate) struct Shared {
    scratch: Option<Box<Scratch>>,
    /// What datagram sockets use.
    pub(crate) datagrams: Option<Box<Room>>,
}

impl Shared {
    #[inline(always)] // A pass calls it once.
    fn take(&mut self, now: Instant) -> Box<Scratch> {
        self.scratch.take().unwrap_or_else(|| Box::new(Scratch::new(now)))
    }
}

impl Table for Shared {
    fn room(&self) -> usize {
        self.scratch.as_ref().map_or(0, |scratch| scratch.effects().room())
    }

    fn used(&self) -> usize {
        0
    }

    fn shrink(&mut self, room: usize) {
        if let Some(scratch) = &mut self.scratch {
            scratch.effects_mut().shrink_to(room);
        }
    }
}

/// The handler of a connection: drives the session of a `protocol::link::Link` over a descriptor.
///
/// One write follows everything that was decoded, so a pipelined burst costs one system call. A peer
/// that ends its side still gets every reply.
///
/// ```
/// use protocol::codecs::Lines;
/// use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
/// use reactor::{Address, ListenOptions, Listener, Reactor, Stream};
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
/// let mut reactor = Reactor::new(())?;
/// let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::DEFAULT)?;
/// Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
///     Conversation::new(Lines::default(), Shout)
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Stream<S, L = Plain> {
    link: Link<S, L>,
}

impl<S> Stream<S> {
    /// Returns a handler that drives `session`, whose connection costs what `limits` allow.
    pub fn new(session: S, limits: impl Into<Arc<Limits>>) -> Self {
        Self::over(Link::new(session, limits.into()))
    }

    /// Accepts connections on `listener` and drives each with the session that `make` makes of
    /// its peer's address (`None` for Unix sockets).
    ///
    /// # Errors
    /// When `limits` cannot be worked with, or the kernel refuses to watch the socket.
    pub fn serve<A: 'static, P>(
        listener: Listener,
        limits: impl Into<Arc<Limits>>,
        cx: &mut Cx<'_, A, P>,
        mut make: impl FnMut(Option<SocketAddr>) -> S + 'static,
    ) -> io::Result<Token>
    where
        S: Session<A> + 'static,
    {
        let limits = limits.into();
        limits.check()?;
        listener.register(cx, move |accepted, cx| {
            let session = make(accepted.peer);
            Self::new(session, Arc::clone(&limits)).register(accepted, cx).map(drop)
        })
    }
}

impl<S, L: Layer + 'static> Stream<S, L> {
    /// Returns a handler that drives `link`, which may have a layer.
    pub fn over(link: Link<S, L>) -> Self {
        Self { link }
    }

    /// Registers a connection that was accepted.
    ///
    /// # Errors
    /// When the limits cannot be worked with, or the kernel refuses to watch the socket.
    pub fn register<A: 'static, P>(
        self,
        connection: Accepted,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Token>
    where
        S: Session<A> + 'static,
    {
        let registration = Registration::stream(connection.peer.is_some(), connection.sharing);
        self.register_fd(connection.fd, registration, cx)
    }

    /// Registers a descriptor of any kind that carries a stream of bytes: a pipe, a terminal, a
    /// serial line. One that is no socket has no half-close: ending
    /// the output ends the input too.
    ///
    /// # Errors
    /// When the limits cannot be worked with, or the kernel refuses to watch the descriptor.
    pub fn register_fd<A: 'static, P>(
        self,
        fd: OwnedFd,
        registration: Registration,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Token>
    where
        S: Session<A> + 'static,
    {
        self.link.limits().check()?;
        cx.register(fd, registration, self)
    }

    /// Connects to `target`, an address or a name ([`Connector`]), and drives the session once it is
    /// connected. A connection that cannot be made ends like any other: its session is told why in
    /// `closed`.
    ///
    /// # Errors
    /// When the limits cannot be worked with, or the kernel refuses to watch the socket.
    pub fn connect<A: 'static, P>(
        self,
        target: impl Into<Target>,
        options: &ConnectOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Token>
    where
        S: Session<A> + 'static,
    {
        self.link.limits().check()?;
        let target = target.into();
        let registration = Registration::stream(target.is_tcp(), Sharing::Excluded);
        Connector::new(target, options).register(registration, self, cx)
    }

    /// One pass of the link, which may begin with a limit of time that has passed.
    fn drive<A>(&mut self, cx: &mut Cx<'_, A>, timeout: Option<Timeout>) -> io::Result<()>
    where
        S: Session<A>,
    {
        let was_in_handshake = self.link.is_in_handshake();
        let mut scratch = cx.core.shared.take(cx.core.now);
        self.link.begin(&mut scratch, cx.moment());
        let passed = timeout.map(|timeout| match timeout {
            Timeout::Idle => self.link.idle_passed(&mut scratch, || cx.unacknowledged()),
            Timeout::Deadline => self.link.deadline_passed(&mut scratch, || cx.unacknowledged()),
        });
        if let Some(Passed::Progress) = passed {
            cx.touch();
        }
        let result = match passed {
            Some(Passed::Over(reason)) => {
                if self.link.take_leave(&mut scratch) {
                    // The connection ends in any case. A peer that takes nothing misses the message.
                    let _ = gather(self.link.output(&scratch), cx);
                }
                cx.end(reason.into());
                Ok(())
            }
            _ => self.steps(&mut scratch, cx),
        };
        if result.is_err() && !(self.link.is_lingering() && scratch.is_flushed()) {
            // The peer must not take what was sent for the whole: its input was not all read either.
            cx.set_unsent(true);
        }
        if scratch.deadline_changed() {
            cx.set_deadline_at(self.link.deadline());
        }
        self.link.end(&mut scratch);
        if scratch.effects_mut().take_asked() {
            carry_out(scratch.effects_mut(), self.link.limits().stopping_quiet, cx);
        }
        cx.core.shared.scratch = Some(scratch);
        if was_in_handshake != self.link.is_in_handshake() {
            count_handshake(!was_in_handshake, cx.core);
        }
        result
    }

    /// Does what the link wants until it waits.
    #[inline(always)] // It has one caller.
    fn steps<A>(&mut self, scratch: &mut Scratch, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        S: Session<A>,
    {
        let link = &mut self.link;
        if cx.readiness().intersects(Readiness::ERROR | Readiness::READ_CLOSED) {
            heed_ends(link, scratch, cx)?;
        }
        loop {
            match link.step(scratch) {
                Step::Call => link.call(scratch, cx.me().into(), cx.app),
                Step::Read(room) => match cx.read_inline(room) {
                    Ok(Some(count)) => {
                        let may_be_more = cx.readiness().contains(Readiness::READABLE);
                        link.received(scratch, count, may_be_more);
                    }
                    Ok(None) => match completion::exchange(link, scratch, cx)? {
                        Some(Exchanged { count, has_more }) => {
                            link.received(scratch, count, has_more);
                        }
                        None => link.read_blocked(scratch),
                    },
                    // Everything was sent. How the peer ends makes no difference.
                    Err(_) if link.is_lingering() => link.received(scratch, 0, false),
                    Err(error) => return Err(error),
                },
                Step::Write => {
                    let count = match link.front(scratch) {
                        Front::Whole(bytes) => cx.write_inline(&[IoSlice::new(bytes)])?,
                        Front::File(range) => files::send_range(&range, cx)?,
                        Front::Memory | Front::Empty => gather(link.output(scratch), cx)?,
                    };
                    match count {
                        Some(count) => {
                            let may_be_room = cx.readiness().contains(Readiness::WRITABLE);
                            link.sent(scratch, count as u64, may_be_room);
                        }
                        None => link.write_blocked(scratch),
                    }
                }
                Step::ReadFile => read_file(link, scratch, cx)?,
                Step::ShutDown => half_close::end_output(link, scratch, cx)?,
                Step::Close => {
                    close(link, scratch, cx);
                    return Ok(());
                }
                // Almost every pass ends so. Apart, it takes two stores.
                Step::Wait(Wait::INPUT) => {
                    cx.set_interest(Interest::READ);
                    cx.set_unsent(false);
                    return Ok(());
                }
                Step::Wait(wait) => {
                    if wait.is_full {
                        link.unacknowledged(cx.unacknowledged());
                    }
                    cx.wait(wait);
                    return Ok(());
                }
            }
        }
    }
}

impl<A: 'static, S: Session<A>, L: Layer + 'static> Handler<A> for Stream<S, L> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        if cx.was_woken() {
            self.link.tell(Event::Woken);
        }
        self.drive(cx, None)
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.drive(cx, Some(timeout))
    }

    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // Transfers continue. A connection without output is closed when it is silent.
        cx.set_idle_timeout(Some(self.link.limits().stopping_quiet))?;
        self.link.tell(Event::Stopping);
        self.drive(cx, None)
    }

    fn save(&mut self, cx: &mut Cx<'_, A>) -> Option<Vec<u8>> {
        self.save_link(cx)
    }

    fn freeze(&mut self, cx: &mut Cx<'_, A>) -> bool {
        self.freeze_link(cx)
    }

    fn stays(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.link.thaw();
        cx.complete_thawed()?;
        cx.set_deadline_at(self.link.deadline());
        self.drive(cx, None)
    }

    fn closed(mut self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        session::tell_closed(&mut self.link, reason, cx);
    }
}

/// Counts a handshake that begins or ends. At its end, listeners that wait for it go on.
#[cold]
fn count_handshake<A>(begins: bool, core: &mut Core<A>) {
    if begins {
        core.handshakes += 1;
    } else {
        core.handshakes = core.handshakes.saturating_sub(1);
        core.wake_starved();
    }
}

/// Tells the link that the peer has ended its stream. Returns an error that no read would report.
#[inline(never)]
fn heed_ends<A, S, L: Layer>(
    link: &mut Link<S, L>,
    scratch: &mut Scratch,
    cx: &mut Cx<'_, A>,
) -> io::Result<()> {
    if link.is_frozen() {
        // The process that takes the connection over learns it from the socket.
        return Ok(());
    }
    link.hung_up(scratch);
    if planted::is(Planted::CloseBeforeData) && cx.readiness().contains(Readiness::READ_CLOSED) {
        cx.end(Reason::PeerClosed);
    }
    if cx.readiness().contains(Readiness::ERROR)
        && !link.reads()
        && let Some(error) = cx.take_error()?
    {
        cx.failed = Some("connection");
        return Err(error);
    }
    Ok(())
}

/// Reads what a layer has to see of a file.
#[cold]
fn read_file<A, S, L: Layer>(
    link: &mut Link<S, L>,
    scratch: &mut Scratch,
    cx: &mut Cx<'_, A>,
) -> io::Result<()> {
    let count = match link.file(scratch) {
        Some((range, room)) => files::read_range(&range, room, cx)?,
        None => 0,
    };
    link.file_read(scratch, count);
    Ok(())
}

/// Ends the source for the reason of its link.
#[cold]
fn close<A, S, L: Layer>(link: &mut Link<S, L>, scratch: &Scratch, cx: &mut Cx<'_, A>) {
    cx.set_unsent(!scratch.is_flushed() || link.is_incomplete());
    cx.end(link.take_reason().into());
}

/// Writes what is waiting in several segments.
#[inline(never)]
fn gather<A>(output: &Output, cx: &mut Cx<'_, A>) -> io::Result<Option<usize>> {
    let mut slices = [IoSlice::new(&[]); GATHER_MAX];
    let filled = output.gather(&mut slices);
    let slices = &slices[..filled];
    let gathered: usize = slices.iter().map(|slice| slice.len()).sum();
    // A range of a file follows, or more than fits into the slices.
    if (gathered as u64) < output.len() { cx.write_more(slices) } else { cx.write(slices) }
}

/// Carries out what a session asked for besides bytes.
#[cold]
fn carry_out<A>(effects: &mut Effects, quiet: Duration, cx: &mut Cx<'_, A>) {
    if let Some(limit) = effects.take_idle_limit() {
        limit_silence(limit, quiet, cx);
    }
    reach_others(effects, cx);
}

/// Sets the idle limit that a session asks for. While the loop winds down, only one that is busy may be
/// silent for longer than `quiet`.
pub(crate) fn limit_silence<A>(limit: IdleLimit, quiet: Duration, cx: &mut Cx<'_, A>) {
    cx.limit_silence(match limit {
        IdleLimit::Busy => None,
        IdleLimit::ByLoop | IdleLimit::Never if cx.is_winding_down() => Some(quiet),
        IdleLimit::ByLoop => cx.limits().idle_timeout,
        IdleLimit::Never => None,
    });
}

/// Wakes and closes other connections, and stops the loop, as a session asked for.
pub(crate) fn reach_others<A, P>(effects: &mut Effects, cx: &mut Cx<'_, A, P>) {
    for connection in effects.take_wakes() {
        cx.wake(Token::from(connection));
    }
    for connection in effects.take_closes() {
        cx.close(Token::from(connection));
    }
    match effects.take_stop() {
        Some(Stop::Soon) => cx.stop(),
        Some(Stop::Gracefully(patience)) => cx.stop_gracefully(patience),
        None => {}
    }
}

/// What each idle connection takes, beside its session.
const _: () = assert!(size_of::<Stream<()>>() == 32);
