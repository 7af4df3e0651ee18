//! The bytes of connections: how they are sent, arrive and are acknowledged.

use std::io::Read;

use crate::sim::fault::Fault;
use crate::sim::network::{NO_SOCKET, Segment, place};
use crate::sim::socket::{Socket, SocketId};
use crate::sim::world::{Happening, World};

/// The most bytes of a segment.
const SEGMENT_MAX: usize = 1448;

impl World {
    /// Sends as much of what was written as the peer has room for.
    pub(super) fn pump(&mut self, id: SocketId) {
        loop {
            let Some(socket) = self.sockets.get_mut(&id) else { return };
            let (host, is_open) = (socket.host, !socket.is_orphan);
            let Some(stream) = socket.stream() else { return };
            let (peer, peer_host, is_unix) = (stream.peer, stream.peer_host, stream.is_unix());
            if stream.is_reset {
                return;
            }
            if stream.unsent.is_empty() {
                return self.finish(id, is_open);
            }
            let on_the_way = stream.on_the_way;
            let room = match self.sockets.get_mut(&peer).and_then(Socket::stream) {
                Some(far) => far.room.saturating_sub(far.received.len() + on_the_way),
                // The answer will be a reset.
                None => SEGMENT_MAX,
            };
            if room == 0 {
                return;
            }
            let place = place(host, peer_host);
            let mut size = room.min(SEGMENT_MAX);
            if !is_unix && let Some(mut bits) = self.strikes(Fault::Split, host, place) {
                size = bits.between(1, size.min(64) as u64) as usize;
            }
            let mut at = self.arrival(host, peer_host);
            if !is_unix && let Some(mut bits) = self.strikes(Fault::Merge, host, place) {
                at = at.max(self.last_arrival(id)) + bits.between(1_000_000, 40_000_000);
            }
            self.send_bytes(id, size, at);
            if !is_unix && self.ends_early(id, host, place) {
                return;
            }
        }
    }

    fn last_arrival(&mut self, id: SocketId) -> u64 {
        self.sockets.get_mut(&id).and_then(Socket::stream).map_or(0, |it| it.last_arrival)
    }

