//! The world: hosts, sockets, and what will happen when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sim::backend::Whose;
use crate::sim::clock::Clock;
use crate::sim::dice::{Bits, Dice};
use crate::sim::fault::Fault;
use crate::sim::foreign::Foreign;
use crate::sim::names::{Lookups, Names};
use crate::sim::network::{Parcel, Path};
use crate::sim::script::Plan;
use crate::sim::socket::{Name, Socket, SocketId, State};
use crate::sim::storm::Coincidences;
use crate::sim::trace::Trace;
use crate::sys::{Epoll, EventFd};
use crate::{Backend, BackendKind, Event, Readiness, Trigger};

/// How long each call of a program to its kernel takes, in nanoseconds.
pub(super) const CALL_TIME: u64 = 1_000;
/// The time between two opportunities for the faults of hosts and pairs, in nanoseconds.
pub(super) const TICK: u64 = 100_000_000;
/// The first port for sockets that do not choose one (`net.ipv4.ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;

/// A handle to the world.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// Returns the world, also after a test has panicked with it.
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that will happen.
pub(super) enum Happening {
    /// Something arrives that a host has sent.
    Arrival(Parcel),
    /// An attempt to connect is repeated, or given up.
    Retry { from: SocketId, attempt: u32 },
    /// A connection ends unless something was acknowledged since.
    GiveUp { socket: SocketId },
    /// A silent peer is probed.
    Probe { socket: SocketId, count: u32 },
    /// Readiness that was held back is reported.
    Nudge,
    /// What blocks a way may have passed.
    Unblock { path: (usize, usize) },
    /// What a host sends and is sent is held.
    HoldAll { host: usize, until: u64 },
    /// A stopped program goes on.
    Continue { host: usize },
    /// A program is started.
    Start { host: usize },
    /// A program is killed.
    Kill { host: usize },
    /// The faults of hosts and pairs have an opportunity.
    Tick,
    /// A name that a program looks up is resolved, or is not.
    Answer { host: usize, lookup: u64 },
}

/// Whether the program of a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Nothing was started on it yet, its program has ended, or it waits to be started again.
    Idle,
    Running,
    /// It was stopped (`SIGSTOP`).
    Stopped,
    /// It has no power.
    Down,
}

/// A host, as its kernel sees it.
pub(super) struct Host {
    pub(super) ip: IpAddr,
    pub(super) life: Life,
    pub(super) clocks: Clock,
    /// The time up to which its program has worked.
    pub(super) local: u64,
    /// A stall that begins with its next call.
    pub(super) stall: u64,
    /// When the wait of its program ends without an event; `None` if never.
    pub(super) wakes_at: Option<u64>,
    /// Its next wait is interrupted.
    pub(super) is_interrupted: bool,
    /// What tells its loop about descriptors.
    pub(super) kind: BackendKind,
    /// What may have news to report.
    pub(super) watched: BTreeSet<SocketId>,
    /// The connections with output that its ring sends at the next entry, in order.
    pub(super) queued: Vec<SocketId>,
    next_port: u16,
    pub(super) ctl_calls: u64,
    /// How often it has written to a peer whose end it had read.
    pub(super) late_writes: u64,
    /// What the last wait reported last, if its array of events was full.
    pub(super) turned_to: Option<Whose>,
    /// How many turns in a row have got nothing done.
    pub(super) idle_turns: u32,
    pub(super) turns: u64,
    /// Which socket had each number of a descriptor last, and the turn in which that was closed.
    pub(super) numbers: BTreeMap<i32, (SocketId, Option<u64>)>,
    pub(super) subscriptions: Vec<Subscriber>,
    /// What tells its program that the time of day was set.
    pub(super) step_watch: Option<EventFd>,
    /// What a test dictates to it, if it is scripted.
    pub(super) plan: Option<Plan>,
    pub(super) lookups: Lookups,
}

impl Host {
    pub(super) fn trigger(&self) -> Trigger {
        match self.kind {
            BackendKind::Epoll | BackendKind::Uring => Trigger::Edge,
            BackendKind::EpollLevel | BackendKind::Poll | BackendKind::Select => Trigger::Level,
        }
    }

    /// Returns whether a ring moves the bytes of its connections.
    pub(super) fn has_ring(&self) -> bool {
        self.kind == BackendKind::Uring
    }

    /// Returns the time that its clock shows, in nanoseconds since the start of the run.
    pub(super) fn clock(&self) -> u64 {
        self.clocks.at(self.local)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.ip.to_string())
    }
}

/// A listener to signals.
pub(super) struct Subscriber {
    pub(super) mask: u64,
    pub(super) pending: Arc<AtomicU64>,
    pub(super) event: EventFd,
}

