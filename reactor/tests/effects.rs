//! What a session asks for besides bytes reaches the loop and the other connections.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{PATIENCE, on_every_backend, serve, turn_until};
use protocol::codecs::Lines;
use protocol::{ConnectionId, Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{LoopLimits, Reactor};

/// What connections know of each other, and what they were told.
#[derive(Default)]
struct Room {
    members: Vec<ConnectionId>,
    told: Vec<(ConnectionId, &'static str)>,
    closed: Vec<(ConnectionId, String)>,
    /// What a connection asks for when it is closed.
    last_wish: &'static str,
}

impl Room {
    fn count(&self, what: &str) -> usize {
        self.told.iter().filter(|(_, told)| *told == what).count()
    }
}

struct Member;

/// Asks for what `wish` says. The state of the application is lent beside the effects.
fn ask(wish: &[u8], context: &mut Context<'_, Room>) {
    let others = context.app.members.iter().filter(|it| **it != context.me);
    match wish {
        b"wake all" => context.app.members.iter().for_each(|it| context.effects.wake(*it)),
        b"wake others" => others.for_each(|it| context.effects.wake(*it)),
        b"close others" => others.for_each(|it| context.effects.close(*it)),
        b"stop" => context.effects.stop(),
        b"stop gracefully" => context.effects.stop_gracefully(PATIENCE),
        _ => {}
    }
}

impl Service<Lines, Room> for Member {
    fn open(&mut self, _reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Room>) -> Flow {
        context.app.members.push(context.me);
        Flow::Continue
    }

    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Room>,
    ) -> Flow {
        ask(line, context);
        reply.send(b"done");
        Flow::Continue
    }

    fn resume(&mut self, reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Room>) -> Flow {
        context.app.told.push((context.me, "woken"));
        reply.send(b"woken");
        Flow::Continue
    }

    fn stopping(&mut self, reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Room>) -> Flow {
        context.app.told.push((context.me, "stopping"));
        reply.send(b"bye");
        Flow::Close
    }

    fn closed(&mut self, reason: &protocol::Reason, context: &mut Context<'_, Room>) {
        context.app.closed.push((context.me, reason.to_string()));
        ask(context.app.last_wish.as_bytes(), context);
    }
}

/// Connects so many clients, which are members in this order.
fn gather(reactor: &mut Reactor<Room>, count: usize) -> Vec<TcpStream> {
    let make = || Conversation::new(Lines::default(), Member);
    let address = serve(reactor, Limits::DEFAULT, make);
    (1..=count)
        .map(|members| {
            let client = TcpStream::connect(&address).expect("it accepts");
            turn_until(reactor, |reactor| reactor.app.members.len() == members);
            client
        })
        .collect()
}

fn say(mut client: &TcpStream, line: &[u8]) {
    client.write_all(line).expect("the kernel takes bytes");
}

/// Reads what a client has received, which is `expected`.
fn hears(mut client: &TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    client.set_read_timeout(Some(PATIENCE)).expect("it is more than zero");
    client.read_exact(&mut heard).expect("so much comes");
    assert_eq!(heard, expected);
}

/// Reads until the server ends the connection of a client, in order or not.
fn hears_in_all(mut client: &TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    client.set_read_timeout(Some(PATIENCE)).expect("it is more than zero");
    match client.read_to_end(&mut heard) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => heard,
    }
}

#[test]
fn a_session_wakes_all_that_the_application_knows_of_once_and_itself_too() {
    on_every_backend::<Room>(LoopLimits::DEFAULT, |mut reactor| {
        let mut clients = gather(&mut reactor, 4);
        // One is gone, and the application has not forgotten it.
        drop(clients.pop());
        turn_until(&mut reactor, |reactor| reactor.app.closed.len() == 1);
        say(&clients[0], b"wake all\n");
        turn_until(&mut reactor, |reactor| reactor.app.count("woken") == 3);
        let mut woken: Vec<_> = reactor.app.told.drain(..).map(|(member, _)| member).collect();
        woken.sort_unstable();
        let mut members = reactor.app.members[..3].to_vec();
        members.sort_unstable();
        assert_eq!(woken, members);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        assert_eq!(reactor.app.count("woken"), 0, "once");
        hears(&clients[0], b"done\nwoken\n");
        hears(&clients[1], b"woken\n");
        hears(&clients[2], b"woken\n");
    });
}

