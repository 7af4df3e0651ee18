//! Log lines name the connection that they are about.

mod common;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;

use common::{Answers, on_every_backend, serve, turn_until};
use protocol::codecs::Bytes;
use protocol::{Conversation, Flow, Limits};
use reactor::{LoopLimits, Reactor};

thread_local! {
    /// The log lines of this thread, and so of the loop that runs on it.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The client ends its stream.
    Client,
    /// The client resets the connection.
    Reset,
    /// The server closes, and the client follows.
    Server,
}

/// Serves a client until the connection has ended in this way. Returns the lines about the client.
fn lines_of(reactor: &mut Reactor<()>, end: End) -> (String, Vec<String>) {
    let flow = if let End::Server = end { Flow::Close } else { Flow::Continue };
    let address =
        serve(reactor, Limits::DEFAULT, move || Conversation::new(Bytes, Answers(flow, 5)));
    let mut client = TcpStream::connect(&address).expect("it accepts");
    let peer = client.local_addr().expect("it has one").to_string();
    client.write_all(b"x").expect("there is room");
    turn_until(reactor, |reactor| reactor.counters().bytes_written == 5);
    match end {
        // Unread bytes make it a reset.
        End::Reset => drop(client),
        End::Client | End::Server => {
            client.read_exact(&mut [0; 5]).expect("it is answered");
            drop(client);
        }
    }
    turn_until(reactor, |reactor| reactor.cx().connections() == 0);
    turn_until(reactor, |reactor| reactor.counters().closes.iter().sum::<u64>() > 0);
    let lines = LINES.take();
    let about = lines.into_iter().filter(|line| line.contains(&peer)).collect();
    (format!("{address}: accepted {peer} as fd "), about)
}

#[test]
fn a_connection_is_logged_once_when_it_is_accepted_and_once_when_it_ends() {
    log::set_logger(&Lines).expect("there is no other");
    log::set_max_level(log::LevelFilter::Debug);
    for (end, reason) in [
        (End::Client, "ended: peer closed"),
        (End::Reset, "ended: read: Connection reset by peer"),
        (End::Server, "ended: finished"),
    ] {
        on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
            let (start, about) = lines_of(&mut reactor, end);
            let [accepted, ended] = &about[..] else { panic!("{end:?}: {about:?}") };
            assert!(accepted.starts_with(&start), "{accepted}");
            assert!(ended.contains(reason) && ended.contains("Stream<"), "{end:?}: {ended}");
        });
    }
}
