//! Three ways to leave a loop: libevent's `event_base_loopbreak`, `event_base_loopexit`, and
//! `event_base_loopexit` after a time.
//!
//! Try it with `cargo run -p myevent-reactor --example libevent_loop`.

use reactor::{Cx, Handler, Reactor, Token};
use std::io;
use std::time::{Duration, Instant};

enum Leave {
    Break,
    Exit,
}

struct App {
    leave: Leave,
    calls: u32,
}

/// A source without a descriptor.
struct Leaves;

impl Handler<App> for Leaves {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        cx.app.calls += 1;
        match cx.app.leave {
            Leave::Break => cx.stop_now(),
            Leave::Exit => cx.stop(),
        }
        Ok(())
    }
}

/// Runs with two sources that are to be called. Returns how many were.
fn calls(reactor: &mut Reactor<App>, sources: [Token; 2], leave: Leave) -> io::Result<u32> {
    (reactor.app.leave, reactor.app.calls) = (leave, 0);
    let mut cx = reactor.cx();
    sources.into_iter().for_each(|source| cx.wake(source));
    reactor.run()?;
    Ok(reactor.app.calls)
}

fn main() -> io::Result<()> {
    let mut reactor = Reactor::new(App { leave: Leave::Exit, calls: 0 })?;
    let mut cx = reactor.cx();
    let sources = [cx.spawn(Leaves)?, cx.spawn(Leaves)?];
    println!("break: {} of 2 calls", calls(&mut reactor, sources, Leave::Break)?);
    // The call that the break has left out.
    reactor.run()?;
    println!("after it: {} of 2 calls", reactor.app.calls);
    println!("exit: {} of 2 calls", calls(&mut reactor, sources, Leave::Exit)?);

    let (start, time) = (Instant::now(), Duration::from_millis(20));
    reactor.run_for(time)?;
    println!("exit after 20 ms: {}", if start.elapsed() >= time { "not early" } else { "early" });
    Ok(())
}
