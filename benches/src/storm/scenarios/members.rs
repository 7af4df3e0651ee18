//! Simulated members of a group of Redis: servers that say which role they have, and sentinels that say
//! where the master is.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use clients::sentinel::{PROMOTION_CHANNEL, SWITCH_CHANNEL, VOTE_CHANNEL};
use protocol::resp::{Protocol, Request, Server, Writer};
use protocol::{ConnectionId, Context, Conversation, Flow, Limits, Reason, Reply, Service};
use reactor::{Address, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Stream};

use super::agent::PORT;
use super::ground::open;

/// The name of the master.
pub(super) const NAME: &str = "group";

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(60);

/// Returns the address of the host of a number.
pub(super) fn ip(number: usize) -> String {
    format!("10.0.0.{number}")
}

/// Builds the program of a member on the host of a number.
pub(super) fn build<A: 'static, S: Service<Server, A> + Default + 'static>(
    number: usize,
    backend: &str,
    app: A,
) -> io::Result<Reactor<A>> {
    let limits = LoopLimits { idle_timeout: Some(IDLE), ..LoopLimits::DEFAULT };
    let mut reactor = open(backend, limits, app)?;
    let address: Address = format!("{}:{PORT}", ip(number)).parse().map_err(io::Error::other)?;
    let listener = Listener::bind(&address, &ListenOptions::default())?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_| {
        Conversation::new(Server::default(), S::default())
    })?;
    Ok(reactor)
}

/// The state of a server.
#[derive(Default)]
pub(super) struct Member {
    /// The epoch of the failover that has made it the master. `None`: it is a replica.
    pub(super) master_since: Option<u64>,
    /// How often its role has changed, which ends the connections of clients.
    changes: u64,
    /// How often each request was carried out.
    pub(super) done: BTreeMap<String, u64>,
    /// The requests that it was sent while it was a replica.
    pub(super) misled: Vec<String>,
}

impl Member {
    /// Makes it a master or a replica, as sentinels do: connections of clients end.
    pub(super) fn set_role(&mut self, master_since: Option<u64>) {
        if self.master_since != master_since {
            self.master_since = master_since;
            self.changes += 1;
        }
    }

    fn answer(&mut self, request: Request<'_>, out: &mut Writer<'_>) {
        let name = request.name().to_ascii_uppercase();
        match (name.as_slice(), self.master_since) {
            (b"PING", _) => out.simple("PONG"),
            (b"ROLE", Some(_)) => {
                out.array(3);
                out.bulk("master");
                out.integer(1);
                out.array(0);
            }
            (b"ROLE", None) => {
                out.array(5);
                out.bulk("slave");
                out.bulk("10.0.0.1");
                out.integer(i64::from(PORT));
                out.bulk("connected");
                out.integer(1);
            }
            (b"INCR", role) => {
                let tag = String::from_utf8_lossy(request.get(1).unwrap_or_default()).into_owned();
                match role {
                    Some(epoch) => {
                        *self.done.entry(tag).or_default() += 1;
                        out.integer(epoch as i64);
                    }
                    None => {
                        self.misled.push(tag);
                        out.error("READONLY You can't write against a read only replica.");
                    }
                }
            }
            _ => out.error("ERR unknown command"),
        }
    }
}

/// Answers `HELLO`. Returns whether it was that.
fn greet(request: Request<'_>, reply: &mut Reply<'_, Server>) -> bool {
    let is_hello = request.name().eq_ignore_ascii_case(b"HELLO");
    if is_hello {
        reply.codec().set_protocol(Protocol::Resp3);
        let mut out = reply.writer();
        out.map(1);
        out.bulk("proto");
        out.integer(3);
    }
    is_hello
}

/// One connection of a server.
#[derive(Default)]
pub(super) struct Serving {
    changes: u64,
}

impl Service<Server, Member> for Serving {
    fn open(&mut self, _reply: &mut Reply<'_, Server>, context: &mut Context<'_, Member>) -> Flow {
        self.changes = context.app.changes;
        Flow::Continue
    }

    fn call(
        &mut self,
        request: Request<'_>,
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, Member>,
    ) -> Flow {
        if self.changes != context.app.changes {
            return Flow::Close;
        }
        if !greet(request, reply) {
            context.app.answer(request, &mut reply.writer());
        }
        Flow::Continue
    }
}

