//! A load of datagrams: each of several sockets has a number of them in flight, and sends the next
//! when one is answered.
//!
//! Every answer is verified: it is the datagram that this socket sent, byte by byte, and it was not
//! answered before. The number in flight is bounded, so it fits into the receive buffer of a server
//! that keeps up. What is not answered is counted.
//!
//! The client costs less than a server, which answers each datagram on its own: the kernel divides
//! what the client sends at once (`UDP_SEGMENT`).

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::meter::Meter;
use super::{EXTENSION_MAX, Load, NAP, PATIENCE};
use crate::net;

/// The number of datagrams in flight from all sockets that fits into the buffers of a server with
/// the limits that Linux has by default.
pub const IN_FLIGHT_MAX: usize = 512;
/// The number of datagrams that the kernel divides one call into at most.
const SEGMENTS_MAX: usize = 64;
/// The time after which a datagram without an answer counts as lost. Longer than a stall.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// The size of what identifies a datagram: its socket, and its number on that socket.
pub const NAME_SIZE: usize = 8;
/// The number of different fillings.
const FILLINGS: usize = 26;

/// What one socket has in flight.
struct Sender {
    fd: OwnedFd,
    number: u32,
    /// The number of the datagram in flight in each slot, or of the next if there is none. The
    /// numbers in a slot differ by the count of slots, so a number tells its slot.
    slots: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    datagram: u32,
    /// The sweep in which it was sent. `None` if it is not in flight.
    sent_in: Option<u32>,
}

/// A load under way.
struct Client {
    size: usize,
    /// Whether the kernel divides what is sent.
    divides: bool,
    epoll: OwnedFd,
    senders: Vec<Sender>,
    /// The letters that datagrams are filled with, from a place that depends on their number.
    letters: Vec<u8>,
    /// What is sent at once.
    output: Vec<u8>,
    input: Vec<u8>,
    /// The numbers of the slots that were answered.
    freed: Vec<u32>,
    answered: u64,
    lost: u64,
    /// Whether answers are followed by further datagrams.
    goes_on: bool,
    /// The time after which a datagram without an answer counts as lost.
    lost_after: Duration,
    /// The number of the present sweep. Sweeps are `lost_after` apart.
    sweep: u32,
    swept: Instant,
}

impl Client {
    fn new(load: Load, server: SocketAddr, lost_after: Duration) -> io::Result<Self> {
        let in_flight = load.connections * load.depth;
        if load.size < NAME_SIZE || in_flight > IN_FLIGHT_MAX || load.depth > SEGMENTS_MAX {
            return Err(io::Error::other(format!(
                "{in_flight} datagrams of {} bytes in flight: at least {NAME_SIZE} bytes, at most \
                 {IN_FLIGHT_MAX} datagrams, {SEGMENTS_MAX} a socket",
                load.size
            )));
        }
        let mut client = Self {
            size: load.size,
            divides: true,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            senders: Vec::with_capacity(load.connections),
            letters: (0..FILLINGS + load.size).map(|at| b'a' + (at * 7 % 26) as u8).collect(),
            output: Vec::with_capacity(load.size * load.depth),
            input: vec![0; net::READ_SIZE],
            freed: Vec::with_capacity(load.depth),
            answered: 0,
            lost: 0,
            goes_on: true,
            lost_after,
            sweep: 0,
            swept: Instant::now(),
        };
        for number in 0..load.connections as u32 {
            let (fd, divides) = net::connect_datagrams(server, load.size)?;
            client.divides &= divides;
            let data = EventData::new_u64(u64::from(number));
            epoll::add(&client.epoll, &fd, data, EventFlags::IN | EventFlags::ET)?;
            let slot = |datagram| Slot { datagram, sent_in: None };
            let slots = (0..load.depth as u32).map(slot).collect();
            client.senders.push(Sender { fd, number, slots });
        }
        Ok(client)
    }

    /// Returns what a datagram contains after its name.
    fn filling(letters: &[u8], datagram: u32, size: usize) -> &[u8] {
        let from = datagram as usize % FILLINGS;
        &letters[from..from + size - NAME_SIZE]
    }

