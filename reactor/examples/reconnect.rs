//! A client that sends a line every second, and connects again when its connection ends: at first
//! soon, then after a pause that doubles with each failure.
//!
//! Try it with `nc -lk 127.0.0.1 7000`, then
//! `cargo run -p myevent-reactor --example reconnect 127.0.0.1:7000 1000`. The second argument is
//! the time between two lines in milliseconds.

use protocol::codecs::Lines;
use protocol::{ConnectionId, Context, Conversation, Flow, Limits, Reason, Reply, Service};
use reactor::{Address, ConnectOptions, Cx, Handler, Reactor, Stream, Timeout};
use std::{io, time::Duration};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The application state: what the dialler and the connection share.
struct Shared {
    dialler: Option<ConnectionId>,
    period: Duration,
    pause: Duration,
}

/// The session of a connection.
struct Beat;

impl Service<Lines, Shared> for Beat {
    fn open(&mut self, reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Shared>) -> Flow {
        println!("connected");
        reply.send(b"still here");
        context.effects.set_timeout(0, Some(context.app.period));
        Flow::Continue
    }

    fn call(
        &mut self,
        _: &mut [u8],
        _: &mut Reply<'_, Lines>,
        _: &mut Context<'_, Shared>,
    ) -> Flow {
        Flow::Continue
    }

    fn timeout(
        &mut self,
        _: u8,
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Shared>,
    ) -> Flow {
        // Only a connection that lasts proves that the server works.
        context.app.pause = PAUSE_MIN;
        reply.send(b"still here");
        context.effects.set_timeout(0, Some(context.app.period));
        Flow::Continue
    }

    /// Also called when the connection could not be made.
    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Shared>) {
        println!("the connection ended: {reason}");
        context.app.dialler.into_iter().for_each(|dialler| context.effects.wake(dialler));
    }
}

/// A source without a descriptor: it connects some time after it was woken.
struct Dialler(Address);

impl Handler<Shared> for Dialler {
    fn ready(&mut self, cx: &mut Cx<'_, Shared>) -> io::Result<()> {
        println!("connecting in {:?}", cx.app.pause);
        cx.set_timeout(Some(cx.app.pause));
        cx.app.pause = (cx.app.pause * 2).min(PAUSE_MAX);
        Ok(())
    }

    fn timeout(&mut self, _: Timeout, cx: &mut Cx<'_, Shared>) -> io::Result<()> {
        let stream = Stream::new(Conversation::new(Lines::default(), Beat), Limits::DEFAULT);
        if let Err(error) = stream.connect(&self.0, &ConnectOptions::DEFAULT, cx) {
            println!("{error}");
            cx.wake(cx.me());
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let period = Duration::from_millis(args.next().map_or(Ok(1000), |it| it.parse())?);
    let mut reactor = Reactor::new(Shared { dialler: None, period, pause: PAUSE_MIN })?;
    let dialler = reactor.cx().spawn(Dialler(address.parse()?))?;
    reactor.app.dialler = Some(dialler.into());
    reactor.cx().wake(dialler);
    Ok(reactor.run()?)
}
