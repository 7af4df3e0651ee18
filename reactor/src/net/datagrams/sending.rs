//! Sending datagrams: in batches, with errors that concern one of them alone, and receivers that
//! are full.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::warn;
use protocol::{Codec, DatagramFailure, Envelope, Peer, Service};

use super::{Datagrams, PARK_PAUSE_MIN, Place, Room, timer};
use crate::sys::{BATCH_MAX, Outgoing, Remote, SendRoom};
use crate::{Cx, Interest, kernel};

/// How many segments of the output one call sends at most.
const SEGMENTS_MAX: usize = 40;
/// How often one datagram is tried while the kernel has no memory: for about a third of a second.
const TRIES_MAX: u32 = 5;
/// How many datagrams may fail in one turn. A service that answers each failure with another
/// datagram must not hold the loop.
const FAILURES_MAX: usize = 64;
/// How long a datagram waits for a receiver that is full.
const PARKED_FOR: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const PARK_PAUSE_MAX: Duration = Duration::from_millis(32);
/// How many datagrams wait for receivers that are full.
const PARKED_MAX: usize = 256;

/// Datagrams to receivers that are full: Unix sockets whose program does not read. The kernel does
/// not tell when they have room, so they are tried again after a time, while others are sent.
#[derive(Default)]
pub(super) struct Parked {
    waiting: VecDeque<Waiting>,
    /// How many bytes they have.
    bytes: u64,
    pause: Duration,
    is_armed: bool,
}

struct Waiting {
    peer: Peer,
    bytes: Vec<u8>,
    until: Instant,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn has(&self, peer: &Peer) -> bool {
        self.waiting.iter().any(|it| it.peer == *peer)
    }
}

/// The result of sending the first datagrams that wait.
enum Sent {
    Some(usize),
    /// There is no room for more.
    Blocked,
    /// The first datagram cannot be sent: this side has made it so.
    Unsendable(&'static str),
    /// The first datagram goes to a peer for which others are parked.
    Parked,
}

/// Returns what a datagram is sent to, or why that is not possible.
fn receiver<'a>(envelope: &'a Envelope, place: &Place) -> Result<Remote<'a>, &'static str> {
    match &envelope.peer {
        None if place.peer.is_some() => Ok(Remote::Connected),
        None => Err("it has no receiver"),
        Some(peer) => receiver_of(peer),
    }
}

fn receiver_of(peer: &Peer) -> Result<Remote<'_>, &'static str> {
    match (peer.address(), peer.unix_name()) {
        (Some(address), _) => Ok(Remote::Ip(address)),
        (None, Some(name)) if !name.is_empty() => Ok(Remote::Unix(name)),
        _ => Err("its receiver has no name"),
    }
}

/// Returns the address to send from, if it matters.
fn source(peer: Option<&Peer>) -> Option<crate::sys::Local> {
    let (address, interface) = peer?.asked()?;
    (!address.is_unspecified() || interface != 0).then_some((address, interface))
}

impl<C: Codec + Clone + 'static, S: 'static> Datagrams<C, S> {
    /// Sends what waits, as far as possible.
    pub(super) fn flush<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        A: 'static,
        S: Service<C, A>,
    {
        let mut failures = 0;
        while !self.outbox.is_empty()
            && self.sending_pauses.is_none()
            && self.sends_left > 0
            && failures < FAILURES_MAX
        {
            match self.send_first(&mut room.send, cx) {
                Ok(Sent::Some(count)) => {
                    (self.tries, self.sends_left) = (0, self.sends_left.saturating_sub(count));
                    self.pauses.reset();
                    (0..count).for_each(|_| _ = self.outbox.remove_first());
                }
                Ok(Sent::Blocked) => return Ok(()),
                Ok(Sent::Unsendable(why)) => {
                    failures += 1;
                    self.outbox.remove_first();
                    self.count_unsent(why, cx);
                }
                Ok(Sent::Parked) => {
                    failures += 1;
                    self.park_first(room, cx);
                }
                Err(error) => {
                    failures += 1;
                    self.send_failed(error, room, cx)?;
                }
            }
        }
        Ok(())
    }

