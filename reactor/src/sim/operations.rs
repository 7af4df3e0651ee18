//! Reading, writing and accepting on simulated sockets.

use std::io::{self, IoSlice, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::sim::calls::error;
use crate::sim::fault::Fault;
use crate::sim::socket::{Name, Socket, SocketId, State, Stream};
use crate::sim::world::World;

/// Returns the connection of a socket.
fn connection(world: &mut World, id: SocketId) -> io::Result<&mut Stream> {
    let stream = world.sockets.get_mut(&id).and_then(Socket::stream);
    stream.map_or_else(|| error(libc::EBADF), Ok)
}

/// Draws the errors of an operation on a connection.
fn trouble(world: &mut World, id: SocketId, host: usize) -> io::Result<()> {
    let Ok(stream) = connection(world, id) else { return Ok(()) };
    let (is_live, is_unix) = (!stream.is_reset && !stream.is_over(), stream.is_unix());
    if !is_live {
        return Ok(());
    }
    if !is_unix && let Some(mut bits) = world.strikes(Fault::NetworkError, host, host as u32) {
        const ERRORS: [i32; 4] =
            [libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ENETDOWN, libc::ETIMEDOUT];
        world.fail(id, ERRORS[bits.between(0, 3) as usize]);
    } else if let Some(mut bits) = world.strikes(Fault::NoMemory, host, host as u32) {
        return error(if bits.coin() { libc::ENOBUFS } else { libc::ENOMEM });
    }
    Ok(())
}

/// `tcp_recvmsg`, called by the program.
pub(super) fn read(
    world: &mut World,
    id: SocketId,
    host: usize,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let count = receive(world, id, host, buffer)?;
    if count == 0 {
        note_end(world, id);
    }
    Ok(count)
}

/// Notes that a program has read the end of its peer's side.
pub(super) fn note_end(world: &mut World, id: SocketId) {
    if let Ok(stream) = connection(world, id) {
        stream.is_end_read |= stream.has_fin;
    }
}

/// `tcp_recvmsg`: bytes come first, then the end of the stream, then an error.
pub(super) fn receive(
    world: &mut World,
    id: SocketId,
    host: usize,
    buffer: &mut [u8],
) -> io::Result<usize> {
    trouble(world, id, host)?;
    let Some(socket) = world.sockets.get_mut(&id) else { return error(libc::EBADF) };
    let has_bytes = socket.stream().is_some_and(|stream| !stream.received.is_empty());
    if !has_bytes {
        if socket.stream().is_some_and(|stream| stream.has_fin) {
            return Ok(0);
        }
        if let Some(errno) = socket.error.take() {
            return error(errno);
        }
        return match &socket.state {
            State::Stream(stream) if stream.is_reset || buffer.is_empty() => Ok(0),
            State::Stream(_) | State::Connecting(_) => error(libc::EAGAIN),
            State::Fresh if socket.has_failed => Ok(0),
            State::Fresh | State::Listening(_) => error(libc::ENOTCONN),
            State::Datagrams(_) => error(libc::EOPNOTSUPP),
        };
    }
    if world.strikes(Fault::FalseWouldBlock, host, host as u32).is_some() {
        return error(libc::EAGAIN);
    }
    let mut count = connection(world, id)?.received.len().min(buffer.len());
    let short = (count > 1).then(|| world.strikes(Fault::ShortRead, host, host as u32)).flatten();
    if let Some(mut bits) = short {
        count = bits.between(1, count as u64 - 1) as usize;
    }
    connection(world, id)?.received.read_exact(&mut buffer[..count])?;
    if short.is_some() {
        // As if the rest had arrived after the call.
        world.announce(id);
    }
    world.open_window(id);
    Ok(count)
}

/// `tcp_sendmsg`, called by the program.
pub(super) fn write(
    world: &mut World,
    id: SocketId,
    host: usize,
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    let count = send(world, id, host, slices)?;
    note_late(world, id, host, count);
    Ok(count)
}

/// Counts a write of a program that has read the end of its peer's side.
pub(super) fn note_late(world: &mut World, id: SocketId, host: usize, count: usize) {
    let is_late = connection(world, id).is_ok_and(|stream| stream.is_end_read) && count > 0;
    world.hosts[host].late_writes += u64::from(is_late);
}

/// `tcp_sendmsg`: an error comes first, then `EPIPE`.
pub(super) fn send(
    world: &mut World,
    id: SocketId,
    host: usize,
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    trouble(world, id, host)?;
    let Some(socket) = world.sockets.get_mut(&id) else { return error(libc::EBADF) };
    if let Some(errno) = socket.error.take() {
        return error(errno);
    }
    let stream = match &mut socket.state {
        State::Stream(stream) => stream,
        State::Connecting(_) => return error(libc::EAGAIN),
        State::Fresh | State::Listening(_) => return error(libc::EPIPE),
        State::Datagrams(_) => return error(libc::EOPNOTSUPP),
    };
    if stream.is_reset || stream.is_shut {
        return error(libc::EPIPE);
    }
    let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
    let free = stream.room.saturating_sub(stream.outstanding());
    if free == 0 && wanted > 0 {
        stream.is_full = true;
        return error(libc::EAGAIN);
    }
    if world.strikes(Fault::FalseWouldBlock, host, host as u32).is_some() {
        return error(libc::EAGAIN);
    }
    let mut count = free.min(wanted);
    let short = (count > 1).then(|| world.strikes(Fault::ShortWrite, host, host as u32)).flatten();
    if let Some(mut bits) = short {
        count = bits.between(1, count as u64 - 1) as usize;
    }
    let stream = connection(world, id)?;
    let mut left = count;
    for slice in slices {
        let (taken, _) = slice.split_at(slice.len().min(left));
        stream.unsent.extend(taken);
        left -= taken.len();
    }
    // `SOCK_NOSPACE`, which stays until there is room (`sk_stream_write_space`).
    stream.is_full |= count < wanted;
    if short.is_some() && stream.is_writable() {
        stream.is_full = false;
        world.announce(id);
    }
    world.pump(id);
    Ok(count)
}

/// Returns the next connection to accept.
fn next(world: &mut World, id: SocketId, host: usize) -> io::Result<(usize, SocketId)> {
    let Some(Socket { state: State::Listening(listening), .. }) = world.sockets.get_mut(&id) else {
        return error(libc::EINVAL);
    };
    let count = listening.waiting.len();
    let mut place = 0;
    if count > 1
        && let Some(mut bits) = world.strikes(Fault::AcceptReorder, host, host as u32)
    {
        place = bits.between(1, count as u64 - 1) as usize;
    }
    match &world.sockets[&id].state {
        State::Listening(listening) if count > 0 => Ok((place, listening.waiting[place])),
        _ => error(libc::EAGAIN),
    }
}

/// `accept(2)`: a connection, and the address of its peer.
pub(super) fn accept(
    world: &mut World,
    id: SocketId,
    host: usize,
) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (index, chosen) = next(world, id, host)?;
    let place = host as u32;
    if world.strikes(Fault::FalseWouldBlock, host, place).is_some() {
        return error(libc::EAGAIN);
    }
    if let Some(mut bits) = world.strikes(Fault::AcceptNoDescriptor, host, place) {
        return error(if bits.coin() { libc::EMFILE } else { libc::ENFILE });
    }
    if let Some(mut bits) = world.strikes(Fault::AcceptNoMemory, host, place) {
        return error(if bits.coin() { libc::ENOBUFS } else { libc::ENOMEM });
    }
    let failed = failure(world, host);
    if let Some(Socket { state: State::Listening(listening), .. }) = world.sockets.get_mut(&id) {
        listening.waiting.remove(index);
    }
    if let Some(errno) = failed {
        world.reset(chosen);
        return error(errno);
    }
    kill_waiting(world, chosen, host);
    let fd = world.give_descriptor(chosen)?;
    let peer = connection(world, chosen).ok().map(|it| it.peer_name.clone());
    if let Some(peer) = &peer {
        world.note(host, format_args!("accepts {peer}"));
    }
    Ok((fd, peer.as_ref().and_then(Name::ip_address)))
}

/// Draws the error of a connection that has failed while it waited, and is gone.
fn failure(world: &mut World, host: usize) -> Option<i32> {
    const ERRORS: [i32; 10] = [
        libc::EPROTO,
        libc::ENETDOWN,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
        libc::EPERM,
        libc::ETIMEDOUT,
    ];
    if world.strikes(Fault::AcceptAborted, host, host as u32).is_some() {
        return Some(libc::ECONNABORTED);
    }
    let mut bits = world.strikes(Fault::AcceptError, host, host as u32)?;
    Some(ERRORS[bits.between(0, ERRORS.len() as u64 - 1) as usize])
}

/// Resets a connection that is being accepted, if a fault says so.
fn kill_waiting(world: &mut World, id: SocketId, host: usize) {
    let Ok(stream) = connection(world, id) else { return };
    let (peer, is_unix) = (stream.peer, stream.is_unix());
    if !is_unix && world.strikes(Fault::AcceptDead, host, host as u32).is_some() {
        // The peer has reset it, and knows.
        world.fail(peer, libc::ECONNRESET);
        world.fail(id, libc::ECONNRESET);
    }
}
