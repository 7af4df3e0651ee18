//! What a connection costs: memory and allocations.

use allocation_counter::measure;

use super::recorder::options;
use protocol::http::{
    Client, Clock, Options, Request, RequestHead, Requester, Response, Router, RouterService,
    Server, Status,
};
use protocol::testing::Wire;
use protocol::{
    Buffer, Cause, ConnectionId, Context, Effects, FileRange, Flow, Limits, Output, Session,
};
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs a session without a link: what it allocates is its own.
struct Bench<S> {
    session: S,
    input: Buffer,
    output: Output,
    effects: Effects,
}

impl<S: Session> Bench<S> {
    fn new(session: S) -> Self {
        let (input, output) = (Buffer::with_capacity(1 << 16), Output::new());
        Self { session, input, output, effects: Effects::default() }
    }

    /// Gives the session some input, and drops its output. Returns how many bytes that had.
    fn turn(&mut self, input: &[u8], cause: Cause) -> u64 {
        let Self { session, output, effects, .. } = self;
        self.input.extend_from_slice(input);
        let mut app = ();
        let limits = &Limits::DEFAULT;
        let mut context =
            Context::new(Instant::now(), ConnectionId(1), &mut app, limits, effects).because(cause);
        let flow = session.advance(&mut self.input, output, &mut context);
        assert!(matches!(flow, Ok(Flow::Continue)), "{flow:?}");
        let length = output.len();
        output.consume(length);
        length
    }
}

fn hello(_: &RequestHead<'_>, response: &mut Response<'_>, _: &mut Context<'_>) -> Flow {
    response.text(Status::OK, "hello");
    Flow::Continue
}

#[test]
fn requests_on_a_kept_connection_allocate_nothing() {
    let clock = Clock::new(|| Duration::from_secs(784_111_777));
    let options =
        Options { clock: Some(clock), server_name: Some("test".into()), ..Options::default() };
    let options = options.shared().expect("right");
    let requests = b"GET /a?b HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n\
        POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n";
    let mut bench = Bench::new(Server::new(hello, options.clone()));
    bench.turn(requests, Cause::Input);
    let counted = measure(|| {
        for _ in 0..100 {
            assert!(bench.turn(requests, Cause::Input) > 300);
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    let router =
        Router::new().get("/a", |_, response, _| response.text(Status::OK, "hello")).shared();
    let mut bench = Bench::new(Server::new(router.service(), options));
    let request = &requests[..requests.iter().position(|it| *it == b'P').expect("it is there")];
    bench.turn(request, Cause::Input);
    let counted = measure(|| {
        for _ in 0..100 {
            bench.turn(request, Cause::Input);
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn responses_with_files_allocate_nothing() {
    let file = Arc::new(File::open("/proc/self/exe").expect("it opens"));
    let answer = move |_: &RequestHead<'_>, response: &mut Response<'_>, _: &mut Context<'_>| {
        let range = FileRange { file: Arc::clone(&file), offset: 0, length: 1000 };
        response.head(Status::OK).field("Content-Type", "text/plain").file(range);
        Flow::Continue
    };
    let request = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut bench = Bench::new(Server::new(answer, options()));
    bench.turn(request, Cause::Input);
    let counted = measure(|| {
        for _ in 0..100 {
            assert!(bench.turn(request, Cause::Input) > 1000);
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

struct Get;

impl Requester for Get {
    fn ready(&mut self, request: &mut Request<'_>, _: &mut Context<'_>) -> Flow {
        request.head("GET", "/", "a").field("Accept", "*/*").empty();
        Flow::Continue
    }
}

#[test]
fn responses_on_a_kept_connection_allocate_nothing() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    let mut bench = Bench::new(Client::new(Get, super::client::options()));
    bench.turn(b"", Cause::Opened);
    bench.turn(response, Cause::Input);
    let counted = measure(|| {
        for _ in 0..100 {
            assert!(bench.turn(response, Cause::Input) > 30);
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn an_idle_connection_is_small() {
    // The stream of the reactor takes 172 bytes besides: less than half of 512 in all.
    assert!(size_of::<Server<()>>() <= 128, "{}", size_of::<Server<()>>());
    assert!(size_of::<RouterService>() <= 16, "{}", size_of::<RouterService>());
    assert!(size_of::<Client<()>>() <= 160, "{}", size_of::<Client<()>>());
    // Nothing else is kept between two requests.
    let kept = measure(|| {
        let mut wires = Vec::with_capacity(64);
        let server = options();
        let before = measure(|| {
            for _ in 0..64 {
                wires.push(Server::new(hello, server.clone()));
            }
        });
        assert_eq!(before.bytes_current, 0, "{before:?}");
        let mut wire = Wire::new(wires.pop().expect("one is there"));
        wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut ());
        assert_eq!(wire.unsent(), 0);
    });
    assert_eq!(kept.bytes_current, 0, "all of it is given back");
}
