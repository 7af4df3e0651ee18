//! One socket of datagrams: sends messages, verifies the replies, and counts those that are lost.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use protocol::codecs::Bytes;
use protocol::{Context, DatagramFailure, Flow, Limits, Reason, Reply, Service};
use reactor::{Address, DatagramOptions, DatagramSocket, Datagrams, LoopCx};

use super::worker::{Role, offset};
use super::{App, Expect, Load};
use crate::Failure;

/// How long each address of a name has to refuse a message.
const REFUSAL: Duration = Duration::from_secs(1);
/// The timeout that looks for lost messages.
const LOSSES: u8 = 0;
/// The length of the number at the start of a message: 16 letters of four bits each.
const NUMBER_LENGTH: usize = 16;
/// The largest message of UDP over IPv4, in bytes.
const UDP_MAX: usize = 65_507;

/// Checks that messages of `size` bytes fit in datagrams, and that `depth` of them at a time have
/// different numbers.
pub(super) fn check(address: &Address, size: usize, depth: usize) -> Result<(), Failure> {
    if matches!(address, Address::Udp(_)) && size > UDP_MAX {
        let text = format!(
            "messages of {size} bytes do not fit in datagrams of UDP, which have {UDP_MAX} bytes at most"
        );
        return Err(Failure::new(text));
    }
    let numbers = 1_usize.checked_shl(4 * size.min(NUMBER_LENGTH - 1) as u32).unwrap_or(usize::MAX);
    if depth > numbers / 2 {
        let text = format!("messages of {size} bytes are too short to tell {depth} of them apart");
        return Err(Failure::new(text));
    }
    Ok(())
}

/// Leaves the first address of a server that does not refuse a message. Each but the last is sent one,
/// the first `size` bytes of `sent`, and has a second to answer. One that says nothing does not refuse.
pub(super) fn choose(load: &mut Load, sent: &[u8]) {
    while load.addresses.len() > 1 && is_refused(&load.addresses[0], &sent[..load.size]) {
        load.addresses.remove(0);
    }
    load.addresses.truncate(1);
}

/// Returns whether an address refuses a message, or there is no way to it.
fn is_refused(address: &Address, message: &[u8]) -> bool {
    let Address::Udp(peer) = address else { return false };
    let local: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let asked = || {
        let socket = UdpSocket::bind((local, 0))?;
        socket.connect(peer)?;
        socket.set_read_timeout(Some(REFUSAL))?;
        socket.send(message)?;
        // Only the kernel, which learns that nothing listens there, makes this fail at once.
        socket.recv(&mut [0; 1])
    };
    let is_silent = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
    };
    asked().is_err_and(|error| !is_silent(&error))
}

/// Opens a socket that exchanges messages.
pub(super) fn open(
    number: usize,
    role: Role,
    limits: Limits,
    cx: &mut LoopCx<'_, App>,
) -> io::Result<()> {
    let address = &cx.app.load.addresses[0];
    let socket = DatagramSocket::connect(address, &DatagramOptions::default())?;
    let exchange = Exchange { number, role, in_flight: VecDeque::new(), sent: 0, is_timed: false };
    Datagrams::serve(socket, Bytes, exchange, limits, cx).map(drop)
}

/// A message without a reply.
struct InFlight {
    number: u64,
    sent_at: Instant,
}

/// The service of one socket.
struct Exchange {
    number: usize,
    role: Role,
    /// The messages without a reply, in the order in which they were sent.
    in_flight: VecDeque<InFlight>,
    /// The number of messages that were sent.
    sent: u64,
    is_timed: bool,
}

/// Writes the last digits of `number` over the start of a message, as letters.
fn write_number(message: &mut [u8], number: u64) {
    for (place, byte) in message.iter_mut().take(NUMBER_LENGTH).enumerate() {
        *byte = b'a' + (number >> (4 * place) & 15) as u8;
    }
}

/// Returns the message of this number, as it is sent.
fn message(socket: usize, number: u64, app: &App) -> Vec<u8> {
    let from = offset(socket, number);
    let mut message = app.sent[from..from + app.load.size].to_vec();
    write_number(&mut message, number);
    message
}

/// Returns whether `reply` is the one to the message of this number.
fn answers(reply: &[u8], socket: usize, number: u64, app: &App) -> bool {
    if reply.len() != app.load.size {
        return false;
    }
    let from = offset(socket, number);
    let mut start = [0; NUMBER_LENGTH];
    write_number(&mut start, number);
    if app.load.expect == Expect::Uppercase {
        start.make_ascii_uppercase();
    }
    let length = reply.len().min(NUMBER_LENGTH);
    reply[..length] == start[..length]
        && reply[length..] == app.expected[from + length..from + reply.len()]
}

impl Exchange {
    /// Sends messages until as many are in flight as there should be.
    fn fill(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, App>) {
        while self.role == Role::Active
            && !context.app.stopping
            && self.in_flight.len() < context.app.load.depth
            && reply.backlog() < context.limits.output_high
        {
            reply.send(&message(self.number, self.sent, context.app));
            self.in_flight.push_back(InFlight { number: self.sent, sent_at: context.now });
            self.sent += 1;
        }
        self.watch(context);
    }

