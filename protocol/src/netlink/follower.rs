//! Follows the state of the kernel: everything first, then changes, and everything again when messages were
//! lost.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use super::event::Event;
use super::message::{Flags, Message, MessageKind, Messages};
use super::network::Network;
use super::plan::{Selection, Topic, subject};
use super::{MessageError, Request};

mod apply;

/// How long after a loss everything is asked for again. It doubles while losses go on.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long after a change that may have ended routes, of which the kernel says nothing, routes are asked
/// for.
const SETTLE: Duration = Duration::from_millis(50);
/// How many dumps of a topic may be interrupted one after the other. What the last of them does not mention
/// was mentioned by one before, unless it is gone.
const INTERRUPTED_MAX: u32 = 8;

/// Limits of a [`Follower`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowLimits {
    /// How many bytes the known state may take. A route takes about 250, a link about 400, a
    /// neighbour about 180.
    pub size_max: usize,
    /// How many removals during one dump are remembered. With more, the dump is repeated.
    pub removals_max: usize,
}

impl FollowLimits {
    /// 256 MiB, enough for the million routes of the Internet, and 65,536 removals.
    pub const DEFAULT: Self = Self { size_max: 256 << 20, removals_max: 65_536 };
}

impl Default for FollowLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a follower cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowError {
    /// The kernel has sent what is no message.
    Message(MessageError),
    /// The kernel refuses to tell: the number of its error (`errno(3)`).
    Refused(Topic, i32),
    /// The state takes more bytes than [`FollowLimits::size_max`], which is this.
    TooMuch(usize),
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => write!(f, "{error}"),
            Self::Refused(topic, number) => {
                write!(f, "the kernel does not tell its {}: error {number}", topic.name())
            }
            Self::TooMuch(size_max) => {
                write!(
                    f,
                    "the links, addresses, routes and neighbours take more than {size_max} bytes"
                )
            }
        }
    }
}

impl Error for FollowError {}

impl From<MessageError> for FollowError {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

/// What a driver does next, once it has read everything that there was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It sends this to the kernel, and then reads.
    Send(Vec<u8>),
    /// It reads, and asks again at this time.
    At(Instant),
    /// It reads.
    Read,
}

/// Follows the state of the kernel. It performs no I/O: a driver has a socket that has joined
/// [`Selection::groups`] before the first request, passes what the kernel sends to
/// [`datagram`](Self::datagram), says when messages were lost ([`overrun`](Self::overrun)), and does what
/// [`next`](Self::next) returns.
///
/// Notifications are applied when they arrive, also during a dump. What a dump says about something that was
/// in a notification since its beginning is older, and ignored. So changes during a dump are neither lost
/// nor undone.
///
/// It makes progress however fast things change. Routes that are in doubt are asked for again, which
/// [`Event::Complete`] does not wait for. Of a topic whose dumps are interrupted eight times in a row, what
/// all of these have mentioned counts, and it is asked for once more later.
///
/// ```
/// use protocol::netlink::{FollowLimits, Follower, Next, Selection};
/// use std::time::Instant;
///
/// // The driver has opened a socket, and its port is 4711.
/// let mut follower = Follower::new(Selection::ALL, FollowLimits::DEFAULT, 4711);
/// // Its first request is for all links.
/// let Next::Send(request) = follower.next(Instant::now()) else { unreachable!() };
/// // The kernel answers that there are none.
/// let mut answer = vec![20, 0, 0, 0, 3, 0, 2, 0];
/// answer.extend(1_u32.to_ne_bytes());
/// answer.extend(4711_u32.to_ne_bytes());
/// answer.extend(0_u32.to_ne_bytes());
/// # if cfg!(target_endian = "little") {
/// follower.datagram(&answer, Instant::now(), &mut |event, _network| println!("{event:?}"))?;
/// // What was known and is not mentioned is gone.
/// while follower.is_sweeping() {
///     follower.sweep(100, &mut |event, _network| println!("{event:?}"));
/// }
/// // The next one is for all addresses.
/// assert!(matches!(follower.next(Instant::now()), Next::Send(_)));
/// # }
/// # Ok::<(), protocol::netlink::FollowError>(())
/// ```
#[derive(Debug)]
pub struct Follower {
    selection: Selection,
    limits: FollowLimits,
    /// The port of the socket, which answers name.
    port: u32,
    network: Network,
    topics: [State; Topic::ALL.len()],
    dump: Option<Dump>,
    sequence: u32,
    /// No request is made before this time.
    not_before: Option<Instant>,
    pause: Duration,
}

/// What is known of a topic, and what is still to be asked for.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Its first dump has begun. What came before is part of it.
    is_begun: bool,
    /// A dump is needed before everything is known.
    is_wanted: bool,
    /// Something may have changed of which the kernel says nothing: it is asked for again at this time.
    doubted: Option<Instant>,
    /// How many dumps in a row were interrupted, and the number of the first of them.
    interrupted: u32,
    first: u32,
}

