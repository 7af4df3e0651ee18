//! How connections are made.

use crate::sim::fault::Fault;
use crate::sim::network::{NO_SOCKET, Segment, place};
use crate::sim::socket::{Listening, Name, ROOM, Socket, SocketId, State, Stream};
use crate::sim::world::World;

/// How long an attempt to connect is repeated: for 1, 2, 4 .. 64 s (`tcp_syn_retries`, `tcp(7)`).
const ATTEMPTS_MAX: u32 = 6;
/// How often a peer is asked to finish a connection (`tcp_synack_retries`, `tcp(7)`).
const ANSWERS_MAX: u32 = 5;
const SECOND: u64 = 1_000_000_000;

impl World {
    /// Sends the first segment of a connection.
    pub(super) fn send_syn(&mut self, from: SocketId, name: Name, attempt: u32) {
        let Some(socket) = self.sockets.get(&from) else { return };
        let host = socket.host;
        let Some(to) = self.host_of(host, &name) else {
            return self.turn_down(from, host, libc::EHOSTUNREACH);
        };
        let place = place(host, to);
        if attempt == 0 && self.strikes(Fault::Refuse, host, place).is_some() {
            return self.turn_down(from, host, libc::ECONNREFUSED);
        }
        if attempt == 0
            && let Some(mut bits) = self.strikes(Fault::Unreachable, host, place)
        {
            let errno = if bits.coin() { libc::EHOSTUNREACH } else { libc::ENETUNREACH };
            return self.turn_down(from, host, errno);
        }
        let at = self.time_of(host) + (SECOND << attempt.min(ATTEMPTS_MAX));
        self.later(at, super::world::Happening::Retry { from, attempt: attempt + 1 });
        if !self.is_ignored(host, to, &name) {
            self.send_now(from, host, to, Segment::Syn { from, name, attempt });
        }
    }

