//! The network between hosts: the ways that segments take, and what stops them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::sim::fault::Fault;
use crate::sim::socket::{Name, Socket, SocketId, State};
use crate::sim::world::{Happening, Life, World};

/// The time within a host.
const LOOPBACK: u64 = 20_000;
/// How long a peer takes to repeat what a partition has swallowed, once it is healed.
const REPEAT_MAX: u64 = 400_000_000;

/// One direction between two hosts.
#[derive(Default)]
pub(super) struct Path {
    /// Until when nothing gets through. What has to arrive is repeated until it does.
    pub(super) cut_until: u64,
    /// Until when what is sent waits.
    pub(super) held_until: u64,
    /// Until when attempts to connect are not answered.
    pub(super) deaf_until: u64,
    /// When the last datagram arrives that nothing delays.
    pub(super) last_datagram: u64,
    /// How much longer than usual everything takes, once that was drawn.
    pub(super) slower: Option<u64>,
    waiting: VecDeque<Parcel>,
}

/// What one host sends another.
pub(super) struct Parcel {
    from: usize,
    to: usize,
    /// The end of a connection that sends it, if there is one.
    sender: SocketId,
    /// When it arrives if nothing stops it: not before what was sent before it.
    due: u64,
    what: Segment,
}

/// The sender of what belongs to no connection.
pub(super) const NO_SOCKET: SocketId = 0;

