//! A server of lines, which answers each in capital letters: libevent's `evconnlistener` and
//! `bufferevent`. The line `stop` ends it.
//!
//! Try it with `cargo run -p myevent-reactor --example libevent_server 127.0.0.1:7000`.

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{ListenOptions, Listener, Reactor, Stream};
use std::{error, time::Duration};

#[derive(Default)]
struct App {
    is_ending: bool,
}

struct Shout;

impl Service<Lines, App> for Shout {
    fn open(&mut self, _reply: &mut Reply<'_, Lines>, _context: &mut Context<'_, App>) -> Flow {
        println!("accepted");
        Flow::Continue
    }

    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        println!("line: {}", String::from_utf8_lossy(line));
        let is_last = line == b"stop";
        context.app.is_ending |= is_last;
        line.make_ascii_uppercase();
        reply.send(line);
        if is_last { Flow::Close } else { Flow::Continue }
    }

    fn finish(&mut self, _reply: &mut Reply<'_, Lines>, _context: &mut Context<'_, App>) -> Flow {
        println!("the peer has ended its stream");
        Flow::Close // When all output is sent.
    }
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".into()).parse()?;
    let mut reactor = Reactor::new(App::default())?;
    let listener = Listener::bind(&address, &ListenOptions::default())?;
    println!("listening on {}", listener.address());
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
        Conversation::new(Lines::default(), Shout)
    })?;
    reactor.run_until(|app| app.is_ending)?;
    reactor.cx().stop_gracefully(Duration::from_secs(5));
    reactor.run()?;
    println!("the loop has ended");
    Ok(())
}
