//! The state of the loop.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use log::{info, warn};
use protocol::dns::{CookieSecret, Message, Name, ResponseCode};
use protocol::{ConnectionId, Effects, Peer};
use reactor::{Address, Client, Folding, Location, LoopCx, Signal};

use super::args::{DnsArgs, RuleTarget};
use super::cache::{Cache, Wants};
use super::files;
use super::following;
use super::front::{self, Asked, DEFAULT_GROUP, Policy};
use super::interfaces::{self, Interfaces};
use super::local::{FileError, Local, LocalOptions, ServerTarget};
use super::upstream::{
    Ask, Done, Engine, EngineOptions, Keeper, OverConnection, client_options, name_servers,
    open_missing,
};

/// The state of the server: one value, which is lent to every call, so there are no locks.
pub struct Dns {
    pub(super) policy: Policy,
    pub(super) cookies: CookieSecret,
    /// The operator has given the secret of the cookies.
    pub(super) has_given_secret: bool,
    /// What needs no upstream, where it comes from, and whether it is being read again.
    pub(super) local: Local,
    local_options: LocalOptions,
    reading: Reading,
    pub(super) cache: Cache,
    pub(super) engine: Engine,
    /// The largest datagram to clients and from upstreams, in bytes.
    pub(super) udp_size: u16,
    pub(super) counts: Counts,
    /// When the keeper tells the engine the time.
    pub(super) alarm: Option<Instant>,
    /// Memory for the next answer from the cache: that of the last one, so none is allocated for each.
    pub(super) spare: Vec<u8>,
    /// Answers that wait to be sent, for each socket and connection of clients that is open.
    mailboxes: HashMap<ConnectionId, Vec<Letter>>,
    wakes: Vec<ConnectionId>,
    keeper: Option<ConnectionId>,
    /// A client over TCP for each upstream.
    connections: Vec<Client<Dns, OverConnection>>,
    options: EngineOptions,
    pub(super) interfaces: Interfaces,
    /// The file that names the upstreams, unless they are given.
    pub(super) resolv_conf: Option<PathBuf>,
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
    /// Questions with a cookie of this server.
    pub(super) proven: u64,
    /// Messages that are answers, which clients do not send.
    pub(super) ignored: u64,
    /// Answers that need no upstream.
    pub(super) own: u64,
    pub(super) cached: u64,
    /// Answers from the cache that no upstream has renewed.
    pub(super) stale: u64,
    pub(super) prefetched: u64,
}

