//! Clients that read their reply late: the stream ends in order after all of it, or not in order.

use std::io::{self, IoSlice};
use std::time::Duration;

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::sim::{Fault, Faults, HostId, Outcome, Sim};
use reactor::{
    Cx, Handler, Interest, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Reason,
    Registration, Role, Stream, Timeout,
};
use testkit::Random;

use super::ground::{Ground, client_loop, counters, demand_calm, dial, open, server_at};

/// How long the daemon keeps a connection for output that its peer does not read.
const LINGER: Duration = Duration::from_secs(3);
/// How long the readers wait before they read: within the limit, or long after it.
const SOON: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(15);
/// For how long the daemon may be stopped while the readers connect.
const STOPPED: Duration = Duration::from_millis(100);
/// What a turn reads of a connection: less than a request.
const READ_BUDGET: usize = 2_000;
/// How often the loop of the daemon may turn while the readers wait: accepting, replies, the timers,
/// and what faults repeat.
const TURNS_MAX: u64 = 3_000;
/// What a client sends behind its last request, in lines.
const REST: usize = 100_000;

/// Faults that lose nothing.
const MILD: [Fault; 9] = [
    Fault::Split,
    Fault::Merge,
    Fault::ShortRead,
    Fault::ShortWrite,
    Fault::Spurious,
    Fault::Reorder,
    Fault::FullArray,
    Fault::Interrupt,
    Fault::FalseWouldBlock,
];

/// Runs the daemon and its readers.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let (seed, backend) = (ground.random.number(), ground.backend);
    let readers = ground.client(sim, move || start(backend, seed))?;
    sim.set_faults(MILD.iter().fold(Faults::NONE, |faults, fault| faults.rate(*fault, 20_000)));
    if ground.random.one_in(2) {
        // Requests and ends of streams come together.
        sim.stop(ground.server);
        sim.run_for(STOPPED)?;
        sim.resume(ground.server);
    }
    sim.run_for(SOON - STOPPED)?;
    let turns = counters::<()>(sim, ground.server).map_or(0, |it| it.turns);
    if turns > TURNS_MAX {
        return Err(format!("{turns} turns while the peers do not read").into());
    }
    sim.run_for(LATE)?;
    demand_calm::<()>(sim, ground.server, "readers", |sim| is_done(sim, readers))?;
    ground.demand_peace::<()>(sim)
}

fn is_done(sim: &mut Sim, readers: HostId) -> bool {
    sim.reactor::<Readers>(readers).is_some_and(|it| it.app.left == 0)
}

fn build(backend: &str) -> io::Result<Reactor> {
    let mut reactor = open(backend, LoopLimits::DEFAULT, ())?;
    let listener = Listener::bind(&server_at(7), &ListenOptions::DEFAULT)?;
    let limits = Limits { linger: LINGER, read_budget: READ_BUDGET, ..Limits::DEFAULT };
    Stream::serve(listener, limits, &mut reactor.cx(), |_| {
        Conversation::new(Lines::default(), Generous)
    })?;
    Ok(reactor)
}

/// Replies to a number with a line of so many bytes, and to everything else by closing.
struct Generous;

impl Service<Lines> for Generous {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_>,
    ) -> Flow {
        let text = std::str::from_utf8(line).unwrap_or_default();
        let Ok(size) = text.parse::<usize>() else { return Flow::Close };
        reply.send(&vec![b'x'; size]);
        Flow::Continue
    }
}

/// The readers of one host.
struct Readers {
    left: usize,
}

fn start(backend: &str, seed: u64) -> io::Result<Reactor<Readers>> {
    let mut random = Random::new(seed);
    let readers = [Ending::HalfClose, Ending::Asked, Ending::AskedTooLate];
    let mut reactor = client_loop(backend, Readers { left: readers.len() })?;
    for ending in readers {
        let size = 200_000 + random.index(800_000);
        let mut request = format!("{size}\n").into_bytes();
        match ending {
            Ending::HalfClose => {}
            Ending::Asked => request.extend(b"q\n".iter().chain(&b"more\n".repeat(REST))),
            Ending::AskedTooLate => request.extend(b"q\n"),
        }
        let registration =
            Registration::new(Interest::BOTH).role(Role::Connection).idle_timeout(None);
        let reader = Reader { ending, request, wanted: size + 1, received: 0, is_connected: false };
        dial(&mut reactor, registration, reader)?;
    }
    Ok(reactor)
}

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The reader ends its side, then reads within the limit of the daemon.
    HalfClose,
    /// The reader asks for it and sends more, then reads within the limit of the daemon.
    Asked,
    /// The reader asks for it, then reads when the daemon has given up.
    AskedTooLate,
}

/// Sends its request, and reads later.
struct Reader {
    ending: Ending,
    request: Vec<u8>,
    wanted: usize,
    received: usize,
    is_connected: bool,
}

impl Reader {
    fn send(&mut self, cx: &mut Cx<'_, Readers>) -> io::Result<()> {
        while !self.request.is_empty() {
            let Some(count) = cx.write(&[IoSlice::new(&self.request)])? else { return Ok(()) };
            self.request.drain(..count);
            if self.request.is_empty() && self.ending == Ending::HalfClose {
                cx.shutdown_write()?;
            }
        }
        cx.set_interest(cx.interest().without(Interest::WRITE));
        Ok(())
    }
}

impl Handler<Readers> for Reader {
    fn ready(&mut self, cx: &mut Cx<'_, Readers>) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_connected, true) {
            cx.set_interest(Interest::WRITE);
            let is_late = self.ending == Ending::AskedTooLate;
            cx.set_timeout(Some(if is_late { LATE } else { SOON }));
        }
        self.send(cx)?;
        let mut bytes = [0; 16 * 1024];
        while cx.interest().contains(Interest::READ) {
            match cx.read(&mut bytes)? {
                None => break,
                Some(0) => {
                    cx.end(Reason::PeerClosed);
                    break;
                }
                Some(count) => self.received += count,
            }
        }
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, Readers>) -> io::Result<()> {
        cx.set_interest(cx.interest() | Interest::READ);
        self.ready(cx)
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Readers>) {
        cx.app.left -= 1;
        let (ending, received, wanted) = (self.ending, self.received, self.wanted);
        let may_be_cut = ending == Ending::AskedTooLate && !matches!(reason, Reason::PeerClosed);
        assert!(
            received == wanted || may_be_cut,
            "{ending:?}: {received} of {wanted} bytes, then {reason}"
        );
    }
}
