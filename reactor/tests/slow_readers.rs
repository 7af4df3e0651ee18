//! A peer that reads slowly gets the whole answer, and a peer that stops reading never takes a part
//! of it for the whole (P38).

mod common;

use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Answers, PATIENCE, on_every_backend, serve, turn_until};
use protocol::codecs::Bytes;
use protocol::http::{Options, Router, Server, Status};
use protocol::{Buffer, Cause, ConnectionId, Context, Conversation, Flow, Limits, Output, Session};
use reactor::{Cx, Handler, Interest, LoopLimits, Reactor, Reason, Registration, Role, Token};

/// More than the kernel takes at once.
const SIZE: usize = 8 << 20;
const STEP: Duration = Duration::from_millis(20);
/// A peer that reads at each step empties a full buffer of the kernel less often than that. It
/// acknowledges bytes at about every second step.
const LIMIT: Duration = Duration::from_millis(300);

/// Returns a peer that has sent a request to a server. The server answers with 8 MiB and returns
/// `flow`.
fn ask(reactor: &mut Reactor, limits: Limits, flow: Flow) -> TcpStream {
    let address = serve(reactor, limits, move || Conversation::new(Bytes, Answers(flow, SIZE)));
    let mut peer = TcpStream::connect(address).expect("it accepts");
    peer.write_all(b"x").expect("it takes bytes");
    peer.set_nonblocking(true).expect("it is set");
    turn_until(reactor, |reactor| reactor.counters().bytes_written > 0);
    peer
}

/// Reads up to 64 KiB at each step until the end, which is about three megabytes a second.
fn read_slowly(reactor: &mut Reactor, peer: &mut TcpStream) -> (usize, io::Result<()>) {
    let (mut total, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        reactor.run_once(Some(STEP)).expect("it turns");
        match peer.read(&mut buffer) {
            Ok(0) => return (total, Ok(())),
            Ok(count) => total += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return (total, Err(error)),
        }
    }
}

/// Waits until the server has ended the connection.
fn forgotten(reactor: &mut Reactor) {
    turn_until(reactor, |reactor| reactor.cx().connections() == 0);
}

fn closes(reactor: &Reactor, reason: &Reason) -> u64 {
    reactor.counters().closes[reason.index()]
}

#[test]
fn a_slow_reader_gets_all_bytes_before_a_close() {
    // Sometimes both limits pass at the same time.
    let idle = Some(2 * LIMIT);
    let loop_limits = LoopLimits { idle_timeout: idle, ..LoopLimits::DEFAULT };
    on_every_backend(loop_limits, |mut reactor| {
        let limits = Limits { linger: LIMIT, ..Limits::DEFAULT };
        let mut peer = ask(&mut reactor, limits, Flow::Close);
        let (total, end) = read_slowly(&mut reactor, &mut peer);
        end.expect("it ends in order");
        assert_eq!(total, SIZE);
        assert_eq!(reactor.counters().cut_short, 0);
    });
}

#[test]
fn a_slow_reader_is_not_idle() {
    let limits = LoopLimits { idle_timeout: Some(LIMIT), ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor| {
        let mut peer = ask(&mut reactor, Limits::DEFAULT, Flow::Continue);
        let (total, end) = read_slowly(&mut reactor, &mut peer);
        assert_eq!(total, SIZE);
        end.expect("it is closed as idle once it has everything");
    });
}

/// Reads the rest of a connection that the server has ended. Returns how much there was, and the
/// error.
fn read_rest(mut peer: TcpStream) -> (usize, io::ErrorKind) {
    peer.set_nonblocking(false).expect("it is set");
    let mut rest = Vec::new();
    let error = peer.read_to_end(&mut rest).expect_err("a part of an answer ends in order");
    assert!(rest.len() < SIZE);
    (rest.len(), error.kind())
}