    /// Sends a segment of at most `size` bytes, which does not arrive before `at`.
    fn send_bytes(&mut self, id: SocketId, size: usize, at: u64) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let (host, timeout) = (socket.host, socket.user_timeout);
        let Some(stream) = socket.stream() else { return };
        let (peer, peer_host) = (stream.peer, stream.peer_host);
        let size = size.min(stream.unsent.len());
        let mut bytes = vec![0; size];
        if stream.unsent.read_exact(&mut bytes).is_err() {
            return;
        }
        stream.in_flight += size;
        stream.on_the_way += size;
        let at = at.max(stream.last_arrival);
        stream.last_arrival = at;
        if stream.unanswered_since.is_none() {
            self.expect_answer(id, timeout);
        }
        if let Some(mut bits) = self.strikes(Fault::Corrupt, host, place(host, peer_host)) {
            let place = bits.between(0, size as u64 - 1) as usize;
            bytes[place] ^= 1 << bits.between(0, 7);
        }
        self.send_at(at, id, host, peer_host, Segment::Bytes { to: peer, bytes });
    }

    /// Ends the connection of a socket that has just sent, if a fault says so. Returns whether it
    /// sends no more.
    fn ends_early(&mut self, id: SocketId, host: usize, place: u32) -> bool {
        let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return true };
        let (peer, peer_host, at) = (stream.peer, stream.peer_host, stream.last_arrival);
        let reset_both = self.strikes(Fault::Reset, host, place).is_some();
        let reset_one = self.strikes(Fault::ResetOneSide, host, place);
        if reset_both || reset_one.is_some() {
            let near_alone = !reset_both && reset_one.is_some_and(|mut bits| bits.coin());
            if reset_both || near_alone {
                self.send_now(NO_SOCKET, host, host, Segment::Reset { to: id });
            }
            if !near_alone {
                self.send_at(at, NO_SOCKET, host, peer_host, Segment::Reset { to: peer });
            }
            return true;
        }
        let both = self.strikes(Fault::SwallowBoth, host, place).is_some();
        if both {
            self.swallowed.entry(peer).or_default();
        }
        if both || self.strikes(Fault::Swallow, host, place).is_some() {
            self.swallowed.entry(id).or_default();
        }
        self.ends_in_order(id, host, place)
    }

    /// Ends one direction of a connection or both, as by a proxy between the two: what comes after
    /// is refused.
    fn ends_in_order(&mut self, id: SocketId, host: usize, place: u32) -> bool {
        let both = self.strikes(Fault::Finish, host, place).is_some();
        if !both && self.strikes(Fault::HalfClose, host, place).is_none() {
            return false;
        }
        let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return true };
        let (peer, peer_host, at) = (stream.peer, stream.peer_host, stream.last_arrival);
        stream.fin_sent = true;
        self.send_at(at, id, host, peer_host, Segment::Fin { to: peer });
        if both && let Some(far) = self.sockets.get_mut(&peer).and_then(Socket::stream) {
            far.fin_sent = true;
            self.send_now(peer, host, host, Segment::Fin { to: id });
        }
        true
    }

    /// Sends the end of the stream when everything before it was sent, and forgets a closed socket
    /// that has nothing left to do.
    fn finish(&mut self, id: SocketId, is_open: bool) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let (host, timeout) = (socket.host, socket.user_timeout);
        let Some(stream) = socket.stream() else { return };
        let (peer, peer_host) = (stream.peer, stream.peer_host);
        if stream.is_shut && !stream.fin_sent {
            stream.fin_sent = true;
            let at = self.arrival(host, peer_host).max(self.last_arrival(id));
            let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return };
            stream.last_arrival = at;
            if stream.unanswered_since.is_none() {
                self.expect_answer(id, timeout);
            }
            self.send_at(at, id, host, peer_host, Segment::Fin { to: peer });
        } else if !is_open && stream.in_flight == 0 && stream.fin_acked {
            self.forget(id);
        }
    }

    pub(super) fn take_bytes(
        &mut self,
        from: usize,
        to: usize,
        id: SocketId,
        sender: SocketId,
        bytes: &[u8],
    ) {
        let count = bytes.len();
        if let Some(stream) = self.sockets.get_mut(&sender).and_then(Socket::stream) {
            stream.on_the_way -= count.min(stream.on_the_way);
        }
        if self.sockets.get(&id).is_some_and(|it| it.is_orphan) {
            // Nothing will read them.
            self.forget(id);
        }
        let stream = self.sockets.get_mut(&id).and_then(Socket::stream);
        // Something between the two may have ended this direction already.
        let Some(stream) = stream.filter(|stream| !stream.is_reset && !stream.has_fin) else {
            return self.send_now(id, to, from, Segment::Rejection { to: sender });
        };
        stream.received.extend(bytes);
        self.hear(id);
        self.announce(id);
        let sender_ip = self.hosts[from].ip;
        self.note(to, format_args!("{count} bytes arrive from {sender_ip}"));
        self.send_now(id, to, from, Segment::Ack { to: sender, count });
    }

    pub(super) fn take_fin(&mut self, from: usize, to: usize, id: SocketId, sender: SocketId) {
        let far = self.sockets.get_mut(&sender);
        let is_closed = far.as_ref().is_none_or(|far| far.is_orphan);
        let has_ended = far.and_then(Socket::stream).is_some_and(|far| far.has_fin);
        let stream = self.sockets.get_mut(&id).and_then(Socket::stream);
        let Some(stream) = stream.filter(|stream| !stream.is_reset) else {
            // A connection that has ended in order still acknowledges this; one that has not is
            // unknown here.
            let ack = Segment::Ack { to: sender, count: 0 };
            let answer = if has_ended { ack } else { Segment::Rejection { to: sender } };
            return self.send_now(id, to, from, answer);
        };
        if stream.is_unix() && is_closed {
            // A Unix socket learns that nothing will read what it writes.
            stream.is_shut = true;
            stream.unsent.clear();
        }
        if !std::mem::replace(&mut stream.has_fin, true) {
            self.hear(id);
            self.announce(id);
            let sender = self.hosts[from].ip;
            self.note(to, format_args!("end of stream arrives from {sender}"));
        }
        self.send_now(id, to, from, Segment::Ack { to: sender, count: 0 });
    }

    /// Some bytes, or the end of the stream, were acknowledged.
    pub(super) fn take_ack(&mut self, id: SocketId, count: usize) {
        self.hear(id);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let timeout = socket.user_timeout;
        let Some(stream) = socket.stream() else { return };
        stream.in_flight -= count.min(stream.in_flight);
        stream.fin_acked |= count == 0;
        stream.unanswered_since = None;
        let is_waited_for = stream.in_flight > 0 || stream.fin_sent && !stream.fin_acked;
        if stream.is_full && stream.is_writable() {
            stream.is_full = false;
            self.announce(id);
        }
        if is_waited_for {
            self.expect_answer(id, timeout);
        }
        self.pump(id);
    }

    /// Tells the peer that there is room again.
    pub(super) fn open_window(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let host = socket.host;
        let Some(stream) = socket.stream() else { return };
        let (peer, peer_host) = (stream.peer, stream.peer_host);
        let waits = self.sockets.get_mut(&peer).and_then(Socket::stream);
        if waits.is_some_and(|far| !far.unsent.is_empty()) {
            self.send_now(id, host, peer_host, Segment::Window { to: peer });
        }
    }

    /// Records that something has changed that a wait reports.
    pub(super) fn announce(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let host = socket.host;
        socket.announce();
        if socket.watch.is_none() {
            return;
        }
        if let Some(mut bits) = self.strikes(Fault::Late, host, host as u32) {
            let until = self.time_of(host) + bits.between(100_000, 5_000_000);
            if let Some(watch) = self.sockets.get_mut(&id).and_then(|it| it.watch.as_mut()) {
                watch.held_until = until;
            }
            self.later(until, Happening::Nudge);
        }
    }
}
