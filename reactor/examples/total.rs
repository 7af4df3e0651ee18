//! A whole server: its own codec, a timer, a signal, shared state. It answers each number with the
//! running total of all peers.
//!
//! Try it with `cargo run -p myevent-reactor --example total`, then
//! `printf '2\n3\n' | nc -N 127.0.0.1 7000`.

use protocol::codecs::{Lines, LinesError};
use protocol::{Codec, Context, Conversation, Decoded, Flow, Limits, Output, Reply, Service};
use reactor::{ListenOptions, Listener, Reactor, Signal, Stream};
use std::time::Duration;

/// Numbers, one a line. A line that is no number counts as zero.
#[derive(Default)]
struct Numbers(Lines);

impl Codec for Numbers {
    type In<'a> = i64;
    type Out<'a> = i64;
    type Error = LinesError;

    fn decode(&mut self, input: &mut [u8], out: &mut Output) -> Result<Decoded<i64>, LinesError> {
        let line = self.0.decode(input, out)?;
        Ok(line.map(|line| std::str::from_utf8(line).ok().and_then(|it| it.parse().ok())))
            .map(|number| number.map(Option::unwrap_or_default))
    }

    fn encode(&mut self, number: i64, output: &mut Output) {
        output.append(format!("{number}\n").as_bytes());
    }

    fn finish(&mut self, rest: &[u8]) -> Result<(), LinesError> {
        self.0.finish(rest)
    }
}

struct Adder;

impl Service<Numbers, i64> for Adder {
    fn call(
        &mut self,
        n: i64,
        reply: &mut Reply<'_, Numbers>,
        context: &mut Context<'_, i64>,
    ) -> Flow {
        *context.app = context.app.wrapping_add(n);
        reply.send(*context.app);
        Flow::Continue
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let listener = Listener::bind(&address.parse()?, &ListenOptions::default())?;
    println!("listening on {}", listener.address());
    let mut reactor = Reactor::new(0)?;
    let mut cx = reactor.cx();
    Stream::serve(listener, Limits::DEFAULT, &mut cx, |_peer| {
        Conversation::new(Numbers::default(), Adder)
    })?;
    cx.every(Duration::from_secs(10), |_ticks, cx| println!("the total is {}", cx.app))?;
    cx.on_signals(&[Signal::INTERRUPT, Signal::TERMINATE], |_, cx| {
        cx.stop_gracefully(Duration::from_secs(5))
    })?;
    reactor.run()?;
    Ok(())
}
