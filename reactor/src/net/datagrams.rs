//! The driver of datagrams: gives each datagram of a socket to a codec and a service, and sends
//! their replies.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use log::{debug, warn};
use protocol::link::IdleLimit;
use protocol::{
    Cause, Codec, Context, DatagramFailure, Effects, Flow, Limits, Outbox, Peer, Reply, Service,
};

mod finishing;
mod handler;
mod order;
mod parking;
mod receiving;
mod sending;

use crate::net::stream::{limit_silence, reach_others};
use crate::reactor::backoff::{Backoff, Folding};
use crate::source::registration::{ExhaustedBy, Mode, Sharing};
use crate::sys::{Batch, DatagramOption, SendRoom};
use crate::{
    Address, Cx, DatagramSocket, Interest, Readiness, Reason, Registration, Role, TimerId, Token,
    kernel,
};
use parking::Parked;
use receiving::Reception;

/// The largest datagram of UDP, without its own header: what the kernel may ever return.
const UDP_SIZE_MAX: usize = 65_535;
/// How many batches are received while the loop winds down, one a turn.
const LAST_BATCHES: u32 = 64;

/// The timers of the driver itself. Those of the service have keys up to 255.
mod timer {
    /// Sending goes on after the kernel had no memory.
    pub(super) const SEND: u64 = 256;
    /// Receivers that were full are tried again.
    pub(super) const PARKED: u64 = 257;
    /// Receiving goes on after the kernel had no memory.
    pub(super) const RECEIVE: u64 = 258;
    /// More refusals wait than one turn takes.
    pub(super) const REFUSALS: u64 = 259;
}

/// The memory that all datagram sockets of a loop share while none of them works with it.
pub(crate) struct Room {
    batch: Batch,
    send: SendRoom,
    effects: Effects,
}

impl Room {
    fn new(size: usize) -> Self {
        Self { batch: Batch::new(size), send: SendRoom::default(), effects: Effects::default() }
    }
}

/// The handler of a datagram socket: drives a codec and a service. Each datagram is one message,
/// and each message of a reply is a datagram to the sender of the one that is answered.
///
/// The service is one value for the whole socket. [`Reply::peer`] tells it the sender, and
/// [`Reply::to`] sends to another peer. A datagram that is not exactly one message of the codec is
/// dropped alone, and counted
/// ([`Counters::datagrams_refused`](crate::Counters::datagrams_refused)); the codec then starts
/// anew. What happens to datagrams besides is told to the service
/// ([`Service::failed`]) and counted. A file in a reply cannot be sent.
///
/// Many datagrams are received and sent by one call. Those of one length to one peer are given to
/// the kernel as one (`UDP_SEGMENT`, `udp(7)`), which then takes between a quarter and four fifths
/// of the time (measured). They arrive one by one; if they are refused, the network says so once. If their
/// order does not matter ([`Codec::IS_ORDERED`]), the longest leave first, so that any two to one peer are
/// given as one.
///
/// The limits mean here: `message_size_max` is the size of the largest datagram that is received,
/// `read_budget` how many bytes are received in a turn. Reading stops while `output_high` bytes
/// wait to be sent, where each datagram counts 256 bytes more than it has, and goes on at
/// `output_low`. Beyond `output_max`, the oldest are dropped.
///
/// ```
/// use protocol::codecs::Bytes;
/// use protocol::{Context, Flow, Limits, Reply, Service};
/// use reactor::{Datagrams, DatagramOptions, DatagramSocket, Reactor};
///
/// struct Shout;
/// impl Service<Bytes> for Shout {
///     fn call(&mut self, bytes: &mut [u8], reply: &mut Reply<'_, Bytes>, _: &mut Context<'_>) -> Flow {
///         bytes.make_ascii_uppercase();
///         reply.send(bytes);
///         Flow::Continue
///     }
/// }
///
/// let mut reactor = Reactor::new(())?;
/// let socket = DatagramSocket::bind(&"udp://127.0.0.1:0".parse()?, &DatagramOptions::default())?;
/// let address = socket.address().clone();
/// Datagrams::serve(socket, Bytes, Shout, Limits::DEFAULT, &mut reactor.cx())?;
/// # let reactor::Address::Udp(address) = address else { unreachable!() };
/// # let client = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// # client.send_to(b"hello", address)?;
/// # while reactor.counters().datagrams_sent == 0 {
/// #     reactor.run_once(None)?;
/// # }
/// # let mut back = [0; 9];
/// # assert_eq!(client.recv(&mut back)?, 5);
/// # assert!(back.starts_with(b"HELLO"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Datagrams<C, S> {
    codec: C,
    /// The codec as it was given. It replaces one that has refused a datagram, since that may
    /// remember a part of it.
    fresh: C,
    service: S,
    limits: Arc<Limits>,
    place: Place,
    outbox: Outbox,
    reception: Reception,
    parked: Parked,
    /// The timeouts of the service.
    timeouts: Vec<(u8, TimerId)>,
    state: State,
    /// Sending waits for a timer, since the kernel has no memory.
    sending_pauses: Option<TimerId>,
    /// The backend reports when there is room to send. Otherwise it does not: it would whenever a
    /// peer receives a datagram.
    awaits_room: bool,
    /// An error of sending may have been that of an earlier datagram, so the first one that waits
    /// is tried again.
    tries: u32,
    /// Datagrams of up to this length are sent several at a time.
    segment_max: usize,
    /// How many more datagrams may be sent in this turn.
    sends_left: usize,
    /// How many more refusals may be taken in this turn.
    refusals_left: usize,
    pauses: Backoff,
    unsent_log: Folding,
    last_batches: u32,
}

