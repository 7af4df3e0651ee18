//! The sockets of a simulated kernel: what they hold, and what they are ready for.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::sim::datagram_socket::Datagrams;
use crate::sim::moving::Moved;
use crate::sys::Endpoint;
use crate::{Interest, Readiness, Tag};

/// The name of a socket within the world. It is never used again.
pub(super) type SocketId = u64;

/// The room of a socket for bytes that were sent, and for bytes that were received.
pub(super) const ROOM: usize = 64 * 1024;

/// What a socket is bound or connected to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Inet(SocketAddr),
    /// A path, or an abstract name after a zero byte.
    Unix(PathBuf),
}

impl From<Endpoint<'_>> for Name {
    fn from(endpoint: Endpoint<'_>) -> Self {
        match endpoint {
            Endpoint::Inet(address) => Self::Inet(*address),
            Endpoint::Unix(path) => Self::Unix(path.to_owned()),
            Endpoint::Abstract(name) => {
                Self::Unix(OsString::from_vec([&[0], name].concat()).into())
            }
        }
    }
}

impl Name {
    /// Returns the name that a socket gets when it is bound to `endpoint`.
    pub(super) fn to_bind(endpoint: Endpoint<'_>, id: SocketId) -> Self {
        match endpoint {
            // The kernel chooses one.
            Endpoint::Abstract(b"") => Endpoint::Abstract(format!("{id:05x}").as_bytes()).into(),
            endpoint => endpoint.into(),
        }
    }

    /// Returns the name of a Unix socket as the kernel has it; nothing for another socket.
    pub(super) fn unix_bytes(&self) -> Vec<u8> {
        match self {
            Self::Inet(_) => Vec::new(),
            Self::Unix(path) => path.as_os_str().as_bytes().to_vec(),
        }
    }

    pub(super) fn ip_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => match path.as_os_str().as_encoded_bytes() {
                [0, name @ ..] => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
                _ => write!(f, "unix:{}", path.display()),
            },
        }
    }
}

/// A socket.
pub(super) struct Socket {
    pub(super) host: usize,
    /// The far end of the pipe whose near end is the descriptor of the program. It fails when the
    /// program has closed the last copy of that, and keeps the inode from being used again. A
    /// connection that was not accepted has none.
    pub(super) handle: Option<Handle>,
    pub(super) state: State,
    pub(super) local: Option<Name>,
    /// The pending error (`SO_ERROR`).
    pub(super) error: Option<i32>,
    pub(super) watch: Option<Watch>,
    /// What the ring of its host has of it, if that moves its bytes.
    pub(super) moved: Option<Box<Moved>>,
    pub(super) reuses_port: bool,
    /// Closing it resets the connection.
    pub(super) resets: bool,
    /// The program has closed it.
    pub(super) is_orphan: bool,
    /// Nanoseconds after which unacknowledged bytes end the connection.
    pub(super) user_timeout: u64,
    /// Nanoseconds of silence after which the peer is probed.
    pub(super) keepalive: Option<u64>,
    /// It was connecting, and has failed.
    pub(super) has_failed: bool,
}

/// The simulated end of a descriptor.
pub(super) struct Handle {
    pub(super) _far: OwnedFd,
    pub(super) identity: (u64, u64),
    /// The number of the descriptor of the program.
    pub(super) number: i32,
}

pub(super) enum State {
    /// It was opened, and perhaps bound.
    Fresh,
    Listening(Listening),
    Connecting(Name),
    Stream(Box<Stream>),
    Datagrams(Box<Datagrams>),
}

#[derive(Default)]
pub(super) struct Listening {
    /// Established connections that wait to be accepted.
    pub(super) waiting: VecDeque<SocketId>,
    pub(super) waiting_max: usize,
    /// How many attempts to connect were dropped because the backlog was full.
    pub(super) turned_away: u32,
}

/// One end of a connection.
pub(super) struct Stream {
    pub(super) peer: SocketId,
    pub(super) peer_host: usize,
    pub(super) peer_name: Name,
    /// The room for bytes in each direction.
    pub(super) room: usize,
    pub(super) received: VecDeque<u8>,
    /// The peer has ended its side, after the bytes that were received.
    pub(super) has_fin: bool,
    /// The program has read that end.
    pub(super) is_end_read: bool,
    /// The connection is gone.
    pub(super) is_reset: bool,
    /// Written bytes that are not on their way.
    pub(super) unsent: VecDeque<u8>,
    /// Bytes on their way, or not acknowledged.
    pub(super) in_flight: usize,
    /// Bytes on their way that have not arrived.
    pub(super) on_the_way: usize,
    /// The program has ended its side.
    pub(super) is_shut: bool,
    pub(super) fin_sent: bool,
    pub(super) fin_acked: bool,
    /// The listener that accepts it, until the peer has confirmed the connection.
    pub(super) waits_for: Option<SocketId>,
    /// When something arrived from the peer last.
    pub(super) heard_at: u64,
    /// A write found no room, so the next room is announced.
    pub(super) is_full: bool,
    /// When the last segment arrives: the next does not overtake it.
    pub(super) last_arrival: u64,
    /// Since when nothing was acknowledged, while something should be.
    pub(super) unanswered_since: Option<u64>,
    /// Its end for want of an answer is among what will happen.
    pub(super) may_give_up: bool,
}

/// How a program watches a socket.
pub(super) struct Watch {
    pub(super) tag: Tag,
    pub(super) interest: Interest,
    /// Something has changed since it was reported last.
    pub(super) is_news: bool,
    /// How much has changed since then.
    pub(super) changes: u32,
    /// News are not reported before this time.
    pub(super) held_until: u64,
    /// Readiness to report that does not exist.
    pub(super) spurious: Readiness,
}

