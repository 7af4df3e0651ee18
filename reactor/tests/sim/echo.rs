//! An echo server, and a client that verifies every byte and dials again whenever it is cut off.

use std::io::{self, IoSlice};
use std::time::Duration;

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::sim::{HostId, Sim};
use reactor::{
    Address, ConnectOptions, Connector, Cx, Handler, Interest, ListenOptions, Listener, LoopCx,
    Reactor, Reason, Registration, Role, Stream,
};

struct Echo;

impl<A> Service<Lines, A> for Echo {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        reply.send(line);
        Flow::Continue
    }
}

/// Builds the server.
pub(crate) fn server() -> io::Result<Reactor> {
    let mut reactor = Reactor::new(())?;
    let address = "0.0.0.0:7".parse().map_err(io::Error::other)?;
    let listener = Listener::bind(&address, &ListenOptions::DEFAULT)?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
        Conversation::new(Lines::default(), Echo)
    })?;
    Ok(reactor)
}

/// What the client has done.
#[derive(Debug, Default)]
pub(crate) struct Far {
    pub(crate) wanted: usize,
    pub(crate) verified: usize,
    pub(crate) dials: usize,
    pub(crate) reasons: Vec<String>,
}

impl Far {
    pub(crate) fn is_done(&self) -> bool {
        self.verified >= self.wanted
    }
}

/// Returns what the client on a host has done. A client that is down has done nothing.
pub(crate) fn far(sim: &mut Sim, host: HostId) -> &Far {
    static NOTHING: Far = Far { wanted: usize::MAX, verified: 0, dials: 0, reasons: Vec::new() };
    sim.reactor::<Far>(host).map_or(&NOTHING, |reactor| &reactor.app)
}

/// Builds a client that wants `count` lines echoed.
pub(crate) fn client(count: usize) -> io::Result<Reactor<Far>> {
    let mut reactor = Reactor::new(Far { wanted: count, ..Far::default() })?;
    // Not yet: faults spare a program while it is built.
    reactor.cx().after(Duration::ZERO, dial)?;
    Ok(reactor)
}

fn dial(cx: &mut LoopCx<'_, Far>) {
    cx.app.dials += 1;
    let address = Address::Tcp(([10, 0, 0, 1], 7).into());
    let registration = Registration::new(Interest::BOTH).role(Role::Connection);
    let talk = Talk { sent: Vec::new(), written: 0, received: Vec::new() };
    let connector = Connector::new(&address, &ConnectOptions::DEFAULT);
    let dialled = connector.register(registration, talk, cx);
    if dialled.is_err() {
        later(cx);
    }
}

fn later(cx: &mut LoopCx<'_, Far>) {
    if !cx.app.is_done() {
        // A loop that is being dropped refuses.
        let _ = cx.after(Duration::from_millis(200), dial);
    }
}

/// One connection of the client: one line after another.
struct Talk {
    sent: Vec<u8>,
    written: usize,
    received: Vec<u8>,
}

impl Talk {
    fn next_line(&mut self, number: usize) {
        let length = number * 7919 % 3000 + 1;
        self.sent = (0..length).map(|place| b'a' + ((number + place) % 26) as u8).collect();
        self.sent.push(b'\n');
        (self.written, self.received) = (0, Vec::new());
    }
}

impl Handler<Far> for Talk {
    fn ready(&mut self, cx: &mut Cx<'_, Far>) -> io::Result<()> {
        loop {
            if self.received == self.sent {
                if !self.sent.is_empty() {
                    cx.app.verified += 1;
                }
                if cx.app.is_done() {
                    cx.end(Reason::Finished);
                    return Ok(());
                }
                let number = cx.app.verified;
                self.next_line(number);
            }
            if self.written < self.sent.len()
                && let Some(count) = cx.write(&[IoSlice::new(&self.sent[self.written..])])?
            {
                self.written += count;
            }
            let is_written = self.written == self.sent.len();
            cx.set_interest(if is_written { Interest::READ } else { Interest::BOTH });
            let mut bytes = [0; 4096];
            let Some(count) = cx.read(&mut bytes)? else { return Ok(()) };
            if count == 0 {
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
            self.received.extend(&bytes[..count]);
            if is_complaint(&self.received) && !self.sent.starts_with(&self.received) {
                // The request was cut off, and the server says so.
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
            let expected = self.sent.get(..self.received.len());
            assert_eq!(expected, Some(&self.received[..]), "line {}", cx.app.verified);
        }
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Far>) {
        cx.app.reasons.push(reason.to_string());
        later(cx);
    }
}

/// Returns whether these bytes are the beginning of the server's complaint about a line that was cut
/// off, or begin with it.
fn is_complaint(bytes: &[u8]) -> bool {
    const COMPLAINT: &[u8] = b"error: the stream ended";
    bytes.starts_with(COMPLAINT) || COMPLAINT.starts_with(bytes)
}
