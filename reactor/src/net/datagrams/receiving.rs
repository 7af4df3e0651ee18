//! Receiving datagrams, and the refusals of the network.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Duration;

use log::warn;
use protocol::{Codec, Context, DatagramFailure, Decoded, Effects, Flow, Outbox, Peer, Service};

use super::order::{self, Order};
use super::{Datagrams, Room, timer};
use crate::reactor::backoff::{Backoff, Folding};
use crate::sys::{BATCH_MAX, Batch, Local, Notes, Received, Remote};
use crate::{Cx, Interest, Readiness, kernel};

/// How large a datagram is assumed to be before one was received, in bytes.
const SIZE_ASSUMED: usize = 2048;

/// How much waits before it is sent, in bytes as [`Outbox::cost`] counts them, if answers need no order
/// and more datagrams are there to be answered: then more answers to one peer leave as one.
const HELD_BACK_MAX: u64 = 48 * 1024;

/// What receiving remembers.
#[derive(Default)]
pub(super) struct Reception {
    /// The size of the largest datagram of the last batch.
    largest: usize,
    /// The most datagrams that one place of the last batch had.
    densest: usize,
    /// Datagrams of a batch during which the service has paused.
    held: VecDeque<(Option<Peer>, Vec<u8>)>,
    /// How many datagrams the kernel has dropped, as it said last.
    missed: u32,
    /// More refusals may wait, and a timer tells to take them.
    pub(super) more_refusals: bool,
    /// The kernel has no memory. Receiving goes on after a time.
    is_paused: bool,
    pauses: Backoff,
    missed_log: Folding,
}

impl Reception {
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn resume(&mut self) {
        self.is_paused = false;
    }

    /// Returns how many datagrams to ask for, with this many datagrams and bytes left in the
    /// budget. Places that stay empty cost nothing.
    #[inline]
    fn wanted(&self, datagrams: usize, bytes: usize) -> usize {
        // A division would take longer than the rest.
        let within = |budget: usize, each: usize| match BATCH_MAX * each <= budget {
            true => BATCH_MAX,
            false => (budget / each).max(1),
        };
        let by_count = within(datagrams, self.densest.max(1));
        by_count.min(within(bytes, self.largest.max(SIZE_ASSUMED)))
    }
}

/// Returns the peer that has sent datagram `number` of a batch; `None` if it is the one that the
/// socket is connected to.
#[inline(never)] // Otherwise a peer is taken apart, and put together again.
fn sender(batch: &Batch, number: usize) -> Option<Peer> {
    match batch.sender(number) {
        Remote::Connected => None,
        Remote::Ip(address) => Some(Peer::from(address)),
        Remote::Unix(name) => Some(Peer::unix(name)),
    }
}

/// Returns a peer with the address of this host that it has asked, if that is known.
fn asking(peer: Peer, asked: Option<Local>) -> Peer {
    let Some((address, interface)) = asked else { return peer };
    // Routing decides about the interface, except for addresses that mean nothing without one.
    let interface = match address {
        IpAddr::V6(ip) if ip.is_unicast_link_local() || ip.is_unspecified() => interface,
        _ => 0,
    };
    peer.asking(address, interface)
}

/// What is wrong with a datagram, and its sender.
type Refused = (DatagramFailure, Option<Peer>);

/// The error of a datagram that is a message and something else, or a part of one.
fn not_one_message(length: usize, consumed: Option<usize>) -> DatagramFailure {
    let text = match consumed {
        Some(consumed) => format!("{} of its {length} bytes follow a message", length - consumed),
        None => format!("its {length} bytes are an incomplete message"),
    };
    DatagramFailure::Malformed(text.into())
}