    /// Looks for losses when the oldest message has waited for long enough.
    fn watch(&mut self, context: &mut Context<'_, App>) {
        if let Some(oldest) = self.in_flight.front()
            && !self.is_timed
        {
            self.is_timed = true;
            let (age, limit) = (context.now - oldest.sent_at, context.app.load.lost_after);
            context.effects.set_timeout(LOSSES, Some(limit.saturating_sub(age)));
        }
    }

    /// Counts a correct reply.
    fn record(latency: Duration, context: &mut Context<'_, App>) {
        let (size, report) = (context.app.load.size as u64, &mut context.app.report);
        if context.app.stopping {
            report.record_late(latency);
        } else if context.app.started.is_some() {
            report.record(latency, size);
        }
    }

    fn go_on(&self, context: &Context<'_, App>) -> Flow {
        let is_done = context.app.stopping && self.in_flight.is_empty();
        if is_done { Flow::Close } else { Flow::Continue }
    }

    /// Returns whether a reply is to a message that no longer waits for one: a duplicate, or a
    /// reply to a message that was taken for lost.
    fn is_late(&self, reply: &[u8], app: &App) -> bool {
        // Only so many numbers are different.
        let digits = app.load.size.min(NUMBER_LENGTH) as u32;
        let period = 1_u64.checked_shl(4 * digits).unwrap_or(u64::MAX);
        let mut number = 0;
        for (place, byte) in reply.iter().take(NUMBER_LENGTH).enumerate() {
            let digit = byte.to_ascii_lowercase().wrapping_sub(b'a');
            number |= u64::from(digit & 15) << (4 * place);
        }
        // The alphabet of a short message does not reach beyond its number.
        let has_been_sent = number < self.sent || period < self.sent;
        has_been_sent && answers(reply, self.number, number, app)
    }
}

impl Service<Bytes, App> for Exchange {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, App>) -> Flow {
        context.app.connecting -= 1;
        context.app.open += 1;
        self.fill(reply, context);
        Flow::Continue
    }

    fn call(
        &mut self,
        datagram: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        // Most replies are in order.
        let place = self
            .in_flight
            .iter()
            .position(|it| answers(datagram, self.number, it.number, context.app));
        match place.and_then(|place| self.in_flight.remove(place)) {
            Some(answered) => Self::record(context.now - answered.sent_at, context),
            None if self.is_late(datagram, context.app) => {}
            None => {
                context.app.report.fail("the reply differs from the expected one".to_owned());
                return Flow::Close;
            }
        }
        self.fill(reply, context);
        self.go_on(context)
    }

    fn drained(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, App>) -> Flow {
        self.fill(reply, context);
        Flow::Continue
    }

    fn timeout(
        &mut self,
        _key: u8,
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        self.is_timed = false;
        while let Some(oldest) = self.in_flight.front()
            && context.now - oldest.sent_at >= context.app.load.lost_after
        {
            context.app.report.record_unanswered(context.now - oldest.sent_at);
            self.in_flight.pop_front();
        }
        self.fill(reply, context);
        self.go_on(context)
    }

    fn stopping(&mut self, _reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, App>) -> Flow {
        self.go_on(context)
    }

    fn failed(
        &mut self,
        failure: &DatagramFailure,
        _reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let DatagramFailure::Undelivered(error) = failure else {
            // A reply that is missing is counted when its time has passed.
            return Flow::Continue;
        };
        let hint = match error.kind() {
            io::ErrorKind::ConnectionRefused => ": nothing listens there",
            _ => "",
        };
        let text = format!("{}: {error}{hint}", context.app.load.server());
        context.app.report.fail(text);
        Flow::Close
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.open -= 1;
        for lost in self.in_flight.drain(..) {
            context.app.report.record_unanswered(context.now - lost.sent_at);
        }
        if !reason.is_orderly() && !matches!(reason, Reason::Stopped) {
            let server = context.app.load.server();
            context.app.report.fail(Failure::of_connection(&server, reason).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_letters() {
        let mut message = *b"....................";
        write_number(&mut message, 0x1f0);
        assert_eq!(&message, b"apbaaaaaaaaaaaaa....");
        let mut short = *b"..";
        write_number(&mut short, 0x1f0);
        assert_eq!(&short, b"ap");
    }

    #[test]
    fn too_large_messages_and_too_many_short_ones_are_refused() {
        let udp: Address = "udp://127.0.0.1:1".parse().expect("it is an address");
        let unix: Address = "unix-dgram:/x".parse().expect("it is an address");
        assert!(check(&udp, UDP_MAX, 1).is_ok() && check(&udp, UDP_MAX + 1, 1).is_err());
        assert!(check(&unix, UDP_MAX + 1, 1).is_ok());
        assert!(check(&udp, 1, 8).is_ok() && check(&udp, 1, 9).is_err());
        assert!(check(&udp, 64, 1_000_000).is_ok());
    }
}
