//! A daemon that says whether a caller may go on, for programs that share one limit: it counts in
//! Redis, so any number of these daemons count together. Each line names a caller. The answer is
//! `allow` or `deny` with the count of the present window, or `allow unknown` while Redis is away.
//!
//! Try it with `cargo run -p myevent-clients --example rate_limiter 127.0.0.1:7001 127.0.0.1:6379 5`,
//! then `nc 127.0.0.1 7001`.

use clients::resp::{Answer, Client, Command, Error, Options};
use protocol::codecs::Lines;
use protocol::{ConnectionId, Context, Conversation, Flow, Limits, Reason, Reply, Service};
use reactor::{ClientOptions, ListenOptions, Listener, LoopCx, Reactor, Stream};
use std::collections::HashMap;
use std::time::Duration;

/// The length of a window, in seconds.
const WINDOW: u64 = 10;

struct App {
    redis: Option<Client<App>>,
    limit: i64,
    /// Callers that wait, with their answers once they are there.
    waiting: HashMap<ConnectionId, Option<String>>,
}

/// The conversation with a program that asks.
struct Limiter;

impl Service<Lines, App> for Limiter {
    fn call(
        &mut self,
        caller: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let (me, app) = (context.me, &mut *context.app);
        let window = reactor::time_of_day().as_secs() / WINDOW;
        let key = format!("rate:{window}:{}", String::from_utf8_lossy(caller));
        let count = Command::transaction([
            Command::new(["INCR", &key]),
            Command::new(["EXPIRE", &key, &(2 * WINDOW).to_string()]),
        ]);
        let done = move |result, cx: &mut LoopCx<'_, App>| {
            let answer = judge(&result, cx.app.limit);
            // The connection may be gone.
            cx.app.waiting.entry(me).and_modify(|it| *it = Some(answer));
            cx.wake(me);
        };
        let asked = app.redis.as_ref().map(|redis| redis.execute(count, None, done));
        if let Some(Err(error)) = asked {
            // Redis is away, and that is known already.
            reply.send(judge(&Err(error), app.limit).as_bytes());
            return Flow::Continue;
        }
        app.waiting.insert(me, None);
        Flow::Pause
    }

    fn resume(&mut self, reply: &mut Reply<'_, Lines>, context: &mut Context<'_, App>) -> Flow {
        let waiting = &mut context.app.waiting;
        if let Some(Some(answer)) = waiting.get(&context.me) {
            reply.send(answer.as_bytes());
            waiting.remove(&context.me);
        }
        if waiting.contains_key(&context.me) { Flow::Pause } else { Flow::Continue }
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, App>) {
        context.app.waiting.remove(&context.me);
    }
}

/// Returns the answer to a caller. A limiter that cannot count stops nothing.
fn judge(result: &Result<Answer, Error>, limit: i64) -> String {
    let count = result.as_ref().ok().and_then(|answer| answer.elements().first()?.as_integer());
    match count {
        Some(count) if count > limit => format!("deny {count}"),
        Some(count) => format!("allow {count}"),
        None => "allow unknown".to_owned(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arg = |at, default: &str| std::env::args().nth(at).unwrap_or(default.to_owned());
    let listener = Listener::bind(&arg(1, "127.0.0.1:7001").parse()?, &ListenOptions::DEFAULT)?;
    println!("listening on {}", listener.address());
    let limit = arg(3, "5").parse()?;
    let mut reactor = Reactor::new(App { redis: None, limit, waiting: HashMap::new() })?;
    // An answer that comes late is of no use, and one that cannot come is known at once.
    let timeout = Duration::from_millis(500);
    let options = ClientOptions { timeout, waits: false, ..ClientOptions::DEFAULT };
    let redis = arg(2, "127.0.0.1:6379");
    let client = Client::open(&redis, &Options::default(), options, &mut reactor.cx())?;
    client.on_connect(|_| println!("connected to Redis"));
    client.on_disconnect(|reason, _| println!("lost Redis: {reason}"));
    reactor.app.redis = Some(client);
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_| {
        Conversation::new(Lines::default(), Limiter)
    })?;
    Ok(reactor.run()?)
}
