//! Follows streams of a server that speaks the protocol of Binance's spot market: subscribes by JSON,
//! notices silence and gaps in the sequence, and comes back after every end of the connection.
//!
//! ```sh
//! cargo run -p myevent-clients --example binance -- btcusdt@depth btcusdt@aggTrade
//! ```
//!
//! The rules of the server are those of its documentation ("WebSocket Streams for Binance"): it sends
//! a ping from time to time and ends the connection of a client that does not answer, ends each
//! connection after 24 hours, accepts five messages a second, pings and pongs included, and at most
//! 300 connections in 5 minutes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use clients::http::{self, Origin, Url, connect};
use clients::tls::TlsArgs;
use clients::ws::parse_url;
use protocol::websocket::{Client, CloseCode, Message, Options, Sender, Service};
use protocol::{ConnectionId, Context, Flow, Random, Reason, http as wire};
use reactor::{Cx, Handler, LoopLimits, Reactor, Timeout, Token};
use serde_json::{Value, json};

/// Streams of a connection: the limit of the server.
const STREAMS_MAX: usize = 1024;
/// Streams in one request.
const STREAMS_A_REQUEST: usize = 200;
/// The time between two requests, so that there is room for pongs in the five messages a second.
const REQUEST_EVERY: Duration = Duration::from_millis(400);
/// The bound of the first pause, which doubles with each failure.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// A connection that has lasted for so long was of use. The pauses begin anew after it.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// The keys of the timeouts.
const SILENCE: u8 = 0;
const REQUEST: u8 = 1;

/// Follows streams of a server that speaks the protocol of Binance
#[derive(Parser)]
struct Cli {
    /// Names of streams, such as btcusdt@depth
    #[arg(required = true)]
    streams: Vec<String>,
    /// URL of the server
    #[arg(long, default_value = "wss://stream.binance.com:9443/ws")]
    url: String,
    /// Milliseconds without a message after which the connection is made anew
    #[arg(long, default_value_t = 30_000)]
    silence: u64,
    /// Longest pause between attempts, in milliseconds
    #[arg(long, default_value_t = 60_000)]
    pause_max: u64,
    #[command(flatten)]
    tls: TlsArgs,
}

/// The state of the loop, which outlives connections.
struct App {
    streams: Vec<String>,
    silence: Duration,
    keeper: Token,
    /// The last number in the sequence of each stream.
    last: HashMap<String, u64>,
}

impl App {
    /// Checks that nothing is missing in the sequence of a stream. Updates of an order book have the
    /// numbers from `U` to `u`, trades have one number. Also after another connection: what was missed
    /// meanwhile is a gap.
    fn check_sequence(&mut self, event: &Value) {
        let kind = event["e"].as_str().unwrap_or("event");
        let symbol = event["s"].as_str().unwrap_or_default();
        let numbers = match kind {
            "depthUpdate" => event["U"].as_u64().zip(event["u"].as_u64()),
            "aggTrade" => event["a"].as_u64().map(|it| (it, it)),
            "trade" => event["t"].as_u64().map(|it| (it, it)),
            _ => None,
        };
        let Some((first, last)) = numbers else { return println!("{kind} {symbol}") };
        match self.last.insert(format!("{symbol} {kind}"), last) {
            // An order book that misses an update is wrong from then on.
            Some(before) if first > before + 1 => {
                println!("gap {kind} {symbol}: {} to {} are missing", before + 1, first - 1);
            }
            _ => println!("{kind} {symbol} {first} to {last}"),
        }
    }
}

/// Keeps a connection: makes the next one after a pause.
struct Keeper {
    url: Url,
    options: http::Options,
    pause_max: Duration,
    random: Random,
    failures: u32,
    begun: Instant,
}

impl Keeper {
    fn connect(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        self.begun = cx.now();
        let host = Origin::of(&self.url).map_err(io::Error::other)?.host_field();
        // The silence of the streams says more than that of the connection.
        let options = Options { ping_interval: None, ..Options::default() }.shared()?;
        let http = wire::ClientOptions::default().shared()?;
        let feed = Feed::new(cx.app.streams.clone(), cx.now());
        let session = Client::new(feed, &host, self.url.path(), options, http);
        connect(session, &self.url, &self.options, cx).map_err(io::Error::other)?;
        Ok(())
    }

    /// Plans the next attempt.
    fn pause(&mut self, cx: &mut Cx<'_, App>) {
        if cx.now().saturating_duration_since(self.begun) >= HEALTHY_AFTER {
            self.failures = 0;
        }
        let bound = PAUSE_FIRST.saturating_mul(1 << self.failures.min(20)).min(self.pause_max);
        self.failures += 1;
        // Full jitter: the clients of a server that has failed do not come back at the same time.
        let millis = self.random.below(bound.as_millis() as u64 + 1);
        println!("next attempt in {millis} ms");
        cx.set_timeout(Some(Duration::from_millis(millis)));
    }
}