    /// Sends the datagrams of the slots in `freed`.
    fn send(&mut self, number: usize) -> io::Result<()> {
        let sender = &mut self.senders[number];
        self.output.clear();
        for place in self.freed.drain(..) {
            let slot = &mut sender.slots[place as usize];
            slot.sent_in = Some(self.sweep);
            self.output.extend_from_slice(&sender.number.to_be_bytes());
            self.output.extend_from_slice(&slot.datagram.to_be_bytes());
            let filling = Self::filling(&self.letters, slot.datagram, self.size);
            self.output.extend_from_slice(filling);
        }
        let at_once = if self.divides { self.output.len() } else { self.size };
        for bytes in self.output.chunks(at_once.max(1)) {
            // A datagram that finds no room is lost, and counted like any other.
            net::write(&sender.fd, bytes)?;
        }
        Ok(())
    }

    /// Sends the datagrams of all slots with nothing in flight.
    fn fill(&mut self) -> io::Result<()> {
        for number in 0..self.senders.len() {
            let slots = self.senders[number].slots.iter().zip(0..);
            self.freed.extend(slots.filter(|(it, _)| it.sent_in.is_none()).map(|(_, place)| place));
            self.send(number)?;
        }
        Ok(())
    }

    /// Receives what has arrived on a socket, verifies it, and sends as many further datagrams.
    fn receive(&mut self, number: usize) -> io::Result<()> {
        let sender = &mut self.senders[number];
        // When everything is answered, there is nothing more to receive.
        while self.freed.len() < sender.slots.len()
            && let Some(count) = net::read(&sender.fd, &mut self.input)?
        {
            let wrong = || io::Error::other("an answer differs from the datagram");
            let (name, filling) = self.input[..count].split_first_chunk().ok_or_else(wrong)?;
            let name = u64::from_be_bytes(*name);
            let (owner, datagram) = ((name >> 32) as u32, name as u32);
            let expected = Self::filling(&self.letters, datagram, self.size);
            if owner != sender.number || filling != expected {
                return Err(wrong());
            }
            let count = sender.slots.len() as u32;
            let slot = &mut sender.slots[(datagram % count) as usize];
            if slot.sent_in.is_none() || slot.datagram != datagram {
                // It is one that was taken for lost.
                let twice = || io::Error::other("a datagram was answered twice");
                self.lost = self.lost.checked_sub(1).ok_or_else(twice)?;
                continue;
            }
            *slot = Slot { datagram: datagram.wrapping_add(count), sent_in: None };
            self.answered += 1;
            self.freed.push(datagram % count);
        }
        if !self.goes_on {
            self.freed.clear();
        }
        self.send(number)
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(NAP.subsec_nanos()) };
        events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout))?;
        events.iter().try_for_each(|event| self.receive(event.data.u64() as usize))
    }

    /// Gives up what was sent before the last sweep, and sends the next datagram instead.
    fn sweep(&mut self) -> io::Result<()> {
        if self.swept.elapsed() < self.lost_after {
            return Ok(());
        }
        (self.swept, self.sweep) = (Instant::now(), self.sweep + 1);
        for sender in &mut self.senders {
            let count = sender.slots.len() as u32;
            for slot in &mut sender.slots {
                if slot.sent_in.is_some_and(|sent_in| sent_in + 1 < self.sweep) {
                    *slot = Slot { datagram: slot.datagram.wrapping_add(count), sent_in: None };
                    self.lost += 1;
                }
            }
        }
        if self.goes_on { self.fill() } else { Ok(()) }
    }

    fn load_until(&mut self, until: Instant) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        while Instant::now() < until {
            self.turn(&mut events)?;
            self.sweep()?;
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        let slots = self.senders.iter().flat_map(|sender| &sender.slots);
        slots.filter(|it| it.sent_in.is_some()).count()
    }

    /// Waits until everything in flight is answered or lost.
    fn await_answers(&mut self) -> io::Result<()> {
        self.goes_on = false;
        let (mut events, until) = (Vec::with_capacity(1024), Instant::now() + PATIENCE);
        while self.in_flight() > 0 && Instant::now() < until {
            self.turn(&mut events)?;
            self.sweep()?;
        }
        Ok(())
    }
}

