//! The calls of a program to the kernel of its simulated host.
//!
//! A call returns `None` about a descriptor that is not simulated: the system answers then.

use std::fs::File;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::sim::datagram;
use crate::sim::datagram_socket::Datagrams;
use crate::sim::fault::Fault;
use crate::sim::operations::{accept, read, write};
use crate::sim::socket::{Listening, Name, Socket, SocketId, State};
use crate::sim::world::{Shared, Subscriber, World, matches_name};
use crate::sys::{Batch, Connecting, DatagramOption, Endpoint, EventFd, Outgoing, Refusal};
use crate::{BackendKind, Interest, Readiness};

/// The most that one call sends of a file.
const FILE_PART_MAX: u64 = 64 * 1024;
/// The longest backlog (`net.core.somaxconn`).
const BACKLOG_MAX: usize = 4096;

/// The kernel of one host.
#[derive(Clone)]
pub(crate) struct Simulated {
    pub(super) world: Shared,
    pub(super) host: usize,
}

/// Returns the error of a number.
pub(super) fn error<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Simulated {
    /// Returns this kernel for a loop that is told what a backend of this kind tells it.
    pub(crate) fn loop_like(self, kind: BackendKind) -> Self {
        self.world.lock().hosts[self.host].kind = kind;
        self
    }

    /// Performs a call on a socket of this kernel.
    fn on<T>(&self, fd: BorrowedFd<'_>, call: impl FnOnce(&mut World, SocketId) -> T) -> Option<T> {
        let mut world = self.world.lock();
        let id = world.find(fd)?;
        world.spend(self.host);
        Some(call(&mut world, id))
    }

    /// Reads or changes a socket of this kernel.
    fn with<T>(&self, fd: BorrowedFd<'_>, call: impl FnOnce(&mut Socket) -> T) -> Option<T> {
        self.on(fd, |world, id| world.sockets.get_mut(&id).map(call)).flatten()
    }

    pub(crate) fn is_own(&self, fd: BorrowedFd<'_>) -> bool {
        self.world.lock().find(fd).is_some()
    }

    /// Returns the time in nanoseconds since the start of the run, on the clock of this host.
    pub(super) fn nanoseconds(&self) -> u64 {
        self.world.lock().hosts[self.host].clock()
    }

    pub(crate) fn now(&self) -> Instant {
        let world = self.world.lock();
        world.epoch + Duration::from_nanos(world.hosts[self.host].clock())
    }

    pub(crate) fn time_of_day(&self) -> Duration {
        let world = self.world.lock();
        let host = &world.hosts[self.host];
        Duration::from_nanos(host.clocks.time_of_day(host.local))
    }

    /// Draws whether a point in the program does something unusual.
    pub(crate) fn chance(&self, name: &str) -> bool {
        let world = &mut *self.world.lock();
        // FNV-1a, which is the same in every run.
        let hash = name
            .bytes()
            .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let place = hash.rotate_left(self.host as u32 * 5) ^ self.host as u32;
        let is_drawn = world.dice.draw(Fault::Chance, place).is_some();
        if is_drawn {
            world.note(self.host, format_args!("! chance: {name}"));
        }
        is_drawn
    }

    pub(crate) fn read(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let host = self.host;
        self.on(fd, |world, id| {
            let result = read(world, id, host, buffer);
            match &result {
                Ok(count) => world.note(host, format_args!("read {count} bytes")),
                Err(error) => world.note(host, format_args!("read: {error}")),
            }
            result
        })
    }

    pub(crate) fn send(
        &self,
        fd: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
    ) -> Option<io::Result<usize>> {
        let host = self.host;
        self.on(fd, |world, id| {
            let result = write(world, id, host, slices);
            match &result {
                Ok(count) => world.note(host, format_args!("wrote {count} bytes")),
                Err(error) => world.note(host, format_args!("write: {error}")),
            }
            result
        })
    }

    pub(crate) fn sendfile(
        &self,
        fd: BorrowedFd<'_>,
        file: &File,
        offset: u64,
        length: u64,
    ) -> Option<io::Result<usize>> {
        if !self.is_own(fd) {
            return None;
        }
        let mut part = vec![0; length.min(FILE_PART_MAX) as usize];
        match file.read_at(&mut part, offset) {
            Ok(0) => Some(Ok(0)),
            Ok(count) => self.send(fd, &[IoSlice::new(&part[..count])]),
            Err(error) => Some(Err(error)),
        }
    }

    pub(crate) fn ready_now(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
    ) -> Option<io::Result<Readiness>> {
        let always = Readiness::ERROR | Readiness::WRITE_CLOSED;
        let of = |socket: &mut Socket| {
            let ready = socket.readiness();
            // An end counts as what was asked for: the operation tells it.
            if ready.intersects(always) { ready } else { ready.and(interest.mask()) }
        };
        self.with(fd, of).map(Ok)
    }

    pub(crate) fn stream_socket(&self) -> io::Result<OwnedFd> {
        let mut world = self.world.lock();
        world.spend(self.host);
        if let Some(mut bits) = world.strikes(Fault::SocketRefused, self.host, self.host as u32) {
            return error(if bits.coin() { libc::EMFILE } else { libc::ENOBUFS });
        }
        world.open(self.host).map(|(_, fd)| fd)
    }

    pub(crate) fn datagram_socket(&self) -> io::Result<OwnedFd> {
        let fd = self.stream_socket()?;
        self.with(fd.as_fd(), |socket| {
            socket.state = State::Datagrams(Box::new(Datagrams::new()));
        });
        Ok(fd)
    }

    pub(crate) fn receive_batch(
        &self,
        fd: BorrowedFd<'_>,
        batch: &mut Batch,
        most: usize,
    ) -> Option<io::Result<usize>> {
        let host = self.host;
        self.on(fd, |world, id| {
            let result = datagram::receive(world, id, host, batch, most);
            match &result {
                Ok(count) => world.note(host, format_args!("received {count} datagrams")),
                Err(error) => world.note(host, format_args!("recvmmsg: {error}")),
            }
            result
        })
    }

    pub(crate) fn send_batch(
        &self,
        fd: BorrowedFd<'_>,
        datagrams: &[Outgoing<'_>],
    ) -> Option<io::Result<usize>> {
        let host = self.host;
        self.on(fd, |world, id| {
            let result = datagram::send(world, id, host, datagrams);
            match &result {
                Ok(count) => world.note(host, format_args!("sent {count} datagrams")),
                Err(error) => world.note(host, format_args!("sendmmsg: {error}")),
            }
            result
        })
    }

    pub(crate) fn take_refusal(&self, fd: BorrowedFd<'_>) -> Option<io::Result<Refusal>> {
        self.on(fd, datagram::take_refusal)
    }

    pub(crate) fn set_datagram_option(
        &self,
        fd: BorrowedFd<'_>,
        option: DatagramOption,
        value: i32,
    ) -> Option<io::Result<()>> {
        self.with(fd, |socket| socket.datagrams().map(|it| it.set(option, value)))
            .map(|set| set.map_or_else(|| error(libc::ENOPROTOOPT), Ok))
    }

    pub(crate) fn join_group(&self, fd: BorrowedFd<'_>, group: IpAddr) -> Option<io::Result<()>> {
        self.with(fd, |socket| match socket.datagrams() {
            Some(datagrams) => datagrams.join(group),
            None => error(libc::ENOPROTOOPT),
        })
    }

    pub(crate) fn bind(
        &self,
        fd: BorrowedFd<'_>,
        endpoint: Endpoint<'_>,
    ) -> Option<io::Result<()>> {
        let host = self.host;
        self.on(fd, |world, id| {
            // The program may have closed the socket that had the address.
            world.sweep()?;
            let is_for_datagrams = world.sockets.get(&id).is_some_and(is_datagram);
            let mut name = Name::to_bind(endpoint, id);
            if let Name::Inet(address) = &mut name {
                let own = world.hosts[host].ip;
                let ip = address.ip();
                let is_group = is_for_datagrams && ip.is_multicast();
                if !(ip.is_unspecified() || ip.is_loopback() || ip == own || is_group) {
                    return error(libc::EADDRNOTAVAIL);
                }
                if address.port() == 0 {
                    let Some(port) = world.free_port(host) else {
                        return error(libc::EADDRINUSE);
                    };
                    address.set_port(port);
                }
            }
            let reuses = world.sockets.get(&id).is_some_and(|socket| socket.reuses_port);
            let is_taken = world.sockets.values().any(|other| {
                let is_bound = matches!(other.state, State::Listening(_) | State::Fresh);
                other.host == host
                    && if is_for_datagrams { is_datagram(other) } else { is_bound }
                    && !(reuses && other.reuses_port)
                    && other
                        .local
                        .as_ref()
                        .is_some_and(|it| matches_name(it, &name) || matches_name(&name, it))
            });
            if is_taken {
                return error(libc::EADDRINUSE);
            }
            if let Some(socket) = world.sockets.get_mut(&id) {
                socket.local = Some(name);
            }
            Ok(())
        })
    }

    pub(crate) fn listen(&self, fd: BorrowedFd<'_>, backlog: i32) -> Option<io::Result<()>> {
        let host = self.host;
        self.on(fd, |world, id| {
            let Some(socket) = world.sockets.get_mut(&id) else { return error(libc::EBADF) };
            let Some(name) = socket.local.clone() else { return error(libc::EINVAL) };
            let waiting_max = usize::try_from(backlog).unwrap_or(0).min(BACKLOG_MAX);
            socket.state = State::Listening(Listening { waiting_max, ..Listening::default() });
            world.note(host, format_args!("listens on {name}"));
            Ok(())
        })
    }

    pub(crate) fn connect(
        &self,
        fd: BorrowedFd<'_>,
        endpoint: Endpoint<'_>,
    ) -> Option<io::Result<Connecting>> {
        let host = self.host;
        self.on(fd, |world, id| {
            let to = Name::from(endpoint);
            world.sweep()?;
            if world.sockets.get(&id).is_some_and(is_datagram) {
                return world.connect_datagrams(id, host, to).map(|()| Connecting::Done);
            }
            let Name::Inet(address) = &to else {
                return world.join(id, &to).map(|()| Connecting::Done).or_else(error);
            };
            if world.strikes(Fault::NoPort, host, host as u32).is_some() {
                return error(libc::EADDRNOTAVAIL);
            }
            if let Some(mut bits) = world.strikes(Fault::ConnectFails, host, host as u32) {
                const ERRORS: [i32; 4] =
                    [libc::ENETUNREACH, libc::EACCES, libc::EPERM, libc::ENOBUFS];
                return error(ERRORS[bits.between(0, 3) as usize]);
            }
            let ip = source(address, world.hosts[host].ip);
            let Some(port) = world.free_port(host) else { return error(libc::EADDRNOTAVAIL) };
            if let Some(socket) = world.sockets.get_mut(&id) {
                socket.local.get_or_insert(Name::Inet(SocketAddr::new(ip, port)));
                socket.state = State::Connecting(to.clone());
            }
            world.note(host, format_args!("connects to {to}"));
            world.send_syn(id, to, 0);
            Ok(Connecting::InProgress)
        })
    }

    pub(crate) fn accept(
        &self,
        fd: BorrowedFd<'_>,
    ) -> Option<io::Result<(OwnedFd, Option<SocketAddr>)>> {
        let host = self.host;
        self.on(fd, |world, id| accept(world, id, host))
    }

    pub(crate) fn local_address(
        &self,
        fd: BorrowedFd<'_>,
    ) -> Option<io::Result<Option<SocketAddr>>> {
        self.with(fd, |socket| Ok(socket.local.as_ref().and_then(Name::ip_address)))
    }

    pub(crate) fn local_unix_name(&self, fd: BorrowedFd<'_>) -> Option<io::Result<Vec<u8>>> {
        self.with(fd, |socket| Ok(socket.local.as_ref().map_or_else(Vec::new, Name::unix_bytes)))
    }

    pub(crate) fn remote_address(
        &self,
        fd: BorrowedFd<'_>,
    ) -> Option<io::Result<Option<SocketAddr>>> {
        self.with(fd, |socket| match &socket.state {
            State::Stream(stream) if !stream.is_reset && !stream.is_over() => {
                Ok(stream.peer_name.ip_address())
            }
            State::Datagrams(it) => Ok(it.peer.as_ref().and_then(Name::ip_address)),
            _ => error(libc::ENOTCONN),
        })
    }

    pub(crate) fn set_reuse_port(&self, fd: BorrowedFd<'_>) -> Option<io::Result<()>> {
        self.with(fd, |socket| socket.reuses_port = true).map(Ok)
    }

    pub(crate) fn set_keepalive(
        &self,
        fd: BorrowedFd<'_>,
        idle: Duration,
    ) -> Option<io::Result<()>> {
        let idle = crate::reactor::clock::nanos(idle);
        self.with(fd, |socket| socket.keepalive = Some(idle)).map(Ok)
    }

    pub(crate) fn set_user_timeout(
        &self,
        fd: BorrowedFd<'_>,
        limit: Duration,
    ) -> Option<io::Result<()>> {
        let limit = crate::reactor::clock::nanos(limit);
        self.with(fd, |socket| socket.user_timeout = limit).map(Ok)
    }

    pub(crate) fn unacknowledged(&self, fd: BorrowedFd<'_>) -> Option<io::Result<u32>> {
        self.with(fd, |socket| socket.stream().map_or(0, |it| it.unacknowledged() as u32)).map(Ok)
    }

    pub(crate) fn reset_on_close(&self, fd: BorrowedFd<'_>) -> Option<io::Result<()>> {
        self.with(fd, |socket| socket.resets = true).map(Ok)
    }

    pub(crate) fn shutdown_write(&self, fd: BorrowedFd<'_>) -> Option<io::Result<()>> {
        let host = self.host;
        self.on(
            fd,
            |world, id| {
                if world.end_side(id, host) { Ok(()) } else { error(libc::ENOTCONN) }
            },
        )
    }

    pub(crate) fn is_listening(&self, fd: BorrowedFd<'_>) -> Option<io::Result<bool>> {
        self.with(fd, |socket| Ok(matches!(socket.state, State::Listening(_))))
    }

    pub(crate) fn backlog(&self, fd: BorrowedFd<'_>) -> Option<Option<u32>> {
        self.with(fd, |socket| match &socket.state {
            State::Listening(listening) => Some(listening.waiting.len() as u32),
            _ => None,
        })
    }

    pub(crate) fn turned_away(&self, fd: BorrowedFd<'_>) -> Option<u32> {
        self.with(fd, |socket| match &socket.state {
            State::Listening(listening) => listening.turned_away,
            _ => 0,
        })
    }

    pub(crate) fn take_error(&self, fd: BorrowedFd<'_>) -> Option<io::Result<Option<io::Error>>> {
        self.with(fd, |socket| Ok(socket.error.take().map(io::Error::from_raw_os_error)))
    }

    /// Listens to signals of this host. The returned descriptor becomes readable when one arrives.
    /// Returns a descriptor that becomes readable when the time of day is set.
    pub(crate) fn step_watch(&self) -> io::Result<OwnedFd> {
        let host = &mut self.world.lock().hosts[self.host];
        host.step_watch.get_or_insert(EventFd::new()?).duplicate()
    }

    pub(crate) fn subscribe(&self, mask: u64) -> io::Result<(Arc<AtomicU64>, OwnedFd)> {
        let event = EventFd::new()?;
        let fd = event.duplicate()?;
        let pending = Arc::new(AtomicU64::new(0));
        let subscriber = Subscriber { mask, pending: Arc::clone(&pending), event };
        let subscriptions = &mut self.world.lock().hosts[self.host].subscriptions;
        // Those that were dropped have no other owner.
        subscriptions.retain(|it| Arc::strong_count(&it.pending) > 1);
        subscriptions.push(subscriber);
        Ok((pending, fd))
    }
}

fn is_datagram(socket: &Socket) -> bool {
    matches!(socket.state, State::Datagrams(_))
}

/// Returns the address from which a host with the address `own` connects to another.
pub(super) fn source(to: &SocketAddr, own: IpAddr) -> IpAddr {
    match to.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        _ => own,
    }
}
