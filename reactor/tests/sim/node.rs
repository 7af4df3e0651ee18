//! A program that does what a test tells it, and records what it sees.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use reactor::sim::{HostId, Sim};
use reactor::{
    Accepted, Address, Backend, BackendKind, ConnectOptions, Connector, Cx, Handler, Interest,
    ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Reason, Registration, Role, Token,
};

/// What a connection is told to do.
pub(crate) enum Act {
    Write(Vec<u8>),
    /// Ends its output.
    Shut,
    /// Closes it.
    Close,
    /// Closes it with a reset.
    Reset,
    /// Reads, or does not.
    Read(bool),
}

/// A connection of a program.
pub(crate) struct Conn {
    token: Option<Token>,
    acts: VecDeque<Act>,
    pub(crate) reads: bool,
    pub(crate) read: Vec<u8>,
    /// It has read the end of the stream.
    pub(crate) at_end: bool,
    pub(crate) is_called: bool,
    pub(crate) written: usize,
    /// The reads and writes that would have blocked.
    pub(crate) would_blocks: usize,
    /// How it ended.
    pub(crate) ended: Option<String>,
}

#[derive(Default)]
pub(crate) struct Node {
    pub(crate) conns: Vec<Conn>,
    pub(crate) ticks: usize,
    /// What attempts to connect failed with at once.
    pub(crate) refused: Vec<String>,
    /// What every accepted connection writes first.
    pub(crate) greeting: Vec<u8>,
}

impl Node {
    fn open(&mut self) -> usize {
        self.conns.push(Conn {
            token: None,
            acts: VecDeque::new(),
            reads: true,
            read: Vec::new(),
            at_end: false,
            is_called: false,
            written: 0,
            would_blocks: 0,
            ended: None,
        });
        self.conns.len() - 1
    }
}

struct End {
    index: usize,
    output: VecDeque<u8>,
    is_shut: bool,
}

impl Handler<Node> for End {
    fn ready(&mut self, cx: &mut Cx<'_, Node>) -> io::Result<()> {
        let index = self.index;
        cx.app.conns[index].is_called = true;
        while let Some(act) = cx.app.conns[index].acts.pop_front() {
            match act {
                Act::Write(bytes) => self.output.extend(bytes),
                Act::Shut => self.is_shut = true,
                Act::Read(reads) => cx.app.conns[index].reads = reads,
                Act::Close => cx.end(Reason::Finished),
                Act::Reset => {
                    cx.set_unsent(true);
                    cx.end(Reason::Finished);
                }
            }
        }
        while !self.output.is_empty() {
            self.output.make_contiguous();
            let written = cx.write(&[IoSlice::new(self.output.as_slices().0)])?;
            let Some(count) = written else {
                cx.app.conns[index].would_blocks += 1;
                break;
            };
            cx.app.conns[index].written += count;
            self.output.drain(..count);
        }
        if self.is_shut && self.output.is_empty() {
            self.is_shut = false;
            cx.shutdown_write()?;
        }
        let writing = if self.output.is_empty() { Interest::NONE } else { Interest::WRITE };
        if !cx.app.conns[index].reads || cx.app.conns[index].at_end {
            cx.set_interest(writing);
            return Ok(());
        }
        cx.set_interest(writing | Interest::READ);
        let mut bytes = [0; 1000];
        loop {
            match cx.read(&mut bytes)? {
                None => {
                    cx.app.conns[index].would_blocks += 1;
                    return Ok(());
                }
                Some(0) => {
                    cx.app.conns[index].at_end = true;
                    cx.set_interest(writing);
                    return Ok(());
                }
                Some(count) => cx.app.conns[index].read.extend(&bytes[..count]),
            }
        }
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Node>) {
        let conn = &mut cx.app.conns[self.index];
        conn.ended = Some(reason.to_string());
    }
}

fn handler(index: usize) -> End {
    End { index, output: VecDeque::new(), is_shut: false }
}

fn accept(accepted: Accepted, cx: &mut LoopCx<'_, Node>) -> io::Result<()> {
    let index = cx.app.open();
    let registration = Registration::new(Interest::BOTH).role(Role::Connection);
    let registration = registration.idle_timeout(None);
    let end = End { output: cx.app.greeting.clone().into(), ..handler(index) };
    let token = cx.register(accepted.into_fd(), registration, end)?;
    cx.app.conns[index].token = Some(token);
    Ok(())
}

