//! An HTTP/1.0 responder (RFC 1945) with one page: a codec that exists, a service that keeps state
//! between messages, and connections that end after their answer.
//!
//! Try it with `cargo run -p myevent-reactor --example http`, then `curl -i 127.0.0.1:7000/`.

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{ListenOptions, Listener, Reactor, Stream};
use std::time::Duration;

const LINE_SIZE_MAX: usize = 8 * 1024;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// Answers one request.
#[derive(Default)]
struct Responder {
    /// The status and the body of the answer, once the request line has come.
    answer: Option<(&'static str, &'static str)>,
}

/// Returns what a request line is answered with.
fn answer(line: &[u8]) -> (&'static str, &'static str) {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words[..] {
        [method, target, version]
            if !method.is_empty()
                && target.starts_with(b"/")
                && version.starts_with(b"HTTP/1.") =>
        {
            match (method, target) {
                (b"GET", b"/") => ("200 OK", "<!doctype html><title>Hello</title><p>Hello!\n"),
                (b"GET", _) => ("404 Not Found", "There is no such page.\n"),
                _ => ("405 Method Not Allowed\r\nAllow: GET", "Only GET is allowed.\n"),
            }
        }
        _ => ("400 Bad Request", "This is not an HTTP request.\n"),
    }
}

impl Service<Lines> for Responder {
    fn open(&mut self, _: &mut Reply<'_, Lines>, context: &mut Context<'_>) -> Flow {
        // A request that takes longer ends its connection: `Service::timeout` does so by default.
        context.effects.set_timeout(0, Some(REQUEST_TIME_MAX));
        Flow::Continue
    }

    fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
        let (status, body) = *self.answer.get_or_insert_with(|| answer(line));
        // The headers of the request say nothing that matters here. An empty line ends them.
        if !line.is_empty() && !status.starts_with("400") {
            return Flow::Continue;
        }
        let head = format!(
            "HTTP/1.0 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // These are no lines of the codec, so they go around it.
        reply.parts().1.append(head.as_bytes());
        Flow::Close
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let listener = Listener::bind(&address.parse()?, &ListenOptions::default())?;
    println!("listening on {}", listener.address());
    let mut reactor = Reactor::new(())?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
        Conversation::new(Lines::with_size_max(LINE_SIZE_MAX), Responder::default())
    })?;
    Ok(reactor.run()?)
}
