//! A TCP proxy: relays bytes both ways between each client and an upstream address. A side that
//! reads slowly stops the reading of the other, and a half-close is passed on.
//! Try it with `cargo run -p myevent-reactor --example proxy 127.0.0.1:7000 HOST:SERVICE`.

use protocol::{Buffer, ConnectionId, Context, Flow, Limits, Output, Reason, Session};
use reactor::{ConnectOptions, ListenOptions, Listener, Location, Reactor, Stream};

/// One of the two connections of a relay. The application state has all of them.
struct Side {
    other: ConnectionId,
    inbox: Buffer,    // What the other side has read and this one has not taken.
    is_last: bool,    // The other side has read its last byte.
    unsent: u64,      // What this side had taken and not sent when it was last called.
    is_awaited: bool, // The other side pauses until this one has sent most of its output.
}

type Sides = std::collections::HashMap<ConnectionId, Side>;
struct Relay;

impl Session<Sides> for Relay {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Sides>,
    ) -> Result<Flow, Reason> {
        let Some(side) = context.app.get_mut(&context.me) else { return Ok(Flow::Close) };
        output.take_input(&mut side.inbox);
        side.unsent = output.len();
        let (other, is_last) = (side.other, side.is_last);
        if is_last {
            context.effects.end_output();
        } else {
            // If the other side breaks off, so does this one.
            context.effects.set_incomplete(true);
        }
        // Above the low mark, `Cause::Drained` follows.
        if side.is_awaited && output.len() <= context.limits.output_low {
            side.is_awaited = false;
            context.effects.wake(other);
        }
        let Some(side) = context.app.get_mut(&other) else { return Ok(Flow::Close) };
        if !input.is_empty() || (context.input_ended && !side.is_last) {
            if side.inbox.is_empty() {
                std::mem::swap(&mut side.inbox, input); // Without a copy.
            }
            side.is_last = context.input_ended && input.is_empty();
            context.effects.wake(other);
        }
        let waiting = side.unsent + side.inbox.len() as u64;
        side.is_awaited = !input.is_empty() || waiting >= context.limits.output_high;
        let flow = if side.is_awaited { Flow::Pause } else { Flow::Continue };
        Ok(if is_last && side.is_last { Flow::Close } else { flow })
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Sides>) {
        let side = context.app.remove(&context.me);
        if let Some(side) = side.filter(|_| !reason.is_orderly()) {
            context.effects.close(side.other);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arg = |at, default: &str| std::env::args().nth(at).unwrap_or(default.to_owned());
    let upstream: Location = arg(2, "localhost:http").parse()?;
    let address = arg(1, "127.0.0.1:7000").parse()?;
    let listener = Listener::bind(&address, &ListenOptions::default())?;
    println!("listening on {}", listener.address());
    let mut reactor = Reactor::new(Sides::new())?;
    listener.register(&mut reactor.cx(), move |accepted, cx| {
        let there =
            Stream::new(Relay, Limits::DEFAULT).connect(&upstream, &ConnectOptions::DEFAULT, cx)?;
        let here = Stream::new(Relay, Limits::DEFAULT).register(accepted, cx)?;
        for (me, other) in [(here, there.into()), (there, here.into())] {
            let inbox = Buffer::new();
            let side = Side { other, inbox, is_last: false, unsent: 0, is_awaited: false };
            cx.app.insert(me.into(), side);
        }
        Ok(())
    })?;
    Ok(reactor.run()?)
}