/// What the driver has to know about its socket.
struct Place {
    address: Address,
    peer: Option<Address>,
    /// The file of a Unix socket, which is removed when this is dropped.
    file: Option<Arc<crate::net::socket_file::SocketFile>>,
    /// Other sockets are bound to the same port, and get their share of the senders.
    shares_port: bool,
}

impl Place {
    fn is_unix(&self) -> bool {
        self.address.is_unix()
    }
}

/// The progress of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    is_open: bool,
    /// The service waits to be woken.
    is_paused: bool,
    /// So much waits to be sent that nothing is received.
    is_full: bool,
    /// Everything is sent, and then the source ends.
    is_closing: bool,
    was_told_to_stop: bool,
    /// The service waits for answers that it is to send.
    is_busy: bool,
    /// Nothing more is received: the loop winds down, or another process goes on.
    is_finishing: bool,
    /// Another process goes on with the socket.
    is_retired: bool,
}

impl<C: Codec + Clone + 'static, S: 'static> Datagrams<C, S> {
    /// Registers a socket, whose datagrams `codec` and `service` handle from then on.
    ///
    /// A bound socket counts as a listener: it may be silent for ever. While the loop winds down, it
    /// answers what has arrived, and ends when the service is not busy
    /// ([`Effects::set_busy`](protocol::Effects::set_busy)). A connected socket counts as a connection, with
    /// its idle limit ([`LoopLimits::idle_timeout`](crate::LoopLimits::idle_timeout)).
    ///
    /// At most [`LoopLimits::datagrams_per_turn`](crate::LoopLimits::datagrams_per_turn) datagrams
    /// are received in a turn.
    ///
    /// # Errors
    /// When `limits` cannot be worked with, or the kernel refuses to watch the socket.
    pub fn serve<A: 'static, P>(
        socket: DatagramSocket,
        codec: C,
        service: S,
        limits: impl Into<Arc<Limits>>,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Token>
    where
        S: Service<C, A>,
    {
        let limits = limits.into();
        limits.check()?;
        let place = Place {
            address: socket.address().clone(),
            peer: socket.peer().cloned(),
            file: socket.file,
            shares_port: socket.shares_port,
        };
        let is_unix = place.is_unix();
        if !is_unix && socket.is_coalescing && limits.message_size_max >= UDP_SIZE_MAX {
            let (fd, option) = (socket.fd.as_fd(), DatagramOption::Coalescing);
            kernel::set_datagram_option(fd, option, false, 1)?;
        }
        let role = if place.peer.is_some() { Role::Connection } else { Role::Listener };
        let registration = Registration {
            role,
            mode: Mode::Nonblocking,
            exhausted_by: ExhaustedBy::WouldBlock,
            // The file of a Unix socket and other handles have copies.
            sharing: Sharing::Possible,
            // The first call opens the service, and finds out whether there is a datagram already.
            assumed: Readiness::READABLE | Readiness::WRITABLE,
            ..Registration::new(Interest::READ)
        };
        let handler = Self {
            fresh: codec.clone(),
            codec,
            service,
            limits,
            place,
            outbox: Outbox::new(),
            reception: Reception::default(),
            parked: Parked::default(),
            timeouts: Vec::new(),
            state: State::default(),
            sending_pauses: None,
            awaits_room: false,
            tries: 0,
            segment_max: if is_unix { 0 } else { usize::MAX },
            sends_left: 0,
            refusals_left: 0,
            pauses: Backoff::default(),
            unsent_log: Folding::default(),
            last_batches: 0,
        };
        let token = cx.register(socket.fd, registration, handler)?;
        cx.core.report_writable(token.tag_in(cx.core.home), false)?;
        Ok(token)
    }

