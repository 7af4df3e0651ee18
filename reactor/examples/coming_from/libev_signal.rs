//! Counts interrupts, and ends with the third: libev's `ev_signal`.
//!
//! Try it with `cargo run -p myevent-reactor --example libev_signal`, and Ctrl-C.

use reactor::{Reactor, Signal};

fn main() -> std::io::Result<()> {
    let mut reactor = Reactor::new(0)?;
    reactor.cx().on_signals(&[Signal::INTERRUPT], |signal, cx| {
        *cx.app += 1;
        println!("{signal} {}", cx.app);
        if *cx.app == 3 {
            cx.stop();
        }
    })?;
    println!("waiting");
    reactor.run()?;
    println!("the loop has ended");
    Ok(())
}
