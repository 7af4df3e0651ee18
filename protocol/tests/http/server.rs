//! The server: requests, bodies, keep-alive.

use std::sync::Arc;
use std::time::Duration;

use super::recorder::{Recorder, options, serve, serve_whole};
use protocol::http::{Options, Refusal, RequestHead, Response, Server, Service, Status};
use protocol::testing::{self, Wire};
use protocol::{Context, Flow, Reason};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_request_is_answered_and_the_connection_kept() {
    let outcome = serve_whole(GET.as_bytes());
    assert_eq!(outcome.requests, ["GET / 1.1 host=a fields=1 body=0 []"]);
    let answer = "GET / 1.1 host=a fields=1 body=0 []";
    let expected = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
    assert_eq!(outcome.sent, expected);
    assert_eq!(outcome.ends, ["peer closed"]);
}

#[test]
fn requests_in_one_piece_are_answered_in_order() {
    let bodies = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nT: 1\r\n\r\n\
        POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n";
    let outcome = serve_whole([GET, bodies, GET].concat().as_bytes());
    let expected = [
        "GET / 1.1 host=a fields=1 body=0 []",
        "POST /a 1.1 host=a fields=2 body=3 [abc]",
        "POST /b 1.1 host=a fields=2 body=chunked [abc0123456789] T=1",
        "POST /c 1.1 host=a fields=2 body=chunked []",
        "GET / 1.1 host=a fields=1 body=0 []",
    ];
    assert_eq!(outcome.requests, expected);
    assert_eq!(outcome.statuses(), [200; 5]);
}