/// The state of a sentinel.
#[derive(Default)]
pub(super) struct Watcher {
    pub(super) id: String,
    /// Where the master is, in its eyes, and the epoch of that.
    pub(super) master: Option<(String, u64)>,
    pub(super) replicas: Vec<String>,
    /// What it has published: channels and messages.
    news: Vec<(&'static str, String)>,
    subscribers: Vec<ConnectionId>,
}

impl Watcher {
    pub(super) fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    /// Publishes a message.
    pub(super) fn publish(cx: &mut LoopCx<'_, Self>, channel: &'static str, text: String) {
        cx.app.news.push((channel, text));
        for subscriber in cx.app.subscribers.clone() {
            cx.wake(subscriber);
        }
    }

    /// Publishes which sentinel it elects.
    pub(super) fn vote(cx: &mut LoopCx<'_, Self>, leader: &str, epoch: u64) {
        Self::publish(cx, VOTE_CHANNEL, format!("{leader} {epoch}"));
    }

    /// Publishes that it promotes a server.
    pub(super) fn promote(cx: &mut LoopCx<'_, Self>, server: &str) {
        let text = format!("slave x {server} {PORT} @ {NAME} 10.0.0.1 {PORT}");
        Self::publish(cx, PROMOTION_CHANNEL, text);
    }

    /// Publishes that the master is another one.
    pub(super) fn switch(cx: &mut LoopCx<'_, Self>, server: &str) {
        Self::publish(cx, SWITCH_CHANNEL, format!("{NAME} 10.0.0.1 {PORT} {server} {PORT}"));
    }

    fn answer(&self, what: &[u8], out: &mut Writer<'_>) {
        let describe = |out: &mut Writer<'_>, name: &str, ip: &str, epoch: u64| {
            let (port, epoch) = (PORT.to_string(), epoch.to_string());
            let fields = [("name", name), ("ip", ip), ("port", &port), ("config-epoch", &epoch)];
            out.map(fields.len());
            for (key, value) in fields {
                out.bulk(key);
                out.bulk(value);
            }
        };
        match (what, &self.master) {
            (b"MYID", _) => out.bulk(&self.id),
            (_, None) => out.null(),
            (b"GET-MASTER-ADDR-BY-NAME", Some((ip, _))) => {
                out.array(2);
                out.bulk(ip);
                out.bulk(PORT.to_string());
            }
            (b"MASTER", Some((ip, epoch))) => describe(out, NAME, ip, *epoch),
            (b"REPLICAS", _) => {
                out.array(self.replicas.len());
                self.replicas.iter().for_each(|ip| describe(out, ip, ip, 0));
            }
            _ => out.error("ERR unknown subcommand"),
        }
    }
}

/// One connection of a sentinel.
#[derive(Default)]
pub(super) struct Watching {
    /// How much of what is published it has sent, if there is a subscription.
    sent: Option<usize>,
}

impl Service<Server, Watcher> for Watching {
    fn call(
        &mut self,
        request: Request<'_>,
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, Watcher>,
    ) -> Flow {
        if greet(request, reply) {
            return Flow::Continue;
        }
        let what = request.get(1).unwrap_or_default().to_ascii_uppercase();
        let mut out = reply.writer();
        match request.name().to_ascii_uppercase().as_slice() {
            b"PING" => out.simple("PONG"),
            b"SENTINEL" => context.app.answer(&what, &mut out),
            b"SUBSCRIBE" => {
                for (count, channel) in request.args().enumerate() {
                    out.push(3);
                    out.bulk("subscribe");
                    out.bulk(channel);
                    out.integer(count as i64 + 1);
                }
                if self.sent.is_none() {
                    self.sent = Some(context.app.news.len());
                    context.app.subscribers.push(context.me);
                }
            }
            _ => out.error("ERR unknown command"),
        }
        Flow::Continue
    }

    fn resume(
        &mut self,
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, Watcher>,
    ) -> Flow {
        let mut out = reply.writer();
        let sent = self.sent.get_or_insert(0);
        for (channel, text) in &context.app.news[*sent..] {
            out.push(3);
            out.bulk("message");
            out.bulk(channel);
            out.bulk(text);
        }
        *sent = context.app.news.len();
        Flow::Continue
    }

    fn closed(&mut self, _reason: &Reason, context: &mut Context<'_, Watcher>) {
        context.app.subscribers.retain(|it| *it != context.me);
    }
}
