//! A client that outlives its connections: each request completes exactly once (P21).

#[path = "../common/mod.rs"]
mod common;

mod draining;
mod pool;
mod states;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{on_every_backend, serve, turn_until};
use protocol::codecs::Lines;
use protocol::exchange::{Exchange, Heard, Opening};
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Client, ClientOptions, ClientState, ConnectOptions, Location, LoopCx, LoopLimits, NotSent,
    Reactor, Unanswered, WhenIdle,
};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// Quick attempts, and no deadline that passes by itself.
const OPTIONS: ClientOptions = ClientOptions {
    timeout: LONG,
    pause_min: MS,
    pause_max: Duration::from_millis(5),
    seed: Some(1),
    ..ClientOptions::DEFAULT
};

/// What the client and the server report.
#[derive(Default)]
struct App {
    /// What the server has received.
    received: Vec<String>,
    /// What requests were completed with.
    results: Vec<(&'static str, Result<String, Unanswered>)>,
    events: Vec<String>,
    /// The name of the server that does not answer.
    silent: &'static str,
}

/// Lines in order, where `!` is a push. With `GREETS`, the server has to answer first.
struct Talk<const GREETS: bool = false>;

impl<const GREETS: bool> Exchange for Talk<GREETS> {
    type Codec = Lines;
    type Request = String;
    type Reply = String;
    type Push = String;

    const WHOLE_ONLY: bool = true;

    fn codec(&self) -> Lines {
        Lines::default()
    }

    fn open(&mut self, reply: &mut Reply<'_, Lines>) -> Opening {
        if !GREETS {
            return Opening::Ready;
        }
        reply.send(b"greet");
        Opening::Waits
    }

    fn size(request: &String) -> usize {
        request.len()
    }

    fn write(&mut self, request: &String, _number: u64, reply: &mut Reply<'_, Lines>) {
        reply.send(request.as_bytes());
    }

    fn hear(
        &mut self,
        line: &mut [u8],
        oldest: Option<&String>,
        _reply: &mut Reply<'_, Lines>,
    ) -> Heard<String, String> {
        let line = String::from_utf8_lossy(line).into_owned();
        match line.chars().next() {
            Some('!') => Heard::Push(line),
            _ if oldest.is_none() && GREETS && line == "greet" => Heard::Opened,
            _ => Heard::Reply(line),
        }
    }

    fn health(&self) -> Option<String> {
        Some("health".to_owned())
    }
}

/// Does what each line says.
struct Server;

impl Service<Lines, App> for Server {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let line = String::from_utf8_lossy(line).into_owned();
        context.app.received.push(line.clone());
        match line.as_str() {
            "die" => return Flow::Close,
            "hold" => return Flow::Continue,
            "late" => {
                context.effects.set_timeout(0, Some(Duration::from_millis(60)));
                return Flow::Continue;
            }
            "push" => reply.send(b"!news"),
            "twice" => (0..2).for_each(|_| reply.send(b"twice")),
            _ => {}
        }
        reply.send(line.as_bytes());
        Flow::Continue
    }

    fn timeout(
        &mut self,
        _key: u8,
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        reply.send(b"late");
        context.app.received.push("late reply".to_owned());
        Flow::Continue
    }

    fn stopping(&mut self, _: &mut Reply<'_, Lines>, _: &mut Context<'_, App>) -> Flow {
        Flow::Continue
    }
}

fn server(reactor: &mut Reactor<App>) -> Location {
    let address = serve(reactor, Limits::DEFAULT, || Conversation::new(Lines::default(), Server));
    address.parse().expect("it is an address")
}

/// Returns an address where nothing listens yet.
fn vacant() -> Location {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has one").to_string().parse().expect("it is an address")
}

fn open(reactor: &mut Reactor<App>, target: Location, options: ClientOptions) -> Client<App, Talk> {
    Client::open(target, Talk, options, &mut reactor.cx()).expect("it opens")
}

