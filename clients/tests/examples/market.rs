//! A server that behaves as the documentation of Binance's streams says ("WebSocket Streams for
//! Binance"), with shorter times.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use protocol::websocket::{CloseCode, Message, Options, Sender, Service, server};
use protocol::{Context, Flow, Limits, http};
use reactor::{ListenOptions, Listener, Reactor, Stream};
use serde_json::{Value, json};

/// How often each stream has an event.
const EVENT_EVERY: Duration = Duration::from_millis(10);
/// How often the client is sent a ping. The real server: 20 s. Pongs count in the limit of messages,
/// so that there is not much room for a shorter time.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long the pong may take. The real server: a minute.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// Messages that a client may send in a second, pongs included.
const MESSAGES_PER_SECOND_MAX: usize = 5;
const EVENT: u8 = 0;
const PING: u8 = 1;

/// What a test learns of all connections.
#[derive(Default)]
pub(crate) struct Counts {
    connections: AtomicUsize,
    pub(crate) pongs: AtomicUsize,
    /// Connections that have sent too much.
    pub(crate) refused: AtomicUsize,
}

/// One connection of the server.
struct Market {
    counts: Arc<Counts>,
    /// How many connections there were before.
    number: usize,
    streams: Vec<String>,
    /// The last number of the order books.
    sequence: u64,
    events: usize,
    pings: u64,
    unanswered: Option<(Instant, Vec<u8>)>,
    heard: Vec<Instant>,
}

impl Market {
    /// Counts a message or a pong of the client. Too many end the connection.
    fn count(&mut self, now: Instant, sender: &mut Sender<'_>) -> Flow {
        self.heard.retain(|at| now.saturating_duration_since(*at) < Duration::from_secs(1));
        self.heard.push(now);
        if self.heard.len() <= MESSAGES_PER_SECOND_MAX {
            return Flow::Continue;
        }
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        sender.close(CloseCode::POLICY, "Too many requests");
        Flow::Close
    }

    fn answer(&mut self, request: &Value) -> Value {
        let id = request["id"].clone();
        let names = |value: &Value| -> Vec<String> {
            let all = value.as_array().into_iter().flatten();
            all.filter_map(|it| it.as_str().map(str::to_owned)).collect()
        };
        match request["method"].as_str() {
            Some("SUBSCRIBE") => {
                self.streams.extend(names(&request["params"]));
                json!({ "result": null, "id": id })
            }
            Some("UNSUBSCRIBE") => {
                let gone = names(&request["params"]);
                self.streams.retain(|it| !gone.contains(it));
                json!({ "result": null, "id": id })
            }
            Some("LIST_SUBSCRIPTIONS") => json!({ "result": self.streams, "id": id }),
            _ => {
                json!({ "code": 2, "msg": "Invalid request: unknown variant" })
            }
        }
    }

    /// Sends an event of the first streams. The first connection has a gap and ends after its day; the
    /// second falls silent, and the third is about to stop.
    fn events(&mut self, sender: &mut Sender<'_>) -> Flow {
        if self.streams.is_empty() {
            return Flow::Continue;
        }
        self.events += 1;
        match (self.number, self.events) {
            (0, 5) => self.sequence += 10,
            (0, 10) => {
                sender.close(CloseCode::NORMAL, "24 hours are over");
                return Flow::Close;
            }
            (1, 5..) => return Flow::Continue,
            (2, 5) => {
                sender.text(&json!({ "e": "serverShutdown", "E": 1 }).to_string());
                return Flow::Continue;
            }
            _ => {}
        }
        for name in self.streams.iter().take(2) {
            let (symbol, kind) = name.split_once('@').unwrap_or((name, ""));
            let symbol = symbol.to_uppercase();
            let (first, last) = (self.sequence + 1, self.sequence + 3);
            let event = match kind {
                "depth" => json!({ "e": "depthUpdate", "s": symbol, "U": first, "u": last }),
                _ => json!({ "e": kind, "s": symbol, "a": first / 3 + 1 }),
            };
            sender.text(&event.to_string());
        }
        self.sequence += 3;
        Flow::Continue
    }
}

impl Service for Market {
    fn open(&mut self, _: &mut Sender<'_>, context: &mut Context<'_>) -> Flow {
        context.effects.set_timeout(EVENT, Some(EVENT_EVERY));
        context.effects.set_timeout(PING, Some(PING_EVERY));
        Flow::Continue
    }

    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        context: &mut Context<'_>,
    ) -> Flow {
        if self.count(context.now, sender) == Flow::Close {
            return Flow::Close;
        }
        let answer = match serde_json::from_slice(message.bytes()) {
            Ok(request) => self.answer(&request),
            Err(_) => json!({ "code": 3, "msg": "Invalid JSON" }),
        };
        sender.text(&answer.to_string());
        Flow::Continue
    }

    fn pong(&mut self, payload: &[u8], sender: &mut Sender<'_>, context: &mut Context<'_>) -> Flow {
        // The payload of the ping has to come back.
        if self.unanswered.take_if(|(_, sent)| sent == payload).is_some() {
            self.counts.pongs.fetch_add(1, Ordering::Relaxed);
        }
        self.count(context.now, sender)
    }

    fn timeout(&mut self, key: u8, sender: &mut Sender<'_>, context: &mut Context<'_>) -> Flow {
        if key == EVENT {
            context.effects.set_timeout(EVENT, Some(EVENT_EVERY));
            return self.events(sender);
        }
        context.effects.set_timeout(PING, Some(PING_EVERY));
        match &self.unanswered {
            Some((since, _)) if context.now.saturating_duration_since(*since) > PONG_WITHIN => {
                return Flow::Close;
            }
            Some(_) => {}
            None => {
                self.pings += 1;
                let payload = self.pings.to_string().into_bytes();
                sender.ping(&payload);
                self.unanswered = Some((context.now, payload));
            }
        }
        Flow::Continue
    }
}

/// Starts the server on a thread, which ends with the test program. Returns its address.
pub(crate) fn start(counts: &Arc<Counts>) -> String {
    let (sender, receiver) = mpsc::channel();
    let counts = Arc::clone(counts);
    std::thread::spawn(move || {
        let mut reactor = Reactor::new(()).expect("the loop starts");
        let any = "127.0.0.1:0".parse().expect("it is an address");
        let listener = Listener::bind(&any, &ListenOptions::DEFAULT).expect("a port is free");
        sender.send(listener.address().to_string()).expect("the test waits");
        let options = Options { ping_interval: None, ..Options::default() };
        let options = options.shared().expect("no limit is zero");
        let http = http::Options::default().shared().expect("no limit is zero");
        let make = move |_| {
            let number = counts.connections.fetch_add(1, Ordering::Relaxed);
            let market = Market {
                number,
                counts: Arc::clone(&counts),
                streams: Vec::new(),
                // The market goes on while the client is away.
                sequence: 3000 * number as u64,
                events: 0,
                pings: 0,
                unanswered: None,
                heard: Vec::new(),
            };
            server(Arc::clone(&options), Arc::clone(&http), |_| market)
        };
        Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), make).expect("it listens");
        reactor.run().expect("the loop runs");
    });
    receiver.recv().expect("the server starts")
}
