//! Sending datagrams: in batches, with errors that concern one of them alone, and receivers that
//! are full.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use log::warn;
use protocol::{Codec, DatagramFailure, Envelope, Peer, Service};

use super::{Datagrams, Place, Room, timer};
use crate::reactor::core::Core;
use crate::sys::{BATCH_MAX, Local, Outgoing, Remote, SendRoom};
use crate::{Cx, Interest, Tag, kernel};

/// How many segments of the output one call sends at most.
const SEGMENTS_MAX: usize = 16;
/// How many datagrams one call sends at most.
const DATAGRAMS_MAX: usize = 256;
/// How many datagrams, and how many bytes, the kernel divides at most.
const SEGMENTS_OF_ONE: usize = 64;
const BYTES_OF_ONE: usize = 65_487;
/// How often one datagram is tried while the kernel has no memory: for about a third of a second.
const TRIES_MAX: u32 = 5;
/// How many datagrams may fail in one turn. A service that answers each failure with another
/// datagram must not hold the loop.
const FAILURES_MAX: usize = 64;
/// What one part of a batch sends: a datagram, or several that the kernel divides (`UDP_SEGMENT`,
/// `udp(7)`): of the same length, to the same peer. Only the last may be shorter.
struct Part<'a> {
    to: Remote<'a>,
    from: Option<Local>,
    /// Where its pieces start and end.
    start: usize,
    end: usize,
    count: usize,
    /// The length of each of its datagrams.
    segment: usize,
    /// How many bytes it has.
    length: usize,
}

impl Part<'_> {
    /// Returns whether a datagram may follow in the same part.
    fn takes(&self, length: usize, to: Remote<'_>, from: Option<Local>) -> bool {
        let is_whole = self.length == self.count * self.segment;
        length > 0
            && length <= self.segment
            && is_whole
            && self.count < SEGMENTS_OF_ONE
            && self.length + length <= BYTES_OF_ONE
            && !matches!(to, Remote::Unix(_))
            && self.to == to
            && self.from == from
    }

    fn add(&mut self, length: usize, end: usize) {
        self.count += 1;
        self.length += length;
        self.end = end;
    }
}

/// Returns whether an error may mean that the kernel cannot divide a part into datagrams: they are
/// longer than the path takes without fragments, or the device computes no checksums.
fn refuses_segments(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE))
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

pub(super) fn receiver_of(peer: &Peer) -> Result<Remote<'_>, &'static str> {
    match (peer.address(), peer.unix_name()) {
        (Some(address), _) => Ok(Remote::Ip(address)),
        (None, Some(name)) if !name.is_empty() => Ok(Remote::Unix(name)),
        _ => Err("its receiver has no name"),
    }
}

/// Returns the address to send from, if it matters.
fn source(peer: Option<&Peer>) -> Option<Local> {
    let (address, interface) = peer?.asked()?;
    (!address.is_unspecified() || interface != 0).then_some((address, interface))
}

impl<C: Codec + Clone + 'static, S: 'static> Datagrams<C, S> {
    /// Sends what waits, as far as possible.
    #[inline]
    pub(super) fn flush<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        A: 'static,
        S: Service<C, A>,
    {
        if self.outbox.is_empty() { Ok(()) } else { self.send_waiting(room, cx) }
    }

