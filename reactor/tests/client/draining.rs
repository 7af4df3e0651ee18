//! Clients that go on while their loop winds down.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use reactor::{Client, ClientOptions, ClientState, Cx, Handler, LoopLimits, WhenStopping};

use super::common::on_every_backend;
use super::{App, LONG, LoopCx, OPTIONS, Talk, open, shorts};

/// Owes something while the loop winds down, and makes two requests for it, the second after a pause.
struct Owes(Client<App, Talk>);

impl Owes {
    fn ask(&self, request: &'static str, cx: &Cx<'_, App>) {
        let me = cx.me();
        let report = move |result, cx: &mut LoopCx<'_, App>| {
            cx.app.results.push((request, result));
            cx.wake(me);
        };
        self.0.call(request.to_owned(), report).expect("it is accepted");
    }
}

impl Handler<App> for Owes {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> std::io::Result<()> {
        match cx.app.results.len() {
            0 => {}
            1 => cx.set_timeout(Some(super::MS * 300)),
            _ => cx.end(reactor::Reason::Finished),
        }
        Ok(())
    }

    fn timeout(&mut self, _: reactor::Timeout, cx: &mut Cx<'_, App>) -> std::io::Result<()> {
        self.ask("second", cx);
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_, App>) -> std::io::Result<()> {
        self.ask("first", cx);
        Ok(())
    }
}

#[test]
fn a_client_that_goes_on_connects_while_the_loop_winds_down_and_does_not_hold_it() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let target = listener.local_addr().expect("it has one").to_string();
        // It would keep its connection for ever, and make it anew.
        let options = ClientOptions { when_stopping: WhenStopping::GoOn, ..OPTIONS };
        let client = open(&mut reactor, target.parse().expect("it is an address"), options);
        reactor.cx().spawn_connection(Owes(client.clone())).expect("it registers");
        let peer = thread::spawn(move || {
            // The connection was let go between the requests.
            (0..2).for_each(|_| {
                let (stream, _) = listener.accept().expect("it connects");
                let mut lines = BufReader::new(&stream);
                let mut line = String::new();
                while lines.read_line(&mut line).expect("it is text") > 0 {
                    (&stream).write_all(line.as_bytes()).expect("it is sent");
                    line.clear();
                }
            });
        });
        let begun = Instant::now();
        reactor.cx().stop_gracefully(LONG);
        reactor.run().expect("it runs");
        assert_eq!(shorts(&reactor), ["first=first", "second=second"]);
        assert!(begun.elapsed() < LONG / 2, "the loop waits for no idle connection");
        drop(reactor);
        assert_eq!(client.state(), ClientState::Closed);
        peer.join().expect("it does not panic");
    });
}
