//! Datagrams of simulated hosts: they get lost, overtake each other, arrive twice, and are refused.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::sim::calls::{error, source};
use crate::sim::datagram_socket::{Datagrams, Letter};
use crate::sim::fault::Fault;
use crate::sim::network::{NO_SOCKET, Segment, place};
use crate::sim::socket::{Name, Socket, SocketId, State};
use crate::sim::world::{World, matches_name};
use crate::sys::{BATCH_MAX, Batch, Outgoing, Plain, Refusal, Remote};

/// The largest content of a UDP datagram over IPv4.
const UDP_SIZE_MAX: usize = 65_507;

/// Draws the errors of an operation on a datagram socket, after those that wait.
fn trouble(world: &mut World, id: SocketId, host: usize) -> io::Result<()> {
    if let Some(errno) = world.sockets.get_mut(&id).and_then(|socket| socket.error.take()) {
        return error(errno);
    }
    if let Some(mut bits) = world.strikes(Fault::NoMemory, host, host as u32) {
        return error(if bits.coin() { libc::ENOBUFS } else { libc::ENOMEM });
    }
    if world.strikes(Fault::FalseWouldBlock, host, host as u32).is_some() {
        return error(libc::EAGAIN);
    }
    Ok(())
}

/// `recvmmsg(2)`.
pub(super) fn receive(
    world: &mut World,
    id: SocketId,
    host: usize,
    batch: &mut Batch,
    most: usize,
) -> io::Result<usize> {
    trouble(world, id, host)?;
    let waiting = datagrams(world, id)?.received.len();
    let mut count = waiting.min(most).min(BATCH_MAX);
    if count == 0 {
        return error(libc::EAGAIN);
    }
    let short = (count > 1).then(|| world.strikes(Fault::ShortRead, host, host as u32)).flatten();
    if let Some(mut bits) = short {
        count = bits.between(1, count as u64 - 1) as usize;
    }
    let socket = datagrams(world, id)?;
    let (is_connected, tells_asked) = (socket.peer.is_some(), socket.tells_asked);
    batch.begin_plain();
    for _ in 0..count {
        let Some(letter) = socket.take() else { break };
        let from = letter.from.filter(|_| !is_connected);
        let about = Plain {
            length: letter.bytes.len(),
            from: match from {
                Some(Name::Inet(address)) => Remote::Ip(address).into(),
                Some(Name::Unix(path)) => Remote::Unix(path.as_os_str().as_bytes()).into(),
                None if is_connected => Remote::Connected.into(),
                None => Remote::Unix(&[]).into(),
            },
            asked: letter.to.filter(|_| tells_asked).map(|address| (address, 1)),
            missed: Some(letter.missed).filter(|missed| *missed > 0),
        };
        batch.put_plain(&letter.bytes, about);
    }
    if short.is_some() {
        // As if the rest had arrived after the call.
        world.announce(id);
    }
    Ok(count)
}

