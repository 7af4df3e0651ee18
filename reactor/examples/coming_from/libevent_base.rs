//! A loop on a backend of choice, with standard input as its only source: libevent's `event_base_new`
//! and `event_base_dispatch`.
//!
//! Try it with `cargo run -p myevent-reactor --example libevent_base poll`.

use reactor::{BackendKind, Cx, Handler, Interest, LoopLimits, Reactor, Registration};
use std::os::fd::AsFd;
use std::{error, io};

struct Input;

impl Handler for Input {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match cx.read(&mut buffer)? {
            Some(0) => {
                println!("the input has ended");
                cx.stop();
            }
            Some(count) => print!("read {}", String::from_utf8_lossy(&buffer[..count])),
            None => {}
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let kind: BackendKind = std::env::args().nth(1).unwrap_or("epoll".into()).parse()?;
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, ())?;
    println!("the loop uses {}", reactor.backend_name());
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    reactor.cx().register(input, Registration::new(Interest::READ).keep_blocking(), Input)?;
    reactor.run()?;
    println!("the loop has ended");
    Ok(())
}