/// A dump that the kernel is sending.
#[derive(Debug)]
struct Dump {
    topic: Topic,
    sequence: u32,
    flaw: Flaw,
    /// The keys of what was removed since its beginning.
    removed: HashSet<Box<[u8]>>,
    /// The end has come, and what it did not mention is being removed: the last key that was looked at.
    swept: Option<Box<[u8]>>,
    /// What is new, by key, in a place of which something may be removed at the end. It is stored and
    /// reported after that, so that an addition is the last that is told of a place.
    late: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// How many bytes that takes, about.
    late_size: usize,
    /// What this dump has mentioned, or one of those from this on, is there.
    first: u32,
}

/// What is wrong with a dump, so that it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    None,
    /// It may lack something (`NLM_F_DUMP_INTR`).
    Interrupted,
    /// It may have mentioned something that was removed: the notification was lost, or there were too many.
    Outdated,
}

impl Follower {
    /// Returns a follower for a socket with this port (`nl_pid`, `netlink(7)`).
    pub fn new(selection: Selection, limits: FollowLimits, port: u32) -> Self {
        let topics =
            Topic::ALL.map(|topic| State { is_wanted: selection.has(topic), ..State::default() });
        Self {
            selection,
            limits,
            port,
            network: Network::default(),
            topics,
            dump: None,
            sequence: 0,
            not_before: None,
            pause: PAUSE_MIN,
        }
    }

    /// Returns what is known.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Returns what to do next. The driver calls it when it has read everything that there was: then the
    /// kernel drops no more messages.
    pub fn next(&mut self, now: Instant) -> Next {
        let (None, Some((topic, due))) = (&self.dump, self.first_due()) else { return Next::Read };
        if let Some(at) = due.max(self.not_before).filter(|at| *at > now) {
            return Next::At(at);
        }
        self.not_before = None;
        // Zero is the number of no dump.
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let state = &mut self.topics[topic as usize];
        (state.is_begun, state.is_wanted, state.doubted) = (true, false, None);
        self.dump = Some(Dump {
            topic,
            sequence: self.sequence,
            flaw: Flaw::None,
            removed: HashSet::new(),
            swept: None,
            late: BTreeMap::new(),
            late_size: 0,
            first: self.sequence,
        });
        Next::Send(Request::dump(topic.request(), self.sequence))
    }

    /// Returns what is to be asked for first, and when, if not at once. What is wanted comes before what is
    /// in doubt.
    fn first_due(&self) -> Option<(Topic, Option<Instant>)> {
        let states = || Topic::ALL.into_iter().map(|it| (it, &self.topics[it as usize]));
        if let Some((topic, _)) = states().find(|(_, it)| it.is_wanted) {
            return Some((topic, None));
        }
        let doubted = states().filter_map(|(topic, it)| Some((topic, it.doubted?)));
        doubted.min_by_key(|(_, at)| *at).map(|(topic, at)| (topic, Some(at)))
    }

