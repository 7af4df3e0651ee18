//! A server with an idle limit that is stopped (`SIGSTOP`) for longer than that.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use reactor::sim::{Fault, Faults, HostId, Outcome, Sim};
use reactor::{Cx, Expired, Handler, Interest, LoopCx, Reactor, Reason, Registration, Role};
use testkit::Random;

use super::ground::{Ground, client_loop, demand_calm, dial};
use super::loopback;

/// The idle limit of the server.
const LIMIT: Duration = Duration::from_secs(2);
/// The time between two messages of a peer that speaks.
const INTERVAL: Duration = Duration::from_millis(400);
/// How late the end of a silent peer may be noticed, besides the time for which the server was
/// stopped.
const SLACK: Duration = Duration::from_secs(1);
/// When the peers end.
const WORK: Duration = Duration::from_secs(14);
/// The size of a message.
const SIZE: usize = 8;

/// Faults that lose no connection, delay nothing for long, hide no time from the loop as interrupted
/// waits do, and wake no source that has nothing to do: that counts as activity.
const MILD: [Fault; 8] = [
    Fault::Split,
    Fault::Merge,
    Fault::ShortRead,
    Fault::ShortWrite,
    Fault::Late,
    Fault::Reorder,
    Fault::FullArray,
    Fault::FalseWouldBlock,
];

/// Runs the server, peers that speak and peers that fall silent.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, |backend| {
        let more = ["--idle-timeout", "2s"];
        loopback::build(servers::echo::SERVER, servers::echo::session, backend, &more)
    })?;
    let (seed, backend, epoch) = (ground.random.number(), ground.backend, ground.epoch);
    let stopped = Duration::from_millis(2_500 + ground.random.below(3_500));
    let peers = ground.client(sim, move || Peers::start(seed, backend, epoch, stopped))?;
    let mild = MILD.iter().fold(Faults::NONE, |faults, fault| faults.rate(*fault, 20_000));
    sim.set_faults(mild);
    sim.run_for(Duration::from_millis(500 + ground.random.below(4_500)))?;
    sim.stop(ground.server);
    sim.run_for(stopped)?;
    sim.resume(ground.server);
    let rest = WORK.saturating_sub(sim.now());
    sim.run_for(rest)?;
    demand_calm::<()>(sim, ground.server, "peers", |sim| is_done(sim, peers))?;
    ground.demand_peace::<()>(sim)
}

fn is_done(sim: &mut Sim, peers: HostId) -> bool {
    sim.reactor::<Peers>(peers).is_some_and(|reactor| reactor.app.left == 0)
}

/// The peers of one host.
struct Peers {
    epoch: Instant,
    /// For how long the server was stopped.
    stopped: Duration,
    /// How many have not finished.
    left: usize,
}

impl Peers {
    fn start(
        seed: u64,
        backend: &str,
        epoch: Instant,
        stopped: Duration,
    ) -> io::Result<Reactor<Self>> {
        let mut random = Random::new(seed);
        let mut reactor = client_loop(backend, Self { epoch, stopped, left: 6 })?;
        for number in 0..6 {
            let speaks_for = match number {
                0..3 => WORK - LIMIT,
                _ => Duration::from_millis(random.below(6_000)),
            };
            let registration = Registration::new(Interest::READ).role(Role::Connection);
            let peer = Peer { speaks_for, ..Peer::default() };
            dial(&mut reactor, registration, peer)?;
        }
        Ok(reactor)
    }
}

/// A peer that speaks for a while. If that is until the end, it ends the stream; otherwise it is
/// silent until the server does.
#[derive(Default)]
struct Peer {
    speaks_for: Duration,
    is_connected: bool,
    sent: usize,
    unsent: Vec<u8>,
    verified: usize,
    /// When it spoke last.
    spoke: Option<Instant>,
    has_finished: bool,
    is_over: bool,
}

impl Peer {
    fn send(&mut self, cx: &mut Cx<'_, Peers>) -> io::Result<()> {
        while !self.unsent.is_empty() {
            cx.set_interest(Interest::BOTH);
            let Some(count) = cx.write(&[IoSlice::new(&self.unsent)])? else { return Ok(()) };
            self.unsent.drain(..count);
        }
        cx.set_interest(Interest::READ);
        Ok(())
    }

    fn is_silent(&self) -> bool {
        self.speaks_for < WORK - LIMIT
    }

    /// Judges the end of the stream.
    fn judge_end(&self, cx: &Cx<'_, Peers>) {
        assert_eq!(self.verified, self.sent, "a peer that has spoken was not answered");
        if !self.is_silent() {
            assert!(self.has_finished, "a peer that speaks was closed at {:?}", self.spoke);
            return;
        }
        let silence = self.spoke.map_or(Duration::ZERO, |at| cx.now().duration_since(at));
        let most = LIMIT + cx.app.stopped + SLACK;
        assert!(silence >= LIMIT, "a peer was closed after {silence:?} of silence");
        assert!(silence <= most, "a peer was closed after {silence:?} of silence, not {most:?}");
    }
}

impl Handler<Peers> for Peer {
    fn ready(&mut self, cx: &mut Cx<'_, Peers>) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_connected, true) {
            cx.set_timer(Duration::ZERO, Some(INTERVAL), 0);
        }
        self.send(cx)?;
        let mut bytes = [0; 256];
        while let Some(count) = cx.read(&mut bytes)? {
            if count == 0 {
                self.judge_end(cx);
                self.is_over = true;
                cx.end(Reason::PeerClosed);
                break;
            }
            for byte in &bytes[..count] {
                assert_eq!(*byte, (self.verified / SIZE) as u8, "byte {}", self.verified);
                self.verified += 1;
            }
        }
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Peers>) -> io::Result<()> {
        let now = cx.now();
        if now.duration_since(cx.app.epoch) < self.speaks_for || self.sent == 0 {
            self.unsent.extend([(self.sent / SIZE) as u8; SIZE]);
            self.sent += SIZE;
            self.spoke = Some(now);
            return self.send(cx);
        }
        cx.cancel_timer(timer.id);
        if !self.is_silent() {
            self.has_finished = true;
            cx.shutdown_write()?;
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Peers>) {
        assert!(self.is_over, "a connection ended: {reason}, spoke at {:?}", self.spoke);
        cx.app.left -= 1;
    }
}
