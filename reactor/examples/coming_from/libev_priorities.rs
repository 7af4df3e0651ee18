//! Two sources that are ready at once: the one of the higher priority is called first, libev's
//! `ev_set_priority`. Each call reads one byte, so that the order is seen.
//!
//! Try it with `cargo run -p myevent-reactor --example libev_priorities`.

use reactor::{Cx, Handler, Interest, LoopCx, Priority, Reactor, Reason, Registration};
use std::io::{self, Write};

struct Input {
    name: &'static str,
}

/// The application state is the number of pipes that have not ended.
impl Handler<u32> for Input {
    fn ready(&mut self, cx: &mut Cx<'_, u32>) -> io::Result<()> {
        let mut byte = [0];
        match cx.read(&mut byte)? {
            Some(0) => cx.end(Reason::Finished),
            Some(_) => println!("{}: {}", self.name, char::from(byte[0])),
            None => {}
        }
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, u32>) {
        *cx.app -= 1;
    }
}

fn main() -> io::Result<()> {
    let mut reactor = Reactor::new(2)?;
    for (name, priority, text) in [("low", Priority::Low, "abc"), ("high", Priority::High, "ABC")] {
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(text.as_bytes())?;
        let reads = Registration::new(Interest::READ).priority(priority);
        reactor.cx().register(reader.into(), reads, Input { name })?;
    }
    reactor.run_until(|unended| *unended == 0)
}