#[test]
fn a_session_closes_others_and_goes_on() {
    on_every_backend::<Room>(LoopLimits::DEFAULT, |mut reactor| {
        let clients = gather(&mut reactor, 3);
        say(&clients[1], b"close others\n");
        turn_until(&mut reactor, |reactor| reactor.app.closed.len() == 2);
        let (members, closed) = (&reactor.app.members, &reactor.app.closed);
        for other in [members[0], members[2]] {
            assert!(closed.contains(&(other, "cancelled".to_owned())), "{closed:?}");
        }
        assert_eq!(hears_in_all(&clients[0]), b"");
        assert_eq!(hears_in_all(&clients[2]), b"");
        // Those that are gone are named once more.
        say(&clients[1], b"close others\n");
        let written = b"done\ndone\n".len() as u64;
        turn_until(&mut reactor, |reactor| reactor.counters().bytes_written == written);
        assert_eq!((reactor.cx().connections(), reactor.app.closed.len()), (1, 2));
        hears(&clients[1], b"done\ndone\n");
    });
}

#[test]
fn a_session_stops_the_loop_and_no_session_is_told_to_finish() {
    on_every_backend::<Room>(LoopLimits::DEFAULT, |mut reactor| {
        let clients = gather(&mut reactor, 2);
        say(&clients[0], b"stop\n");
        reactor.run().expect("it runs");
        hears(&clients[0], b"done\n");
        let told = (reactor.app.count("stopping"), reactor.app.closed.len());
        assert_eq!((told, reactor.cx().connections()), ((0, 0), 2));
        // It may be run again.
        say(&clients[1], b"wake others\n");
        turn_until(&mut reactor, |reactor| reactor.app.count("woken") == 1);
        hears(&clients[1], b"done\n");
        hears(&clients[0], b"woken\n");
    });
}

#[test]
fn a_session_stops_the_loop_gracefully_and_every_session_finishes() {
    on_every_backend::<Room>(LoopLimits::DEFAULT, |mut reactor| {
        let clients = gather(&mut reactor, 3);
        say(&clients[2], b"stop gracefully\n");
        turn_until(&mut reactor, |reactor| reactor.app.count("stopping") == 3);
        assert!(reactor.is_stopping());
        for client in &clients {
            client.shutdown(std::net::Shutdown::Write).expect("it is open");
        }
        reactor.run().expect("it runs");
        assert_eq!(reactor.app.count("stopping"), 3, "each is told once");
        let finished = reactor.app.closed.iter().filter(|(_, reason)| reason == "finished").count();
        assert_eq!((finished, reactor.cx().connections()), (3, 0), "{:?}", reactor.app.closed);
        assert_eq!(hears_in_all(&clients[0]), b"bye\n");
        assert_eq!(hears_in_all(&clients[1]), b"bye\n");
        assert_eq!(hears_in_all(&clients[2]), b"done\nbye\n");
    });
}

#[test]
fn a_session_that_is_closed_wakes_and_closes_others_and_stops_the_loop() {
    for wish in ["wake others", "close others", "stop", "stop gracefully"] {
        on_every_backend::<Room>(LoopLimits::DEFAULT, |mut reactor| {
            let mut clients = gather(&mut reactor, 3);
            reactor.app.last_wish = wish;
            drop(clients.pop());
            turn_until(&mut reactor, |reactor| !reactor.app.closed.is_empty());
            reactor.app.last_wish = "";
            if wish == "stop" {
                // The turn in which it was asked for is the last one.
                assert!(reactor.has_ended() && reactor.app.count("stopping") == 0);
                return;
            }
            turn_until(&mut reactor, |reactor| match wish {
                "wake others" => reactor.app.count("woken") == 2,
                "close others" => {
                    let cancelled = |(_, reason): &&(_, String)| reason == "cancelled";
                    reactor.app.closed.iter().filter(cancelled).count() == 2
                }
                _ => reactor.is_stopping() && reactor.app.count("stopping") == 2,
            });
        });
    }
}
