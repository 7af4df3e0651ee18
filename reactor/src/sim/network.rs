//! The network between hosts: segments, the order in which they arrive, and what stops them.

use std::collections::VecDeque;

use crate::sim::fault::Fault;
use crate::sim::socket::{Listening, Name, ROOM, Socket, SocketId, State, Stream};
use crate::sim::world::{Happening, World};

/// The most bytes of a segment.
const SEGMENT_MAX: usize = 1448;
/// How long an attempt to connect is repeated: for 1, 2, 4 .. 64 s (`tcp_syn_retries`, `tcp(7)`).
const ATTEMPTS_MAX: u32 = 6;
/// The time within a host.
const LOOPBACK: u64 = 20_000;
/// How long a peer takes to repeat what a partition has swallowed, once it is healed.
const REPEAT_MAX: u64 = 400_000_000;

/// One direction between two hosts.
#[derive(Default)]
pub(super) struct Path {
    /// Nothing gets through. What has to arrive is repeated until it does.
    pub(super) is_cut: bool,
    /// What is sent waits.
    pub(super) is_held: bool,
    waiting: VecDeque<Parcel>,
}

/// What one host sends another.
pub(super) struct Parcel {
    from: usize,
    to: usize,
    what: Segment,
}

/// What arrives.
pub(super) enum Segment {
    Syn {
        from: SocketId,
        name: Name,
        attempt: u32,
    },
    SynAck {
        to: SocketId,
    },
    /// The answer to a connection that cannot be made.
    Refusal {
        to: SocketId,
        errno: i32,
    },
    Bytes {
        to: SocketId,
        from: SocketId,
        bytes: Vec<u8>,
    },
    Fin {
        to: SocketId,
    },
    Reset {
        to: SocketId,
    },
    Ack {
        to: SocketId,
        count: usize,
    },
    /// There is room again.
    Window {
        to: SocketId,
    },
}

/// Returns the place of the faults of one direction between two hosts.
pub(super) fn place(from: usize, to: usize) -> u32 {
    ((from as u32 + 1) << 16) | (to as u32 + 1)
}

impl World {
    /// Returns when something that is sent now arrives, unless it is stopped.
    fn arrival(&mut self, from: usize, to: usize) -> u64 {
        let start = self.time_of(from);
        if from == to {
            return start + LOOPBACK;
        }
        let (low, high) = self.latency;
        let mut time = self.dice.bits(place(from, to)).between(low, high);
        if let Some(mut bits) = self.strikes(Fault::Delay, from, place(from, to)) {
            time += bits.between(10_000_000, 1_000_000_000);
        }
        start + time
    }

    /// Sends something that arrives at `at`, unless its way is blocked.
    fn send_at(&mut self, at: u64, from: usize, to: usize, what: Segment) {
        let parcel = Parcel { from, to, what };
        if let Some(path) = self.paths.get_mut(&(from, to)) {
            if path.is_held {
                path.waiting.push_back(parcel);
                return;
            }
            if path.is_cut {
                // Attempts to connect are repeated by their own clock; a reset is never repeated.
                if !matches!(parcel.what, Segment::Syn { .. } | Segment::Reset { .. }) {
                    path.waiting.push_back(parcel);
                }
                return;
            }
        }
        self.later(at, Happening::Arrival(parcel));
    }

    fn send_now(&mut self, from: usize, to: usize, what: Segment) {
        let at = self.arrival(from, to);
        self.send_at(at, from, to, what);
    }

    /// Lets what waits on a path go on, if nothing blocks it any more.
    pub(super) fn unblock(&mut self, from: usize, to: usize, was_cut: bool) {
        let Some(path) = self.paths.get_mut(&(from, to)) else { return };
        if path.is_held || path.is_cut {
            return;
        }
        let waiting = std::mem::take(&mut path.waiting);
        let mut at = self.arrival(from, to);
        if was_cut && !waiting.is_empty() {
            at += self.dice.bits(place(from, to)).between(0, REPEAT_MAX);
        }
        for parcel in waiting {
            // What is sent from now on must not overtake it.
            if let Segment::Bytes { from: socket, .. } = &parcel.what
                && let Some(stream) = self.sockets.get_mut(socket).and_then(Socket::stream)
            {
                stream.last_arrival = stream.last_arrival.max(at);
            }
            self.later(at, Happening::Arrival(parcel));
        }
    }