/// Whether files are being read on a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    No,
    Yes,
    /// They have changed since, so they are read again after that.
    Again,
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
            port_range: args.port_range,
            varies_case: !args.keep_case,
            udp_size: args.udp_size,
            failure_kept_max: args.cache.failure_kept_max(),
        };
        let (groups, servers) = plan(args)?;
        let local_options = LocalOptions { servers, ..args.local.options() };
        let local = Local::load(&local_options).map_err(io::Error::other)?;
        info!("{}", local.summary());
        let secrets = args.secrets()?.clone();
        Ok(Self {
            cookies: secrets.cookies,
            has_given_secret: args.cookie_secret.is_some(),
            policy: Policy::new(&args.policy, Instant::now()),
            local,
            local_options,
            resolv_conf: args.upstream.is_empty().then(|| args.resolv_conf.clone()),
            reading: Reading::No,
            cache: Cache::new(args.cache.options()),
            engine: Engine::new(&groups, options, secrets.marks)?,
            udp_size: args.udp_size,
            counts: Counts::default(),
            alarm: None,
            spare: Vec::new(),
            mailboxes: HashMap::new(),
            wakes: Vec::new(),
            keeper: None,
            connections: Vec::new(),
            options,
            interfaces: Interfaces::new(args.interface.clone(), args.pipelined_max),
            full_log: Folding::default(),
        })
    }

    /// Returns how many descriptors the upstreams take: twice as many ports as are open, since some are
    /// being replaced, and a connection; and those of interfaces.
    pub(super) fn descriptors(&self) -> usize {
        let upstreams = self.engine.servers().len() * (2 * self.options.ports + 1);
        upstreams + self.interfaces.descriptors()
    }

    /// Returns the source that tells the engine the time.
    pub(super) fn keeper(&self) -> Option<ConnectionId> {
        self.keeper
    }

    /// Returns the files that answers come from.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let LocalOptions { hosts, block, .. } = &self.local_options;
        hosts.iter().chain(block).cloned().collect()
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
    pub(super) fn answer(&mut self, done: Done, message: Option<&Message<'_>>, now: Instant) {
        if let (None, Some(message), Some(first)) = (done.failure, message, done.waiters.first()) {
            self.keep(&first.asked, message, now);
        }
        for waiter in done.waiters {
            let bytes = match (done.failure, message) {
                (None, Some(message)) => {
                    front::from_upstream(&waiter.asked, message, self.udp_size)
                }
                (code, _) => {
                    let code = code.unwrap_or(ResponseCode::SERVFAIL);
                    self.failure(&waiter.asked, code, now)
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

    /// Keeps the answer to a question in the cache.
    fn keep(&mut self, asked: &Asked, message: &Message<'_>, now: Instant) {
        // Without RD, an upstream says what it happens to know.
        if asked.header.recursion_desired {
            let wants = Wants::of(&asked.header, asked.dnssec_ok());
            self.cache.store(&asked.question(), wants, message, now);
        }
    }

    /// Returns the answer to a question that no upstream has answered: one that is stale, or the code.
    #[cold]
    pub(super) fn failure(&mut self, asked: &Asked, code: ResponseCode, now: Instant) -> Vec<u8> {
        match front::stale(asked, &mut self.cache, self.udp_size, now) {
            Some(answer) => {
                self.counts.stale += 1;
                answer
            }
            None => front::without_records(asked, front::for_client(code), self.udp_size),
        }
    }

    /// Starts a client over TCP for each upstream that has none. It connects when there is a question.
    ///
    /// # Errors
    /// A loop that is being dropped refuses.
    pub(super) fn open_connections(cx: &mut LoopCx<'_, Self>) -> io::Result<()> {
        while let Some(server) = cx.app.engine.servers().get(cx.app.connections.len()) {
            let target = Location::Address(Address::Tcp(server.address));
            let options = client_options(cx.app.options.deadline);
            let client = Client::open(target, OverConnection, options, cx)?;
            cx.app.connections.push(client);
        }
        Ok(())
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
                self.engine.refused_over_tcp(ticket);
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

/// The addresses of each group of upstreams, and the rules that lead to them.
type Plan = (Vec<Vec<SocketAddr>>, Vec<(Name, ServerTarget)>);

/// Returns the groups of upstreams: the default, and one for each domain that has upstreams of its own.
fn plan(args: &DnsArgs) -> io::Result<Plan> {
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
    let (mut groups, mut rules) = (vec![default], Vec::<(Name, ServerTarget)>::new());
    for rule in &args.server {
        for domain in &rule.domains {
            let known = rules.iter_mut().find(|(name, _)| name == domain);
            let target = match (rule.target, known) {
                (RuleTarget::Default, _) => ServerTarget::Group(DEFAULT_GROUP),
                (RuleTarget::Nowhere, _) => ServerTarget::Nowhere,
                (RuleTarget::Address(address), Some((_, ServerTarget::Group(group))))
                    if *group != DEFAULT_GROUP =>
                {
                    groups[*group].push(address);
                    continue;
                }
                (RuleTarget::Address(address), _) => {
                    groups.push(vec![address]);
                    ServerTarget::Group(groups.len() - 1)
                }
            };
            rules.push((domain.clone(), target));
        }
    }
    Ok((groups, rules))
}

/// Reads the files again that answers come from, on a thread, since block lists are long. The server goes
/// on with what it has until then, and after an error.
pub(super) fn reload(cx: &mut LoopCx<'_, Dns>) {
    if cx.app.reading != Reading::No {
        cx.app.reading = Reading::Again;
        return;
    }
    let (options, remote) = (cx.app.local_options.clone(), cx.remote());
    let read = move || {
        let loaded = Local::load(&options);
        // A loop that is gone needs nothing more.
        let _ = remote.post(move |cx| take(loaded, cx));
    };
    match std::thread::Builder::new().name("dns-files".to_owned()).spawn(read) {
        Ok(_) => cx.app.reading = Reading::Yes,
        Err(error) => warn!("files are not read again: no thread can be started: {error}"),
    }
}

/// Takes what was read of files.
fn take(loaded: Result<Local, FileError>, cx: &mut LoopCx<'_, Dns>) {
    match loaded {
        Ok(local) => {
            info!("files are read again: {}", local.summary());
            cx.app.local = local;
        }
        Err(error) => warn!("{error}; the server goes on with what it has read before"),
    }
    if std::mem::replace(&mut cx.app.reading, Reading::No) == Reading::Again {
        reload(cx);
    }
}

/// Starts the keeper, opens the ports and the connections, and logs the counters of the server with those
/// of the loop.
pub(super) fn start(cx: &mut LoopCx<'_, Dns>) -> io::Result<()> {
    let keeper = cx.spawn(Keeper::default())?;
    cx.app.keeper = Some(keeper.into());
    if let Err(error) = open_missing(cx) {
        warn!("{error}");
    }
    following::follow(cx);
    // The keeper tries again what could not be opened.
    cx.wake(keeper);
    interfaces::start(cx)?;
    files::watch(cx);
    cx.on_signals(&[Signal::USER_1], |_, cx| info!("{}", Figures(cx.app)))?;
    Ok(())
}

/// The counters of the server, for the log.
struct Figures<'a>(&'a Dns);

impl fmt::Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dns { counts, engine, policy, cache, .. } = self.0;
        let asked = &engine.counts;
        let pairs = [
            ("questions_udp", counts.datagrams),
            ("questions_tcp", counts.over_connections),
            ("malformed", counts.malformed),
            ("refused", counts.refused),
            ("ignored", counts.ignored),
            ("limited", policy.limited()),
            ("proven", counts.proven),
            ("own", counts.own),
            ("cached", counts.cached),
            ("stale", counts.stale),
            ("prefetched", counts.prefetched),
            ("cache_answers", cache.len() as u64),
            ("cache_bytes", cache.size() as u64),
            ("waiting", engine.waiting() as u64),
            ("forwarded", asked.asked),
            ("joined", asked.joined),
            ("hedged", asked.hedged),
            ("retried", asked.retried),
            ("failed", asked.failed),
            ("full", asked.refused_full),
            ("looped", asked.looped),
            ("failed_before", asked.failed_before),
            ("wrong_number", asked.wrong_number),
            ("wrong_question", asked.wrong_question),
            ("wrong_case", asked.wrong_case),
            ("wrong_cookie", asked.wrong_cookie),
            ("missing_cookie", asked.missing_cookie),
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