    /// Sends the first datagrams that wait, by one call.
    fn send_first<A>(&mut self, room: &mut SendRoom, cx: &mut Cx<'_, A>) -> io::Result<Sent> {
        let output = self.outbox.output();
        let mut segments = [IoSlice::new(&[]); SEGMENTS_MAX];
        let filled = output.gather(&mut segments);
        let mut cursor = Cursor { segments: &segments[..filled], offset: 0 };
        let most = self.outbox.waiting().len().min(BATCH_MAX).min(self.sends_left);
        let mut pieces = Vec::with_capacity(most + filled);
        let mut parts = Vec::with_capacity(most);
        for envelope in self.outbox.waiting().take(most) {
            let to = match receiver(envelope, &self.place) {
                Ok(to) => to,
                Err(why) if parts.is_empty() => return Ok(Sent::Unsendable(why)),
                Err(_) => break,
            };
            if let Some(peer) = &envelope.peer
                && !self.parked.is_empty()
                && self.parked.has(peer)
            {
                if parts.is_empty() {
                    return Ok(Sent::Parked);
                }
                break;
            }
            if !cursor.take(envelope.length as usize, &mut pieces) {
                break;
            }
            parts.push((pieces.len(), to, source(envelope.peer.as_ref())));
        }
        if parts.is_empty() {
            return self.send_copy(room, cx);
        }
        let mut start = 0;
        let outgoing = parts.into_iter().map(|(end, to, from)| {
            let slices = &pieces[std::mem::replace(&mut start, end)..end];
            Outgoing { slices, to, from }
        });
        let outgoing: Vec<Outgoing<'_>> = outgoing.collect();
        let sent = cx.send_datagrams(&outgoing, &self.place, room)?;
        if let Some(sent) = sent {
            cx.core.counters.bytes_written +=
                self.outbox.waiting().take(sent).map(|envelope| envelope.length).sum::<u64>();
        }
        Ok(self.outcome(sent, cx))
    }

    /// Sends the first datagram from a copy, since it is in too many segments.
    #[cold]
    fn send_copy<A>(&mut self, room: &mut SendRoom, cx: &mut Cx<'_, A>) -> io::Result<Sent> {
        let bytes = self.outbox.first_bytes();
        let Some(envelope) = self.outbox.waiting().next() else { return Ok(Sent::Blocked) };
        if bytes.len() as u64 != envelope.length {
            return Ok(Sent::Unsendable("it contains a part of a file"));
        }
        let to = match receiver(envelope, &self.place) {
            Ok(to) => to,
            Err(why) => return Ok(Sent::Unsendable(why)),
        };
        let from = source(envelope.peer.as_ref());
        let outgoing = [Outgoing { slices: &[IoSlice::new(&bytes)], to, from }];
        let sent = cx.send_datagrams(&outgoing, &self.place, room)?;
        cx.core.counters.bytes_written += sent.map_or(0, |_| bytes.len() as u64);
        Ok(self.outcome(sent, cx))
    }

    /// Returns what a call of sending has come to.
    fn outcome<A>(&self, sent: Option<usize>, cx: &mut Cx<'_, A>) -> Sent {
        match sent {
            Some(count) => {
                cx.core.counters.datagrams_sent += count as u64;
                Sent::Some(count)
            }
            None if self.place.reports_no_room() && cx.is_writable_now() => Sent::Parked,
            None => Sent::Blocked,
        }
    }

    /// Handles an error of sending the first datagram that waits. It may be that of an earlier
    /// datagram, so that the first one is tried again.
    fn send_failed<A>(
        &mut self,
        error: io::Error,
        room: &mut Room,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<()>
    where
        A: 'static,
        S: Service<C, A>,
    {
        self.tries += 1;
        match error.raw_os_error() {
            None | Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT) => return Err(error),
            Some(libc::ENOBUFS | libc::ENOMEM) if self.tries < TRIES_MAX => {
                if let Some(folded) = self.pauses.log.admit(cx.now()) {
                    warn!("{}: sending pauses: {error}{folded}", self.place.address);
                }
                let pause = self.pauses.next_pause();
                self.sending_pauses = Some(cx.set_timer(pause, None, timer::SEND));
                return Ok(());
            }
            Some(libc::ENOBUFS | libc::ENOMEM) => {
                self.tries = 0;
                let peer = self.outbox.remove_first().and_then(|envelope| envelope.peer);
                self.count_unsent("the kernel has no memory for it", cx);
                self.tell_failure(&DatagramFailure::Unsent, peer, room, cx);
                return Ok(());
            }
            Some(libc::EMSGSIZE) => {}
            Some(_) if self.tries == 1 => {
                self.take_refusals(room, cx)?;
                return Ok(());
            }
            Some(_) => {}
        }
        self.tries = 0;
        let peer = self.outbox.remove_first().and_then(|envelope| envelope.peer);
        self.tell_undelivered(error, peer, room, cx);
        Ok(())
    }

