//! Costs: exact numbers of system calls, as the loop counts them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use protocol::codecs::{Bytes, Lines};
use protocol::http::{Clock, Options, Router, Server, Status};
use protocol::{Codec, Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Address, BackendKind, Counters, Cx, Handler, Interest, ListenOptions, Listener, LoopLimits,
    Reactor, Registration, Stream,
};

struct Echo;

impl<C, A> Service<C, A> for Echo
where
    C: for<'a> Codec<In<'a> = &'a mut [u8], Out<'a> = &'a [u8]>,
{
    fn call(
        &mut self,
        message: &mut [u8],
        reply: &mut Reply<'_, C>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        reply.send(message);
        Flow::Continue
    }
}

fn reactor() -> Reactor {
    let backend = BackendKind::Epoll.open().expect("the backend opens");
    Reactor::with_backend(backend, LoopLimits::DEFAULT, ()).expect("the reactor opens")
}

fn listen() -> (Listener, String) {
    let any: Address = "127.0.0.1:0".parse().expect("it is an address");
    let listener = Listener::bind(&any, &ListenOptions::default()).expect("a port is free");
    let address = listener.address().to_string();
    (listener, address)
}

fn client_of(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).expect("it accepts");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("timeouts can be set");
    client
}

/// Returns a client of an echo server on the same thread, whose connection was used before.
fn connect<C>(reactor: &mut Reactor, make: fn() -> C) -> TcpStream
where
    C: for<'a> Codec<In<'a> = &'a mut [u8], Out<'a> = &'a [u8]> + 'static,
{
    let (listener, address) = listen();
    let mut cx = reactor.cx();
    Stream::serve(listener, Limits::DEFAULT, &mut cx, move |_| Conversation::new(make(), Echo))
        .expect("it listens");
    let mut client = client_of(&address);
    exchange(reactor, &mut client, b"warm\n");
    client
}

/// Sends `message`, which comes back. Returns the difference of the counters.
fn exchange(reactor: &mut Reactor, client: &mut TcpStream, message: &[u8]) -> Counters {
    let mut back = vec![0; message.len()];
    let cost = ask(reactor, client, message, &mut back);
    assert_eq!(back, message);
    cost
}

/// Sends `message`, turns the loop until the answer is complete and nothing is left to do, and
/// returns the difference of the counters.
fn ask(
    reactor: &mut Reactor,
    client: &mut TcpStream,
    message: &[u8],
    answer: &mut [u8],
) -> Counters {
    let before = reactor.counters();
    client.write_all(message).expect("the kernel takes bytes");
    let wanted = before.bytes_written + answer.len() as u64;
    for _ in 0..1000 {
        reactor.run_once(Some(Duration::from_millis(10))).expect("it turns");
        if reactor.counters().bytes_written >= wanted {
            break;
        }
    }
    client.read_exact(answer).expect("it answers");
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    let after = reactor.counters();
    Counters {
        reads: after.reads - before.reads,
        writes: after.writes - before.writes,
        ctl_calls: after.ctl_calls - before.ctl_calls,
        would_blocks: after.would_blocks - before.would_blocks,
        ..Counters::default()
    }
}

#[test]
fn a_request_and_its_reply_cost_one_read_and_one_write() {
    let mut reactor = reactor();
    let mut client = connect(&mut reactor, || Bytes);
    for _ in 0..100 {
        let cost = exchange(&mut reactor, &mut client, &[7; 64]);
        assert_eq!((cost.reads, cost.writes, cost.ctl_calls, cost.would_blocks), (1, 1, 0, 0));
    }
}