impl<C: Codec + Clone + 'static, S: 'static> Datagrams<C, S> {
    /// Receives and handles datagrams, within the budgets of a turn.
    pub(super) fn receive<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        A: 'static,
        S: Service<C, A>,
    {
        if !self.reception.held.is_empty() {
            self.deliver_held(room, cx);
        }
        let (mut datagrams, mut bytes) = (cx.limits().datagrams_per_turn, self.limits.read_budget);
        let was_readable = cx.readiness().contains(Readiness::READABLE);
        let (mut is_first, mut is_held_back) = (was_readable, false);
        while self.may_receive() && datagrams > 0 && bytes > 0 {
            let count = match cx.receive_batch(room, || self.reception.wanted(datagrams, bytes)) {
                Ok(Some(count)) => count,
                Ok(None) => {
                    if is_first {
                        // select(2) reports refusals as input.
                        self.take_refusals(room, cx)?;
                    }
                    break;
                }
                Err(error) => {
                    datagrams -= 1;
                    self.receive_failed(error, room, cx)?;
                    continue;
                }
            };
            is_first = false;
            self.reception.pauses.reset();
            let reception = &mut self.reception;
            (reception.largest, reception.densest) = (0, 0);
            let order = self.order(&room.batch, count);
            for number in &order[..count] {
                let (count, size) = self.take_in(usize::from(*number), room, cx);
                datagrams = datagrams.saturating_sub(count);
                bytes = bytes.saturating_sub(size);
            }
            is_held_back =
                !C::IS_ORDERED && count == BATCH_MAX && self.outbox.cost() < HELD_BACK_MAX;
            if !is_held_back {
                self.flush(room, cx)?;
            }
            self.state.is_full |= self.outbox.cost() >= self.limits.output_high;
        }
        if is_held_back { self.flush(room, cx) } else { Ok(()) }
    }

    /// Returns the order in which the first `count` places of the batch are handled.
    #[inline]
    fn order(&self, batch: &Batch, count: usize) -> Order {
        // What needs no order is grouped when it is sent.
        if count > 2 && C::IS_ORDERED && !self.is_connected() {
            order::by_sender(batch, count)
        } else {
            order::ARRIVAL
        }
    }