/// Loads `server`, which is the process `pid`. Returns the figures, one a line.
///
/// # Errors
/// Fails if a socket fails, an answer is wrong, nothing is answered, or the load does not fit into
/// the buffers of a server.
pub fn run(load: Load, server: SocketAddr, pid: u32) -> io::Result<String> {
    measure(Client::new(load, server, LOST_AFTER)?, load, pid)
}

fn measure(mut client: Client, load: Load, pid: u32) -> io::Result<String> {
    client.fill()?;
    client.load_until(Instant::now() + load.warm_up)?;
    let (meter, before) = (Meter::start(pid)?, client.answered);
    let mut until = Instant::now() + load.duration;
    client.load_until(until)?;
    // If other processes use the server's core, the measurement takes longer.
    while meter.elapsed() < load.duration * EXTENSION_MAX && meter.server()? < load.duration / 4 {
        until += load.duration / 2;
        client.load_until(until)?;
    }
    let count = client.answered - before;
    let lines = meter.lines(count)?;
    if count == 0 {
        return Err(io::Error::other("nothing was answered"));
    }
    client.await_answers()?;
    Ok(format!("{lines}lost {}\n", client.lost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::talk::Talk;
    use std::net::UdpSocket;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    const LOAD: Load = Load {
        connections: 3,
        size: 64,
        depth: 4,
        rate: None,
        talk: Talk::Echo,
        tls: false,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(100),
    };

    /// Starts a server that answers each datagram, until it cannot.
    fn serve(
        answer: impl Fn(&UdpSocket, &[u8], SocketAddr) -> bool + Send + 'static,
    ) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        socket.set_read_timeout(Some(2 * PATIENCE)).expect("it takes a limit");
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((count, from)) = socket.recv_from(&mut buffer)
                && answer(&socket, &buffer[..count], from)
            {}
        });
        address
    }

    fn load(server: SocketAddr) -> io::Result<String> {
        run(LOAD, server, std::process::id())
    }

    #[test]
    fn every_datagram_is_answered_and_none_is_lost() {
        let lines = load(serve(|socket, bytes, from| socket.send_to(bytes, from).is_ok()));
        let lines = lines.expect("it answers");
        assert!(lines.contains("server_ns ") && lines.ends_with("\nlost 0\n"), "{lines}");
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        for place in [0, 5, 63] {
            let error = load(serve(move |socket, bytes, from| {
                let mut bytes = bytes.to_vec();
                bytes[place] ^= 1;
                socket.send_to(&bytes, from).is_ok()
            }));
            let error = error.expect_err("it is wrong").to_string();
            assert!(error.contains("differs"), "place {place}: {error}");
        }
        let shorter = serve(|socket, bytes, from| socket.send_to(&bytes[..40], from).is_ok());
        assert!(load(shorter).expect_err("it is short").to_string().contains("differs"));
    }

    #[test]
    fn an_answer_that_comes_twice_is_an_error() {
        let server = serve(|socket, bytes, from| {
            socket.send_to(bytes, from).and_then(|_| socket.send_to(bytes, from)).is_ok()
        });
        let error = load(server).expect_err("answers come twice").to_string();
        assert!(error.contains("twice"), "{error}");
    }

    #[test]
    fn a_datagram_without_an_answer_is_counted() {
        let is_first = AtomicBool::new(true);
        let server = serve(move |socket, bytes, from| {
            is_first.swap(false, Ordering::Relaxed) || socket.send_to(bytes, from).is_ok()
        });
        let client = Client::new(LOAD, server, Duration::from_millis(20)).expect("it has sockets");
        let lines = measure(client, LOAD, std::process::id()).expect("the others are answered");
        assert!(lines.contains("\nlost ") && !lines.contains("\nlost 0\n"), "{lines}");
    }

    #[test]
    fn a_load_that_fits_into_no_buffer_is_refused() {
        let server = "127.0.0.1:9".parse().expect("it is an address");
        for load in [
            Load { connections: 1000, ..LOAD },
            Load { size: NAME_SIZE - 1, ..LOAD },
            Load { connections: 1, depth: SEGMENTS_MAX + 1, ..LOAD },
        ] {
            let error = run(load, server, 0).expect_err("it does not fit").to_string();
            assert!(error.contains("in flight"), "{error}");
        }
    }
}