fn ask<const GREETS: bool>(client: &Client<App, Talk<GREETS>>, request: &'static str) {
    let report = move |result, cx: &mut LoopCx<'_, App>| {
        cx.app.results.push((request, result));
    };
    client.call(request.to_owned(), report).expect("it is accepted");
}

/// Turns the loop until as many requests are completed.
fn completed(reactor: &mut Reactor<App>, count: usize) {
    turn_until(reactor, |reactor| reactor.app.results.len() >= count);
    assert_eq!(reactor.app.results.len(), count);
}

/// Returns what a request was completed with, in short.
fn short(result: &Result<String, Unanswered>) -> String {
    match result {
        Ok(reply) => reply.clone(),
        Err(Unanswered::NotSent(NotSent::Closed)) => "closed".to_owned(),
        Err(Unanswered::NotSent(NotSent::Full(_))) => "full".to_owned(),
        Err(Unanswered::NotSent(NotSent::Down(_))) => "down".to_owned(),
        Err(Unanswered::Unknown(_)) => "unknown".to_owned(),
        Err(Unanswered::TimedOut { sent, .. }) => format!("timed out {sent}"),
    }
}

fn shorts(reactor: &Reactor<App>) -> Vec<String> {
    reactor.app.results.iter().map(|(request, it)| format!("{request}={}", short(it))).collect()
}

#[test]
fn replies_complete_requests_in_order_and_completions_may_call_again() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let client = open(&mut reactor, target, OPTIONS);
        for request in ["a", "b", "c"] {
            ask(&client, request);
        }
        completed(&mut reactor, 3);
        assert_eq!(shorts(&reactor), ["a=a", "b=b", "c=c"]);
        assert_eq!((client.state(), client.pending()), (ClientState::Up, 0));
        let again = client.clone();
        client.call("first".to_owned(), move |_, _| ask(&again, "second")).expect("it is accepted");
        completed(&mut reactor, 4);
        assert_eq!(shorts(&reactor)[3], "second=second");
    });
}

#[test]
fn other_threads_call_and_wait() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let client = open(&mut reactor, target, OPTIONS);
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (client, done) = (client.clone(), Arc::clone(&done));
                thread::spawn(move || {
                    for number in 0..100 {
                        let request = format!("{thread}-{number}");
                        assert_eq!(client.wait(request.clone()).expect("it is answered"), request);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        turn_until(&mut reactor, |_| done.load(Ordering::SeqCst) == 4);
        threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        assert_eq!((reactor.app.received.len(), client.pending()), (400, 0));
    });
}

#[test]
fn what_was_sent_to_a_connection_that_ends_is_unknown_and_the_rest_goes_to_the_next() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        // Only two may be in flight, so the others are not sent before the end.
        let client = open(&mut reactor, target, ClientOptions { in_flight_max: 2, ..OPTIONS });
        for request in ["a", "die", "b", "c", "d"] {
            ask(&client, request);
        }
        completed(&mut reactor, 5);
        let mut all = shorts(&reactor);
        all.sort();
        // `b` was sent if the reply to `a` came before the end of the connection.
        assert!(
            all.contains(&"a=a".to_owned()) && all.contains(&"die=unknown".to_owned()),
            "{all:?}"
        );
        assert!(all.contains(&"c=c".to_owned()) && all.contains(&"d=d".to_owned()), "{all:?}");
        let count = |line: &str| reactor.app.received.iter().filter(|it| *it == line).count();
        for line in ["a", "die", "c", "d"] {
            assert_eq!(count(line), 1, "{line}");
        }
        assert!(count("b") <= 1);
    });
}

