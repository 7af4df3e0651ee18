//! A source that is called once, and one that is called each time: libevent's `event_new` without and
//! with `EV_PERSIST`. The words `again` and `quit` on the second descriptor add the first event anew,
//! and end the loop.
//!
//! Try it with `mkfifo a b; cargo run -p myevent-reactor --example libevent_events a b`, and
//! `echo word >a` in another terminal.

use reactor::{Cx, Handler, Interest, Reactor, Registration, Token};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;

/// Prints what it reads, and is not called again until it is woken.
struct OneShot;

impl Handler for OneShot {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        if cx.was_woken() {
            cx.set_interest(Interest::READ); // event_add
            return Ok(());
        }
        let mut buffer = [0; 4096];
        if let Some(count) = cx.read(&mut buffer)? {
            print!("one-shot: {}", String::from_utf8_lossy(&buffer[..count]));
            cx.set_interest(Interest::NONE);
        }
        Ok(())
    }
}

struct Persistent {
    one_shot: Token,
}

impl Handler for Persistent {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let Some(count) = cx.read(&mut buffer)? else { return Ok(()) };
        print!("persistent: {}", String::from_utf8_lossy(&buffer[..count]));
        match &buffer[..count] {
            b"again\n" => cx.wake(self.one_shot),
            b"quit\n" => cx.stop(),
            _ => {}
        }
        Ok(())
    }
}

/// Opens a FIFO for writing too, so that it does not end with its first writer (`fifo(7)`).
fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).write(true).open(path)?.into())
}

fn main() -> io::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [first, second] = &paths[..] else {
        return Err(io::Error::other("usage: libevent_events FIFO FIFO"));
    };
    let mut reactor = Reactor::new(())?;
    let mut cx = reactor.cx();
    let reads = Registration::new(Interest::READ);
    let one_shot = cx.register(open(first)?, reads, OneShot)?;
    cx.register(open(second)?, reads, Persistent { one_shot })?;
    println!("both are open");
    reactor.run()
}