/// What arrives.
pub(super) enum Segment {
    Syn {
        from: SocketId,
        name: Name,
        attempt: u32,
    },
    SynAck {
        to: SocketId,
        room: usize,
    },
    /// The answer to the answer, with which a connection can be accepted.
    Established {
        to: SocketId,
        attempt: u32,
    },
    /// The answer to a connection that cannot be made.
    Refusal {
        to: SocketId,
        errno: i32,
    },
    Bytes {
        to: SocketId,
        bytes: Vec<u8>,
    },
    Fin {
        to: SocketId,
    },
    Reset {
        to: SocketId,
    },
    /// A reset that answers bytes or an end. They are sent again while they have no answer, so this
    /// is too.
    Rejection {
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
    Datagram {
        to: SocketAddr,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    /// The answer of the network to a datagram that reaches nothing.
    Unreachable {
        to: SocketId,
        errno: i32,
        address: SocketAddr,
    },
}

impl Segment {
    /// Returns whether it is lost when it does not get through. A host sends everything else until
    /// it arrives; attempts to connect are repeated by their own clock.
    fn is_sent_once(&self) -> bool {
        matches!(
            self,
            Self::Syn { .. }
                | Self::Reset { .. }
                | Self::Datagram { .. }
                | Self::Unreachable { .. }
        )
    }
}

/// Returns the place of the faults of one direction between two hosts.
pub(super) fn place(from: usize, to: usize) -> u32 {
    ((from as u32 + 1) << 16) | (to as u32 + 1)
}

impl World {
    /// Returns the way from one host to another.
    pub(super) fn path(&mut self, from: usize, to: usize) -> &mut Path {
        self.paths.entry((from, to)).or_default()
    }

    /// Returns when something that is sent now arrives, unless it is stopped.
    pub(super) fn arrival(&mut self, from: usize, to: usize) -> u64 {
        let start = self.time_of(from);
        if from == to {
            return start + LOOPBACK;
        }
        let place = place(from, to);
        let slower = self.slower(from, to);
        let (low, high) = self.latency;
        let mut time = self.dice.bits(place).between(low, high) + slower;
        if let Some(mut bits) = self.strikes(Fault::Tail, from, place) {
            time += high.saturating_mul(bits.between(1, 20));
        }
        if let Some(mut bits) = self.strikes(Fault::Delay, from, place) {
            time += bits.between(10_000_000, 1_000_000_000);
        }
        start.saturating_add(time)
    }

    /// Returns how much longer than usual the way from one host to another takes.
    fn slower(&mut self, from: usize, to: usize) -> u64 {
        if let Some(slower) = self.path(from, to).slower {
            return slower;
        }
        if self.dice.faults.of(Fault::SlowPair) == 0 {
            return 0;
        }
        let drawn = self.strikes(Fault::SlowPair, from, place(from, to));
        let slower = drawn.map_or(0, |mut bits| bits.between(1_000_000, 100_000_000));
        self.path(from, to).slower = Some(slower);
        slower
    }

    /// Sends something that arrives at `at`, unless its way is blocked.
    pub(super) fn send_at(
        &mut self,
        at: u64,
        sender: SocketId,
        from: usize,
        to: usize,
        what: Segment,
    ) {
        let is_sent_once = what.is_sent_once();
        let parcel = Parcel { from, to, sender, due: at, what };
        if let Some(waiting) = self.swallowed.get_mut(&sender) {
            if !is_sent_once {
                waiting.push_back(parcel);
            }
            return;
        }
        if let Some(path) = self.paths.get_mut(&(from, to)) {
            if path.held_until > 0 {
                path.waiting.push_back(parcel);
                return;
            }
            if path.cut_until > 0 {
                if !is_sent_once {
                    path.waiting.push_back(parcel);
                }
                return;
            }
        }
        self.later(at, Happening::Arrival(parcel));
    }

    pub(super) fn send_now(&mut self, sender: SocketId, from: usize, to: usize, what: Segment) {
        let at = self.arrival(from, to);
        self.send_at(at, sender, from, to, what);
    }

    /// Lets what waits on a path go on, if nothing blocks it any more. What was lost is sent again,
    /// unless its sender has given up.
    pub(super) fn unblock(&mut self, from: usize, to: usize, was_cut: bool) {
        let Some(path) = self.paths.get_mut(&(from, to)) else { return };
        if path.held_until > 0 || path.cut_until > 0 {
            return;
        }
        let waiting = std::mem::take(&mut path.waiting);
        self.send_again(waiting, from, to, was_cut);
    }

    /// Ends what swallows the segments of connections.
    pub(super) fn unblock_connections(&mut self) {
        for waiting in std::mem::take(&mut self.swallowed).into_values() {
            if let Some(Parcel { from, to, .. }) = waiting.front() {
                let (from, to) = (*from, *to);
                self.send_again(waiting, from, to, true);
            }
        }
    }

    fn send_again(&mut self, waiting: VecDeque<Parcel>, from: usize, to: usize, was_lost: bool) {
        if waiting.is_empty() {
            return;
        }
        let mut at = self.arrival(from, to);
        if was_lost {
            at += self.dice.bits(place(from, to)).between(0, REPEAT_MAX);
        }
        for parcel in waiting {
            if matches!(parcel.what, Segment::Bytes { .. } | Segment::Fin { .. }) {
                let stream = self.sockets.get_mut(&parcel.sender).and_then(Socket::stream);
                match stream {
                    // What is sent from now on must not overtake it.
                    Some(stream) if !stream.is_reset => {
                        at = at.max(stream.last_arrival);
                        stream.last_arrival = at;
                    }
                    // Nothing repeats it.
                    _ if was_lost => continue,
                    _ => {}
                }
            }
            // It must not overtake what was sent before and is still on its way. Its sender, which
            // knew when that arrives, may be gone.
            at = at.max(parcel.due);
            self.later(at, Happening::Arrival(parcel));
        }
    }

    /// Returns whether the ends of a connection reach each other now.
    pub(super) fn is_reached(&self, near: (SocketId, usize), far: (SocketId, usize)) -> bool {
        let is_open = |from, to| {
            self.paths.get(&(from, to)).is_none_or(|it| it.cut_until == 0 && it.held_until == 0)
        };
        let is_swallowed = |id| self.swallowed.contains_key(&id);
        self.hosts[far.1].life != Life::Down
            && is_open(near.1, far.1)
            && is_open(far.1, near.1)
            && !is_swallowed(near.0)
            && !is_swallowed(far.0)
    }

    /// Sends the answer of the network itself to an attempt to connect.
    pub(super) fn turn_down(&mut self, socket: SocketId, host: usize, errno: i32) {
        let at = self.time_of(host) + self.latency.1;
        let what = Segment::Refusal { to: socket, errno };
        let parcel = Parcel { from: host, to: host, sender: NO_SOCKET, due: at, what };
        self.later(at, Happening::Arrival(parcel));
    }

    /// Something has arrived.
    pub(super) fn arrive(&mut self, parcel: Parcel) {
        let Parcel { from, to, sender, .. } = parcel;
        if self.hosts[to].life == Life::Down {
            if !parcel.what.is_sent_once() {
                // It is repeated until the host is up, and refused then.
                self.path(from, to).waiting.push_back(parcel);
            }
            return;
        }
        match parcel.what {
            Segment::Syn { from: socket, name, attempt } => {
                self.take_syn(from, to, socket, name, attempt);
            }
            Segment::SynAck { to: socket, room } => {
                self.take_syn_ack(from, to, socket, sender, room);
            }
            Segment::Established { to: socket, attempt } => {
                self.take_established(from, to, socket, sender, attempt);
            }
            Segment::Refusal { to: socket, errno } => {
                if let Some(Socket { state: State::Connecting(_), .. }) = self.sockets.get(&socket)
                {
                    self.fail(socket, errno);
                }
            }
            Segment::Bytes { to: socket, bytes } => {
                self.take_bytes(from, to, socket, sender, &bytes);
            }
            Segment::Fin { to: socket } => self.take_fin(from, to, socket, sender),
            Segment::Reset { to: socket } | Segment::Rejection { to: socket } => {
                self.take_reset(socket);
            }
            Segment::Ack { to: socket, count } => self.take_ack(socket, count),
            Segment::Window { to: socket } => {
                self.hear(socket);
                self.pump(socket);
            }
            Segment::Datagram { to: address, from: name, bytes } => {
                self.take_datagram((from, to), sender, (address, name), bytes);
            }
            Segment::Unreachable { to: socket, errno, address } => {
                self.take_unreachable(socket, errno, address);
            }
        }
    }

    /// Sends what is repeated until a host is up, which it is now.
    pub(super) fn repeat_for(&mut self, to: usize) {
        for from in 0..self.hosts.len() {
            self.unblock(from, to, true);
        }
    }

    /// Sends again later something that the receiver could not take.
    pub(super) fn send_later(
        &mut self,
        at: u64,
        sender: SocketId,
        to: (usize, usize),
        what: Segment,
    ) {
        let parcel = Parcel { from: to.0, to: to.1, sender, due: at, what };
        self.later(at, Happening::Arrival(parcel));
    }
}