    /// Sends the first segment of a connection.
    pub(super) fn send_syn(&mut self, from: SocketId, name: Name, attempt: u32) {
        let Some(socket) = self.sockets.get(&from) else { return };
        let host = socket.host;
        let Some(to) = self.host_of(host, &name) else {
            let at = self.time_of(host) + self.latency.1;
            let what = Segment::Refusal { to: from, errno: libc::EHOSTUNREACH };
            self.later(at, Happening::Arrival(Parcel { from: host, to: host, what }));
            return;
        };
        let place = place(host, to);
        for (fault, errno) in
            [(Fault::Refuse, libc::ECONNREFUSED), (Fault::Unreachable, libc::EHOSTUNREACH)]
        {
            if attempt == 0 && self.strikes(fault, host, place).is_some() {
                let at = self.time_of(host) + self.latency.1;
                let what = Segment::Refusal { to: from, errno };
                self.later(at, Happening::Arrival(Parcel { from: to, to: host, what }));
                return;
            }
        }
        let wait = 1_000_000_000 << attempt.min(ATTEMPTS_MAX);
        let at = self.time_of(host) + wait;
        self.later(at, Happening::Retry { from, attempt: attempt + 1 });
        if self.strikes(Fault::Blackhole, host, place).is_none() {
            self.send_now(host, to, Segment::Syn { from, name, attempt });
        }
    }

    /// Repeats an attempt to connect that was not answered, or gives up.
    pub(super) fn retry(&mut self, from: SocketId, attempt: u32) {
        let Some(socket) = self.sockets.get_mut(&from) else { return };
        let State::Connecting(name) = &socket.state else { return };
        let name = name.clone();
        if attempt <= ATTEMPTS_MAX {
            return self.send_syn(from, name, attempt);
        }
        self.fail(from, libc::ETIMEDOUT);
    }

