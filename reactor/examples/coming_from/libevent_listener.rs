//! A listener that greets three connections and then closes: libevent's `evconnlistener`, without a
//! bufferevent.
//!
//! Try it with `cargo run -p myevent-reactor --example libevent_listener 127.0.0.1:7000`.

use reactor::{Accepted, ListenOptions, Listener, LoopCx, Reactor};
use std::io::{self, Write};
use std::{error, net::TcpStream};

fn greet(accepted: Accepted, cx: &mut LoopCx<'_, u32>) -> io::Result<()> {
    *cx.app += 1;
    println!("connection {}", cx.app);
    // An empty send buffer takes a few bytes, so this does not block the loop.
    TcpStream::from(accepted.into_fd()).write_all(format!("hello {}\n", cx.app).as_bytes())?;
    if *cx.app == 3 {
        cx.stop();
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".into()).parse()?;
    let mut reactor = Reactor::new(0)?;
    let listener = match Listener::bind(&address, &ListenOptions::default()) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            println!("the address is in use");
            return Ok(());
        }
        listener => listener?,
    };
    println!("listening on {}", listener.address());
    let token = listener.register(&mut reactor.cx(), greet)?;
    reactor.run()?;
    reactor.cx().close(token);
    reactor.run_once(Some(std::time::Duration::ZERO))?;
    println!("closed");
    Ok(())
}
