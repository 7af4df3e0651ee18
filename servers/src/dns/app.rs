//! The state of the loop.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use log::{info, warn};
use protocol::dns::Message;
use protocol::{ConnectionId, Effects, Peer};
use reactor::{Client, Folding, LoopCx, Signal};

use super::args::DnsArgs;
use super::front;
use super::upstream::{
    Ask, Done, Engine, EngineOptions, Keeper, OverConnection, client_options, name_servers,
    open_missing,
};

/// The state of the server: one value, which is lent to every call, so there are no locks.
pub struct Dns {
    pub(super) engine: Engine,
    /// The largest datagram to clients and from upstreams, in bytes.
    pub(super) udp_size: u16,
    pub(super) counts: Counts,
    /// When the keeper tells the engine the time.
    pub(super) alarm: Option<Instant>,
    /// Answers that wait to be sent, for each socket and connection of clients that is open.
    mailboxes: HashMap<ConnectionId, Vec<Letter>>,
    wakes: Vec<ConnectionId>,
    keeper: Option<ConnectionId>,
    /// A client over TCP for each upstream.
    connections: Vec<Client<Dns, OverConnection>>,
    options: EngineOptions,
    pub(super) full_log: Folding,
}

/// An answer for a client.
#[derive(Debug)]
pub(super) struct Letter {
    /// The receiver of the datagram; `None` on a connection.
    pub(super) peer: Option<Peer>,
    pub(super) bytes: Vec<u8>,
}

/// What clients have asked since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) datagrams: u64,
    pub(super) over_connections: u64,
    pub(super) malformed: u64,
    pub(super) refused: u64,
    /// Messages that are answers, which clients do not send.
    pub(super) ignored: u64,
}

impl Dns {
    /// Reads what the arguments say.
    ///
    /// # Errors
    /// One sentence that says what is wrong: a file that cannot be read, no upstream, or no random
    /// numbers.
    pub fn new(args: &DnsArgs) -> io::Result<Self> {
        let options = EngineOptions {
            deadline: args.deadline,
            tries: args.tries.into(),
            waiting_max: args.waiting_max as usize,
            ports: args.ports.into(),
            port_questions: args.port_questions,
            varies_case: !args.keep_case,
            udp_size: args.udp_size,
        };
        Ok(Self {
            engine: Engine::new(&groups(args)?, options)?,
            udp_size: args.udp_size,
            counts: Counts::default(),
            alarm: None,
            mailboxes: HashMap::new(),
            wakes: Vec::new(),
            keeper: None,
            connections: Vec::new(),
            options,
            full_log: Folding::default(),
        })
    }

    /// Returns how many descriptors the upstreams take: twice as many ports as are open, since some are
    /// being replaced, and a connection.
    pub(super) fn descriptors(&self) -> usize {
        self.engine.servers().len() * (2 * self.options.ports + 1)
    }

    /// Opens the mailbox of a socket or connection of clients.
    pub(super) fn open_mailbox(&mut self, source: ConnectionId) {
        self.mailboxes.insert(source, Vec::new());
    }

    /// Closes a mailbox. Answers for it are dropped from now on.
    pub(super) fn close_mailbox(&mut self, source: ConnectionId) {
        self.mailboxes.remove(&source);
    }

    /// Takes the answers that wait in a mailbox.
    pub(super) fn take_letters(&mut self, source: ConnectionId) -> Vec<Letter> {
        self.mailboxes.get_mut(&source).map(std::mem::take).unwrap_or_default()
    }

    /// Puts the answer to a question into the mailboxes of the clients that wait for it. `message` is
    /// that of the upstream, if there is one.
    pub(super) fn answer(&mut self, done: Done, message: Option<&Message<'_>>, _now: Instant) {
        for waiter in done.waiters {
            let bytes = match (done.failure, message) {
                (None, Some(message)) => {
                    front::from_upstream(&waiter.asked, message, self.udp_size)
                }
                (code, _) => {
                    let code = code.unwrap_or(protocol::dns::ResponseCode::SERVFAIL);
                    front::without_records(&waiter.asked, code, self.udp_size)
                }
            };
            // It is gone if its connection has ended.
            let Some(letters) = self.mailboxes.get_mut(&waiter.client.source) else { continue };
            if letters.is_empty() {
                self.wakes.push(waiter.client.source);
            }
            letters.push(Letter { peer: waiter.client.peer, bytes });
        }
    }

    /// Wakes the sockets that have something to send, after a call of the engine.
    pub(super) fn settle(&mut self, effects: &mut Effects) {
        self.go_on(|source| effects.wake(source));
    }