    /// Handles place `number` of the batch, which has one datagram, or several of one sender. Returns
    /// how many, and how many bytes they have.
    fn take_in<A>(&mut self, number: usize, room: &mut Room, cx: &mut Cx<'_, A>) -> (usize, usize)
    where
        S: Service<C, A>,
    {
        let received = room.batch.received(number);
        let peer = if self.is_connected() { None } else { sender(&room.batch, number) };
        if received.is_noted || received.is_truncated {
            return self.take_noted(number, received, peer, room, cx);
        }
        self.count(1, received.kept, cx);
        self.take_part(number, 0..received.kept, peer, room, cx);
        (1, received.kept)
    }

    /// Does the same for a place about which the kernel says more.
    #[inline(never)]
    fn take_noted<A>(
        &mut self,
        number: usize,
        Received { length, kept, is_truncated, .. }: Received,
        peer: Option<Peer>,
        room: &mut Room,
        cx: &mut Cx<'_, A>,
    ) -> (usize, usize)
    where
        S: Service<C, A>,
    {
        let Notes { asked, missed, segment } = room.batch.notes(number);
        let peer = peer.map(|peer| asking(peer, asked));
        let segment = segment.filter(|segment| (1..kept).contains(segment));
        let count = segment.map_or(1, |segment| kept.div_ceil(segment));
        self.count(count, kept, cx);
        if is_truncated {
            cx.core.counters.datagrams_refused += 1;
            self.tell_failure(&DatagramFailure::Truncated { length }, peer, room, cx);
        } else {
            let size = segment.unwrap_or(kept);
            for start in (0..count).map(|place| place * size) {
                let part = start..kept.min(start + size);
                self.take_part(number, part, peer.clone(), room, cx);
            }
        }
        if let Some(total) = missed {
            self.note_missed(total, room, cx);
        }
        (count, kept)
    }

    /// Counts datagrams that were received, and their bytes.
    #[inline]
    fn count<A>(&mut self, count: usize, bytes: usize, cx: &mut Cx<'_, A>) {
        cx.core.counters.bytes_read += bytes as u64;
        cx.core.counters.datagrams_received += count as u64;
        self.reception.largest = self.reception.largest.max(bytes);
        self.reception.densest = self.reception.densest.max(count);
    }

    /// Handles one datagram: a part of the bytes in place `number`, or all of them.
    #[inline(always)] // It has one caller for the usual case, and one for the others.
    fn take_part<A>(
        &mut self,
        number: usize,
        part: Range<usize>,
        peer: Option<Peer>,
        room: &mut Room,
        cx: &mut Cx<'_, A>,
    ) where
        S: Service<C, A>,
    {
        let Room { batch, effects, .. } = room;
        let bytes = batch.part(number, part);
        if self.state.is_closing {
            return;
        }
        if self.state.is_paused {
            self.reception.held.push_back((peer, bytes.to_vec()));
            return;
        }
        if let Err((problem, peer)) = self.deliver(bytes, peer, effects, cx) {
            self.tell_failure(&problem, peer, room, cx);
        }
    }

    /// Decodes a datagram and calls the service with its message.
    #[inline(always)] // For the same reason.
    fn deliver<A>(
        &mut self,
        bytes: &mut [u8],
        peer: Option<Peer>,
        effects: &mut Effects,
        cx: &mut Cx<'_, A>,
    ) -> Result<(), Refused>
    where
        S: Service<C, A>,
    {
        let length = bytes.len();
        let Self { codec, service, limits, outbox, .. } = self;
        let decoded = outbox.answer(&peer, |output| codec.decode(bytes, output));
        let problem = match decoded {
            Ok(Decoded::Message { message, consumed }) if consumed == length => {
                let (now, me) = (cx.core.now, cx.me().into());
                let mut context = Context::new(now, me, cx.app, limits, effects);
                let flow =
                    outbox.reply(codec, peer, |reply| service.call(message, reply, &mut context));
                self.state.is_paused |= flow == Flow::Pause;
                self.follow(flow, cx);
                return Ok(());
            }
            Ok(Decoded::Skip { consumed }) if consumed == length => return Ok(()),
            Ok(Decoded::Message { consumed, .. } | Decoded::Skip { consumed }) => {
                not_one_message(length, Some(consumed))
            }
            Ok(Decoded::Incomplete { .. }) => not_one_message(length, None),
            Err(error) => {
                reject(codec, &error, &peer, outbox);
                DatagramFailure::Malformed(Box::new(error))
            }
        };
        self.codec = self.fresh.clone();
        cx.core.counters.datagrams_refused += 1;
        Err((problem, peer))
    }

    /// Handles the datagrams that were received when the service paused.
    #[cold]
    fn deliver_held<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>)
    where
        S: Service<C, A>,
    {
        while !self.state.is_paused
            && let Some((peer, mut bytes)) = self.reception.held.pop_front()
        {
            let delivered = self.deliver(&mut bytes, peer, &mut room.effects, cx);
            if let Err((problem, peer)) = delivered {
                self.tell_failure(&problem, peer, room, cx);
            }
        }
    }

    /// Handles an error of receiving, which most often is that of a datagram that was sent.
    #[cold]
    fn receive_failed<A>(
        &mut self,
        error: io::Error,
        room: &mut Room,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<()>
    where
        A: 'static,
        S: Service<C, A>,
    {
        match error.raw_os_error() {
            None
            | Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL | libc::ENOTCONN) => {
                Err(error)
            }
            Some(libc::ENOMEM | libc::ENOBUFS) => {
                let reception = &mut self.reception;
                if let Some(folded) = reception.pauses.log.admit(cx.now()) {
                    warn!("{}: receiving pauses: {error}{folded}", self.place.address);
                }
                reception.is_paused = true;
                let pause = reception.pauses.next_pause();
                cx.set_timer(pause, None, timer::RECEIVE);
                Ok(())
            }
            Some(_) => {
                // Most are in the queue too, where more is known about them.
                if self.take_refusals(room, cx)? == 0 && !self.reception.more_refusals {
                    self.tell_undelivered(error, None, room, cx);
                }
                Ok(())
            }
        }
    }