#[test]
fn a_request_that_was_sent_in_part_goes_to_the_next_connection() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let target = listener.local_addr().expect("it has one").to_string();
        let client = open(&mut reactor, target.parse().expect("it is an address"), OPTIONS);
        let peer = thread::spawn(move || {
            // Closing with unread input resets the connection.
            let (mut first, _) = listener.accept().expect("it connects");
            first.read_exact(&mut [0; 1000]).expect("a part arrives");
            drop(first);
            let (second, _) = listener.accept().expect("it connects again");
            let mut line = String::new();
            BufReader::new(&second).read_line(&mut line).expect("all of it arrives");
            (&second).write_all(b"done\n").expect("it is sent");
            line.len()
        });
        let report = |result, cx: &mut LoopCx<'_, App>| cx.app.results.push(("large", result));
        // More than the kernel takes at once.
        client.call("x".repeat(common::MUCH), report).expect("it is accepted");
        completed(&mut reactor, 1);
        assert_eq!(shorts(&reactor), ["large=done"]);
        assert_eq!(peer.join().expect("it does not panic"), common::MUCH + 1);
    });
}

#[test]
fn nothing_is_sent_to_a_connection_whose_end_has_come() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let target = listener.local_addr().expect("it has one").to_string();
        let client = open(&mut reactor, target.parse().expect("it is an address"), OPTIONS);
        turn_until(&mut reactor, |_| client.state() == ClientState::Up);
        ask(&client, "first");
        let (mut peer, _) = listener.accept().expect("it connects");
        peer.set_nonblocking(true).expect("it can be set");
        turn_until(&mut reactor, |_| peer.peek(&mut [0; 6]).is_ok_and(|count| count == 6));
        peer.read_exact(&mut [0; 6]).expect("it is there");
        drop(peer);
        // The client learns of both in one pass.
        ask(&client, "second");
        let next = thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("it connects again");
            peer.read_exact(&mut [0; 7]).expect("it is sent");
            peer.write_all(b"here\n").expect("it is sent");
        });
        completed(&mut reactor, 2);
        assert_eq!(shorts(&reactor), ["first=unknown", "second=here"]);
        next.join().expect("it does not panic");
    });
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let client = open(&mut reactor, target, OPTIONS);
        client.on_disconnect(|reason, cx| cx.app.events.push(reason.to_string()));
        // The second line answers nothing.
        ask(&client, "twice");
        ask(&client, "hold");
        turn_until(&mut reactor, |reactor| !reactor.app.events.is_empty());
        ask(&client, "a");
        completed(&mut reactor, 3);
        assert_eq!(shorts(&reactor), ["twice=twice", "hold=twice", "a=a"]);
        assert_eq!(reactor.app.events, ["refused: a reply came that answers no request"]);
    });
}

#[test]
fn the_name_of_a_server_is_resolved_for_each_connection() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let address = server(&mut reactor).to_string();
        let port = address.rsplit(':').next().expect("it has a port");
        let target = format!("localhost:{port}").parse().expect("it is a location");
        let client = open(&mut reactor, target, OPTIONS);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        assert_eq!(client.state(), ClientState::Resolving);
        for (number, request) in ["a", "die", "b"].into_iter().enumerate() {
            ask(&client, request);
            completed(&mut reactor, number + 1);
        }
        assert_eq!(shorts(&reactor), ["a=a", "die=unknown", "b=b"]);
    });
}

#[test]
fn a_name_that_cannot_be_resolved_is_a_failure_like_any_other() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target: Location = "localhost:no-such-service".parse().expect("it is a location");
        let client = open(&mut reactor, target, ClientOptions { waits: false, ..OPTIONS });
        ask(&client, "a");
        completed(&mut reactor, 1);
        assert_eq!(shorts(&reactor), ["a=down"]);
        let failure = client.failure().expect("there is one").to_string();
        assert!(failure.contains("no-such-service"), "{failure}");
        client.close();
        turn_until(&mut reactor, |_| client.state() == ClientState::Closed);
    });
}

