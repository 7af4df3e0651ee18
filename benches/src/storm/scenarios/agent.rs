//! `kv`, and clients of it: each connection follows a script.

use std::cell::Cell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use protocol::resp::{Client, Value};
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::sim::{HostId, Sim};
use reactor::{ConnectOptions, LoopCx, Reactor, Stream};
use servers::kv::App;
use testkit::Random;

use super::ground::{Ground, client_loop, server_at};

/// The port of the server.
pub(super) const PORT: u16 = 6379;
/// How often a client looks for connections to make.
const TENDING: Duration = Duration::from_millis(50);
/// The longest time between two requests of a connection.
const THINKING_MAX: u64 = 100;

/// Builds the server, as its binary does.
pub(super) fn build(backend: &str) -> io::Result<Reactor<App>> {
    build_on(Ipv4Addr::new(10, 0, 0, 1), backend)
}

/// Builds a server on the host of an address.
pub(super) fn build_on(host: Ipv4Addr, backend: &str) -> io::Result<Reactor<App>> {
    let address = format!("{host}:{PORT}");
    // A subscriber whose end was not announced is found before the run is over.
    let words = ["--listen", &address, "--backend", backend, "--keepalive", "60s"];
    servers::prepare(servers::kv::SERVER, &words, servers::kv::application)
}

/// A request: its name and its arguments.
pub(super) type Request = Vec<Vec<u8>>;

/// What one connection does.
pub(super) trait Script {
    /// Returns the next request, which begins to be sent at `now`.
    fn next(&mut self, now: u64) -> Request;
    /// Takes a reply, or a message. Returns whether it answers a request.
    ///
    /// # Panics
    /// Panics if it is not what the server has to say.
    fn take(&mut self, value: Value<'_>, now: u64) -> bool;
    /// Returns the last request, if there is one, before the connection is closed.
    fn last(&mut self, now: u64) -> Option<Request> {
        let _ = now;
        None
    }
}

/// Makes the script of a connection from its number and a source of random numbers.
pub(super) type Casting = Rc<dyn Fn(u64, Random) -> Box<dyn Script>>;

/// What the clients of one host do.
#[derive(Clone)]
pub(super) struct Cast {
    pub(super) seed: u64,
    pub(super) backend: &'static str,
    /// The time at which the run started.
    pub(super) epoch: Instant,
    /// When they begin no more requests.
    pub(super) until: Duration,
    /// One connection for each, which is made again when it is lost.
    pub(super) scripts: Vec<Casting>,
    /// The number of the last connection of all clients.
    pub(super) numbers: Rc<Cell<u64>>,
    /// How many requests may be unanswered.
    pub(super) depth: usize,
    /// Whether a stream that ends within a reply is a mistake of the server.
    pub(super) is_strict: bool,
}

/// The clients of one host.
pub(super) struct Agents {
    cast: Cast,
    random: Random,
    connected: Vec<bool>,
    /// Requests that were answered.
    pub(super) answered: u64,
}

impl Cast {
    /// Returns clients that work until `until`, without scripts.
    pub(super) fn new(ground: &mut Ground, until: Duration, numbers: &Rc<Cell<u64>>) -> Self {
        Self {
            seed: ground.random.number(),
            backend: ground.backend,
            epoch: ground.epoch,
            until,
            scripts: Vec::new(),
            numbers: Rc::clone(numbers),
            depth: 1 + ground.random.index(4),
            is_strict: false,
        }
    }
}

impl Agents {
    /// Builds the program.
    pub(super) fn start(cast: &Cast) -> io::Result<Reactor<Self>> {
        let connected = vec![false; cast.scripts.len()];
        let (random, backend) = (Random::new(cast.seed), cast.backend);
        let app = Self { cast: cast.clone(), random, connected, answered: 0 };
        let mut reactor = client_loop(backend, app)?;
        reactor.cx().every(TENDING, |_, cx| tend(cx))?;
        Ok(reactor)
    }

    /// Returns the time in nanoseconds since the start of the run.
    fn time(&self) -> u64 {
        reactor::now().duration_since(self.cast.epoch).as_nanos() as u64
    }

