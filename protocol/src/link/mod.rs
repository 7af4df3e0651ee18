//! One connection without I/O, for drivers: the rules that hold for every connection, however its
//! bytes are moved.
//!
//! A [`Link`] holds a session and the rules of a connection: when reading stops and goes on, the
//! order in which the session is told of what happened, half-close, lingering, deadlines, limits.
//! A driver moves the bytes. It tells the link what happened, and asks what comes next:
//!
//! ```
//! use protocol::codecs::Lines;
//! use protocol::link::{Front, Link, Moment, Scratch, Step};
//! use protocol::{ConnectionId, Context, Conversation, Flow, Limits, Reply, Service};
//! use std::time::{Duration, Instant};
//!
//! struct Shout;
//! impl Service<Lines> for Shout {
//!     fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
//!         line.make_ascii_uppercase();
//!         reply.send(line);
//!         Flow::Continue
//!     }
//! }
//!
//! let mut received: &[u8] = b"one\ntwo\n";
//! let mut sent = Vec::new();
//! let moment = Moment { now: Instant::now(), lost: Duration::ZERO };
//! let mut scratch = Scratch::new(moment.now); // One for all links of a driver.
//! let mut link = Link::new(Conversation::new(Lines::default(), Shout), Limits::DEFAULT.shared()?);
//!
//! link.begin(&mut scratch, moment);
//! let reason = loop {
//!     match link.step(&mut scratch) {
//!         Step::Call => link.call(&mut scratch, ConnectionId(1), &mut ()),
//!         Step::Read(room) => {
//!             let count = room.len().min(received.len());
//!             room[..count].copy_from_slice(&received[..count]);
//!             received = &received[count..];
//!             link.received(&mut scratch, count, true); // Nothing received is the end.
//!         }
//!         Step::Write => {
//!             let Front::Whole(bytes) = link.front(&scratch) else { panic!("it says little") };
//!             sent.extend_from_slice(bytes);
//!             let count = bytes.len() as u64;
//!             link.sent(&mut scratch, count, true);
//!         }
//!         Step::Close => break link.take_reason(),
//!         other => panic!("this session asks for nothing else: {other:?}"),
//!     }
//! };
//! link.end(&mut scratch);
//! assert_eq!(sent, b"ONE\nTWO\n");
//! assert!(reason.is_orderly());
//! # Ok::<(), protocol::LimitsError>(())
//! ```
//!
//! `reactor::Stream` is such a driver for readiness; [`testing`](crate::testing) has one in memory.

mod ending;
mod handover;
mod layer;
mod pass;
mod scratch;
mod sealing;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::effects::{IdleLimit, Stop};
pub use crate::output::Front;
pub use ending::Passed;
pub use layer::{Layer, Opened, Plain, SEALED_MAX};
pub use scratch::Scratch;

use crate::Limits;
use ending::Extra;
use scratch::Rest;

/// One connection without I/O: a session, a layer, and what every connection does. See the
/// [module](self).
#[derive(Debug)]
pub struct Link<S, L = Plain> {
    session: S,
    layer: L,
    limits: Arc<Limits>,
    /// What is left over between two passes.
    rest: Option<Box<Rest>>,
    /// What only some connections need.
    extra: Option<Box<Extra>>,
    /// How many bytes the peer had not acknowledged at the last query, or [`UNKNOWN`].
    unacknowledged: u32,
    stage: Stage,
    write_half: WriteHalf,
    /// What the session is still to be told.
    pending: u8,
    flags: u8,
}

/// Each idle connection has one, beside its session.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Link<()>>() == 32);

/// Something was sent since the driver last asked what the peer has acknowledged.
const UNKNOWN: u32 = u32::MAX;

/// What the session is to be told, in the order in which it is told.
mod cause {
    pub(super) const OPENED: u8 = 1 << 0;
    pub(super) const STOPPING: u8 = 1 << 1;
    pub(super) const WOKEN: u8 = 1 << 2;
    pub(super) const TIMEOUT: u8 = 1 << 3;
    pub(super) const DRAINED: u8 = 1 << 4;
    pub(super) const HUNG_UP: u8 = 1 << 5;
    pub(super) const INPUT: u8 = 1 << 6;
    /// `DRAINED`, in the next pass: if the peer accepts everything at once, other connections run
    /// before it gets more.
    pub(super) const DRAINED_LATER: u8 = 1 << 7;
}