#[test]
fn requests_wait_for_a_server_that_comes_later_or_time_out_unsent() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = vacant();
        let client = open(&mut reactor, target.clone(), OPTIONS);
        let report = |result, cx: &mut LoopCx<'_, App>| {
            cx.app.results.push(("short", result));
        };
        client.call_within(20 * MS, "short".to_owned(), report).expect("it is accepted");
        ask(&client, "long");
        completed(&mut reactor, 1);
        assert_eq!(shorts(&reactor), ["short=timed out false"]);
        let failure = client.failure().expect("there is one").to_string();
        assert!(failure.contains("refused"), "{failure}");
        let address = target.to_string();
        let any = address.parse().expect("it is an address");
        let listener = reactor::Listener::bind(&any, &reactor::ListenOptions::DEFAULT);
        let Ok(listener) = listener else { return eprintln!("the port was taken meanwhile") };
        reactor::Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_| {
            Conversation::new(Lines::default(), Server)
        })
        .expect("it listens");
        completed(&mut reactor, 2);
        assert_eq!(shorts(&reactor)[1], "long=long");
        assert_eq!(reactor.app.received, ["long"]);
    });
}

#[test]
fn a_late_reply_is_discarded_and_the_next_matches_its_own_request() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let client = open(&mut reactor, target, OPTIONS);
        let report = |result, cx: &mut LoopCx<'_, App>| {
            cx.app.results.push(("late", result));
        };
        client.call_within(10 * MS, "late".to_owned(), report).expect("it is accepted");
        completed(&mut reactor, 1);
        assert_eq!(shorts(&reactor), ["late=timed out true"]);
        // The server answers in order only if it is asked after its late reply.
        turn_until(&mut reactor, |reactor| reactor.app.received.len() == 2);
        ask(&client, "next");
        completed(&mut reactor, 2);
        assert_eq!(shorts(&reactor)[1], "next=next");
    });
}

#[test]
fn a_silent_server_is_cut_once_a_request_has_timed_out() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let options = ClientOptions { timeout: 20 * MS, silence_max: MS, ..OPTIONS };
        let client = open(&mut reactor, target, options);
        ask(&client, "hold");
        completed(&mut reactor, 1);
        turn_until(&mut reactor, |_| {
            client.state() == ClientState::Up && client.failure().is_none()
        });
        ask(&client, "a");
        completed(&mut reactor, 2);
        // On the first connection, the reply would have been taken for that of the first request.
        assert_eq!(shorts(&reactor), ["hold=timed out true", "a=a"]);
    });
}

#[test]
fn what_exceeds_a_bound_is_refused_at_once() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let options = ClientOptions { waiting_max: 2, waiting_bytes_max: 10, ..OPTIONS };
        let client = open(&mut reactor, vacant(), options);
        ask(&client, "1");
        let refused = client.call("x".repeat(10), |_, _| unreachable!("it was not accepted"));
        let refused = refused.expect_err("there are too many bytes").to_string();
        assert!(refused.contains("waiting_bytes_max"), "{refused}");
        ask(&client, "2");
        let refused = client.call("3".to_owned(), |_, _| unreachable!("it was not accepted"));
        let refused = refused.expect_err("there are too many requests").to_string();
        assert!(refused.contains("waiting_max"), "{refused}");
        client.close();
        completed(&mut reactor, 2);
        assert_eq!(shorts(&reactor), ["1=closed", "2=closed"]);
        assert_eq!(client.state(), ClientState::Closed);
        let refused = client.call("4".to_owned(), |_, _| unreachable!("it was not accepted"));
        assert!(matches!(refused, Err(NotSent::Closed)));
    });
}

#[test]
fn requests_that_do_not_wait_complete_when_an_attempt_fails() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let options = ClientOptions { waits: false, pause_min: LONG, pause_max: LONG, ..OPTIONS };
        let client = open(&mut reactor, vacant(), options);
        ask(&client, "1");
        completed(&mut reactor, 1);
        assert_eq!(shorts(&reactor), ["1=down"]);
        let refused = client.call("2".to_owned(), |_, _| unreachable!("it was not accepted"));
        let text = refused.expect_err("there is no connection").to_string();
        assert!(text.contains("refused"), "{text}");
        assert_eq!(client.state(), ClientState::BackingOff);
    });
}