    #[inline(never)]
    fn send_waiting<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        A: 'static,
        S: Service<C, A>,
    {
        let mut failures = 0;
        if !C::IS_ORDERED && self.outbox.waiting().len() > 1 {
            self.outbox.group_by_peer();
        }
        while !self.outbox.is_empty()
            && self.sending_pauses.is_none()
            && self.sends_left > 0
            && failures < FAILURES_MAX
        {
            match self.send_first(&mut room.send, cx) {
                Ok(Sent::Some(count)) => {
                    (self.tries, self.sends_left) = (0, self.sends_left.saturating_sub(count));
                    self.pauses.reset();
                    self.outbox.remove(count);
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
    #[inline(always)] // It has one caller.
    fn send_first<A>(&mut self, room: &mut SendRoom, cx: &mut Cx<'_, A>) -> io::Result<Sent> {
        match self.outbox.only() {
            Some((envelope, bytes)) => self.send_one(envelope, bytes, cx),
            None => self.send_several(room, cx),
        }
    }

    /// Sends the first datagrams that wait, by one call, each or several of them described by a part.
    #[inline(never)]
    fn send_several<A>(&mut self, room: &mut SendRoom, cx: &mut Cx<'_, A>) -> io::Result<Sent> {
        let mut segments = [IoSlice::new(&[]); SEGMENTS_MAX];
        let filled = self.outbox.output().gather(&mut segments);
        let mut cursor = Cursor::new(&segments[..filled]);
        let most = self.outbox.waiting().len().min(self.sends_left).min(DATAGRAMS_MAX);
        let mut pieces = Vec::with_capacity(most + filled);
        let mut parts: Vec<Part<'_>> = Vec::with_capacity(most.min(BATCH_MAX));
        for envelope in self.outbox.waiting().take(most) {
            let to = match receiver(envelope, &self.place) {
                Ok(to) => to,
                Err(why) if parts.is_empty() => return Ok(Sent::Unsendable(why)),
                Err(_) => break,
            };
            if self.is_parked(envelope) {
                if parts.is_empty() {
                    return Ok(Sent::Parked);
                }
                break;
            }
            let (length, from) = (envelope.length as usize, source(envelope.peer.as_ref()));
            let joins = parts
                .last()
                .is_some_and(|it| it.segment <= self.segment_max && it.takes(length, to, from));
            let start = pieces.len();
            if !joins && parts.len() == BATCH_MAX || !cursor.take(length, joins, &mut pieces) {
                break;
            }
            let end = pieces.len();
            match parts.last_mut().filter(|_| joins) {
                Some(last) => last.add(length, end),
                None => {
                    parts.push(Part { to, from, start, end, count: 1, segment: length, length });
                }
            }
        }
        let Some(first) = parts.first() else { return self.send_copy(cx) };
        let coalesced = (first.count > 1).then_some(first.segment);
        let outgoing = parts.iter().map(|part| {
            let slices = &pieces[part.start..part.end];
            let segment = (part.count > 1).then_some(part.segment as u16);
            Outgoing { slices, to: part.to, from: part.from, segment }
        });
        let call = |fd: BorrowedFd<'_>| kernel::send_batch(fd, outgoing.clone(), room);
        let sent = match cx.attempt_sending("sendmmsg", &self.place, call) {
            Err(error) if refuses_segments(&error) && coalesced.is_some() => {
                // The path takes no datagrams of this length together, or none at all.
                let is_too_long = error.raw_os_error() != Some(libc::EIO);
                self.segment_max = coalesced.filter(|_| is_too_long).map_or(0, |it| it - 1);
                return Ok(Sent::Some(0));
            }
            sent => sent?,
        };
        let count = sent.map(|sent| parts[..sent].iter().map(|part| part.count).sum());
        let lengths = parts[..sent.unwrap_or(0)].iter().map(|part| part.length as u64);
        cx.core.counters.bytes_written += lengths.sum::<u64>();
        Ok(self.outcome(count, cx))
    }

    /// Sends the first datagram, which has these bytes. It needs no description of parts.
    #[inline(always)] // It has one caller for the usual case, and one for the rest.
    fn send_one<A>(
        &self,
        envelope: &Envelope,
        bytes: &[u8],
        cx: &mut Cx<'_, A>,
    ) -> io::Result<Sent> {
        let to = match receiver(envelope, &self.place) {
            Ok(to) => to,
            Err(why) => return Ok(Sent::Unsendable(why)),
        };
        if self.is_parked(envelope) {
            return Ok(Sent::Parked);
        }
        let from = source(envelope.peer.as_ref());
        let outgoing = Outgoing { slices: &[IoSlice::new(bytes)], to, from, segment: None };
        let sent = cx.send_datagram(&outgoing, &self.place)?;
        cx.core.counters.bytes_written += sent.map_or(0, |_| bytes.len() as u64);
        Ok(self.outcome(sent, cx))
    }

    /// Sends the first datagram from a copy, since it is in too many segments.
    #[cold]
    fn send_copy<A>(&self, cx: &mut Cx<'_, A>) -> io::Result<Sent> {
        let Some(envelope) = self.outbox.waiting().next() else { return Ok(Sent::Blocked) };
        let bytes = self.outbox.first_bytes();
        if envelope.length != bytes.len() as u64 {
            return Ok(Sent::Unsendable("it contains a part of a file"));
        }
        self.send_one(envelope, &bytes, cx)
    }

    /// Returns whether datagrams to the same receiver are parked.
    fn is_parked(&self, envelope: &Envelope) -> bool {
        let peer = envelope.peer.as_ref().filter(|_| !self.parked.is_empty());
        peer.is_some_and(|peer| self.parked.has(peer))
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
    #[cold]
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
    /// Where the last piece begins in the first segment, and where it ends.
    start: usize,
    offset: usize,
    /// How many bytes follow.
    left: usize,
}

impl<'a> Cursor<'a> {
    fn new(segments: &'a [IoSlice<'a>]) -> Self {
        let left = segments.iter().map(|segment| segment.len()).sum();
        Self { segments, start: 0, offset: 0, left }
    }

    /// Adds the pieces of the next `length` bytes to `pieces`. They continue the last piece if they
    /// join it and follow it in memory: the kernel takes one long piece for less than many. Returns
    /// false if there are fewer bytes.
    fn take(&mut self, mut length: usize, joins: bool, pieces: &mut Vec<IoSlice<'a>>) -> bool {
        if length > self.left {
            return false;
        }
        self.left -= length;
        if joins && self.offset > 0 {
            pieces.pop();
        } else {
            self.start = self.offset;
        }
        while length > 0
            && let Some((segment, others)) = self.segments.split_first()
        {
            let bytes: &'a [u8] = segment;
            let count = (bytes.len() - self.offset).min(length);
            length -= count;
            self.offset += count;
            pieces.push(IoSlice::new(&bytes[self.start..self.offset]));
            if self.offset == bytes.len() {
                (self.segments, self.start, self.offset) = (others, 0, 0);
            }
        }
        true
    }
}

impl<A> Cx<'_, A> {
    /// Sends one datagram, and returns the number 1; `None` when it would block.
    #[inline(always)] // It is a part of the hot path, and of one that is not.
    pub(super) fn send_datagram(
        &mut self,
        datagram: &Outgoing<'_>,
        place: &Place,
    ) -> io::Result<Option<usize>> {
        let call = |fd: BorrowedFd<'_>| kernel::send_one(fd, datagram).map(|()| 1);
        self.attempt_sending("sendmsg", place, call)
    }

    /// Makes a call that sends datagrams, and returns how many it has sent; `None` when it would
    /// block.
    #[inline(always)] // It has one caller for one datagram, and one for several.
    fn attempt_sending(
        &mut self,
        operation: &'static str,
        place: &Place,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        if place.reports_no_room() {
            return self.attempt_to_any(operation, call);
        }
        self.attempt(operation, Interest::WRITE, |fd, _| call(fd))
    }

    /// Makes a call that sends datagrams to receivers each of which may be full. A would-block may be
    /// that of the receiver. Only one of this socket itself makes the loop wait for the kernel.
    #[inline(never)]
    fn attempt_to_any(
        &mut self,
        operation: &'static str,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        let sent = self.attempt(operation, Interest::NONE, |fd, _| call(fd))?;
        if sent.is_some() || self.is_writable_now() {
            return Ok(sent);
        }
        self.attempt(operation, Interest::WRITE, |fd, _| call(fd))
    }

    /// Returns whether the socket itself has room for a datagram.
    fn is_writable_now(&self) -> bool {
        let fd = self.core.lent.own.fd.as_ref();
        fd.is_some_and(|fd| {
            kernel::ready_now(fd.as_fd(), Interest::WRITE).is_ok_and(|ready| !ready.is_empty())
        })
    }
}

impl<A> Core<A> {
    /// Sets whether the backend reports that the socket of a source has room, if it would report
    /// that again and again.
    pub(super) fn report_writable(&mut self, tag: Tag, is_reported: bool) -> io::Result<()> {
        let own = match self.sources.get(tag) {
            _ if self.lent.tag == tag => &self.lent.own,
            Some(source) => &source.own,
            None => return Ok(()),
        };
        own.fd
            .as_ref()
            .map_or(Ok(()), |fd| self.backend.report_writable(fd.as_fd(), tag, is_reported))
    }
}