pub(crate) struct World {
    pub(super) now: u64,
    /// The `Instant` of time zero.
    pub(super) epoch: Instant,
    pub(super) dice: Dice,
    pub(super) trace: Trace,
    pub(super) hosts: Vec<Host>,
    pub(super) sockets: BTreeMap<SocketId, Socket>,
    /// The sockets that have a descriptor.
    pub(super) by_identity: BTreeMap<(u64, u64), SocketId>,
    last_socket: SocketId,
    pub(super) foreign: BTreeMap<u32, Foreign>,
    pub(super) last_foreign: u32,
    pub(super) queue: BTreeMap<(u64, u64), Happening>,
    last_happening: u64,
    pub(super) paths: BTreeMap<(usize, usize), Path>,
    /// What the ends of connections have sent that does not get through.
    pub(super) swallowed: BTreeMap<SocketId, VecDeque<Parcel>>,
    /// The ports of hosts that do not answer attempts to connect.
    pub(super) deaf_ports: BTreeSet<(usize, u16)>,
    pub(super) latency: (u64, u64),
    pub(super) names: Names,
    pub(super) coincidences: Coincidences,
    /// The descriptors of the system: those that are simulated, to learn of their end, and those
    /// that are not.
    pub(super) system: Epoll,
    events: Vec<Event>,
}

/// The generation of the tags of simulated descriptors in the real poller.
pub(super) const SIMULATED: u32 = 0;
/// That of real ones.
pub(super) const REAL: u32 = 1;

impl World {
    pub(super) fn new(seed: u64) -> io::Result<Self> {
        Ok(Self {
            now: 0,
            epoch: Instant::now(),
            dice: Dice::new(seed),
            trace: Trace::default(),
            hosts: Vec::new(),
            sockets: BTreeMap::new(),
            by_identity: BTreeMap::new(),
            last_socket: 0,
            foreign: BTreeMap::new(),
            last_foreign: 0,
            queue: BTreeMap::new(),
            last_happening: 0,
            paths: BTreeMap::new(),
            swallowed: BTreeMap::new(),
            deaf_ports: BTreeSet::new(),
            latency: (50_000, 500_000),
            names: Names::default(),
            coincidences: Coincidences::default(),
            system: Epoll::new(Trigger::Edge)?,
            events: Vec::new(),
        })
    }

    pub(super) fn add_host(&mut self, ip: IpAddr) -> usize {
        self.hosts.push(Host {
            ip,
            life: Life::Idle,
            clocks: Clock::default(),
            local: self.now,
            stall: 0,
            wakes_at: None,
            is_interrupted: false,
            kind: BackendKind::Epoll,
            watched: BTreeSet::new(),
            queued: Vec::new(),
            next_port: FIRST_PORT,
            ctl_calls: 0,
            late_writes: 0,
            turned_to: None,
            idle_turns: 0,
            turns: 0,
            numbers: BTreeMap::new(),
            subscriptions: Vec::new(),
            step_watch: None,
            plan: None,
            lookups: Lookups::default(),
        });
        self.hosts.len() - 1
    }

    /// Adds a line about a host to the trace, at its own time.
    pub(super) fn note(&mut self, host: usize, what: fmt::Arguments<'_>) {
        let at = self.time_of(host);
        self.trace.note(at, &self.hosts[host], what);
    }

    /// Draws a fault, and adds it to the trace.
    pub(super) fn strikes(&mut self, fault: Fault, host: usize, place: u32) -> Option<Bits> {
        let bits = self.dice.draw(fault, place)?;
        self.note(host, format_args!("! {fault}"));
        Some(bits)
    }

    /// Returns the time up to which a host has worked.
    pub(super) fn time_of(&self, host: usize) -> u64 {
        self.hosts[host].local.max(self.now)
    }

    /// Passes the time of a call to the kernel, and of a stall that begins with it.
    pub(super) fn spend(&mut self, host: usize) {
        let now = self.now;
        let host = &mut self.hosts[host];
        host.local = host.local.max(now) + CALL_TIME + std::mem::take(&mut host.stall);
    }

    pub(super) fn later(&mut self, at: u64, happening: Happening) {
        self.later_with(at, |_| happening);
    }

    /// Lets something happen that is made with its own number. Returns the number.
    pub(super) fn later_with(&mut self, at: u64, make: impl FnOnce(u64) -> Happening) -> u64 {
        self.last_happening += 1;
        self.queue.insert((at, self.last_happening), make(self.last_happening));
        self.last_happening
    }

