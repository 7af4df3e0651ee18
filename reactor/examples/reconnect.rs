//! A client that sends a line every second, and connects again when its connection ends: at first
//! soon, then after a pause that doubles with each failure.
//!
//! Try it with `cargo run -p myevent-reactor --example reconnect localhost:7000 1000`, where the
//! number is the milliseconds between two lines, then `nc -l 127.0.0.1 7000` in another terminal.

use protocol::{Buffer, Cause, ConnectionId, Context, Flow, Limits, Output, Reason, Session};
use reactor::{ConnectOptions, Cx, Handler, Location, Reactor, Stream, Timeout};
use std::{io, time::Duration};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
struct App {
    dialler: Option<ConnectionId>,
    period: Duration,
    pause: Duration,
}

struct Beat;

impl Session<App> for Beat {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        input.clear();
        match context.cause {
            _ if context.input_ended => return Ok(Flow::Close),
            Cause::Opened => println!("connected"),
            Cause::Timeout(_) => {
                output.append(b"still here\n");
                // Only a connection that lasts proves that the server works.
                context.app.pause = PAUSE_MIN;
            }
            _ => return Ok(Flow::Continue),
        }
        context.effects.set_timeout(0, Some(context.app.period));
        Ok(Flow::Continue)
    }

    /// Also called when the connection could not be made.
    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        println!("the connection ended: {reason}");
        context.app.dialler.into_iter().for_each(|dialler| context.effects.wake(dialler));
    }
}

/// A source without a descriptor: it connects some time after it was woken.
struct Dialler(Location);

impl Handler<App> for Dialler {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        println!("connecting in {:?}", cx.app.pause);
        cx.set_timeout(Some(cx.app.pause));
        cx.app.pause = (cx.app.pause * 2).min(PAUSE_MAX);
        Ok(())
    }

    fn timeout(&mut self, _: Timeout, cx: &mut Cx<'_, App>) -> io::Result<()> {
        let stream = Stream::new(Beat, Limits::DEFAULT);
        stream.connect(&self.0, &ConnectOptions::DEFAULT, cx).map(drop)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arg = |at, default: &str| std::env::args().nth(at).unwrap_or(default.to_owned());
    let period = Duration::from_millis(arg(2, "1000").parse()?);
    let mut reactor = Reactor::new(App { dialler: None, period, pause: PAUSE_MIN })?;
    let dialler = reactor.cx().spawn(Dialler(arg(1, "127.0.0.1:7000").parse()?))?;
    reactor.app.dialler = Some(dialler.into());
    reactor.cx().wake(dialler);
    Ok(reactor.run()?)
}