    fn is_over(&self) -> bool {
        u128::from(self.time()) >= self.cast.until.as_nanos()
    }

    /// Returns whether all connections have ended, and no more are made.
    fn is_done(&self, now: Duration) -> bool {
        now >= self.cast.until && self.connected.iter().all(|it| !it)
    }
}

/// Returns whether the clients of all hosts are done. A host that is down is not.
pub(super) fn are_done(sim: &mut Sim, hosts: &[HostId]) -> bool {
    let now = sim.now();
    hosts
        .iter()
        .all(|host| sim.reactor::<Agents>(*host).is_some_and(|reactor| reactor.app.is_done(now)))
}

/// Returns how many requests were answered, as far as the clients that run know.
pub(super) fn answered(sim: &mut Sim, hosts: &[HostId]) -> u64 {
    let of = |sim: &mut Sim, host| sim.reactor::<Agents>(host).map_or(0, |it| it.app.answered);
    hosts.iter().map(|host| of(sim, *host)).sum()
}

/// Makes the connections that are missing.
fn tend(cx: &mut LoopCx<'_, Agents>) {
    for number in 0..cx.app.connected.len() {
        if cx.app.connected[number] || cx.app.is_over() {
            continue;
        }
        let client = cx.app.cast.numbers.get() + 1;
        cx.app.cast.numbers.set(client);
        let random = Random::new(cx.app.random.number());
        let script = (cx.app.cast.scripts[number])(client, random);
        let agent = Agent { number, script, unanswered: 0, is_leaving: false };
        let chat = Conversation::new(Client::default(), agent);
        let (address, options) = (server_at(PORT), ConnectOptions::DEFAULT);
        let dialled = Stream::new(chat, Limits::DEFAULT).connect(&address, &options, cx);
        cx.app.connected[number] = dialled.is_ok();
    }
}

/// One connection.
struct Agent {
    number: usize,
    script: Box<dyn Script>,
    unanswered: usize,
    /// The last request was sent.
    is_leaving: bool,
}

impl Agent {
    /// Sends what is due now, and sets the time of the next request.
    fn go_on(&mut self, reply: &mut Reply<'_, Client>, context: &mut Context<'_, Agents>) -> Flow {
        let app = &mut *context.app;
        let is_over = app.is_over();
        if is_over && self.unanswered == 0 && !self.is_leaving {
            self.is_leaving = true;
            if let Some(request) = self.script.last(app.time()) {
                self.unanswered += 1;
                reply.command(request);
            }
        }
        if self.is_leaving && self.unanswered == 0 {
            return Flow::Close;
        }
        if !is_over && self.unanswered < app.cast.depth {
            let count = 1 + app.random.index(app.cast.depth - self.unanswered);
            for _ in 0..count {
                let request = self.script.next(app.time());
                self.unanswered += 1;
                reply.command(request);
            }
        }
        let pause = Duration::from_millis(1 + app.random.below(THINKING_MAX));
        context.effects.set_timeout(0, Some(pause));
        Flow::Continue
    }
}

impl Service<Client, Agents> for Agent {
    fn open(&mut self, reply: &mut Reply<'_, Client>, context: &mut Context<'_, Agents>) -> Flow {
        self.go_on(reply, context)
    }

    fn call(
        &mut self,
        value: Value<'_>,
        _reply: &mut Reply<'_, Client>,
        context: &mut Context<'_, Agents>,
    ) -> Flow {
        let time = context.app.time();
        if self.script.take(value, time) {
            assert!(self.unanswered > 0, "a reply without a request: {value:?}");
            self.unanswered -= 1;
            context.app.answered += 1;
        }
        Flow::Continue
    }

    fn timeout(
        &mut self,
        _key: u8,
        reply: &mut Reply<'_, Client>,
        context: &mut Context<'_, Agents>,
    ) -> Flow {
        self.go_on(reply, context)
    }

    fn closed(&mut self, reason: &protocol::Reason, context: &mut Context<'_, Agents>) {
        context.app.connected[self.number] = false;
        let is_torn = matches!(reason, protocol::Reason::Refused(_));
        assert!(!(is_torn && context.app.cast.is_strict), "the server sent {reason}");
    }
}