#[test]
fn an_incomplete_answer_always_ends_in_a_reset() {
    type Cut = (&'static str, Flow, Limits, fn(&mut Reactor));
    let short = Limits { linger: Duration::from_millis(50), ..Limits::DEFAULT };
    let small = Limits { output_max: 1 << 20, ..Limits::DEFAULT };
    let cuts: [Cut; 4] = [
        ("the linger", Flow::Close, short, |_| {}),
        ("the idle limit", Flow::Continue, Limits::DEFAULT, |_| {}),
        ("the output limit", Flow::Continue, small, |_| {}),
        ("the end of the loop's patience", Flow::Continue, Limits::DEFAULT, |reactor| {
            reactor.cx().stop_gracefully(Duration::from_millis(1));
        }),
    ];
    for (what, flow, limits, cut) in cuts {
        let loop_limits =
            LoopLimits { idle_timeout: Some(Duration::from_millis(200)), ..LoopLimits::DEFAULT };
        on_every_backend(loop_limits, |mut reactor: Reactor| {
            eprintln!("cut by {what}");
            let peer = ask(&mut reactor, limits, flow);
            cut(&mut reactor);
            if reactor.cx().is_stopping() {
                reactor.run().expect("it turns");
                drop(reactor);
            } else {
                forgotten(&mut reactor);
                assert_eq!(reactor.counters().cut_short, 1);
            }
            assert_eq!(read_rest(peer).1, io::ErrorKind::ConnectionReset);
        });
    }
}

/// Sends a part of an answer, and fails.
struct Fails;

impl Handler<()> for Fails {
    fn ready(&mut self, cx: &mut Cx<'_, ()>) -> io::Result<()> {
        cx.write(&[IoSlice::new(b"a part")])?;
        cx.set_unsent(true);
        Err(io::Error::other("the disk is gone"))
    }
}

#[test]
fn an_error_that_is_not_of_the_connection_resets_it_while_output_is_unsent() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let peer = TcpStream::connect(address).expect("it accepts");
        let (near, _) = listener.accept().expect("it is there");
        let registration = Registration::new(Interest::WRITE).role(Role::Connection);
        reactor.cx().register(near.into(), registration, Fails).expect("it registers");
        forgotten(&mut reactor);
        assert_eq!(reactor.counters().cut_short, 1);
        assert_eq!(read_rest(peer).1, io::ErrorKind::ConnectionReset);
    });
}

/// Says a part of something whose end the peer would not notice. Then it does what the peer asks for.
struct Begins;

impl Session<Option<ConnectionId>> for Begins {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Option<ConnectionId>>,
    ) -> Result<Flow, protocol::Reason> {
        if context.cause == Cause::Opened {
            context.effects.set_incomplete(true);
            output.append(b"part");
            return Ok(Flow::Continue);
        }
        let word = input.filled().to_vec();
        input.clear();
        match word.as_slice() {
            b"close" => return Ok(Flow::Close),
            b"fail" => return Err(protocol::Reason::refused("asked for")),
            b"panic" => panic!("planted"),
            b"finish" => {
                context.effects.set_incomplete(false);
                return Ok(Flow::Close);
            }
            b"other" => *context.app = Some(context.me),
            b"stop" => context.effects.stop_gracefully(Duration::from_millis(1)),
            _ => {}
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn an_output_whose_end_the_peer_would_not_notice_ends_in_a_reset_whatever_ends_it() {
    for word in ["close", "fail", "panic", "other", "stop", "idle", "finish"] {
        let idle_timeout = (word == "idle").then_some(Duration::from_millis(50));
        let limits = LoopLimits { idle_timeout, ..LoopLimits::DEFAULT };
        on_every_backend(limits, |mut reactor: Reactor<Option<ConnectionId>>| {
            let address = serve(&mut reactor, Limits::DEFAULT, || Begins);
            let mut peer = TcpStream::connect(&address).expect("it accepts");
            turn_until(&mut reactor, |reactor| reactor.counters().bytes_written == 4);
            // A silent peer is one that asks for nothing.
            if word != "idle" {
                peer.write_all(word.as_bytes()).expect("it takes bytes");
            }
            peer.set_nonblocking(true).expect("it is set");
            let (mut all, start) = (Vec::new(), Instant::now());
            let end = loop {
                assert!(start.elapsed() < PATIENCE, "{word}: {}", reactor.counters());
                // A panic of the session passes through.
                let turn = AssertUnwindSafe(|| reactor.run_once(Some(Duration::from_millis(5))));
                let _ = catch_unwind(turn);
                if let Some(session) = reactor.app.take() {
                    reactor.cx().close(Token::from(session));
                }
                match peer.read_to_end(&mut all) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    end => break end.map(drop).map_err(|error| error.kind()),
                }
            };
            assert_eq!(all, b"part", "{word}");
            let is_finished = word == "finish";
            let cut = Err(io::ErrorKind::ConnectionReset);
            assert_eq!(end, if is_finished { Ok(()) } else { cut }, "{word}");
            assert_eq!(reactor.counters().cut_short, u64::from(!is_finished), "{word}");
        });
    }
}

#[test]
fn a_peer_that_reads_nothing_is_closed_at_the_idle_limit() {
    let limits =
        LoopLimits { idle_timeout: Some(Duration::from_millis(100)), ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor| {
        let _peer = ask(&mut reactor, Limits::DEFAULT, Flow::Continue);
        forgotten(&mut reactor);
        assert_eq!(closes(&reactor, &Reason::TimedOut(reactor::Timeout::Idle)), 1);
    });
}

#[test]
fn a_disconnected_peer_does_not_count_as_an_incomplete_answer() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let peer = ask(&mut reactor, Limits::DEFAULT, Flow::Close);
        // It has not read everything, so dropping it resets the connection.
        drop(peer);
        forgotten(&mut reactor);
        assert_eq!(reactor.counters().cut_short, 0);
    });
}