    /// Takes the refusals of the network that wait (P28), within the budget of a turn. Returns how
    /// many there were.
    #[cold]
    pub(super) fn take_refusals<A>(
        &mut self,
        room: &mut Room,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<usize>
    where
        A: 'static,
        S: Service<C, A>,
    {
        let mut count = 0;
        while !self.place.is_unix() && self.refusals_left > 0 {
            let taken =
                cx.try_io("recvmsg", Interest::NONE, |fd| kernel::take_refusal(fd).map(Some));
            let Some(refusal) = taken? else { break };
            count += 1;
            self.refusals_left -= 1;
            if !refusal.was_told {
                let peer = refusal.to.filter(|_| !self.is_connected()).map(Peer::from);
                self.tell_undelivered(refusal.error, peer, room, cx);
            }
        }
        if self.refusals_left == 0 && !self.place.is_unix() {
            // In the next turn, after the other sources.
            if !std::mem::replace(&mut self.reception.more_refusals, true) {
                cx.set_timer(Duration::from_nanos(1), None, timer::REFUSALS);
            }
        } else if count == 0
            && cx.readiness().contains(Readiness::ERROR)
            && let Some(error) = cx.take_error()?
        {
            count = 1;
            self.tell_undelivered(error, None, room, cx);
        }
        Ok(count)
    }

    /// Counts a datagram that was not delivered, and tells the service.
    pub(super) fn tell_undelivered<A>(
        &mut self,
        error: io::Error,
        peer: Option<Peer>,
        room: &mut Room,
        cx: &mut Cx<'_, A>,
    ) where
        S: Service<C, A>,
    {
        cx.core.counters.datagrams_undelivered += 1;
        self.tell_failure(&DatagramFailure::Undelivered(error), peer, room, cx);
    }

    /// Notes how many datagrams the kernel has dropped so far.
    #[cold]
    fn note_missed<A>(&mut self, total: u32, room: &mut Room, cx: &mut Cx<'_, A>)
    where
        S: Service<C, A>,
    {
        let count = total.wrapping_sub(self.reception.missed);
        if count == 0 {
            return;
        }
        self.reception.missed = total;
        if self.is_connected() {
            // The counters of the loop ask listeners themselves.
            cx.core.counters.datagrams_missed += u64::from(count);
        }
        if let Some(folded) = self.reception.missed_log.admit(cx.now()) {
            warn!(
                "{}: the kernel dropped {count} datagrams, since the receive buffer was full \
                 (net.core.rmem_max limits it){folded}",
                self.place.address
            );
        }
        self.tell_failure(&DatagramFailure::Missed { count }, None, room, cx);
    }
}

/// Sends what the protocol says about a datagram that is refused.
fn reject<C: Codec>(codec: &mut C, error: &C::Error, peer: &Option<Peer>, outbox: &mut Outbox) {
    outbox.answer(peer, |output| codec.reject(error, output));
}

impl<A> Cx<'_, A> {
    /// Receives up to as many datagrams as `wanted` returns. A batch with fewer has found that there
    /// are no more: the kernel received until it would have blocked.
    #[inline(always)] // It has one caller.
    fn receive_batch(
        &mut self,
        room: &mut Room,
        wanted: impl FnOnce() -> usize,
    ) -> io::Result<Option<usize>> {
        let batch = &mut room.batch;
        let received = self.attempt("recvmmsg", Interest::READ, |fd, _| {
            let most = wanted();
            kernel::receive_batch(fd.as_fd(), batch, most).map(|count| (count, most))
        })?;
        let Some((count, most)) = received else { return Ok(None) };
        // After an error, there may be more.
        let own = &mut self.core.lent.own;
        if count < most && !own.ready.contains(Readiness::ERROR) {
            own.ready = own.ready.without(Readiness::READABLE);
        }
        Ok(Some(count))
    }
}