/// What is known of a link, in one byte.
mod flag {
    /// The session takes no input.
    pub(super) const PAUSED: u8 = 1 << 0;
    pub(super) const INPUT_ENDED: u8 = 1 << 1;
    /// The session was told that its peer has ended its stream.
    pub(super) const TOLD_HUNG_UP: u8 = 1 << 2;
    /// The output has been above its low mark, and the session is told when it falls to it.
    pub(super) const ABOVE_LOW: u8 = 1 << 3;
    /// The loop stops gracefully.
    pub(super) const STOPS: u8 = 1 << 4;
    /// The layer has started: it is between the link and the wire,
    pub(super) const LAYERED: u8 = 1 << 5;
    /// and has said that nothing more is sent.
    pub(super) const LAYER_FINISHED: u8 = 1 << 6;
    /// The wire has ended: there is nothing to linger for. A layer may end the input before.
    pub(super) const WIRE_ENDED: u8 = 1 << 7;
}

/// The stage of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The layer, which is there from the beginning, has not started.
    New,
    /// The session has not been told that the connection is open.
    Opening,
    /// Another process has saved the connection. The session has not been told that it goes on here.
    Restored,
    Open,
    /// Nothing happens until it is thawed: it may go on in another process. It was open or opening,
    Frozen,
    /// new,
    FrozenNew,
    /// or restored.
    FrozenRestored,
    /// The session is done, and its output is being sent.
    Closing,
    /// All output was sent, and the sending side has ended. What it still sends is discarded until
    /// it ends its stream too.
    Lingering,
    /// The peer has ended its stream, or has sent too much, while the link lingered.
    Over,
}

/// The state of the sending side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteHalf {
    Open,
    /// It is open, and the peer would take its end now for the end of the output, which it is not.
    Incomplete,
    /// The session has ended its output, and what there is of it is being sent.
    Ending,
    Ended,
}

/// The time of one pass.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time, which does not go back.
    pub now: Instant,
    /// How much time the driver has lost in total, for example while its process was stopped. Lost
    /// time does not count as silence of a peer.
    pub lost: Duration,
}

/// What happened to a connection besides bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session was woken.
    Woken,
    /// The loop stops gracefully.
    Stopping,
}

/// What a link wants its driver to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Call [`Link::call`]: there is something to tell the session.
    Call,
    /// Read into this room. Report the number of bytes with [`Link::received`], or that there were
    /// none with [`Link::read_blocked`].
    Read(&'a mut [u8]),
    /// Write what [`Link::front`] returns. Report the number of bytes with [`Link::sent`], or that
    /// none were accepted with [`Link::write_blocked`].
    Write,
    /// Read the beginning of the file range at the front of the output. [`Link::file`] returns the
    /// range and the room for its bytes. Report the number of bytes with [`Link::file_read`]. Only
    /// links with a layer return this step.
    ReadFile,
    /// End the sending side (`shutdown(2)`).
    ShutDown,
    /// Close the connection for the reason that [`Link::take_reason`] returns, so that the peer
    /// notices if output is unsent or [incomplete](Link::is_incomplete): over TCP, by a reset.
    Close,
    /// Nothing can be done now: wait.
    Wait(Wait),
}

/// Where a driver puts what it has received ([`Link::input_storage`]).
#[derive(Debug)]
pub enum Storage<'a> {
    /// An empty buffer, whose storage may be exchanged for other storage of the same size.
    Empty(&'a mut Vec<u8>),
    /// Room behind the bytes that wait to be consumed.
    Behind(&'a mut [u8]),
}

/// What a link waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// Until there is something to read.
    pub read: bool,
    /// Until there is room to write.
    pub write: bool,
    /// Until the peer ends its stream. Set while the link does not read, since reading would notice
    /// the end.
    pub hang_up: bool,
    /// Whether closing the connection now would lose output, or the peer would take the output for
    /// complete ([`Link::is_incomplete`]).
    pub is_unsent: bool,
    /// Whether the output was written until there was no more room. If so, the driver calls
    /// [`Link::unacknowledged`] where the system reports that number.
    pub is_full: bool,
}

impl Wait {
    /// Until there is something to read, with no output left: what most links wait for.
    pub const INPUT: Self =
        Self { read: true, write: false, hang_up: false, is_unsent: false, is_full: false };
}

impl<S> Link<S> {
    /// Returns a link that drives `session` without a layer.
    pub fn new(session: S, limits: Arc<Limits>) -> Self {
        Self::build(session, Plain, limits, Stage::Opening)
    }
}