#[test]
fn bytes_in_the_kernel_are_delivered_after_the_connection_was_closed() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let limits = Limits { linger: Duration::from_millis(50), ..Limits::DEFAULT };
        let address =
            serve(&mut reactor, limits, || Conversation::new(Bytes, Answers(Flow::Close, 100_000)));
        let mut peer = TcpStream::connect(address).expect("it accepts");
        peer.write_all(b"x").expect("it takes bytes");
        turn_until(&mut reactor, |reactor| reactor.counters().accepts == 1);
        forgotten(&mut reactor);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("it ends in order");
        assert_eq!(all.len(), 100_000);
    });
}

/// Connects a client that sends `begin`, and then one byte of `drip` after another.
struct Slow {
    stream: TcpStream,
    drip: &'static [u8],
    answer: Vec<u8>,
    has_ended: bool,
}

impl Slow {
    fn new(address: &str, begin: &str, drip: &'static [u8]) -> Self {
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream.write_all(begin.as_bytes()).expect("it takes bytes");
        stream.set_nonblocking(true).expect("it is set");
        Self { stream, drip, answer: Vec::new(), has_ended: false }
    }

    /// Sends a byte, and reads at most one.
    fn step(&mut self, round: usize) {
        // A reset is known at once, however much is left to be read.
        let is_reset = self.stream.take_error().expect("it can be asked").is_some();
        let fails = match self.drip {
            [] => false,
            drip => self.stream.write(&[drip[round % drip.len()]]).is_err(),
        };
        let mut room = [0; 1024];
        let most = if self.drip.is_empty() { 1 } else { room.len() };
        match self.stream.read(&mut room[..most]) {
            Ok(0) => self.has_ended = true,
            Ok(count) => self.answer.extend_from_slice(&room[..count]),
            Err(error) => self.has_ended |= fails || error.kind() != io::ErrorKind::WouldBlock,
        }
        self.has_ended |= is_reset;
    }
}

#[test]
fn a_json_service_ends_slow_clients_in_time_and_serves_others_meanwhile() {
    const EACH: usize = 10;
    let time = Duration::from_millis(300);
    let limits = LoopLimits { idle_timeout: Some(time), ..LoopLimits::DEFAULT };
    let options = Options { head_timeout: time, body_timeout: time, ..Options::default() }.shared();
    let options = options.expect("they are right");
    let large: Arc<[u8]> = vec![b'1'; SIZE].into();
    on_every_backend(limits, |mut reactor: Reactor| {
        let large = Arc::clone(&large);
        let router = Router::new()
            .get("/large", move |_, response, _| {
                let head = response.head(Status::OK).field("Content-Type", "application/json");
                head.shared(Arc::clone(&large));
            })
            .get("/small", |_, response, _| response.json(Status::OK, "1"))
            .post("/add", |_, response, _| response.json(Status::OK, "2"));
        let (router, options) = (router.shared(), Arc::clone(&options));
        let address = serve(&mut reactor, Limits::DEFAULT, move || {
            Server::new(router.service(), Arc::clone(&options))
        });
        let modes: [(&str, &'static [u8], &[u8]); 4] = [
            ("GET /small HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n", b"HTTP/1.1 408 "),
            (
                "POST /add HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
                b"1",
                b"HTTP/1.1 408 ",
            ),
            ("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", b"", b"HTTP"),
            ("", b"", b""),
        ];
        let connect = |(begin, drip, _)| (0..EACH).map(move |_| (begin, drip));
        let mut crowd: Vec<Slow> = modes
            .into_iter()
            .flat_map(connect)
            .map(|(begin, drip)| Slow::new(&address, begin, drip))
            .collect();
        let start = Instant::now();
        for round in 0.. {
            assert!(start.elapsed() < PATIENCE, "{}", reactor.counters());
            crowd.iter_mut().filter(|it| !it.has_ended).for_each(|it| it.step(round));
            if crowd.iter().all(|it| it.has_ended) {
                break;
            }
            if round % 4 == 0 {
                let mut other = Slow::new(&address, "GET /small HTTP/1.1\r\nHost: a\r\n\r\n", b"");
                turn_until(&mut reactor, |_| {
                    other.step(0);
                    other.answer.ends_with(b"\r\n\r\n1")
                });
            }
            reactor.run_once(Some(Duration::from_millis(5))).expect("it turns");
        }
        for (client, (begin, _, expected)) in
            crowd.iter().zip(modes.iter().flat_map(|it| [it; EACH]))
        {
            let answer = client.answer.escape_ascii();
            assert!(client.answer.starts_with(expected), "{begin}: {answer}");
        }
        // Those that hardly read have been reset, with output unsent.
        assert_eq!(reactor.counters().cut_short, EACH as u64);
        forgotten(&mut reactor);
    });
}
