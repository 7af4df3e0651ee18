//! How connections end: closed, reset, given up.

use std::collections::VecDeque;

use crate::sim::network::Segment;
use crate::sim::socket::{Socket, SocketId, State, Stream};
use crate::sim::world::{Happening, World};

/// How many probes of a silent peer stay without an answer (`TCP_KEEPCNT`, as the loop sets it).
const PROBES_MAX: u32 = 10;
const SECOND: u64 = 1_000_000_000;

impl World {
    /// Ends a connection unless something is acknowledged in time.
    pub(super) fn expect_answer(&mut self, id: SocketId, timeout: u64) {
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

    /// A reset has arrived (`tcp_reset`).
    pub(super) fn take_reset(&mut self, id: SocketId) {
        let errno = match self.sockets.get(&id).map(|it| &it.state) {
            Some(State::Connecting(_)) => libc::ECONNREFUSED,
            Some(State::Stream(stream)) if stream.has_fin && !stream.is_shut => libc::EPIPE,
            _ => libc::ECONNRESET,
        };
        self.fail(id, errno);
    }

    /// Ends a connection, or an attempt to make one, with an error.
    pub(super) fn fail(&mut self, id: SocketId, errno: i32) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let host = socket.host;
        match &mut socket.state {
            State::Connecting(_) => {
                socket.state = State::Fresh;
                socket.has_failed = true;
            }
            State::Stream(stream) if !stream.is_reset && !stream.is_over() => {
                stream.is_reset = true;
                stream.unsent.clear();
                (stream.in_flight, stream.unanswered_since) = (0, None);
                if stream.waits_for.is_some() {
                    // It was never there for the program.
                    self.forget(id);
                    return;
                }
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

    /// The program has closed the last descriptor of a socket.
    pub(super) fn close(&mut self, id: SocketId) {
        if self.is_held_open(id) {
            return self.drop_descriptor(id);
        }
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let (host, resets) = (socket.host, socket.resets);
        if let State::Listening(listening) = &mut socket.state {
            let waiting = std::mem::take(&mut listening.waiting);
            self.stop_listening(id, waiting);
        }
        self.orphan(id);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let is_live = |stream: &&mut Stream| !stream.is_reset && !stream.is_over();
        let Some(stream) = socket.stream().filter(is_live) else {
            self.forget(id);
            return;
        };
        // Bytes that nothing will read are refused. A Unix socket has no SO_LINGER.
        if resets && !stream.is_unix() || !stream.received.is_empty() {
            self.note(host, format_args!("closes a connection with a reset"));
            return self.reset(id);
        }
        stream.is_shut = true;
        self.note(host, format_args!("closes a connection"));
        self.pump(id);
    }

    /// Ends the connections that a listener has not accepted.
    fn stop_listening(&mut self, listener: SocketId, waiting: VecDeque<SocketId>) {
        for waiting in waiting {
            self.reset(waiting);
        }
        let unconfirmed = |(id, it): (&SocketId, &mut Socket)| {
            (it.stream()?.waits_for == Some(listener)).then_some(*id)
        };
        let ids: Vec<_> = self.sockets.iter_mut().filter_map(unconfirmed).collect();
        for id in ids {
            self.forget(id);
        }
    }

    /// Resets a connection, and forgets its near end.
    pub(super) fn reset(&mut self, id: SocketId) {
        let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) else { return };
        let (peer, peer_host, last) = (stream.peer, stream.peer_host, stream.last_arrival);
        let is_gone = stream.is_reset || stream.is_over();
        let Some(socket) = self.forget(id) else { return };
        if !is_gone {
            let at = self.arrival(socket.host, peer_host).max(last);
            self.send_at(at, id, socket.host, peer_host, Segment::Reset { to: peer });
        }
    }

    /// Records that something has arrived from the peer of a connection.
    pub(super) fn hear(&mut self, id: SocketId) {
        let now = self.now;
        if let Some(stream) = self.sockets.get_mut(&id).and_then(Socket::stream) {
            stream.heard_at = now;
        }
    }

    /// Probes the peer of a connection with keepalive when it has been silent.
    pub(super) fn probe_later(&mut self, id: SocketId) {
        if let Some(Socket { keepalive: Some(idle), .. }) = self.sockets.get(&id) {
            let at = self.now.saturating_add(*idle);
            self.later(at, Happening::Probe { socket: id, count: 0 });
        }
    }

    /// Probes a silent peer, and fails the connection when it has not answered all probes: it is
    /// gone, or is not reached (`tcp_keepalive_timer`).
    pub(super) fn probe(&mut self, id: SocketId, count: u32) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let (host, keepalive) = (socket.host, socket.keepalive);
        let (Some(idle), Some(stream)) = (keepalive, socket.stream()) else { return };
        if stream.is_reset || stream.is_over() {
            return;
        }
        let due = stream.heard_at.saturating_add(idle);
        if due > now || stream.outstanding() > 0 {
            // What was sent is a probe itself.
            let at = due.max(now + SECOND);
            return self.later(at, Happening::Probe { socket: id, count: 0 });
        }
        let (peer, peer_host) = (stream.peer, stream.peer_host);
        if count == PROBES_MAX {
            self.fail(id, libc::ETIMEDOUT);
        } else if !self.is_reached((id, host), (peer, peer_host)) {
            // In whole seconds, as the loop sets it.
            let interval = (idle / 10 / SECOND * SECOND).max(SECOND);
            self.later(now + interval, Happening::Probe { socket: id, count: count + 1 });
        } else if self.sockets.contains_key(&peer) {
            self.hear(id);
            self.probe_later(id);
        } else {
            self.take_reset(id);
        }
    }
}

/// Returns the name of the errors that a connection ends with.
pub(super) fn name_of(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}