    /// Returns whether an attempt to connect gets no answer.
    fn is_ignored(&mut self, from: usize, to: usize, name: &Name) -> bool {
        let now = self.time_of(from);
        if let Some(mut bits) = self.strikes(Fault::Blackhole, from, place(from, to)) {
            self.path(from, to).deaf_until = now + bits.between(SECOND / 2, 180 * SECOND);
        }
        if let Name::Inet(address) = name {
            let port = (to, address.port());
            if self.strikes(Fault::BlackholePort, from, place(from, to)).is_some() {
                self.deaf_ports.insert(port);
            }
            if self.deaf_ports.contains(&port) {
                return true;
            }
        }
        self.path(from, to).deaf_until > now
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

    /// A connection is asked for. Without a listener it is refused; with a full backlog it is left
    /// without an answer.
    pub(super) fn take_syn(
        &mut self,
        from: usize,
        to: usize,
        socket: SocketId,
        name: Name,
        attempt: u32,
    ) {
        let Some(Socket { state: State::Connecting(_), local, .. }) = self.sockets.get(&socket)
        else {
            return;
        };
        let Some(caller) = local.clone() else { return };
        let Some(listener) = self.listener(to, &name) else {
            let refusal = Segment::Refusal { to: socket, errno: libc::ECONNREFUSED };
            return self.send_now(NO_SOCKET, to, from, refusal);
        };
        let pending = (attempt > 0).then(|| self.end_with_peer(socket)).flatten();
        if let Some((near, room)) = pending {
            // The answer was lost.
            return self.send_now(near, to, from, Segment::SynAck { to: socket, room });
        }
        if self.is_full(listener) {
            return self.note(to, format_args!("{name} backlog full: {caller} turned away"));
        }
        let room = self.room(from, to);
        let near = self.open_end(listener, socket, (from, to), (name, caller), room);
        self.send_now(near, to, from, Segment::SynAck { to: socket, room });
    }

    /// Returns the end of a connection whose peer is `socket`, and its room.
    fn end_with_peer(&mut self, socket: SocketId) -> Option<(SocketId, usize)> {
        self.sockets.iter_mut().find_map(|(near, it)| {
            let stream = it.stream()?;
            (stream.peer == socket).then_some((*near, stream.room))
        })
    }

    /// Returns whether the backlog of a listener is full, and counts that.
    fn is_full(&mut self, listener: SocketId) -> bool {
        match self.sockets.get_mut(&listener).map(|it| &mut it.state) {
            Some(State::Listening(Listening { waiting, waiting_max, turned_away })) => {
                // `sk_acceptq_is_full`: one more than was asked for.
                let is_full = waiting.len() > *waiting_max;
                *turned_away += u32::from(is_full);
                is_full
            }
            _ => true,
        }
    }

    /// Makes the end of a connection that a listener will accept.
    fn open_end(
        &mut self,
        listener: SocketId,
        peer: SocketId,
        (from, to): (usize, usize),
        (name, caller): (Name, Name),
        room: usize,
    ) -> SocketId {
        let options = self.sockets.get(&listener);
        let (timeout, keepalive) = options.map_or((0, None), |it| (it.user_timeout, it.keepalive));
        let mut near = Socket::new(to, None);
        (near.user_timeout, near.keepalive) = (timeout, keepalive);
        near.local = Some(name);
        let mut stream = Stream::new(peer, from, caller, room);
        stream.waits_for = Some(listener);
        near.state = State::Stream(Box::new(stream));
        self.insert(near)
    }

    /// Returns the room of the buffers of a connection.
    fn room(&mut self, from: usize, to: usize) -> usize {
        match self.strikes(Fault::SmallBuffer, to, place(from, to)) {
            Some(mut bits) => bits.between(1, 300) as usize,
            None => ROOM,
        }
    }

    pub(super) fn take_syn_ack(
        &mut self,
        from: usize,
        to: usize,
        id: SocketId,
        near: SocketId,
        room: usize,
    ) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            // The socket was closed meanwhile.
            return self.send_now(id, to, from, Segment::Reset { to: near });
        };
        let State::Connecting(name) = &socket.state else { return };
        let name = name.clone();
        socket.state = State::Stream(Box::new(Stream::new(near, from, name.clone(), room)));
        self.announce(id);
        self.hear(id);
        self.probe_later(id);
        self.note(to, format_args!("{name} connected"));
        let at = self.arrival(to, from);
        if let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) {
            stream.last_arrival = at;
        }
        self.send_at(at, id, to, from, Segment::Established { to: near, attempt: 0 });
    }

    /// The peer has confirmed a connection: it can be accepted now. With a full backlog, the peer is
    /// asked to confirm again (`tcp_v4_syn_recv_sock`), and the connection is forgotten in the end.
    pub(super) fn take_established(
        &mut self,
        from: usize,
        to: usize,
        id: SocketId,
        peer: SocketId,
        attempt: u32,
    ) {
        let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else {
            return self.send_now(NO_SOCKET, to, from, Segment::Reset { to: peer });
        };
        let Some(listener) = stream.waits_for else { return };
        if self.is_full(listener) {
            if attempt == ANSWERS_MAX {
                self.forget(id);
                return;
            }
            let at = self.now + (SECOND << attempt);
            let what = Segment::Established { to: id, attempt: attempt + 1 };
            return self.send_later(at, peer, (from, to), what);
        }
        self.queue_end(id, listener);
    }

    /// Puts a connection into the backlog of its listener.
    fn queue_end(&mut self, id: SocketId, listener: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let (host, name) = (socket.host, socket.local.clone());
        let Some(stream) = socket.stream() else { return };
        stream.waits_for = None;
        let caller = stream.peer_name.clone();
        if let Some(Socket { state: State::Listening(listening), .. }) =
            self.sockets.get_mut(&listener)
        {
            listening.waiting.push_back(id);
        }
        self.hear(id);
        self.probe_later(id);
        self.announce(listener);
        if let Some(name) = name {
            self.note(host, format_args!("{name} connection from {caller} waits"));
        }
    }

    /// Connects a Unix socket, which happens at once or not at all (`unix(7)`).
    ///
    /// # Errors
    /// The number of the error: there is no listener, or its backlog is full.
    pub(super) fn join(&mut self, id: SocketId, name: &Name) -> Result<(), i32> {
        let Some(host) = self.sockets.get(&id).map(|it| it.host) else { return Err(libc::EBADF) };
        let Some(listener) = self.listener(host, name) else { return Err(libc::ECONNREFUSED) };
        if self.is_full(listener) {
            return Err(libc::EAGAIN);
        }
        let room = self.room(host, host);
        let caller = Name::Unix(Default::default());
        let names = (name.clone(), caller.clone());
        let near = self.open_end(listener, id, (host, host), names, room);
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.local = Some(caller);
            let stream = Stream::new(near, host, name.clone(), room);
            socket.state = State::Stream(Box::new(stream));
        }
        self.queue_end(near, listener);
        self.note(host, format_args!("{name} connected"));
        Ok(())
    }
}