#[test]
fn requests_over_http_and_their_responses_cost_one_read_and_one_write() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut reactor = reactor();
    let router = Router::new().get("/", |_, response, _| response.text(Status::OK, "Hello"));
    let (router, clock) = (router.shared(), Clock::new(reactor::time_of_day));
    let options = Options { clock: Some(clock), ..Options::default() };
    let options = options.shared().expect("the options agree");
    let (listener, address) = listen();
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), move |_| {
        Server::new(router.service(), Arc::clone(&options))
    })
    .expect("it listens");
    let mut client = client_of(&address);
    // Every response is as long as the first: the field Date always has 29 characters.
    let mut first = vec![0; 4096];
    ask(&mut reactor, &mut client, REQUEST, &mut first[..1]);
    let size = 1 + client.read(&mut first[1..]).expect("the rest is there");
    for count in [1, 1, 16] {
        let mut answers = vec![0; size * count];
        let cost = ask(&mut reactor, &mut client, &REQUEST.repeat(count), &mut answers);
        assert!(answers.chunks(size).all(|it| it.ends_with(b"\r\n\r\nHello")));
        assert_eq!((cost.reads, cost.writes, cost.ctl_calls, cost.would_blocks), (1, 1, 0, 0));
    }
}

#[test]
fn a_thousand_pipelined_lines_cost_one_write() {
    let mut reactor = reactor();
    let mut client = connect(&mut reactor, Lines::default);
    let lines = b"a line of some length\n".repeat(1000);
    let cost = exchange(&mut reactor, &mut client, &lines);
    assert!(cost.reads <= 3, "{} reads", cost.reads);
    assert_eq!((cost.writes, cost.ctl_calls), (1, 0));
}

/// Pauses and resumes itself whenever it is woken.
struct Toggle;

impl Handler for Toggle {
    fn ready(&mut self, cx: &mut Cx<'_>) -> std::io::Result<()> {
        cx.set_interest(Interest::NONE);
        cx.set_interest(Interest::READ);
        Ok(())
    }
}

#[test]
fn registering_costs_one_call_and_pausing_none() {
    for (kind, registering) in [(BackendKind::Epoll, 1), (BackendKind::EpollLevel, 1)] {
        let backend = kind.open().expect("the backend opens");
        let mut reactor =
            Reactor::with_backend(backend, LoopLimits::DEFAULT, ()).expect("the reactor opens");
        let (reader, _writer) = std::io::pipe().expect("pipes can be made");
        let before = reactor.counters().ctl_calls;
        let registration = Registration::new(Interest::READ);
        let token =
            reactor.cx().register(reader.into(), registration, Toggle).expect("it registers");
        assert_eq!(reactor.counters().ctl_calls - before, registering, "{kind}");
        for _ in 0..10 {
            reactor.cx().wake(token);
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert_eq!(reactor.counters().ctl_calls - before, registering, "{kind}");
    }
}

#[test]
fn an_idle_loop_makes_no_turns() {
    let mut reactor = reactor();
    let _client = connect(&mut reactor, || Bytes);
    let before = reactor.counters().turns;
    reactor.cx().after(Duration::from_millis(50), |cx| cx.stop()).expect("it is armed");
    reactor.run().expect("it runs");
    let turns = reactor.counters().turns - before;
    assert!(turns <= 4, "{turns} turns in 50 ms without anything to do");
}

#[test]
fn an_edge_triggered_connection_costs_one_ctl_one_accept_one_read_one_write_and_one_close() {
    let mut reactor = reactor();
    let any: Address = "127.0.0.1:0".parse().expect("it is an address");
    let listener = Listener::bind(&any, &ListenOptions::default()).expect("a port is free");
    let address = listener.address().to_string();
    let echo = |_| Conversation::new(Bytes, Echo);
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), echo).expect("it listens");
    let before = reactor.counters();
    for _ in 0..100 {
        let mut client = TcpStream::connect(&address).expect("it accepts");
        client.write_all(b"x").expect("the kernel takes a byte");
        client.set_nonblocking(true).expect("modes can be set");
        while client.read(&mut [0]).is_err() {
            reactor.run_once(Some(Duration::from_millis(10))).expect("it turns");
        }
        drop(client);
        while reactor.cx().connections() > 0 {
            reactor.run_once(Some(Duration::from_millis(10))).expect("it turns");
        }
    }
    let after = reactor.counters();
    assert_eq!(after.ctl_calls - before.ctl_calls, 100);
    assert_eq!(after.accepts - before.accepts, 100);
    assert_eq!(after.writes - before.writes, 100);
    // Reads: the byte, the end, and an accept that finds no further connection.
    assert!(after.reads - before.reads <= 400, "{after}");
}
