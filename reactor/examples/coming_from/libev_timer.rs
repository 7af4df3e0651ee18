//! A timer that fires once and then starts one that repeats: libev's `ev_timer`.
//!
//! Try it with `cargo run -p myevent-reactor --example libev_timer`.

use reactor::{LoopCx, Reactor, Token};
use std::{io, time::Duration};

#[derive(Default)]
struct App {
    repeating: Option<Token>,
    calls: u32,
}

fn tick(cx: &mut LoopCx<'_, App>) {
    cx.app.calls += 1;
    println!("tick {}", cx.app.calls);
    if cx.app.calls == 3 {
        let repeating = cx.app.repeating.take();
        repeating.into_iter().for_each(|timer| cx.close(timer)); // ev_timer_stop
        cx.stop();
    }
}

fn main() -> io::Result<()> {
    let mut reactor = Reactor::new(App::default())?;
    reactor.cx().after(Duration::from_millis(20), |cx| {
        println!("once");
        // A loop that is late calls it once, with the number of periods that have passed.
        let repeating = cx.every(Duration::from_millis(10), |_periods, cx| tick(cx));
        cx.app.repeating = Some(repeating.expect("a loop that runs takes timers"));
    })?;
    reactor.run()?;
    println!("the loop has ended");
    Ok(())
}