    /// Moves the first datagram to those that wait for a full receiver, so that others are sent.
    fn park_first<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>)
    where
        S: Service<C, A>,
    {
        let bytes = self.outbox.first_bytes();
        let Some(Envelope { peer: Some(peer), length }) = self.outbox.remove_first() else {
            return;
        };
        let has_room = self.parked.waiting.len() < PARKED_MAX
            && self.parked.bytes + length <= self.limits.output_high;
        if bytes.len() as u64 != length || !has_room {
            self.count_unsent("its receiver does not read", cx);
            self.tell_failure(&DatagramFailure::Unsent, Some(peer), room, cx);
            return;
        }
        self.parked.bytes += length;
        self.parked.waiting.push_back(Waiting { peer, bytes, until: cx.now() + PARKED_FOR });
        if !std::mem::replace(&mut self.parked.is_armed, true) {
            self.parked.pause = PARK_PAUSE_MIN;
            cx.set_timer(self.parked.pause, None, timer::PARKED);
        }
    }

    /// Tries receivers again that were full.
    pub(super) fn retry_parked<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        A: 'static,
        S: Service<C, A>,
    {
        self.parked.is_armed = false;
        self.parked.bytes = 0;
        let (mut full, mut progress) = (Vec::<Peer>::new(), false);
        for parked in std::mem::take(&mut self.parked.waiting) {
            let is_full = full.contains(&parked.peer);
            let Ok(to) = receiver_of(&parked.peer) else { continue };
            let slices = [IoSlice::new(&parked.bytes)];
            let outgoing = [Outgoing { slices: &slices, to, from: None }];
            let sent = match is_full {
                true => Ok(None),
                false => cx.send_datagrams(&outgoing, &self.place, &mut room.send),
            };
            match sent {
                Ok(Some(_)) => {
                    progress = true;
                    cx.core.counters.datagrams_sent += 1;
                    cx.core.counters.bytes_written += parked.bytes.len() as u64;
                }
                Ok(None) if cx.now() < parked.until => {
                    full.push(parked.peer.clone());
                    self.parked.bytes += parked.bytes.len() as u64;
                    self.parked.waiting.push_back(parked);
                }
                Ok(None) => {
                    self.count_unsent("its receiver does not read", cx);
                    self.tell_failure(&DatagramFailure::Unsent, Some(parked.peer), room, cx);
                }
                Err(error) => self.tell_undelivered(error, Some(parked.peer), room, cx),
            }
        }
        if !self.parked.is_empty() {
            let longer = (2 * self.parked.pause).min(PARK_PAUSE_MAX);
            self.parked.pause = if progress { PARK_PAUSE_MIN } else { longer };
            self.parked.is_armed = true;
            cx.set_timer(self.parked.pause, None, timer::PARKED);
        }
        Ok(())
    }
}

impl Place {
    /// Returns whether a send that would block may mean that the receiver is full, which no event
    /// of this socket reports: an unconnected Unix socket.
    fn reports_no_room(&self) -> bool {
        self.is_unix() && self.peer.is_none()
    }
}

/// A place in the segments of an output.
struct Cursor<'a> {
    segments: &'a [IoSlice<'a>],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Adds the pieces of the next `length` bytes to `pieces`. Returns false if there are fewer.
    fn take(&mut self, mut length: usize, pieces: &mut Vec<IoSlice<'a>>) -> bool {
        let before = pieces.len();
        while length > 0 {
            let Some(segment) = self.segments.first() else {
                pieces.truncate(before);
                return false;
            };
            let rest: &'a [u8] = &segment[self.offset..];
            let count = rest.len().min(length);
            pieces.push(IoSlice::new(&rest[..count]));
            length -= count;
            self.offset += count;
            if self.offset == segment.len() {
                (self.segments, self.offset) = (&self.segments[1..], 0);
            }
        }
        true
    }
}

impl<A> Cx<'_, A> {
    /// Sends the first of `datagrams`, and returns how many; `None` when it would block.
    fn send_datagrams(
        &mut self,
        datagrams: &[Outgoing<'_>],
        place: &Place,
        room: &mut SendRoom,
    ) -> io::Result<Option<usize>> {
        if !place.reports_no_room() {
            return self.attempt("sendmmsg", Interest::WRITE, |fd, _| {
                kernel::send_batch(fd, datagrams, room)
            });
        }
        // A would-block may be that of the receiver. Only one of this socket itself makes the loop
        // wait for the kernel.
        let mut send = |interest| {
            self.attempt("sendmmsg", interest, |fd, _| kernel::send_batch(fd, datagrams, room))
        };
        match send(Interest::NONE)? {
            None => {}
            sent => return Ok(sent),
        }
        if self.is_writable_now() {
            return Ok(None);
        }
        self.attempt("sendmmsg", Interest::WRITE, |fd, _| kernel::send_batch(fd, datagrams, room))
    }

    /// Returns whether the socket itself has room for a datagram.
    fn is_writable_now(&self) -> bool {
        let fd = self.core.lent.own.fd.as_ref();
        fd.is_some_and(|fd| {
            kernel::ready_now(fd.as_fd(), Interest::WRITE).is_ok_and(|ready| !ready.is_empty())
        })
    }
}