impl Handler<App> for Keeper {
    /// The connection has ended: it wakes this source.
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        self.pause(cx);
        Ok(())
    }

    fn timeout(&mut self, _: Timeout, cx: &mut Cx<'_, App>) -> io::Result<()> {
        if let Err(error) = self.connect(cx) {
            println!("ended: {error}");
            self.pause(cx);
        }
        Ok(())
    }
}

/// One connection.
struct Feed {
    /// What is still to be subscribed to.
    to_subscribe: Vec<String>,
    /// How many streams each request without an answer has.
    asked: HashMap<u64, usize>,
    next_id: u64,
    heard: Instant,
}

impl Feed {
    fn new(streams: Vec<String>, now: Instant) -> Self {
        Self { to_subscribe: streams, asked: HashMap::new(), next_id: 1, heard: now }
    }

    /// Subscribes to the next streams.
    fn subscribe(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, App>) {
        let count = self.to_subscribe.len().min(STREAMS_A_REQUEST);
        let streams: Vec<String> = self.to_subscribe.drain(..count).collect();
        if streams.is_empty() {
            return;
        }
        let request = json!({ "method": "SUBSCRIBE", "params": streams, "id": self.next_id });
        sender.text(&request.to_string());
        self.asked.insert(self.next_id, count);
        self.next_id += 1;
        context.effects.set_timeout(REQUEST, Some(REQUEST_EVERY));
    }

    /// Handles the answer to a request, or an event.
    fn hear(&mut self, value: &Value, app: &mut App) -> Flow {
        // Both forms occur: the error by itself, and inside an answer.
        if value.get("error").is_some() || (value.get("code").is_some() && value.get("e").is_none())
        {
            println!("refused: {value}");
            return Flow::Close;
        }
        if value.get("result").is_some() {
            let count = value["id"].as_u64().and_then(|id| self.asked.remove(&id));
            println!("subscribed to {} streams", count.unwrap_or(0));
            return Flow::Continue;
        }
        // Events of combined streams are wrapped.
        let event = value.get("data").unwrap_or(value);
        if event["e"] == "serverShutdown" {
            println!("the server is about to stop");
            return Flow::Close;
        }
        app.check_sequence(event);
        Flow::Continue
    }
}

impl Service<App> for Feed {
    fn open(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, App>) -> Flow {
        println!("connected");
        context.effects.set_timeout(SILENCE, Some(context.app.silence));
        self.subscribe(sender, context);
        Flow::Continue
    }

    fn message(
        &mut self,
        message: Message<'_>,
        _: &mut Sender<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        self.heard = context.now;
        match serde_json::from_slice(message.bytes()) {
            Ok(value) => self.hear(&value, context.app),
            Err(error) => {
                println!("no JSON: {error}");
                Flow::Close
            }
        }
    }

    fn timeout(
        &mut self,
        key: u8,
        sender: &mut Sender<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        if key == REQUEST {
            self.subscribe(sender, context);
            return Flow::Continue;
        }
        // The timeout is not moved with each message: it looks how long the last one is ago.
        let (silence, passed) =
            (context.app.silence, context.now.saturating_duration_since(self.heard));
        if passed >= silence {
            println!("silent for {passed:?}");
            return Flow::Close;
        }
        context.effects.set_timeout(SILENCE, Some(silence - passed));
        Flow::Continue
    }

    fn close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        _: &mut Sender<'_>,
        _: &mut Context<'_, App>,
    ) {
        println!("the server closes: {} {reason}", code.map_or(0, CloseCode::number));
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        println!("ended: {reason}");
        context.effects.wake(ConnectionId::from(context.app.keeper));
    }
}

fn main() -> io::Result<()> {
    let cli = Cli::parse();
    if cli.streams.len() > STREAMS_MAX {
        return Err(io::Error::other(format!("a connection has {STREAMS_MAX} streams at most")));
    }
    let url = parse_url(&cli.url).map_err(io::Error::other)?;
    cli.tls.check("binance").map_err(io::Error::other)?;
    let tls = cli.tls;
    let make = move || tls.client().map_err(|error| error.to_string());
    let options = http::Options { tls: Some(Arc::new(make)), ..http::Options::default() };
    let (streams, silence) = (cli.streams, Duration::from_millis(cli.silence));
    let app = App { streams, silence, keeper: Token::NONE, last: HashMap::new() };
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let backend = reactor::BackendKind::from_env().map_err(io::Error::other)?.open()?;
    let mut reactor = Reactor::with_backend(backend, limits, app)?;
    let mut cx = reactor.cx();
    let keeper = Keeper {
        url,
        options,
        pause_max: Duration::from_millis(cli.pause_max),
        random: Random::new(RandomState::new().hash_one(std::process::id())),
        failures: 0,
        begun: cx.now(),
    };
    cx.app.keeper = cx.spawn(keeper)?;
    let keeper = cx.app.keeper;
    cx.wake(keeper);
    reactor.run()
}
