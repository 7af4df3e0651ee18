//! A client that sends words as lines, and prints as many answers: libevent's
//! `bufferevent_socket_connect`.
//!
//! Try it with `cargo run -p myevent-reactor --example libevent_client 127.0.0.1:7000 one two`.

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reason, Reply, Service};
use reactor::{Address, ConnectError, ConnectErrorKind, ConnectOptions, Reactor, Stream};
use std::error;

struct Asks {
    words: Vec<String>,
    answers: usize,
}

#[derive(Default)]
struct App {
    has_ended: bool,
}

impl Service<Lines, App> for Asks {
    fn open(&mut self, reply: &mut Reply<'_, Lines>, _context: &mut Context<'_, App>) -> Flow {
        println!("connected");
        self.words.iter().for_each(|word| reply.send(word.as_bytes()));
        Flow::Continue
    }

    fn call(
        &mut self,
        line: &mut [u8],
        _reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, App>,
    ) -> Flow {
        println!("answer: {}", String::from_utf8_lossy(line));
        self.answers += 1;
        if self.answers == self.words.len() { Flow::Close } else { Flow::Continue }
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        if is_refusal(reason) {
            println!("nothing listens there");
        } else if self.answers < self.words.len() {
            println!("the server has ended the connection");
        }
        context.app.has_ended = true;
    }
}

fn is_refusal(reason: &Reason) -> bool {
    let Reason::Failed { error, .. } = reason else { return false };
    let error = error.get_ref().and_then(|it| it.downcast_ref::<ConnectError>());
    error.is_some_and(|it| it.kind() == ConnectErrorKind::Refused)
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut args = std::env::args().skip(1);
    let address: Address = args.next().unwrap_or("127.0.0.1:7000".into()).parse()?;
    let mut reactor = Reactor::new(App::default())?;
    let session = Conversation::new(Lines::default(), Asks { words: args.collect(), answers: 0 });
    let stream = Stream::new(session, Limits::DEFAULT.shared()?);
    stream.connect(address, &ConnectOptions::DEFAULT, &mut reactor.cx())?;
    reactor.run_until(|app| app.has_ended)?;
    println!("the loop has ended");
    Ok(())
}