const BOTH: Readiness = Readiness::READABLE.with(Readiness::WRITABLE);
/// What a hang-up means (`EPOLLHUP`): the next operation tells its cause.
const HUNG_UP: Readiness = Readiness::READ_CLOSED.with(Readiness::WRITE_CLOSED).with(BOTH);

impl Stream {
    pub(super) fn new(peer: SocketId, peer_host: usize, peer_name: Name, room: usize) -> Self {
        Self {
            peer,
            peer_host,
            peer_name,
            room,
            received: VecDeque::new(),
            has_fin: false,
            is_reset: false,
            unsent: VecDeque::new(),
            in_flight: 0,
            on_the_way: 0,
            is_shut: false,
            fin_sent: false,
            fin_acked: false,
            waits_for: None,
            heard_at: 0,
            is_full: false,
            last_arrival: 0,
            unanswered_since: None,
            may_give_up: false,
            is_end_read: false,
        }
    }

    /// Returns whether both sides have ended in order and know it. The connection is gone then.
    pub(super) fn is_over(&self) -> bool {
        self.has_fin && self.is_shut && self.fin_acked && self.outstanding() == 0
    }

    pub(super) fn is_unix(&self) -> bool {
        matches!(self.peer_name, Name::Unix(_))
    }

    /// Returns how many bytes were written and not acknowledged. The end of the stream counts as one
    /// (`SIOCOUTQ`).
    pub(super) fn unacknowledged(&self) -> usize {
        self.outstanding() + usize::from(self.fin_sent && !self.fin_acked && self.is_shut)
    }

    /// Returns how many bytes were written and not acknowledged.
    pub(super) fn outstanding(&self) -> usize {
        self.unsent.len() + self.in_flight
    }

    /// Returns whether a third of the room is free, from which on the kernel calls a socket
    /// writable (`sk_stream_is_writeable`).
    pub(super) fn is_writable(&self) -> bool {
        self.outstanding() * 3 <= self.room * 2
    }

    fn readiness(&self, error: Option<i32>) -> Readiness {
        let mut ready = Readiness::NONE;
        if error.is_some() {
            ready |= Readiness::ERROR | BOTH;
        }
        if self.is_reset || self.has_fin && self.is_shut {
            return ready | HUNG_UP;
        }
        if self.has_fin {
            ready |= Readiness::READ_CLOSED | Readiness::READABLE;
        }
        if !self.received.is_empty() {
            ready |= Readiness::READABLE;
        }
        if self.is_shut || self.is_writable() {
            ready |= Readiness::WRITABLE;
        }
        ready
    }
}

impl Socket {
    pub(super) fn new(host: usize, handle: Option<Handle>) -> Self {
        Self {
            host,
            handle,
            state: State::Fresh,
            local: None,
            error: None,
            watch: None,
            moved: None,
            reuses_port: false,
            resets: false,
            is_orphan: false,
            // `tcp_retries2`, `tcp(7)`.
            user_timeout: 924_600_000_000,
            keepalive: None,
            has_failed: false,
        }
    }

    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.state {
            State::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    pub(super) fn datagrams(&mut self) -> Option<&mut Datagrams> {
        match &mut self.state {
            State::Datagrams(datagrams) => Some(datagrams),
            _ => None,
        }
    }

    /// Returns what the kernel would report of it (`tcp_poll`, `datagram_poll`).
    pub(super) fn readiness(&self) -> Readiness {
        match &self.state {
            State::Listening(listening) if listening.waiting.is_empty() => Readiness::NONE,
            State::Listening(_) => Readiness::READABLE,
            State::Connecting(_) => Readiness::NONE,
            State::Fresh if self.error.is_some() => Readiness::ERROR | HUNG_UP,
            // A socket that is not connected hangs up.
            State::Fresh => HUNG_UP,
            State::Stream(stream) => stream.readiness(self.error),
            State::Datagrams(datagrams) => {
                let mut ready = Readiness::WRITABLE;
                if self.error.is_some() || datagrams.has_refusals() {
                    ready |= Readiness::ERROR;
                }
                if datagrams.has_received() {
                    ready |= Readiness::READABLE;
                }
                ready
            }
        }
    }

    /// Returns what a wait at `now` reports of it, if anything.
    pub(super) fn report(&self, is_edge_triggered: bool, now: u64) -> Option<Readiness> {
        let watch = self.watch.as_ref()?;
        if let Some(moved) = &self.moved {
            return moved.report(watch);
        }
        let is_due = watch.is_news && watch.held_until <= now;
        let ready = self.readiness();
        let told = if is_edge_triggered {
            if is_due { ready } else { Readiness::NONE }
        } else {
            level(ready, watch.interest, is_due)
        };
        let told = told | if is_due { watch.spurious } else { Readiness::NONE };
        (!told.is_empty()).then_some(told)
    }

    /// Records that something has changed that an edge announces.
    pub(super) fn announce(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.is_news = true;
            watch.changes += 1;
        }
    }
}

/// Returns what a level-triggered wait reports of readiness, for an interest.
fn level(ready: Readiness, interest: Interest, is_news: bool) -> Readiness {
    let mut wanted = interest.mask();
    if interest.contains(Interest::READ) {
        wanted |= Readiness::READ_CLOSED;
    }
    let always = Readiness::ERROR | Readiness::WRITE_CLOSED;
    if !ready.intersects(wanted)
        && !(ready.intersects(always) && (interest.heeds_ends() || is_news))
    {
        return Readiness::NONE;
    }
    // An end or an error counts as readable and writable: the next operation tells the cause.
    let implied = if ready.intersects(always) { ready } else { Readiness::NONE };
    ready.and(wanted | always) | implied
}
