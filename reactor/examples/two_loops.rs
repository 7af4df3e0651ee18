//! Two loops on two threads that listen on one port (`SO_REUSEPORT`): the kernel gives each
//! connection to one of them. Each answers a line with its own number.
//!
//! Try it with `cargo run -p myevent-reactor --example two_loops`, then `echo hi | nc -N 127.0.0.1 7000`,
//! several times.

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{Address, ListenOptions, Listener, Reactor, Stream};
use std::io;
use std::thread;

/// Answers each line with the number of its loop, which is the application's state.
struct Number;

impl Service<Lines, usize> for Number {
    fn call(
        &mut self,
        _line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, usize>,
    ) -> Flow {
        reply.send(format!("loop {}", context.app).as_bytes());
        Flow::Continue
    }
}

fn listen(address: &Address) -> io::Result<Listener> {
    Listener::bind(address, &ListenOptions { reuse_port: true, ..ListenOptions::DEFAULT })
}

/// Runs a loop on this thread. A reactor is not `Send`, so each thread makes its own.
fn run(number: usize, listener: Listener) -> io::Result<()> {
    let mut reactor = Reactor::new(number)?;
    let make = |_peer| Conversation::new(Lines::default(), Number);
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), make)?;
    reactor.run()
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let first = listen(&address.parse().map_err(io::Error::other)?)?;
    // The port that the kernel chose, where that was left to it.
    let second = listen(first.address())?;
    println!("listening on {}", first.address());
    let other = thread::spawn(move || run(2, second));
    run(1, first)?;
    other.join().expect("the other loop does not panic")
}