/// `sendmmsg(2)`.
pub(super) fn send(
    world: &mut World,
    id: SocketId,
    host: usize,
    datagrams: &[Outgoing<'_>],
) -> io::Result<usize> {
    trouble(world, id, host)?;
    let mut count = datagrams.len().min(BATCH_MAX);
    if count > 1
        && let Some(mut bits) = world.strikes(Fault::ShortWrite, host, host as u32)
    {
        count = bits.between(1, count as u64 - 1) as usize;
    }
    for (number, datagram) in datagrams[..count].iter().enumerate() {
        let bytes: Vec<u8> = datagram.slices.iter().flat_map(|it| it.iter().copied()).collect();
        let from = datagram.from.map(|(address, _)| address);
        let length = datagram.segment.map_or(bytes.len().max(1), usize::from);
        let mut rest = bytes;
        loop {
            let tail = rest.split_off(length.min(rest.len()));
            if let Err(errno) = world.post(id, host, datagram.to, from, rest) {
                return if number > 0 { Ok(number) } else { error(errno) };
            }
            if tail.is_empty() {
                break;
            }
            rest = tail;
        }
    }
    Ok(count)
}

/// Takes a refusal out of the queue of a socket (`MSG_ERRQUEUE`).
pub(super) fn take_refusal(world: &mut World, id: SocketId) -> io::Result<Refusal> {
    let socket = datagrams(world, id)?;
    let Some((errno, to)) = socket.refusals.pop_front() else { return error(libc::EAGAIN) };
    let next = socket.refusals.front().map(|(errno, _)| *errno);
    if let Some(socket) = world.sockets.get_mut(&id) {
        socket.error = next;
    }
    let error = io::Error::from_raw_os_error(errno);
    Ok(Refusal { error, to: Some(to), was_told: false })
}

fn datagrams(world: &mut World, id: SocketId) -> io::Result<&mut Datagrams> {
    let socket = world.sockets.get_mut(&id).and_then(Socket::datagrams);
    socket.map_or_else(|| error(libc::ENOTSOCK), Ok)
}

impl World {
    /// Connects a datagram socket, which exchanges nothing with the peer.
    pub(super) fn connect_datagrams(
        &mut self,
        id: SocketId,
        host: usize,
        to: Name,
    ) -> io::Result<()> {
        match &to {
            Name::Inet(address) => self.name_datagrams(id, host, address)?,
            Name::Unix(_) if self.unix_receiver(host, &to).is_none() => {
                return error(libc::ENOENT);
            }
            Name::Unix(_) => {}
        }
        datagrams(self, id)?.peer = Some(to);
        Ok(())
    }

    /// Gives a socket an address to send from, if it has none.
    fn name_datagrams(&mut self, id: SocketId, host: usize, to: &SocketAddr) -> io::Result<()> {
        if self.sockets.get(&id).is_some_and(|socket| socket.local.is_some()) {
            return Ok(());
        }
        let Some(port) = self.free_port(host) else { return error(libc::EAGAIN) };
        let ip = source(to, self.hosts[host].ip);
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.local = Some(Name::Inet(SocketAddr::new(ip, port)));
        }
        Ok(())
    }

    /// Sends a datagram. `from` is the address of this host to send it from.
    fn post(
        &mut self,
        id: SocketId,
        host: usize,
        to: Remote<'_>,
        from: Option<IpAddr>,
        bytes: Vec<u8>,
    ) -> Result<(), i32> {
        let socket = self.sockets.get_mut(&id).and_then(Socket::datagrams).ok_or(libc::EBADF)?;
        let may_broadcast = socket.may_broadcast;
        let to = match to {
            Remote::Connected => socket.peer.clone().ok_or(libc::EDESTADDRREQ)?,
            Remote::Ip(address) => Name::Inet(address),
            Remote::Unix(name) => {
                Name::Unix(Path::new(std::ffi::OsStr::from_bytes(name)).to_owned())
            }
        };
        let Name::Inet(address) = to else { return self.post_unix(id, host, &to, bytes) };
        let is_broadcast = matches!(address.ip(), IpAddr::V4(ip) if ip.is_broadcast());
        match address {
            _ if bytes.len() > UDP_SIZE_MAX => return Err(libc::EMSGSIZE),
            it if it.port() == 0 => return Err(libc::EINVAL),
            _ if is_broadcast && !may_broadcast => return Err(libc::EACCES),
            _ => {}
        }
        self.name_datagrams(id, host, &address).map_err(|_| libc::EAGAIN)?;
        let local = self.sockets.get(&id).and_then(|it| it.local.as_ref()?.ip_address());
        let local = local.ok_or(libc::EINVAL)?;
        let ip = from.unwrap_or(match local.ip() {
            any if any.is_unspecified() => source(&address, self.hosts[host].ip),
            ip => ip,
        });
        let sender = SocketAddr::new(ip, local.port());
        let hosts: Vec<usize> = if is_broadcast || address.ip().is_multicast() {
            (0..self.hosts.len()).collect()
        } else {
            self.host_of(host, &to).into_iter().collect()
        };
        for target in hosts {
            self.dispatch(id, (host, target), sender, address, &bytes);
        }
        Ok(())
    }

    /// Sends a datagram to one host, unless a fault takes it.
    fn dispatch(
        &mut self,
        id: SocketId,
        (from, to): (usize, usize),
        sender: SocketAddr,
        address: SocketAddr,
        bytes: &[u8],
    ) {
        let place = place(from, to);
        let is_remote = from != to;
        if is_remote && self.strikes(Fault::DatagramLost, from, place).is_some() {
            return;
        }
        let mut copies = 1;
        if is_remote && self.strikes(Fault::DatagramTwice, from, place).is_some() {
            copies = 2;
        }
        for _ in 0..copies {
            let mut at = self.arrival(from, to);
            let late = is_remote.then(|| self.strikes(Fault::DatagramLate, from, place)).flatten();
            match late {
                // Those that are sent after it overtake it.
                Some(mut bits) => at += bits.between(1_000_000, 200_000_000),
                None => {
                    let path = self.path(from, to);
                    at = at.max(path.last_datagram);
                    path.last_datagram = at;
                }
            }
            let what = Segment::Datagram { to: address, from: sender, bytes: bytes.to_vec() };
            self.send_at(at, id, from, to, what);
        }
    }

    /// A datagram has arrived at a host.
    pub(super) fn take_datagram(
        &mut self,
        (from, to): (usize, usize),
        sender: SocketId,
        (address, name): (SocketAddr, SocketAddr),
        bytes: Vec<u8>,
    ) {
        let ip = address.ip();
        let is_for_all = ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        let receivers = self.receivers(to, &address, is_for_all, &Name::Inet(name));
        if receivers.is_empty() && !is_for_all {
            let refused = Segment::Unreachable { to: sender, errno: libc::ECONNREFUSED, address };
            return self.send_now(NO_SOCKET, to, from, refused);
        }
        for id in receivers {
            let bytes = bytes.clone();
            self.note(to, format_args!("datagram of {} bytes arrives from {name}", bytes.len()));
            let letter = Letter { from: Some(Name::Inet(name)), to: Some(ip), bytes, missed: 0 };
            self.deliver(id, to, letter);
        }
    }

    fn deliver(&mut self, id: SocketId, host: usize, letter: Letter) {
        let socket = self.sockets.get_mut(&id).and_then(Socket::datagrams);
        if socket.is_some_and(|socket| socket.put(letter)) {
            self.announce(id);
        } else {
            self.note(host, format_args!("its buffer is full: the datagram is dropped"));
        }
    }

    /// Returns the sockets of a host that get a datagram: all that have joined a group, the one that
    /// is connected to its sender, or one of those that are bound to its address.
    fn receivers(
        &mut self,
        host: usize,
        address: &SocketAddr,
        is_for_all: bool,
        from: &Name,
    ) -> Vec<SocketId> {
        let name = Name::Inet(*address);
        let reaches = |local: &Name| match local {
            Name::Inet(bound) if is_for_all => {
                bound.port() == address.port()
                    && (bound.ip().is_unspecified() || bound.ip() == address.ip())
            }
            _ => matches_name(local, &name),
        };
        let mut found = Vec::new();
        for (id, socket) in &self.sockets {
            let State::Datagrams(datagrams) = &socket.state else { continue };
            let is_member =
                !address.ip().is_multicast() || datagrams.groups.contains(&address.ip());
            let is_reached = socket.local.as_ref().is_some_and(reaches);
            if socket.host == host && is_member && is_reached && datagrams.takes(from) {
                found.push((datagrams.peer.is_some(), *id));
            }
        }
        if !is_for_all && found.len() > 1 {
            // The kernel chooses by the addresses, so that a sender always reaches the same socket.
            let connected = found.iter().find(|(is_connected, _)| *is_connected).copied();
            let port = from.ip_address().map_or(0, |it| usize::from(it.port()));
            found = vec![connected.unwrap_or(found[port % found.len()])];
        }
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// The network has refused a datagram (ICMP).
    pub(super) fn take_unreachable(&mut self, id: SocketId, errno: i32, address: SocketAddr) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let host = socket.host;
        let Some(datagrams) = socket.datagrams() else { return };
        let takes = datagrams.takes_refusals;
        if takes {
            datagrams.refusals.push_back((errno, address));
        }
        // Only a connected socket is told otherwise.
        if takes || datagrams.peer.is_some() {
            socket.error = Some(errno);
            self.note(host, format_args!("{address} refuses a datagram"));
            self.announce(id);
        }
    }

    fn unix_receiver(&self, host: usize, name: &Name) -> Option<SocketId> {
        let is_it = |socket: &Socket| {
            socket.host == host
                && matches!(socket.state, State::Datagrams(_))
                && socket.local.as_ref() == Some(name)
        };
        self.sockets.iter().find(|(_, socket)| is_it(socket)).map(|(id, _)| *id)
    }

    /// Sends a Unix datagram, which arrives at once or not at all.
    fn post_unix(
        &mut self,
        id: SocketId,
        host: usize,
        to: &Name,
        bytes: Vec<u8>,
    ) -> Result<(), i32> {
        let receiver = self.unix_receiver(host, to).ok_or(libc::ECONNREFUSED)?;
        let from = self.sockets.get(&id).and_then(|it| it.local.clone());
        let socket = self.sockets.get_mut(&receiver).and_then(Socket::datagrams);
        let socket = socket.ok_or(libc::ECONNREFUSED)?;
        if socket.peer.is_some() && socket.peer != from {
            return Err(libc::EPERM);
        }
        if !socket.has_room(bytes.len()) {
            return Err(libc::EAGAIN);
        }
        self.deliver(receiver, host, Letter { from, to: None, bytes, missed: 0 });
        Ok(())
    }
}