#[test]
fn a_client_that_stops_gracefully_gets_its_replies_first() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let client = open(&mut reactor, target, OPTIONS);
        turn_until(&mut reactor, |_| client.state() == ClientState::Up);
        for request in ["a", "b", "late"] {
            ask(&client, request);
        }
        client.stop_gracefully();
        assert!(client.call("c".to_owned(), |_, _| {}).is_err());
        turn_until(&mut reactor, |_| client.state() == ClientState::Closed);
        assert_eq!(shorts(&reactor), ["a=a", "b=b", "late=late"]);
    });
}

#[test]
fn a_loop_that_stops_gracefully_waits_for_replies_and_takes_no_requests() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let client = open(&mut reactor, target, OPTIONS);
        turn_until(&mut reactor, |_| client.state() == ClientState::Up);
        ask(&client, "late");
        let from_afar = open(&mut reactor, vacant(), OPTIONS);
        ask(&from_afar, "never");
        reactor.cx().stop_gracefully(LONG);
        reactor.run().expect("it runs");
        let mut all = shorts(&reactor);
        all.sort();
        assert_eq!(all, ["late=late", "never=closed"]);
        assert_eq!((client.state(), from_afar.state()), (ClientState::Closed, ClientState::Closed));
    });
}

#[test]
fn a_loop_that_is_dropped_completes_every_request() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let results = Arc::new(Mutex::new(Vec::new()));
        let target = server(&mut reactor);
        let client = open(&mut reactor, target, ClientOptions { in_flight_max: 1, ..OPTIONS });
        for request in ["hold", "next"] {
            let results = Arc::clone(&results);
            let report = move |result, _: &mut LoopCx<'_, App>| {
                results.lock().expect("no test panics").push(short(&result));
            };
            client.call(request.to_owned(), report).expect("it is accepted");
        }
        turn_until(&mut reactor, |reactor| !reactor.app.received.is_empty());
        drop(reactor);
        let mut results = results.lock().expect("no test panics").clone();
        results.sort();
        assert_eq!(results, ["closed", "unknown"]);
        assert!(client.call("a".to_owned(), |_, _| {}).is_err());
        assert!(matches!(client.wait("a".to_owned()), Err(Unanswered::NotSent(NotSent::Closed))));
    });
}

#[test]
fn an_idle_connection_is_let_go_and_made_again_for_the_next_request() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let options = ClientOptions { when_idle: WhenIdle::LetGo(20 * MS), ..OPTIONS };
        let client = open(&mut reactor, target, options);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        assert_eq!((client.state(), reactor.counters().accepts), (ClientState::Idle, 0));
        for number in 1..=2 {
            ask(&client, "a");
            completed(&mut reactor, number);
            turn_until(&mut reactor, |_| client.state() == ClientState::Idle);
            assert_eq!(reactor.counters().accepts as usize, number);
            assert!(client.failure().is_none());
        }
    });
}

#[test]
fn an_idle_server_is_asked_whether_it_lives() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let options = ClientOptions { when_idle: WhenIdle::KeepAlive(10 * MS), ..OPTIONS };
        let client = open(&mut reactor, target, options);
        turn_until(&mut reactor, |reactor| reactor.app.received.len() >= 3);
        assert!(reactor.app.received.iter().all(|line| line == "health"));
        assert_eq!((reactor.counters().accepts, client.state()), (1, ClientState::Up));
    });
}

