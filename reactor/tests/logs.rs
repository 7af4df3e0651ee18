//! The log tells which connection it is about.

mod common;

use std::cell::RefCell;
use std::net::TcpStream;

use common::{on_every_backend, serve_echo, turn_until};
use protocol::Limits;
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

#[test]
fn a_connection_is_logged_once_when_it_is_accepted_and_once_when_it_ends() {
    log::set_logger(&Lines).expect("there is no other");
    log::set_max_level(log::LevelFilter::Debug);
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let client = TcpStream::connect(&address).expect("it accepts");
        let peer = client.local_addr().expect("it has one");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 1);
        drop(client);
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        turn_until(&mut reactor, |reactor| reactor.counters().closes.iter().sum::<u64>() > 0);
        let lines = LINES.take();
        let about: Vec<&String> =
            lines.iter().filter(|line| line.contains(&peer.to_string())).collect();
        let [accepted, ended] = about[..] else { panic!("{lines:?}") };
        assert!(accepted.starts_with(&format!("{address}: accepted {peer} as fd ")), "{accepted}");
        assert!(ended.contains("ended: peer closed") && ended.contains("Stream<"), "{ended}");
    });
}