    /// Opens a socket with a descriptor for the program of a host.
    pub(super) fn open(&mut self, host: usize) -> io::Result<(SocketId, OwnedFd)> {
        let id = self.insert(Socket::new(host, None));
        let fd = self.give_descriptor(id)?;
        Ok((id, fd))
    }

    pub(super) fn insert(&mut self, socket: Socket) -> SocketId {
        self.last_socket += 1;
        self.sockets.insert(self.last_socket, socket);
        self.last_socket
    }

    pub(super) fn forget(&mut self, id: SocketId) -> Option<Socket> {
        self.orphan(id);
        self.sockets.remove(&id)
    }

    /// Returns a free port of a host, if there is one.
    pub(super) fn free_port(&mut self, host: usize) -> Option<u16> {
        for _ in FIRST_PORT..=u16::MAX {
            let host_state = &mut self.hosts[host];
            let port = host_state.next_port;
            host_state.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            let is_used = self.sockets.values().any(|socket| {
                socket.host == host
                    && matches!(&socket.local, Some(Name::Inet(it)) if it.port() == port)
            });
            if !is_used {
                return Some(port);
            }
        }
        None
    }

    /// Returns the listener that gets a connection to `name` at a host. Of several, each gets its
    /// share.
    pub(super) fn listener(&mut self, host: usize, name: &Name) -> Option<SocketId> {
        let found: Vec<SocketId> = self
            .sockets
            .iter()
            .filter(|(_, socket)| {
                socket.host == host
                    && matches!(socket.state, State::Listening(_))
                    && socket.local.as_ref().is_some_and(|local| matches_name(local, name))
            })
            .map(|(id, _)| *id)
            .collect();
        let last = found.len().checked_sub(1)?;
        let chosen = self.dice.bits(host as u32).between(0, last as u64);
        found.get(chosen as usize).copied()
    }

    /// Returns the host with an address, from the view of another.
    pub(super) fn host_of(&self, from: usize, name: &Name) -> Option<usize> {
        match name {
            Name::Unix(_) => Some(from),
            Name::Inet(address) if address.ip().is_loopback() => Some(from),
            Name::Inet(address) => self.hosts.iter().position(|host| host.ip == address.ip()),
        }
    }

    /// Learns from the system which descriptors were closed, and which real ones are ready.
    pub(super) fn sweep(&mut self) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        while self.system.wait(&mut events, Some(Duration::ZERO))? == crate::Coverage::Partial {}
        for event in events.drain(..) {
            match event.tag.generation() {
                SIMULATED if event.readiness.contains(Readiness::ERROR) => {
                    self.close(u64::from(event.tag.slot()));
                }
                REAL => {
                    if let Some(foreign) = self.foreign.get_mut(&event.tag.slot()) {
                        foreign.ready |= event.readiness;
                        foreign.watch.is_news = true;
                    }
                }
                _ => {}
            }
        }
        self.events = events;
        Ok(())
    }

    /// Returns whether the next wait of a host would report something.
    pub(super) fn has_events(&self, host: usize) -> bool {
        let is_edge = self.hosts[host].trigger() == Trigger::Edge;
        let at = self.time_of(host);
        let watched = &self.hosts[host].watched;
        let has_event = |id| {
            let socket: &Socket = &self.sockets[id];
            socket.is_moving(at) || socket.report(is_edge, at).is_some()
        };
        watched.iter().any(has_event)
            || self.foreign.values().any(|it| it.host == host && it.report(is_edge).is_some())
    }

    /// Delivers a signal to the program of a host.
    pub(super) fn raise(&mut self, host: usize, number: i32) -> bool {
        let bit = 1_u64 << (number - 1);
        let listeners = self.hosts[host].subscriptions.iter().filter(|it| it.mask & bit != 0);
        let mut is_heard = false;
        for listener in listeners {
            is_heard = true;
            listener.pending.fetch_or(bit, Ordering::SeqCst);
            listener.event.notify();
        }
        if is_heard {
            self.hosts[host].is_interrupted = true;
        }
        is_heard
    }
}

/// Returns whether a socket that is bound to `local` is meant by `name`.
pub(super) fn matches_name(local: &Name, name: &Name) -> bool {
    match (local, name) {
        (Name::Inet(local), Name::Inet(name)) => {
            local.port() == name.port() && (local.ip() == name.ip() || includes(local, name))
        }
        _ => local == name,
    }
}

/// Returns whether an address without a host includes another.
fn includes(any: &SocketAddr, one: &SocketAddr) -> bool {
    any.ip().is_unspecified() && any.is_ipv4() == one.is_ipv4()
}