#[test]
fn an_idle_server_that_does_not_answer_is_left() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        // The kernel accepts, and nothing answers.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let target = listener.local_addr().expect("it has one").to_string();
        let when_idle = WhenIdle::KeepAlive(10 * MS);
        let options = ClientOptions { when_idle, silence_max: 10 * MS, ..OPTIONS };
        let client = open(&mut reactor, target.parse().expect("it is an address"), options);
        client.on_disconnect(|reason, cx| cx.app.events.push(reason.to_string()));
        turn_until(&mut reactor, |reactor| reactor.app.events.len() >= 2);
        assert_eq!(reactor.app.events[0], "idle for too long");
    });
}

/// Signs of life both ways, with lines that have no answer.
struct Beats;

impl Exchange for Beats {
    type Codec = Lines;
    type Request = &'static str;
    type Reply = ();
    type Push = ();

    fn codec(&self) -> Lines {
        Lines::default()
    }

    fn size(request: &&'static str) -> usize {
        request.len()
    }

    fn write(&mut self, request: &&'static str, _number: u64, reply: &mut Reply<'_, Lines>) {
        reply.send(request.as_bytes());
    }

    fn one_way(&self, _: &&'static str) -> Option<()> {
        Some(())
    }

    fn hear(
        &mut self,
        _: &mut [u8],
        _: Option<&&'static str>,
        _: &mut Reply<'_, Lines>,
    ) -> Heard<(), ()> {
        Heard::Nothing
    }

    fn sign_of_life(&self) -> Option<&'static str> {
        Some("beat")
    }
}

#[test]
fn signs_of_life_go_both_ways_and_a_server_that_gives_none_is_left() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let options =
            ClientOptions { when_idle: WhenIdle::Pulse(10 * MS), silence_max: 30 * MS, ..OPTIONS };
        // This server echoes them.
        let target = server(&mut reactor);
        let client = Client::open(target, Beats, options.clone(), &mut reactor.cx());
        let client = client.expect("it opens");
        turn_until(&mut reactor, |reactor| reactor.app.received.len() >= 10);
        assert!(reactor.app.received.iter().all(|line| line == "beat"));
        assert_eq!((reactor.counters().accepts, client.state()), (1, ClientState::Up));
        // The kernel accepts, and nothing answers, whatever else is sent.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let silent = listener.local_addr().expect("it has one").to_string();
        client.on_disconnect(|reason, cx| cx.app.events.push(reason.to_string()));
        client.set_target(Some(silent.parse().expect("it is an address")));
        turn_until(&mut reactor, |reactor| {
            // It is not accepted while too many wait.
            let _ = client.call("more", |_, _| {});
            reactor.app.events.len() >= 3
        });
        assert_eq!(reactor.app.events[1..3], ["idle for too long", "idle for too long"]);
    });
}

#[test]
fn a_server_that_does_not_open_the_connection_is_left() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let target = listener.local_addr().expect("it has one").to_string();
        let connect = ConnectOptions { timeout: 10 * MS, ..OPTIONS.connect };
        let options = ClientOptions { connect, ..OPTIONS };
        let target = target.parse().expect("it is an address");
        let client =
            Client::open(target, Talk::<true>, options, &mut reactor.cx()).expect("it opens");
        client.on_connect(|_| panic!("the server has not answered"));
        turn_until(&mut reactor, |_| client.failure().is_some());
        assert_eq!(client.failure().expect("there is one").to_string(), "deadline passed");
    });
}

#[test]
fn hooks_are_called_for_connections_and_pushes() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let client =
            Client::open(target, Talk::<true>, OPTIONS, &mut reactor.cx()).expect("it opens");
        client.on_connect(|cx| cx.app.events.push("connected".to_owned()));
        client.on_disconnect(|reason, cx| cx.app.events.push(reason.to_string()));
        client.on_push(|push, cx| cx.app.events.push(push));
        ask(&client, "push");
        ask(&client, "die");
        turn_until(&mut reactor, |reactor| reactor.app.events.len() >= 4);
        assert_eq!(reactor.app.events, ["connected", "!news", "peer closed", "connected"]);
        assert_eq!(shorts(&reactor), ["push=push", "die=unknown"]);
    });
}

