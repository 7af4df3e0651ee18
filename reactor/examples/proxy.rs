//! A TCP proxy: relays bytes both ways between each client and an upstream address. A side that
//! reads slowly stops the reading of the other, and a half-close is passed on.
//!
//! Try it with `cargo run -p myevent-reactor --example proxy 127.0.0.1:7000 127.0.0.1:80`, then
//! `curl -i 127.0.0.1:7000`. The second argument is the upstream address.

use protocol::{Buffer, ConnectionId, Context, Flow, Limits, Output, Reason, Session};
use reactor::{Address, ConnectOptions, ListenOptions, Listener, Reactor, Stream};
use std::{collections::HashMap, mem};

/// The application state: what each connection is given by its other side.
type Sides = HashMap<ConnectionId, Side>;

struct Side {
    other: ConnectionId,
    /// Bytes that the other side has read and this one has not taken.
    inbox: Buffer,
    /// The other side has read its last byte.
    is_last: bool,
    /// Bytes that this side had taken and not sent when it was last called.
    unsent: u64,
    /// The other side reads nothing until this one has sent most of its output.
    is_awaited: bool,
}

/// The session of either side.
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
        }
        // Above the low mark, `Cause::Drained` follows.
        if side.is_awaited && output.len() <= context.limits.output_low {
            side.is_awaited = false;
            context.effects.wake(other);
        }
        let Some(side) = context.app.get_mut(&other) else { return Ok(Flow::Close) };
        if !input.is_empty() || (context.input_ended && !side.is_last) {
            if side.inbox.is_empty() {
                mem::swap(&mut side.inbox, input); // Without a copy.
            } else {
                side.inbox.extend_from_slice(input.filled());
                input.clear();
            }
            side.is_last = context.input_ended;
            context.effects.wake(other);
        }
        side.is_awaited = side.unsent + side.inbox.len() as u64 >= context.limits.output_high;
        Ok(match side.is_awaited {
            _ if is_last && side.is_last => Flow::Close,
            true => Flow::Pause,
            false => Flow::Continue,
        })
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Sides>) {
        let side = context.app.remove(&context.me);
        if let Some(side) = side.filter(|_| !reason.is_orderly()) {
            context.effects.close(side.other);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |default: &str| args.next().unwrap_or_else(|| default.to_owned()).parse();
    let (address, upstream): (Address, Address) = (next("127.0.0.1:7000")?, next("127.0.0.1:80")?);
    let listener = Listener::bind(&address, &ListenOptions::default())?;
    println!("listening on {}", listener.address());
    let mut reactor = Reactor::new(Sides::new())?;
    let limits = Limits::DEFAULT.shared()?;
    listener.register(&mut reactor.cx(), move |accepted, cx| {
        let there =
            Stream::new(Relay, limits.clone()).connect(&upstream, &ConnectOptions::DEFAULT, cx)?;
        // Where this fails, the upstream connection has no other side and ends by itself.
        let here = Stream::new(Relay, limits.clone()).register(accepted, cx)?;
        for (me, other) in [(here, there), (there, here)] {
            let side = Side {
                other: other.into(),
                inbox: Buffer::new(),
                is_last: false,
                unsent: 0,
                is_awaited: false,
            };
            cx.app.insert(me.into(), side);
        }
        Ok(())
    })?;
    Ok(reactor.run()?)
}