#[test]
fn every_split_of_a_stream_gives_the_same() {
    let stream = "\r\nGET / HTTP/1.1\r\nHost: a\r\nA:  b \r\n\r\n\
        POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\na ; x\r\n0123456789\r\n0\r\nT: 1\r\nU:\r\n\r\n\
        POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        HEAD / HTTP/1.0\r\n\r\n"
        .as_bytes();
    let whole = serve_whole(stream);
    assert_eq!(whole.requests.len(), 4, "{whole:#?}");
    for cut in 0..=stream.len() {
        let (front, back) = stream.split_at(cut);
        assert_eq!(serve(&options(), &[front, back]), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(serve(&options(), &bytes), whole, "byte by byte");
}

#[test]
fn head_is_answered_without_a_body_and_with_its_length() {
    let outcome = serve_whole(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let length = "HEAD /x 1.1 host=a fields=1 body=0 []".len();
    assert_eq!(outcome.sent, format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
}

#[test]
fn http_1_0_is_closed_unless_it_asks_for_more() {
    let outcome = serve_whole(b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert_eq!(outcome.requests.len(), 1);
    assert!(outcome.sent.contains("\r\nConnection: close\r\n"), "{}", outcome.sent);
    let kept = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let outcome = serve_whole(kept.repeat(2).as_bytes());
    assert_eq!(outcome.requests.len(), 2);
    assert_eq!(outcome.sent.matches("\r\nConnection: keep-alive\r\n").count(), 2);
}

/// Streams a part of a body for each call. The path says what comes then.
struct Streams;

impl Service for Streams {
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        _: &mut Context<'_>,
    ) -> Flow {
        response.head(Status::OK).streamed();
        response.write(b"part");
        match head.path() {
            "/whole" => response.finish(),
            "/cut" => return Flow::Close,
            _ => {}
        }
        Flow::Continue
    }

    fn resume(&mut self, response: &mut Response<'_>, _: &mut Context<'_>) -> Flow {
        response.finish();
        Flow::Continue
    }

    fn timeout(&mut self, _: u8, _: &mut Response<'_>, _: &mut Context<'_>) -> Flow {
        Flow::Close
    }
}

#[test]
fn a_body_that_ends_with_the_connection_is_cut_unless_it_is_finished() {
    let start = |request: &str| {
        let mut wire = Wire::new(Server::new(Streams, options()));
        wire.feed(request.as_bytes(), &mut ());
        wire
    };
    let old = |path: &str| format!("GET {path} HTTP/1.0\r\n\r\n");
    // The service closes, or the connection ends for another reason, or it may at any time.
    let mut wire = start(&old("/cut"));
    assert!(wire.take_sent().ends_with(b"\r\n\r\npart"));
    assert!(wire.is_cut() && !wire.is_shut_down() && wire.reason().is_some());
    let mut wire = start(&old("/"));
    assert!(wire.is_cut() && wire.wait().is_unsent && wire.reason().is_none());
    wire.close(Reason::Cancelled, &mut ());
    assert!(wire.is_cut());
    // A request whose body comes too slowly is refused after its response has begun.
    let mut wire = start("POST / HTTP/1.0\r\nContent-Length: 9\r\n\r\nabc");
    wire.pass(Duration::from_secs(10), &mut ());
    assert!(wire.is_cut() && !wire.is_shut_down() && wire.reason().is_some());
    // The whole body, at once or later.
    for path in ["/whole", "/"] {
        let mut wire = start(&old(path));
        wire.wake(&mut ());
        assert!(wire.take_sent().ends_with(b"\r\n\r\npart"));
        assert!(!wire.is_cut() && wire.is_shut_down(), "{path}");
        wire.end_input(&mut ());
        assert!(!wire.is_cut() && wire.reason().is_some_and(Reason::is_orderly), "{path}");
    }
    // Chunks have an end of their own, and the head of a response has one too.
    let chunked = start("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = start("HEAD / HTTP/1.0\r\n\r\n");
    assert!(!chunked.is_cut() && chunked.is_shut_down() && !head.is_cut());
}

#[test]
fn a_connection_is_closed_when_either_side_says_so() {
    let closing = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n";
    let outcome = serve_whole([closing, GET].concat().as_bytes());
    assert_eq!((outcome.requests.len(), outcome.ends.len()), (1, 1));
    let outcome =
        serve_whole(b"GET /close HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(outcome.statuses(), [200]);
    let options = Options { requests_max: 3, ..Options::default() }.shared().expect("right");
    let outcome = serve(&options, &[GET.repeat(5).as_bytes()]);
    assert_eq!(outcome.statuses(), [200; 3]);
    assert_eq!(outcome.sent.matches("Connection: close").count(), 1);
}

#[test]
fn what_is_not_http_is_refused_at_once() {
    let early: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x05\x01\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET\0",
        b"GET / HTTP/1.1\n",
        b"{\"a\": 1}",
        b"GET / HTTP/1.1\r\nHost : a\r\n",
    ];
    for bytes in early {
        let mut wire = Wire::new(Server::new(Recorder::default(), options()));
        wire.feed(bytes, &mut ());
        let sent = String::from_utf8(wire.take_sent()).expect("it is text");
        assert!(sent.starts_with("HTTP/1.1 400 "), "{}: {sent}", bytes.escape_ascii());
        assert!(sent.contains("\r\nConnection: close\r\n"), "{sent}");
        assert!(wire.is_shut_down());
    }
}

#[test]
fn slow_requests_are_answered_with_408() {
    let pieces: [&[u8]; 4] = [
        b"G",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b",
    ];
    for piece in pieces {
        let mut wire = Wire::new(Server::new(Recorder::default(), options()));
        wire.run(&mut ());
        wire.pass(Duration::from_secs(3600), &mut ());
        wire.feed(piece, &mut ());
        wire.pass(Duration::from_millis(9999), &mut ());
        assert_eq!(wire.take_sent(), b"", "{}", piece.escape_ascii());
        wire.pass(Duration::from_millis(1), &mut ());
        assert!(wire.take_sent().starts_with(b"HTTP/1.1 408 "), "{}", piece.escape_ascii());
    }
}

#[test]
fn whole_requests_set_no_timeout() {
    let mut wire = Wire::new(Server::new(Recorder::default(), options()));
    wire.feed(GET.repeat(3).as_bytes(), &mut ());
    wire.pass(Duration::from_secs(3600), &mut ());
    wire.feed(GET.as_bytes(), &mut ());
    assert_eq!(wire.take_sent().windows(8).filter(|it| it == b"HTTP/1.1").count(), 4);
    assert!(wire.reason().is_none());
}

#[test]
fn a_head_that_is_not_ended_is_a_bug() {
    // A service that forgets the end of a head is told apart from one that waits.
    let service = |_: &RequestHead<'_>, response: &mut Response<'_>, _: &mut Context<'_>| {
        let _ = response.head(Status::OK);
        Flow::Continue
    };
    let mut server = Server::new(service, options());
    let error = testing::drive(&mut server, &mut (), &[GET.as_bytes()]).expect_err("a bug");
    assert!(error.to_string().contains("bug in the service"), "{error}");
}

#[test]
fn a_large_body_is_refused_before_it_is_read() {
    let options: Arc<Options> =
        Options { body_size_max: 10, ..Options::default() }.shared().expect("right");
    let fits = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789";
    assert_eq!(serve(&options, &[fits]).statuses(), [200]);
    for large in [
        &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5;x\r\n56789\r\n",
    ] {
        let outcome = serve(&options, &[large]);
        assert_eq!(outcome.statuses(), [413], "{outcome:?}");
        assert_eq!(outcome.refusals, [Refusal::BodyTooLarge]);
    }
}

#[test]
fn a_response_to_a_request_with_a_larger_body_than_allowed_says_close() {
    struct Early;
    impl Service for Early {
        fn request(
            &mut self,
            _: &RequestHead<'_>,
            response: &mut Response<'_>,
            _: &mut Context<'_>,
        ) -> Flow {
            response.error(Status::METHOD_NOT_ALLOWED);
            Flow::Continue
        }
    }
    let options: Arc<Options> =
        Options { body_size_max: 10, ..Options::default() }.shared().expect("right");
    for (length, closes) in [(10, false), (11, true)] {
        let mut server = Server::new(Early, Arc::clone(&options));
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let input = format!("{head}{}", "x".repeat(length));
        let sent = testing::drive(&mut server, &mut (), &[input.as_bytes()]).expect("it is right");
        let text = String::from_utf8(sent).expect("it is text");
        assert_eq!(text.contains("\r\nConnection: close\r\n"), closes, "{length}: {text}");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused_wherever_it_is_cut() {
    let max = options().head_size_max;
    for (status, head) in [
        (431, format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(2 * max))),
        (431, format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(max))),
        (431, format!("GET / HTTP/1.1\r\n{}", format!("A: {}\r\n", "x".repeat(max / 8)).repeat(9))),
        (414, format!("GET /{}", "x".repeat(2 * max))),
        (414, format!("GET /{} HTTP/1.1\r\nA: b\r\n", "x".repeat(2 * max))),
    ] {
        for cut in (0..30).chain([max - 1, max, max + 1, head.len() - 1]) {
            let (first, rest) = head.as_bytes().split_at(cut);
            let outcome = serve(&options(), &[first, rest]);
            assert_eq!(outcome.statuses(), [status], "{cut} of {:.30}: {outcome:?}", head);
        }
    }
}