#[test]
fn every_request_completes_although_a_completion_panics() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let client = open(&mut reactor, target, OPTIONS);
        turn_until(&mut reactor, |_| client.state() == ClientState::Up);
        ask(&client, "a");
        client.call("b".to_owned(), |_, _| panic!("as planned")).expect("it is accepted");
        ask(&client, "c");
        ask(&client, "hold");
        let panicked = catch_unwind(AssertUnwindSafe(|| completed(&mut reactor, 4)));
        assert!(panicked.is_err());
        completed(&mut reactor, 3);
        assert_eq!(shorts(&reactor), ["a=a", "c=c", "hold=unknown"]);
        // The client goes on.
        ask(&client, "d");
        completed(&mut reactor, 4);
        assert_eq!((shorts(&reactor)[3].as_str(), client.pending()), ("d=d", 0));
    });
}

#[test]
fn a_client_without_a_handle_finishes_and_ends() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let target = server(&mut reactor);
        let baseline = reactor.counters().live();
        let client = open(&mut reactor, target, OPTIONS);
        turn_until(&mut reactor, |_| client.state() == ClientState::Up);
        ask(&client, "late");
        drop(client);
        completed(&mut reactor, 1);
        turn_until(&mut reactor, |reactor| reactor.counters().live() == baseline);
        assert_eq!(shorts(&reactor), ["late=late"]);
    });
}

#[test]
fn options_that_allow_nothing_are_refused() {
    let mut reactor = Reactor::new(App::default()).expect("it opens");
    for (options, field) in [
        (ClientOptions { in_flight_max: 0, ..OPTIONS }, "in_flight_max"),
        (ClientOptions { timeout: Duration::ZERO, ..OPTIONS }, "timeout"),
        (ClientOptions { pause_min: LONG, pause_max: MS, ..OPTIONS }, "pause_max"),
        (ClientOptions { when_idle: WhenIdle::LetGo(Duration::ZERO), ..OPTIONS }, "when_idle"),
    ] {
        let error = Client::open(vacant(), Talk::<false>, options, &mut reactor.cx());
        assert!(error.expect_err(field).to_string().contains(field));
    }
}

#[test]
fn requests_follow_the_target_but_what_was_sent_to_the_old_one_is_unknown() {
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let cx = &mut reactor.cx();
        let options = ClientOptions { in_flight_max: 1, ..OPTIONS };
        let client: Client<App, Talk> = Client::open_later(Talk, options, cx).expect("it opens");
        ask(&client, "early");
        reactor.run_once(Some(MS)).expect("it turns");
        assert_eq!((client.state(), client.target()), (ClientState::Idle, None));
        // Requests wait for a target, and also if nothing listens there.
        client.set_target(Some(vacant()));
        turn_until(&mut reactor, |_| client.failure().is_some());
        let first = server(&mut reactor);
        client.set_target(Some(first.clone()));
        completed(&mut reactor, 1);
        assert_eq!(client.target().as_deref(), Some(&first));
        // One is in flight, and the other waits.
        ask(&client, "hold");
        ask(&client, "later");
        turn_until(&mut reactor, |reactor| reactor.app.received.len() == 2);
        client.set_target(Some(first));
        reactor.run_once(Some(MS)).expect("it turns");
        assert_eq!(client.pending(), 2, "the same target changes nothing");
        let second = server(&mut reactor);
        client.set_target(Some(second));
        completed(&mut reactor, 3);
        assert_eq!(shorts(&reactor), ["early=early", "hold=unknown", "later=later"]);
        client.set_target(None);
        ask(&client, "nowhere");
        turn_until(&mut reactor, |_| client.state() == ClientState::Idle);
        client.close();
        completed(&mut reactor, 4);
        assert_eq!(shorts(&reactor)[3], "nowhere=closed");
    });
}
