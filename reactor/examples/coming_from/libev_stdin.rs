//! A reader of standard input: libev's `ev_io` on descriptor 0. It reads pipes, terminals, sockets and
//! files alike.
//!
//! Try it with `cargo run -p myevent-reactor --example libev_stdin`.

use reactor::{Cx, Handler, Interest, Reactor, Registration};
use std::{io, os::fd::AsFd};

struct Input {
    bytes: usize,
}

impl Handler for Input {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let Some(count) = cx.read(&mut buffer)? else { return Ok(()) };
        print!("{}", String::from_utf8_lossy(&buffer[..count]));
        self.bytes += count;
        if count == 0 {
            println!("{} bytes", self.bytes);
            cx.stop();
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let mut reactor = Reactor::new(())?;
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    // Other processes may share standard input, and rely on its mode.
    let reads = Registration::new(Interest::READ).keep_blocking();
    reactor.cx().register(input, reads, Input { bytes: 0 })?;
    reactor.run()
}
