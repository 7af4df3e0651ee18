//! Two loops on two threads that listen on one port (`SO_REUSEPORT`): the kernel gives each
//! connection to one of them. Each answers a line with its own number.
//!
//! Try it with `cargo run -p myevent-reactor --example two_loops`, then `echo hi | nc -N 127.0.0.1 7000`,
//! several times.

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{Accept, Group, GroupListener, GroupOptions, ListenOptions, Member, Reactor, Stream};
use std::io;
use std::num::NonZeroUsize;

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

/// Makes a loop. It is called on the thread of each.
fn make(member: &Member<usize>) -> io::Result<Reactor<usize>> {
    let mut reactor = Reactor::new(member.index() + 1)?;
    member.accept(0, &mut reactor.cx(), |accepted, cx| {
        let session = Conversation::new(Lines::default(), Number);
        Stream::new(session, Limits::DEFAULT).register(accepted, cx).map(drop)
    })?;
    Ok(reactor)
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let address = address.parse().map_err(io::Error::other)?;
    let threads = NonZeroUsize::MIN.saturating_add(1);
    let options = ListenOptions::DEFAULT;
    let listener = GroupListener::bind(&address, &options, Accept::ReusePort, threads)?;
    println!("listening on {}", listener.address().unwrap_or(&address));
    let options = GroupOptions { threads, ..GroupOptions::default() };
    Group::start(options, vec![listener], make, |_| ())?.join().check()
}
