//! A server of WebSocket: it sends back messages, and has news for its subscribers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::websocket::{self, Broadcast, CloseCode, Deflate, Kind, Message, Options, Sender};
use protocol::{ConnectionId, Context, Flow, Limits, Reason, http};
use reactor::{LoopCx, LoopLimits, Reactor};
use servers::{Application, NoArgs, Server, ServerArgs};

use super::messages::{farewell, news};

const SERVER: Server =
    Server { name: "news", about: "Sends news", address: "127.0.0.1:7", datagram_port: None };
/// The marks of the output of a connection.
pub(super) const LIMITS: Limits = Limits {
    output_high: 16 * 1024,
    output_low: 4 * 1024,
    linger: Duration::from_secs(1),
    ..Limits::DEFAULT
};
/// How long a peer may be silent until it is sent a ping, and how long it may take to answer.
pub(super) const PING: Duration = Duration::from_secs(2);
pub(super) const PONG: Duration = Duration::from_secs(2);
/// How often there is news.
const RHYTHM: Duration = Duration::from_millis(120);
/// How many messages there are at most.
const NEWS_MAX: usize = 60;
/// The subprotocols.
pub(super) const ECHO: &str = "echo";
pub(super) const NEWS: &str = "news";
/// The code of a close frame is this and the number of messages that were sent back before.
pub(super) const CODE: u16 = 4000;

/// The state of the server.
pub(super) struct App {
    pub(super) life: u64,
    pub(super) news: Vec<Broadcast>,
    /// The connections after their handshakes.
    open: Vec<(ConnectionId, Option<IpAddr>, bool)>,
    /// How many more messages are to be sent.
    pub(super) wanted: usize,
}

impl App {
    /// Returns how many connections there are from a host.
    pub(super) fn connections_of(&self, host: IpAddr) -> usize {
        self.open.iter().filter(|(_, peer, _)| *peer == Some(host)).count()
    }
}

/// Returns what both sides may do.
pub(super) fn options(subprotocols: &[&str], deflate: Option<Deflate>) -> Options {
    Options {
        ping_interval: Some(PING),
        pong_timeout: PONG,
        close_timeout: Duration::from_secs(3),
        subprotocols: subprotocols.iter().map(|it| (*it).to_owned()).collect(),
        deflate,
        ..Options::default()
    }
}

/// Returns compression with or without context.
pub(super) fn deflate(has_context: bool) -> Deflate {
    Deflate {
        context_takeover: has_context,
        peer_context_takeover: has_context,
        ..Deflate::default()
    }
}

/// Builds the server, with everything that `main` of a server has. `life` tells the messages of one
/// that was started again from earlier ones.
pub(super) fn build(backend: &str, life: u64) -> io::Result<Reactor<App>> {
    let words = ["--listen", "10.0.0.1:7", "--backend", backend];
    let options = options(&[ECHO, NEWS], Some(deflate(true))).shared()?;
    let http = http::Options::default().shared()?;
    let session = move |peer: Option<SocketAddr>| {
        websocket::server(Arc::clone(&options), Arc::clone(&http), move |agreement| {
            let is_news = agreement.subprotocol() == Some(NEWS);
            Service { peer: peer.map(|it| it.ip()), is_news, count: 0 }
        })
    };
    let application = move |_: &ServerArgs, _: &NoArgs| {
        let state = App { life, news: Vec::new(), open: Vec::new(), wanted: NEWS_MAX };
        Ok(Application {
            state,
            limits: LIMITS,
            loop_limits: LoopLimits::DEFAULT,
            session: Rc::new(session),
            datagrams: None,
            descriptors: 0,
            own_connections: 0,
            shared: None,
            legacy: None,
            start,
            reload: None,
        })
    };
    servers::prepare(SERVER, &words, application)
}

/// Publishes news at a fixed interval.
fn start(cx: &mut LoopCx<'_, App>) -> io::Result<()> {
    cx.every(RHYTHM, |_, cx| {
        let App { life, news: all, open, wanted } = &mut *cx.app;
        if *wanted == 0 {
            return;
        }
        *wanted -= 1;
        let message = Broadcast::text(&news(*life, all.len() as u64));
        all.push(message.deflated(&deflate(true)));
        let subscribers: Vec<_> = open.iter().filter(|it| it.2).map(|it| it.0).collect();
        for subscriber in subscribers {
            cx.wake(subscriber);
        }
    })
    .map(drop)
}

/// The service of one connection.
struct Service {
    peer: Option<IpAddr>,
    /// It has news. Otherwise it sends back what it gets.
    is_news: bool,
    /// How many messages were sent back, or which message comes next.
    count: usize,
}

impl Service {
    /// Sends news, as there is room.
    fn inform(&mut self, sender: &mut Sender<'_>, context: &Context<'_, App>) -> Flow {
        while self.is_news && sender.backlog() < context.limits.output_high {
            let Some(message) = context.app.news.get(self.count) else { break };
            sender.share(message);
            self.count += 1;
        }
        Flow::Continue
    }
}

impl websocket::Service<App> for Service {
    fn open(&mut self, _: &mut Sender<'_>, context: &mut Context<'_, App>) -> Flow {
        context.app.open.push((context.me, self.peer, self.is_news));
        if self.is_news {
            self.count = context.app.news.len();
        }
        Flow::Continue
    }

    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        _: &mut Context<'_, App>,
    ) -> Flow {
        if let Message::Text(text) = &message
            && let Some(seed) = text.strip_prefix("bye ")
        {
            sender.text(&farewell(seed.parse().expect("it is a number")));
            let code = CloseCode::new(CODE + self.count as u16).expect("it is a code");
            sender.close(code, "as you wish");
            return Flow::Continue;
        }
        self.count += 1;
        match message {
            Message::Text(text) if self.count.is_multiple_of(3) => {
                // The parts end inside characters.
                let (front, back) = text.as_bytes().split_at(text.len() / 2);
                sender.part(Kind::Text, front, false);
                sender.part(Kind::Text, back, true);
            }
            Message::Text(text) => sender.text(text),
            Message::Binary(bytes) => sender.binary(bytes),
        }
        Flow::Continue
    }

    fn close(
        &mut self,
        code: Option<CloseCode>,
        _: &str,
        _: &mut Sender<'_>,
        _: &mut Context<'_, App>,
    ) {
        let number = code.map(CloseCode::number);
        if !self.is_news {
            assert_eq!(number, Some(CODE + self.count as u16), "after {} messages", self.count);
        }
    }

    fn drained(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, App>) -> Flow {
        self.inform(sender, context)
    }

    fn resume(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, App>) -> Flow {
        self.inform(sender, context)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.open.retain(|(id, ..)| *id != context.me);
        super::demand_valid(reason);
    }
}