impl<S, L: Layer> Link<S, L> {
    /// Returns a link whose bytes pass through `layer` from the beginning, if there is one
    /// ([`Layer::is_absent`]).
    pub fn with_layer(session: S, layer: L, limits: Arc<Limits>) -> Self {
        let stage = if layer.is_absent() { Stage::Opening } else { Stage::New };
        Self::build(session, layer, limits, stage)
    }

    /// Returns a link whose bytes pass through `layer` once the session has started it
    /// ([`Effects::start_layer`](crate::Effects::start_layer)).
    pub fn with_layer_later(session: S, layer: L, limits: Arc<Limits>) -> Self {
        Self::build(session, layer, limits, Stage::Opening)
    }

    fn build(session: S, layer: L, limits: Arc<Limits>, stage: Stage) -> Self {
        Self {
            session,
            layer,
            limits,
            rest: None,
            extra: None,
            unacknowledged: UNKNOWN,
            stage,
            write_half: WriteHalf::Open,
            pending: cause::OPENED,
            flags: 0,
        }
    }

    /// Returns the session.
    pub fn session(&self) -> &S {
        &self.session
    }

    /// Returns the session, for a driver that knows it. What the driver changes takes effect when
    /// the session is called next.
    pub fn session_mut(&mut self) -> &mut S {
        &mut self.session
    }

    /// Returns the session of a connection that has ended.
    pub fn into_session(self) -> S {
        self.session
    }

    /// Returns the layer.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// Returns the limits of the connection.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns whether the peer has ended its stream, as far as the link was told.
    pub fn input_ended(&self) -> bool {
        self.has(flag::INPUT_ENDED)
    }

    /// Returns how many bytes of output, sealed or not, the link keeps between two passes.
    pub fn unsent_kept(&self) -> u64 {
        self.rest.as_ref().map_or(0, |rest| rest.unsent())
    }

    /// Returns whether the link reads. If not, no read returns an error of the connection, so the
    /// driver has to report it.
    #[inline]
    pub fn reads(&self) -> bool {
        self.wants_input() || self.stage == Stage::Lingering
    }

    /// Returns whether the link lingers: it discards what it reads, and an error of the connection
    /// no longer matters.
    pub fn is_lingering(&self) -> bool {
        matches!(self.stage, Stage::Lingering | Stage::Over)
    }

    /// Returns whether the layer has started, and its handshake goes on. A driver limits how many do so
    /// at a time (P9).
    #[inline]
    pub fn is_in_handshake(&self) -> bool {
        !L::IS_PLAIN && !self.is_ready()
    }

    /// Returns whether the session's part has ended: what is left of the output is being sent, or
    /// the connection is over.
    pub fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Closing | Stage::Lingering | Stage::Over)
    }

    /// Returns whether the session's output is incomplete, and the peer would not notice if the
    /// connection ended in order ([`Effects::set_incomplete`](crate::Effects::set_incomplete)).
    pub fn is_incomplete(&self) -> bool {
        self.write_half == WriteHalf::Incomplete
    }

    /// Returns whether this is an open link whose session takes whatever comes and is to be told
    /// `pending`, and nothing else is special about it: the usual state.
    #[inline]
    fn is_usual(&self, pending: u8) -> bool {
        // The compiler makes one comparison of it.
        let state = [self.pending, self.flags, self.stage as u8, self.write_half as u8];
        state == [pending, 0, Stage::Open as u8, WriteHalf::Open as u8]
    }

    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[inline]
    fn set(&mut self, flag: u8, value: bool) {
        self.flags = if value { self.flags | flag } else { self.flags & !flag };
    }

    #[inline]
    fn wants_input(&self) -> bool {
        match self.stage {
            Stage::Open | Stage::Restored => self.flags & (flag::PAUSED | flag::INPUT_ENDED) == 0,
            // A layer that is not ready has something to hear first.
            Stage::New | Stage::Opening => !self.has(flag::INPUT_ENDED),
            Stage::Frozen | Stage::FrozenNew | Stage::FrozenRestored => false,
            Stage::Closing | Stage::Lingering | Stage::Over => false,
        }
    }

    /// Returns whether bytes pass through the layer.
    #[inline]
    fn is_layered(&self) -> bool {
        !L::IS_PLAIN && self.has(flag::LAYERED)
    }

    /// Returns whether the session's bytes can pass.
    #[inline]
    fn is_ready(&self) -> bool {
        !self.is_layered() || self.layer.is_ready()
    }
}