/// Builds a program that ticks once a second and listens on `addresses`.
pub(crate) fn node(
    kind: BackendKind,
    addresses: &[&str],
    options: ListenOptions,
) -> io::Result<Reactor<Node>> {
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let backend: Box<dyn Backend> = kind.open()?;
    let mut reactor = Reactor::with_backend(backend, limits, Node::default())?;
    reactor.cx().every(Duration::from_secs(1), |_, cx| cx.app.ticks += 1)?;
    for address in addresses {
        let address = address.parse().map_err(io::Error::other)?;
        Listener::bind(&address, &options)?.register(&mut reactor.cx(), accept)?;
    }
    Ok(reactor)
}

/// Two hosts: the first listens on port 7, and both are nodes.
pub(crate) struct Pair {
    pub(crate) sim: Sim,
    pub(crate) server: HostId,
    pub(crate) client: HostId,
}

pub(crate) const PATIENT: ConnectOptions = ConnectOptions {
    timeout: Duration::from_secs(3600),
    attempt_timeout: Duration::from_secs(3600),
    ..ConnectOptions::DEFAULT
};

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(BackendKind::Epoll, ListenOptions::DEFAULT)
    }

    pub(crate) fn with(kind: BackendKind, options: ListenOptions) -> Self {
        let mut sim = Sim::new(1);
        let (server, client) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
        sim.set_tracing(reactor::sim::Tracing::All);
        sim.start(server, move || node(kind, &["0.0.0.0:7"], options)).expect("it listens");
        sim.start(client, move || node(kind, &[], options)).expect("it starts");
        Self { sim, server, client }
    }

    pub(crate) fn dial(&mut self) -> usize {
        dial(&mut self.sim, self.client, "10.0.0.1:7", PATIENT)
    }

    /// Lets some time pass.
    pub(crate) fn run(&mut self, milliseconds: u64) {
        self.sim.run_for(Duration::from_millis(milliseconds)).expect("it runs");
    }

    /// Returns a pair of connected ends.
    pub(crate) fn connected() -> Self {
        let mut pair = Self::new();
        pair.dial();
        pair.run(10);
        assert!(pair.near(0).is_called, "{}", pair.sim.trace());
        assert_eq!(pair.nodes(pair.server).conns.len(), 1);
        pair
    }

    pub(crate) fn nodes(&mut self, host: HostId) -> &mut Node {
        &mut self.sim.reactor::<Node>(host).expect("it runs").app
    }

    /// A connection of the client.
    pub(crate) fn near(&mut self, index: usize) -> &mut Conn {
        &mut self.nodes(self.client).conns[index]
    }

    /// A connection of the server.
    pub(crate) fn far(&mut self, index: usize) -> &mut Conn {
        &mut self.nodes(self.server).conns[index]
    }

    pub(crate) fn act_near(&mut self, act: Act) {
        act_on(&mut self.sim, self.client, 0, act);
    }

    pub(crate) fn act_far(&mut self, act: Act) {
        act_on(&mut self.sim, self.server, 0, act);
    }

    /// Returns how a connection of the client has ended.
    pub(crate) fn near_end(&mut self) -> String {
        self.near(0).ended.clone().unwrap_or_default()
    }

    pub(crate) fn far_end(&mut self) -> String {
        self.far(0).ended.clone().unwrap_or_default()
    }

    /// Returns how often a fault was drawn.
    pub(crate) fn drawn(&self, fault: reactor::sim::Fault) -> usize {
        self.sim.drawn().iter().filter(|drawn| drawn.fault == fault).count()
    }
}

/// Connects from a host. Returns the index of the connection there.
pub(crate) fn dial(sim: &mut Sim, host: HostId, address: &str, options: ConnectOptions) -> usize {
    let address: Address = address.parse().expect("an address");
    sim.with::<Node, _>(host, |cx| {
        let index = cx.app.open();
        let registration =
            Registration::new(Interest::BOTH).role(Role::Connection).idle_timeout(None);
        let connector = Connector::new(&address, &options);
        let dialled = connector.register(registration, handler(index), cx);
        match dialled {
            Ok(token) => cx.app.conns[index].token = Some(token),
            Err(error) => cx.app.refused.push(error.to_string()),
        }
        index
    })
    .expect("it runs")
}

/// Tells a connection of a host what to do.
pub(crate) fn act_on(sim: &mut Sim, host: HostId, index: usize, act: Act) {
    sim.with::<Node, _>(host, |cx| {
        let conn = &mut cx.app.conns[index];
        conn.acts.push_back(act);
        if let Some(token) = conn.token {
            cx.wake(token);
        }
    })
    .expect("it runs");
}