    /// The same, outside of a session.
    pub(super) fn settle_outside(cx: &mut LoopCx<'_, Self>) {
        let mut wakes = Vec::new();
        cx.app.go_on(|source| wakes.push(source));
        wakes.into_iter().for_each(|source| cx.wake(source));
    }

    fn go_on(&mut self, mut wake: impl FnMut(ConnectionId)) {
        while let Some(order) = self.engine.tcp.pop_front() {
            let ticket = order.ticket;
            let completion = move |result: Result<Vec<u8>, _>, cx: &mut LoopCx<'_, Self>| {
                let now = cx.now();
                let message = result.as_ref().ok().and_then(|bytes| Message::parse(bytes).ok());
                if let Some(done) = cx.app.engine.hear_over_tcp(ticket, message.as_ref(), now) {
                    cx.app.answer(done, message.as_ref(), now);
                }
                Self::settle_outside(cx);
            };
            // If it is not accepted, the engine goes on when the next attempt is due.
            if let Err(error) =
                self.connections[order.upstream].call(Ask(order.question), completion)
            {
                log::debug!("a question is not asked over TCP: {error}");
            }
        }
        self.engine.wakes.drain(..).chain(self.wakes.drain(..)).for_each(&mut wake);
        let is_early = match (self.engine.next_due(), self.alarm) {
            (Some(due), Some(alarm)) => due < alarm,
            (due, None) => due.is_some(),
            (None, Some(_)) => false,
        };
        if (self.engine.ports.take_changed() || is_early)
            && let Some(keeper) = self.keeper
        {
            wake(keeper);
        }
    }
}

/// Returns the addresses of each group of upstreams: the default, and one for each rule.
fn groups(args: &DnsArgs) -> io::Result<Vec<Vec<SocketAddr>>> {
    let default = match args.upstream.as_slice() {
        [] => name_servers(&args.resolv_conf)?,
        addresses => addresses.to_vec(),
    };
    if default.is_empty() && args.server.is_empty() {
        let text = format!(
            "there is no upstream: give one with --upstream, or name one in {}",
            args.resolv_conf.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(std::iter::once(default).chain(args.server.iter().map(|rule| vec![rule.address])).collect())
}

/// Starts the keeper, opens the ports and the connections, and logs the counters of the server with those
/// of the loop.
pub(super) fn start(cx: &mut LoopCx<'_, Dns>) -> io::Result<()> {
    let keeper = cx.spawn(Keeper::default())?;
    cx.app.keeper = Some(keeper.into());
    if let Err(error) = open_missing(cx) {
        warn!("{error}");
    }
    let options = client_options(cx.app.options.deadline);
    for number in 0..cx.app.engine.servers().len() {
        let address = cx.app.engine.servers()[number].address;
        let target = reactor::Location::Address(reactor::Address::Tcp(address));
        let client = Client::open(target, OverConnection, options.clone(), cx)?;
        cx.app.connections.push(client);
    }
    // The keeper tries again what could not be opened.
    cx.wake(keeper);
    cx.on_signals(&[Signal::USER_1], |_, cx| info!("{}", Figures(cx.app)))?;
    Ok(())
}

/// The counters of the server, for the log.
struct Figures<'a>(&'a Dns);

impl fmt::Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dns { counts, engine, .. } = self.0;
        let asked = &engine.counts;
        let pairs = [
            ("questions_udp", counts.datagrams),
            ("questions_tcp", counts.over_connections),
            ("malformed", counts.malformed),
            ("refused", counts.refused),
            ("ignored", counts.ignored),
            ("waiting", engine.waiting() as u64),
            ("forwarded", asked.asked),
            ("joined", asked.joined),
            ("hedged", asked.hedged),
            ("retried", asked.retried),
            ("failed", asked.failed),
            ("full", asked.refused_full),
            ("looped", asked.looped),
            ("wrong_number", asked.wrong_number),
            ("wrong_question", asked.wrong_question),
            ("wrong_case", asked.wrong_case),
            ("answers_malformed", asked.malformed),
        ];
        f.write_str("dns")?;
        pairs.iter().try_for_each(|(name, count)| write!(f, " {name}={count}"))?;
        for server in engine.servers() {
            let counts = &server.counts;
            let state = if server.is_up() { "up" } else { "down" };
            write!(
                f,
                "; upstream {} {state} sent={} answered={} lost={} over_tcp={} median={:?}",
                server.address,
                counts.sent,
                counts.answered,
                counts.failed,
                counts.over_tcp,
                server.latency(),
            )?;
        }
        Ok(())
    }
}