    /// Takes a datagram of the kernel, and calls `call` for each event. The driver has checked that the
    /// kernel has sent it (port 0).
    ///
    /// # Errors
    /// When the follower cannot go on.
    pub fn datagram(
        &mut self,
        datagram: &[u8],
        now: Instant,
        call: &mut impl FnMut(Event<'_>, &Network),
    ) -> Result<(), FollowError> {
        for message in Messages::new(datagram) {
            let message = message?;
            let is_answer =
                |it: &Dump| (it.sequence, self.port) == (message.sequence, message.port);
            if self.dump.as_ref().is_some_and(is_answer) {
                self.answer(&message, now, call)?;
            } else if message.kind == MessageKind::OVERRUN {
                self.overrun(now, call);
            } else if let Some((topic, presence)) = subject(message.kind) {
                self.notify(topic, presence, &message, now, call)?;
            }
        }
        let late_size = self.dump.as_ref().map_or(0, |it| it.late_size);
        match self.network.size() + late_size > self.limits.size_max {
            true => Err(FollowError::TooMuch(self.limits.size_max)),
            false => Ok(()),
        }
    }

    /// Records that messages were lost (`ENOBUFS`), so that everything is asked for again.
    pub fn overrun(&mut self, now: Instant, call: &mut impl FnMut(Event<'_>, &Network)) {
        for topic in Topic::ALL {
            // What was not begun is asked for anyway.
            let state = &mut self.topics[topic as usize];
            state.is_wanted |= self.selection.has(topic);
            state.interrupted = 0;
        }
        if let Some(dump) = &mut self.dump {
            dump.flaw = Flaw::Outdated;
        }
        self.postpone(now);
        if self.network.is_complete() {
            self.network.set_complete(false);
            call(Event::Overrun, &self.network);
        }
    }

    /// Goes on with another socket, whose port this is. Everything is asked for again.
    pub fn restart(&mut self, port: u32, now: Instant, call: &mut impl FnMut(Event<'_>, &Network)) {
        self.port = port;
        self.dump = None;
        self.overrun(now, call);
    }

    /// Returns whether a dump has ended, and what it did not mention is still to be removed
    /// ([`sweep`](Self::sweep)). Until then, the driver reads nothing.
    pub fn is_sweeping(&self) -> bool {
        self.dump.as_ref().is_some_and(|it| it.swept.is_some())
    }

    /// Looks at `count` entries, and removes those that the dump did not mention. After the last, it stores
    /// as many of those that had to wait for this.
    pub fn sweep(&mut self, count: usize, call: &mut impl FnMut(Event<'_>, &Network)) {
        let Some(Dump { topic, sequence, first, swept: Some(from), .. }) = &self.dump else {
            return;
        };
        let (topic, sequence) = (*topic, *sequence);
        let age_max = sequence.wrapping_sub(*first);
        let mut last = None;
        let mut looked = 0;
        let mut missing = Vec::new();
        for (key, entry) in self.network.beyond(topic, from).take(count) {
            looked += 1;
            last = Some(Box::from(key));
            if sequence.wrapping_sub(entry.seen) > age_max {
                missing.push(Box::<[u8]>::from(key));
            }
        }
        for key in missing {
            self.remove(topic, &key, None, call);
        }
        if let Some(dump) = self.dump.as_mut().filter(|_| looked == count) {
            dump.swept = last;
        } else if self.add_late(topic, topic.prefix(), count, call) {
            self.end_dump(call);
        }
    }

    /// Takes an answer to the request of the dump.
    fn answer(
        &mut self,
        message: &Message<'_>,
        now: Instant,
        call: &mut impl FnMut(Event<'_>, &Network),
    ) -> Result<(), FollowError> {
        let Some(dump) = &mut self.dump else { return Ok(()) };
        let topic = dump.topic;
        if message.flags.contains(Flags::DUMP_INTERRUPTED) {
            dump.flaw = dump.flaw.max(Flaw::Interrupted);
        }
        match message.kind {
            MessageKind::DONE | MessageKind::ERROR => match message.error_number() {
                Some(number) => Err(FollowError::Refused(topic, number)),
                None => {
                    self.dump_done(now, call);
                    Ok(())
                }
            },
            kind if subject(kind).is_some_and(|(it, _)| it == topic) => self.dumped(message, call),
            _ => Ok(()),
        }
    }

    /// Takes the end of the dump: begins to remove what it did not mention, or repeats it.
    fn dump_done(&mut self, now: Instant, call: &mut impl FnMut(Event<'_>, &Network)) {
        let Some(dump) = &mut self.dump else { return };
        let state = &mut self.topics[dump.topic as usize];
        match dump.flaw {
            Flaw::None => {
                state.interrupted = 0;
                dump.swept = Some(dump.topic.prefix().into());
                return;
            }
            Flaw::Interrupted => {
                if state.interrupted == 0 {
                    state.first = dump.sequence;
                }
                state.interrupted += 1;
            }
            Flaw::Outdated => state.interrupted = 0,
        }
        if state.interrupted >= INTERRUPTED_MAX {
            dump.first = state.first;
            dump.swept = Some(dump.topic.prefix().into());
            state.interrupted = 0;
            state.doubted = Some(now + PAUSE_MAX);
        } else {
            state.is_wanted = true;
            let topic = dump.topic;
            // Those that repeat it may not mention what it has mentioned.
            self.add_late(topic, topic.prefix(), usize::MAX, call);
            self.dump = None;
            self.postpone(now);
        }
    }

    /// Ends the dump. If nothing else is to be asked for, the state is complete.
    fn end_dump(&mut self, call: &mut impl FnMut(Event<'_>, &Network)) {
        self.dump = None;
        if self.topics.iter().any(|it| it.is_wanted) {
            return;
        }
        self.pause = PAUSE_MIN;
        if !self.network.is_complete() {
            self.network.set_complete(true);
            call(Event::Complete, &self.network);
        }
    }

    /// Makes no request for a while, and for longer the next time. Losses during a pause do not make it
    /// longer.
    fn postpone(&mut self, now: Instant) {
        if self.not_before.is_none() {
            self.not_before = Some(now + self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks for routes soon, since the kernel does not tell all that happens to them.
    fn doubt_routes(&mut self, now: Instant) {
        let routes = &mut self.topics[Topic::Routes as usize];
        if self.selection.routes && routes.is_begun && !routes.is_wanted {
            // Later doubts do not postpone it.
            routes.doubted.get_or_insert(now + SETTLE);
        }
    }
}