    /// Lends the shared memory of the loop to `call`, and settles what the socket waits for.
    fn with_room<A: 'static>(
        &mut self,
        cx: &mut Cx<'_, A>,
        call: impl FnOnce(&mut Self, &mut Room, &mut Cx<'_, A>) -> io::Result<()>,
    ) -> io::Result<()>
    where
        S: Service<C, A>,
    {
        let size = match self.place.is_unix() {
            true => self.limits.message_size_max,
            false => self.limits.message_size_max.min(UDP_SIZE_MAX),
        };
        let mut shared = cx.core.shared.datagrams.take();
        let is_enough = shared.as_mut().is_some_and(|room| room.batch.keep(size));
        let shared = shared.filter(|_| is_enough);
        let mut room = shared.unwrap_or_else(|| Box::new(Room::new(size)));
        self.sends_left = cx.limits().datagrams_per_turn;
        self.refusals_left = self.sends_left;
        let result = call(self, &mut room, cx).and_then(|()| self.settle(&mut room, cx));
        self.take_effects(&mut room, cx);
        cx.core.shared.datagrams = Some(room);
        result
    }

    /// Opens the service, if this is the first call.
    fn open<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>)
    where
        S: Service<C, A>,
    {
        if !std::mem::replace(&mut self.state.is_open, true) {
            let flow = self.tell(Cause::Opened, None, room, cx, |service, reply, context| {
                service.open(reply, context)
            });
            self.state.is_paused = flow == Flow::Pause;
        }
    }

    /// Calls the service for any reason but a message.
    fn tell<A>(
        &mut self,
        cause: Cause,
        peer: Option<Peer>,
        room: &mut Room,
        cx: &mut Cx<'_, A>,
        call: impl FnOnce(&mut S, &mut Reply<'_, C>, &mut Context<'_, A>) -> Flow,
    ) -> Flow
    where
        S: Service<C, A>,
    {
        let Self { codec, service, limits, outbox, .. } = self;
        let (now, me) = (cx.now(), cx.me().into());
        let mut context = Context::new(now, me, cx.app, limits, &mut room.effects).because(cause);
        let flow = outbox.reply(codec, peer, |reply| call(service, reply, &mut context));
        self.follow(flow, cx);
        flow
    }

    /// Tells the service of a failure.
    #[cold]
    fn tell_failure<A>(
        &mut self,
        failure: &DatagramFailure,
        peer: Option<Peer>,
        room: &mut Room,
        cx: &mut Cx<'_, A>,
    ) where
        S: Service<C, A>,
    {
        debug!(
            "{} at {}: {failure}, peer {}",
            cx.me(),
            self.place.address,
            peer.as_ref().map_or_else(|| "unknown".to_owned(), Peer::to_string)
        );
        let flow = self.tell(Cause::Input, peer, room, cx, |service, reply, context| {
            service.failed(failure, reply, context)
        });
        self.state.is_paused |= flow == Flow::Pause;
    }

    /// Follows what the service has returned, apart from a pause, and bounds what waits.
    #[inline]
    fn follow<A>(&mut self, flow: Flow, cx: &mut Cx<'_, A>) {
        match flow {
            Flow::Continue | Flow::Pause => {}
            Flow::Close => self.state.is_closing = true,
            Flow::Upgrade => {
                cx.end(Reason::Refused("datagrams have no session to change to".into()));
            }
        }
        if self.outbox.cost() > self.limits.output_max {
            self.drop_oldest(cx);
        }
    }

    /// Drops the datagrams that wait beyond what the limit allows.
    #[cold]
    fn drop_oldest<A>(&mut self, cx: &mut Cx<'_, A>) {
        while self.outbox.cost() > self.limits.output_max && self.outbox.remove_first().is_some() {
            self.count_unsent("more wait than output_max allows", cx);
        }
    }

    /// Counts a datagram that is dropped unsent.
    #[cold]
    fn count_unsent<A>(&mut self, why: &str, cx: &mut Cx<'_, A>) {
        cx.core.counters.datagrams_unsent += 1;
        if let Some(folded) = self.unsent_log.admit(cx.now()) {
            warn!("{}: a datagram was not sent: {why}{folded}", self.place.address);
        }
    }

    /// Decides what the socket waits for, or ends it.
    fn settle<A: 'static>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        S: Service<C, A>,
    {
        if self.state.is_full && self.outbox.cost() <= self.limits.output_low {
            self.state.is_full = false;
            let flow = self.tell(Cause::Drained, None, room, cx, |service, reply, context| {
                service.drained(reply, context)
            });
            self.state.is_paused |= flow == Flow::Pause;
            self.flush(room, cx)?;
        }
        self.state.is_full |= self.outbox.cost() >= self.limits.output_high;
        if self.state.is_closing && self.outbox.is_empty() && self.parked.is_empty() {
            let (now, me) = (cx.now(), cx.me().into());
            let limits = &self.limits;
            self.service.ending(&mut Context::new(now, me, cx.app, limits, &mut room.effects));
            cx.end(if self.state.is_retired { Reason::HandedOver } else { Reason::Finished });
        }
        let read = if self.may_receive() { Interest::READ } else { Interest::NONE };
        let is_sending = !self.outbox.is_empty() && self.sending_pauses.is_none();
        let is_blocked = is_sending && !cx.readiness().contains(Readiness::WRITABLE);
        if is_blocked != self.awaits_room {
            self.awaits_room = is_blocked;
            cx.core.report_writable(cx.me, is_blocked)?;
        }
        cx.set_interest(if is_sending { read | Interest::WRITE } else { read });
        Ok(())
    }

    /// Returns whether the socket is connected, so that all datagrams are from and to one peer.
    fn is_connected(&self) -> bool {
        self.place.peer.is_some()
    }

    fn may_receive(&self) -> bool {
        let State { is_paused, is_full, is_closing, is_finishing, .. } = self.state;
        !is_paused && !is_full && !is_closing && !is_finishing && !self.reception.is_paused()
    }

    /// Carries out what the service has asked for besides datagrams, if there is anything.
    #[inline]
    fn take_effects<A: 'static>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>) {
        if room.effects.take_asked() {
            self.carry_out(&mut room.effects, cx);
        }
    }

    /// Carries out what the service has asked for besides datagrams.
    fn carry_out<A: 'static>(&mut self, effects: &mut Effects, cx: &mut Cx<'_, A>) {
        for (key, after) in effects.take_timeouts() {
            self.timeouts.retain(|(other, timer)| {
                let is_same = *other == key;
                if is_same {
                    cx.cancel_timer(*timer);
                }
                !is_same
            });
            if let Some(after) = after {
                self.timeouts.push((key, cx.set_timer(after, None, u64::from(key))));
            }
        }
        if let Some(limit) = effects.take_idle_limit() {
            self.state.is_busy = limit == IdleLimit::Busy;
            if self.is_connected() {
                limit_silence(limit, self.limits.stopping_quiet, cx);
            } else if self.state.is_finishing {
                self.finish(cx);
            }
        }
        reach_others(effects, cx);
    }
}