    /// Sends as much of what was written as the peer has room for.
    pub(super) fn pump(&mut self, id: SocketId) {
        loop {
            let Some(socket) = self.sockets.get_mut(&id) else { return };
            let (host, is_open) = (socket.host, !socket.is_orphan);
            let timeout = socket.user_timeout;
            let Some(stream) = socket.stream() else { return };
            let (peer, peer_host) = (stream.peer, stream.peer_host);
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
            if let Some(mut bits) = self.strikes(Fault::Split, host, place) {
                size = bits.between(1, size.min(64) as u64) as usize;
            }
            let mut at = self.arrival(host, peer_host);
            let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return };
            let size = size.min(stream.unsent.len());
            let bytes: Vec<u8> = stream.unsent.drain(..size).collect();
            stream.in_flight += size;
            stream.on_the_way += size;
            at = at.max(stream.last_arrival);
            stream.last_arrival = at;
            if stream.unanswered_since.is_none() {
                self.expect_answer(id, timeout);
            }
            if let Some(mut bits) = self.strikes(Fault::Merge, host, place) {
                at += bits.between(1_000_000, 40_000_000);
                if let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) {
                    stream.last_arrival = at;
                }
            }
            self.send_at(at, host, peer_host, Segment::Bytes { to: peer, from: id, bytes });
            if self.ends_early(id, host, place) {
                return;
            }
        }
    }

    /// Ends the connection of a socket that has just sent, if a fault says so.
    fn ends_early(&mut self, id: SocketId, host: usize, place: u32) -> bool {
        let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return true };
        let (peer, peer_host, at) = (stream.peer, stream.peer_host, stream.last_arrival);
        if self.strikes(Fault::Reset, host, place).is_some() {
            self.send_at(at, host, peer_host, Segment::Reset { to: peer });
            self.send_now(host, host, Segment::Reset { to: id });
            return true;
        }
        let both = self.strikes(Fault::Finish, host, place).is_some();
        if both || self.strikes(Fault::HalfClose, host, place).is_some() {
            // As by a proxy between the two: what comes after is refused.
            if let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) {
                stream.fin_sent = true;
            }
            self.send_at(at, host, peer_host, Segment::Fin { to: peer });
            if both {
                self.send_now(host, host, Segment::Fin { to: id });
                if let Some(far) = self.sockets.get_mut(&peer).and_then(Socket::stream) {
                    far.fin_sent = true;
                }
            }
            return true;
        }
        false
    }

    /// Ends a connection some time after the last acknowledgement.
    fn expect_answer(&mut self, id: SocketId, timeout: u64) {
        let now = self.now;
        let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return };
        stream.unanswered_since = Some(now);
        if !std::mem::replace(&mut stream.may_give_up, true) {
            self.later(now.saturating_add(timeout), Happening::GiveUp { socket: id });
        }
    }

    /// Fails a connection whose peer has not acknowledged anything for too long.
    pub(super) fn give_up(&mut self, id: SocketId) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let timeout = socket.user_timeout;
        let Some(stream) = socket.stream() else { return };
        match stream.unanswered_since.map(|since| since.saturating_add(timeout)) {
            None => stream.may_give_up = false,
            Some(at) if at > now => self.later(at, Happening::GiveUp { socket: id }),
            Some(_) => self.fail(id, libc::ETIMEDOUT),
        }
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
            let at = self.arrival(host, peer_host);
            let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return };
            let at = at.max(stream.last_arrival);
            stream.last_arrival = at;
            if stream.unanswered_since.is_none() {
                self.expect_answer(id, timeout);
            }
            self.send_at(at, host, peer_host, Segment::Fin { to: peer });
        } else if !is_open && stream.in_flight == 0 {
            self.forget(id);
        }
    }

    /// Something has arrived.
    pub(super) fn arrive(&mut self, parcel: Parcel) {
        let Parcel { from, to, what } = parcel;
        if self.hosts[to].life == super::world::Life::Down {
            return;
        }
        match what {
            Segment::Syn { from: socket, name, attempt } => {
                self.take_syn(from, to, socket, name, attempt)
            }
            Segment::SynAck { to: socket } => self.take_syn_ack(from, to, socket),
            Segment::Refusal { to: socket, errno } => {
                if let Some(Socket { state: State::Connecting(_), .. }) = self.sockets.get(&socket)
                {
                    self.fail(socket, errno);
                }
            }
            Segment::Bytes { to: socket, from: sender, bytes } => {
                self.take_bytes(from, to, socket, sender, &bytes);
            }
            Segment::Fin { to: socket } => self.take_fin(from, to, socket),
            Segment::Reset { to: socket } => self.fail(socket, libc::ECONNRESET),
            Segment::Ack { to: socket, count } => self.take_ack(socket, count),
            Segment::Window { to: socket } => self.pump(socket),
        }
    }

    /// A connection is asked for. Without a listener it is refused; with a full backlog it is left
    /// without an answer.
    fn take_syn(&mut self, from: usize, to: usize, socket: SocketId, name: Name, attempt: u32) {
        let Some(Socket { state: State::Connecting(_), local, .. }) = self.sockets.get(&socket)
        else {
            return;
        };
        let Some(caller) = local.clone() else { return };
        let Some(listener) = self.listener(to, &name) else {
            let refusal = Segment::Refusal { to: socket, errno: libc::ECONNREFUSED };
            return self.send_now(to, from, refusal);
        };
        let is_pending = attempt > 0
            && self.sockets.values_mut().any(|it| it.stream().is_some_and(|it| it.peer == socket));
        if is_pending {
            // The answer was lost.
            return self.send_now(to, from, Segment::SynAck { to: socket });
        }
        let is_full = match &mut self.sockets.get_mut(&listener).map(|it| &mut it.state) {
            Some(State::Listening(Listening { waiting, waiting_max, turned_away })) => {
                let is_full = waiting.len() > *waiting_max;
                *turned_away += u32::from(is_full);
                is_full
            }
            _ => return,
        };
        if is_full {
            return self.note(to, format_args!("{name} backlog full: {caller} turned away"));
        }
        let room = self.room(from, to);
        let (timeout, keepalive) =
            self.sockets.get(&listener).map_or((0, None), |it| (it.user_timeout, it.keepalive));
        let mut near = Socket::new(to, None);
        (near.user_timeout, near.keepalive) = (timeout, keepalive);
        near.local = Some(name.clone());
        near.state = State::Stream(Box::new(Stream::new(socket, from, caller.clone(), room)));
        let near = self.insert(near);
        self.probe_later(near);
        if let Some(Socket { state: State::Listening(listening), .. }) =
            self.sockets.get_mut(&listener)
        {
            listening.waiting.push_back(near);
        }
        self.announce(listener);
        self.note(to, format_args!("{name} connection from {caller} waits"));
        self.send_now(to, from, Segment::SynAck { to: socket });
    }

    /// Returns the room of the buffers of a connection.
    fn room(&mut self, from: usize, to: usize) -> usize {
        match self.strikes(Fault::SmallBuffer, to, place(from, to)) {
            Some(mut bits) => bits.between(1, 300) as usize,
            None => ROOM,
        }
    }

    fn take_syn_ack(&mut self, from: usize, to: usize, id: SocketId) {
        let peer = self.sockets.iter_mut().find_map(|(near, socket)| {
            let stream = socket.stream()?;
            (stream.peer == id).then_some((*near, stream.room))
        });
        let Some(socket) = self.sockets.get_mut(&id) else {
            // The socket was closed meanwhile.
            if let Some((near, _)) = peer {
                self.send_now(to, from, Segment::Reset { to: near });
            }
            return;
        };
        let State::Connecting(name) = &socket.state else { return };
        let name = name.clone();
        let Some((near, room)) = peer else { return self.fail(id, libc::ECONNRESET) };
        socket.state = State::Stream(Box::new(Stream::new(near, from, name.clone(), room)));
        self.announce(id);
        self.probe_later(id);
        self.note(to, format_args!("{name} connected"));
    }

    fn take_bytes(&mut self, from: usize, to: usize, id: SocketId, sender: SocketId, bytes: &[u8]) {
        let count = bytes.len();
        if let Some(stream) = self.sockets.get_mut(&sender).and_then(Socket::stream) {
            stream.on_the_way -= count.min(stream.on_the_way);
        }
        if self.sockets.get(&id).is_some_and(|it| it.is_orphan) {
            // Nothing will read them.
            self.forget(id);
        }
        let stream = self.sockets.get_mut(&id).and_then(Socket::stream);
        let Some(stream) = stream.filter(|stream| !stream.is_reset) else {
            return self.send_now(to, from, Segment::Reset { to: sender });
        };
        if stream.has_fin {
            // Something between the two has ended this direction already.
            return self.send_now(to, from, Segment::Reset { to: sender });
        }
        stream.received.extend(bytes);
        self.announce(id);
        let sender_ip = self.hosts[from].ip;
        self.note(to, format_args!("{count} bytes arrive from {sender_ip}"));
        self.send_now(to, from, Segment::Ack { to: sender, count });
    }

    fn take_fin(&mut self, from: usize, to: usize, id: SocketId) {
        let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return };
        let peer = stream.peer;
        if !std::mem::replace(&mut stream.has_fin, true) {
            self.announce(id);
            let sender = self.hosts[from].ip;
            self.note(to, format_args!("end of stream arrives from {sender}"));
        }
        self.send_now(to, from, Segment::Ack { to: peer, count: 0 });
    }

    fn take_ack(&mut self, id: SocketId, count: usize) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let timeout = socket.user_timeout;
        let Some(stream) = socket.stream() else { return };
        stream.in_flight -= count.min(stream.in_flight);
        stream.unanswered_since = None;
        let is_waited_for = stream.in_flight > 0;
        if stream.is_full && stream.is_writable() {
            stream.is_full = false;
            self.announce(id);
        }
        if is_waited_for {
            self.expect_answer(id, timeout);
        }
        self.pump(id);
    }

    /// Ends a connection, or an attempt to make one, with an error.
    pub(super) fn fail(&mut self, id: SocketId, errno: i32) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let host = socket.host;
        match &mut socket.state {
            State::Connecting(_) => socket.state = State::Fresh,
            State::Stream(stream) if !stream.is_reset => {
                stream.is_reset = true;
                stream.unsent.clear();
                stream.in_flight = 0;
            }
            _ => return,
        }
        socket.error = Some(errno);
        if socket.handle.is_none() && socket.is_orphan {
            self.forget(id);
            return;
        }
        self.announce(id);
        self.note(host, format_args!("connection ends: {}", name_of(errno)));
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

    /// The program has closed the last descriptor of a socket.
    pub(super) fn close(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let (host, resets) = (socket.host, socket.resets);
        let waiting = match &mut socket.state {
            State::Listening(listening) => std::mem::take(&mut listening.waiting),
            _ => VecDeque::new(),
        };
        for waiting in waiting {
            self.reset(waiting);
        }
        self.orphan(id);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let Some(stream) = socket.stream().filter(|stream| !stream.is_reset) else {
            self.forget(id);
            return;
        };
        // Bytes that nothing will read are refused.
        if resets || !stream.received.is_empty() {
            self.note(host, format_args!("closes a connection with a reset"));
            return self.reset(id);
        }
        stream.is_shut = true;
        self.note(host, format_args!("closes a connection"));
        self.pump(id);
    }

    /// Resets a connection, and forgets its near end.
    pub(super) fn reset(&mut self, id: SocketId) {
        let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return };
        let (peer, peer_host, last) = (stream.peer, stream.peer_host, stream.last_arrival);
        if let Some(socket) = self.forget(id) {
            let at = self.arrival(socket.host, peer_host).max(last);
            self.send_at(at, socket.host, peer_host, Segment::Reset { to: peer });
        }
    }

    /// Tells the peer that there is room again.
    pub(super) fn open_window(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let host = socket.host;
        let Some(stream) = socket.stream() else { return };
        let (peer, peer_host) = (stream.peer, stream.peer_host);
        let waits = self.sockets.get_mut(&peer).and_then(Socket::stream);
        if waits.is_some_and(|far| !far.unsent.is_empty()) {
            self.send_now(host, peer_host, Segment::Window { to: peer });
        }
    }

    /// Probes the peer of a connection with keepalive when it has been silent.
    fn probe_later(&mut self, id: SocketId) {
        if let Some(Socket { keepalive: Some(after), .. }) = self.sockets.get(&id) {
            let at = self.now + after;
            self.later(at, Happening::Probe { socket: id });
        }
    }

    /// Fails a connection whose peer does not answer a probe: it is gone, or is not reached.
    pub(super) fn probe(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let host = socket.host;
        let Some(stream) = socket.stream().filter(|stream| !stream.is_reset) else { return };
        let (peer, peer_host) = (stream.peer, stream.peer_host);
        let is_cut = |path| self.paths.get(&path).is_some_and(|path: &Path| path.is_cut);
        let is_down = self.hosts[peer_host].life == super::world::Life::Down;
        if is_down || is_cut((host, peer_host)) || is_cut((peer_host, host)) {
            self.fail(id, libc::ETIMEDOUT);
        } else if !self.sockets.contains_key(&peer) {
            self.fail(id, libc::ECONNRESET);
        } else {
            self.probe_later(id);
        }
    }
}

/// Returns the name of the errors that a connection ends with.
pub(super) fn name_of(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}
