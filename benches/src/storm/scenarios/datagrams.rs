//! `echo-server` over datagrams, and clients that repeat each request until it is answered.

use std::io;
use std::time::Duration;

use protocol::codecs::Bytes;
use protocol::{Context, Flow, Limits, Reason, Reply, Service};
use reactor::sim::{Faults, HostId, Outcome, Sim};
use reactor::{Address, DatagramOptions, DatagramSocket, Datagrams, LoopCx, LoopLimits, Reactor};
use testkit::Random;

use super::ground::{Ground, demand_calm, open};
use super::loopback::build;

/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(10);
/// How long a client waits for an answer before it repeats the request.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often a client looks whether it needs a socket.
const PAUSE: Duration = Duration::from_millis(100);
/// Hosts with clients.
const HOSTS: u64 = 2;
/// How many requests a client sends.
const WANTED: u32 = 150;
/// The size of the largest datagram.
const SIZE_MAX: u64 = 3_000;

/// The state of a client.
struct Asker {
    has_socket: bool,
    random: Random,
    /// The number of the request that is not answered.
    number: u32,
    request: Vec<u8>,
}

impl Asker {
    fn is_done(&self) -> bool {
        self.number > WANTED
    }

    /// Makes the next request, which begins with its number.
    fn next(&mut self) {
        self.number += 1;
        self.request = self.number.to_be_bytes().to_vec();
        let size = self.random.below(SIZE_MAX) as usize;
        self.request.extend((0..size).map(|place| (place as u32 ^ self.number) as u8));
    }
}

/// Runs the server and its clients.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, |backend| {
        let more = ["--listen", "udp://10.0.0.1:7"];
        build(servers::echo::SERVER, servers::echo::session, backend, &more)
    })?;
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        let (seed, backend) = (ground.random.number(), ground.backend);
        hosts.push(ground.client(sim, move || client(backend, seed))?);
    }
    sim.set_faults(Faults::all());
    sim.run_until(STORM, |sim| are_done(sim, &hosts))?;
    demand_calm::<()>(sim, ground.server, "clients", |sim| are_done(sim, &hosts))?;
    ground.demand_peace::<()>(sim)
}

/// Returns whether all clients are done. A host that is down is not.
fn are_done(sim: &mut Sim, hosts: &[HostId]) -> bool {
    hosts.iter().all(|host| sim.reactor::<Asker>(*host).is_some_and(|it| it.app.is_done()))
}

fn client(backend: &'static str, seed: u64) -> io::Result<Reactor<Asker>> {
    let random = Random::new(seed);
    let mut app = Asker { has_socket: false, random, number: 0, request: Vec::new() };
    app.next();
    let mut reactor = open(backend, LoopLimits::DEFAULT, app)?;
    reactor.cx().every(PAUSE, |_ticks, cx| connect(cx))?;
    Ok(reactor)
}

/// Opens a socket to the server, if there is none.
fn connect(cx: &mut LoopCx<'_, Asker>) {
    if cx.app.is_done() || cx.app.has_socket {
        return;
    }
    let server = Address::Udp(([10, 0, 0, 1], 7).into());
    let opened = DatagramSocket::connect(&server, &DatagramOptions::default())
        .and_then(|socket| Datagrams::serve(socket, Bytes, Ask, Limits::DEFAULT, cx));
    cx.app.has_socket = opened.is_ok();
}

/// Asks until every request has its answer.
struct Ask;

impl Ask {
    fn send(reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, Asker>) -> Flow {
        if context.app.is_done() {
            return Flow::Close;
        }
        let mut request = context.app.request.clone();
        reply.send(&mut request);
        context.effects.set_timeout(0, Some(PATIENCE));
        Flow::Continue
    }
}

impl Service<Bytes, Asker> for Ask {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, Asker>) -> Flow {
        Self::send(reply, context)
    }

    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Asker>,
    ) -> Flow {
        let number = bytes.first_chunk().map_or(0, |number| u32::from_be_bytes(*number));
        // A late or second answer to an earlier request is none to this one.
        if number < context.app.number {
            return Flow::Continue;
        }
        assert!(*bytes == *context.app.request, "the answer to request {number} is another one");
        context.app.next();
        Self::send(reply, context)
    }

    fn timeout(
        &mut self,
        _key: u8,
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Asker>,
    ) -> Flow {
        Self::send(reply, context)
    }

    fn closed(&mut self, _reason: &Reason, context: &mut Context<'_, Asker>) {
        context.app.has_socket = false;
    }
}
