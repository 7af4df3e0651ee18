//! Exchanges that do not go straight on: waiting, pauses, early answers, upgrades, ends.

use std::sync::Arc;
use std::time::Duration;

use super::recorder::options;
use protocol::codecs::Bytes;
use protocol::http::{
    Fields, Options, Refusal, RequestHead, Response, Server, Service, Status, TIMEOUT_KEY,
};
use protocol::testing::{Wire, drive};
use protocol::{Context, Conversation, Flow, Limits, Reason, Reply, Upgrade, link::Link};

/// What a service does in each of its calls, as a test chooses it.
#[derive(Default)]
struct Plan {
    request: Option<Call>,
    body: Option<Call>,
    end: Option<Call>,
    resume: Option<Call>,
    drained: Option<Call>,
    hung_up: Option<Call>,
    stopping: Option<Call>,
    timeout: Option<Call>,
    log: Vec<String>,
}

type Call = fn(&mut Response<'_>, &mut Context<'_>) -> Flow;

impl Plan {
    fn play(
        &mut self,
        name: &str,
        call: Option<Call>,
        response: &mut Response<'_>,
        context: &mut Context<'_>,
    ) -> Flow {
        self.log.push(name.to_owned());
        call.map_or(Flow::Continue, |call| call(response, context))
    }
}

impl Service for Plan {
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_>,
    ) -> Flow {
        self.play(head.path(), self.request, response, context)
    }

    fn body(
        &mut self,
        piece: &mut [u8],
        response: &mut Response<'_>,
        context: &mut Context<'_>,
    ) -> Flow {
        let name = format!("body {}", piece.escape_ascii());
        self.play(&name, self.body, response, context)
    }

    fn end(
        &mut self,
        _: Fields<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_>,
    ) -> Flow {
        self.play("end", self.end, response, context)
    }

    fn resume(&mut self, response: &mut Response<'_>, context: &mut Context<'_>) -> Flow {
        self.play("resume", self.resume, response, context)
    }

    fn drained(&mut self, response: &mut Response<'_>, context: &mut Context<'_>) -> Flow {
        self.play("drained", self.drained, response, context)
    }

    fn hung_up(&mut self, response: &mut Response<'_>, context: &mut Context<'_>) -> Flow {
        self.play("hung up", self.hung_up, response, context)
    }

    fn stopping(&mut self, response: &mut Response<'_>, context: &mut Context<'_>) -> Flow {
        self.play("stopping", self.stopping, response, context)
    }

    fn timeout(&mut self, key: u8, response: &mut Response<'_>, context: &mut Context<'_>) -> Flow {
        self.play(&format!("timeout {key}"), self.timeout, response, context)
    }

    fn refused(&mut self, refusal: Refusal, response: &mut Response<'_>, _: &mut Context<'_>) {
        self.log.push(format!("refused {refusal:?}"));
        response.error(refusal.status());
    }

    fn closed(&mut self, reason: &Reason, _: &mut Context<'_>) {
        self.log.push(format!("closed {reason}"));
    }
}

fn ok(response: &mut Response<'_>, _: &mut Context<'_>) -> Flow {
    response.text(Status::OK, "ok");
    Flow::Continue
}

fn wire(plan: Plan) -> Wire<Server<Plan>> {
    let mut wire = Wire::new(Server::new(plan, options()));
    wire.run(&mut ());
    wire
}

fn sent(wire: &mut Wire<Server<Plan>>) -> String {
    String::from_utf8(wire.take_sent()).expect("it is text")
}

fn log(wire: &mut Wire<Server<Plan>>) -> &[String] {
    &wire.session_mut().service().log
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
const EXPECT: &[u8] =
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn a_service_that_waits_holds_up_the_requests_behind() {
    let mut wire = wire(Plan { resume: Some(ok), ..Plan::default() });
    wire.feed(&[GET, NEXT].concat(), &mut ());
    assert_eq!((sent(&mut wire).as_str(), log(&mut wire)), ("", &["/a".into(), "end".into()][..]));
    wire.wake(&mut ());
    assert!(sent(&mut wire).ends_with("\r\n\r\nok"));
    assert_eq!(log(&mut wire)[2..], ["resume", "/next", "end"]);
    wire.wake(&mut ());
    assert!(sent(&mut wire).ends_with("\r\n\r\nok"));
    // Nothing is in progress now.
    wire.wake(&mut ());
    assert_eq!(log(&mut wire)[5..], ["resume"]);
}

#[test]
fn a_service_that_pauses_is_given_no_body() {
    let pause: Call = |_, _| Flow::Pause;
    let mut wire = wire(Plan { request: Some(pause), end: Some(ok), ..Plan::default() });
    wire.feed(&[POST, b"abc", NEXT].concat(), &mut ());
    assert_eq!(log(&mut wire), ["/a"]);
    // A pause is no fault of the client.
    wire.pass(Duration::from_secs(3600), &mut ());
    assert_eq!(log(&mut wire), ["/a"]);
    wire.wake(&mut ());
    assert_eq!(log(&mut wire), ["/a", "resume", "body abc", "end", "/next"]);
    wire.wake(&mut ());
    assert_eq!(sent(&mut wire).matches("HTTP/1.1 200 OK").count(), 2);
}

#[test]
fn a_client_that_expects_it_is_told_to_go_on() {
    let mut wire = wire(Plan { end: Some(ok), ..Plan::default() });
    wire.feed(EXPECT, &mut ());
    assert_eq!(sent(&mut wire), "HTTP/1.1 100 Continue\r\n\r\n");
    wire.feed(b"a", &mut ());
    assert_eq!(sent(&mut wire), "", "it is told once");
    wire.feed(b"bc", &mut ());
    assert!(sent(&mut wire).starts_with("HTTP/1.1 200 OK\r\n"));
    wire.feed(&[EXPECT, b"abc"].concat(), &mut ());
    assert!(sent(&mut wire).starts_with("HTTP/1.1 200 OK\r\n"), "it has not waited");
    // HTTP/1.0 does not know it (RFC 9110 section 10.1.1).
    let old = String::from_utf8_lossy(EXPECT).replace("1.1", "1.0");
    wire.feed(old.as_bytes(), &mut ());
    assert_eq!(sent(&mut wire), "");
}

#[test]
fn a_service_that_waits_decides_later_whether_the_client_goes_on() {
    let pause: Call = |_, _| Flow::Pause;
    let mut wire = wire(Plan { request: Some(pause), end: Some(ok), ..Plan::default() });
    wire.feed(EXPECT, &mut ());
    assert_eq!(sent(&mut wire), "");
    wire.wake(&mut ());
    assert_eq!(sent(&mut wire), "HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn an_answer_instead_of_go_on_closes_the_connection() {
    let refuse: Call = |response, _| {
        response.error(Status::UNAUTHORIZED);
        Flow::Continue
    };
    let mut wire = wire(Plan { request: Some(refuse), ..Plan::default() });
    wire.feed(EXPECT, &mut ());
    let answer = sent(&mut wire);
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && answer.contains("Connection: close"),
        "{answer}"
    );
    assert!(wire.is_shut_down());
}

#[test]
fn what_is_left_of_a_body_is_dropped_up_to_a_limit() {
    let small = Options { discard_max: 100, ..Options::default() }.shared().expect("right");
    for (length, is_kept) in [(100, true), (101, false)] {
        let mut wire =
            Wire::new(Server::new(Plan { request: Some(ok), ..Plan::default() }, small.clone()));
        let head = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        wire.feed(head.as_bytes(), &mut ());
        assert!(sent(&mut wire).ends_with("\r\n\r\nok"), "it does not wait for the body");
        assert_eq!(wire.is_shut_down(), !is_kept, "{length}");
        wire.feed(&vec![b'x'; length], &mut ());
        wire.feed(NEXT, &mut ());
        assert_eq!(!sent(&mut wire).is_empty(), is_kept, "{length}");
        let chunked = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let plan = Plan { request: Some(ok), ..Plan::default() };
        let mut wire = Wire::new(Server::new(plan, small.clone()));
        wire.feed(chunked, &mut ());
        for _ in 0..length {
            wire.feed(b"1\r\nx\r\n", &mut ());
        }
        assert_eq!(wire.is_shut_down(), !is_kept, "{length} in chunks");
    }
}

#[test]
fn a_large_body_is_sent_as_the_client_takes_it() {
    /// The service sends ten portions, each when the last has drained.
    fn portion(response: &mut Response<'_>, context: &mut Context<'_>) -> Flow {
        if !response.is_begun() {
            response.head(Status::OK).length(10 << 20);
        }
        while !response.is_finished() && response.backlog() < context.limits.output_high {
            response.write(&[b'x'; 1 << 16]);
        }
        Flow::Continue
    }
    let plan = Plan { request: Some(portion), drained: Some(portion), ..Plan::default() };
    let mut wire = wire(plan);
    wire.set_room(0, &mut ());
    wire.feed(&[GET, NEXT].concat(), &mut ());
    let mut total = 0;
    for _ in 0..1000 {
        wire.set_room(100_000, &mut ());
        let piece = wire.take_sent().len();
        assert!(wire.unsent() <= Limits::DEFAULT.output_high + (1 << 16), "{}", wire.unsent());
        total += piece;
    }
    assert!(total > 2 * (10 << 20) && total < 2 * (10 << 20) + 1000, "{total}");
    assert_eq!(log(&mut wire).iter().filter(|it| *it == "/next").count(), 1);
}

#[test]
fn an_echo_stops_reading_while_its_output_is_full() {
    struct Echo;
    impl Service for Echo {
        fn request(
            &mut self,
            _: &RequestHead<'_>,
            response: &mut Response<'_>,
            _: &mut Context<'_>,
        ) -> Flow {
            response.set_body_max(u64::MAX);
            response.head(Status::OK).streamed();
            Flow::Continue
        }
        fn body(
            &mut self,
            piece: &mut [u8],
            response: &mut Response<'_>,
            _: &mut Context<'_>,
        ) -> Flow {
            response.write(piece);
            Flow::Continue
        }
        fn end(
            &mut self,
            trailers: Fields<'_>,
            response: &mut Response<'_>,
            _: &mut Context<'_>,
        ) -> Flow {
            let pairs: Vec<(&str, &[u8])> = trailers.iter().map(|it| (it.name, it.value)).collect();
            response.finish_with(&pairs);
            Flow::Continue
        }
    }
    let mut wire = Wire::new(Server::new(Echo, options()));
    wire.set_room(0, &mut ());
    wire.feed(
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n",
        &mut (),
    );
    wire.feed(&vec![b'x'; 1 << 20], &mut ());
    assert!(wire.unread() > 1 << 19, "most of it has not been read: {}", wire.unread());
    assert!(wire.unsent() < 2 * Limits::DEFAULT.output_high);
    wire.set_room(u64::MAX, &mut ());
    wire.feed(b"\r\n0\r\nSum: 7\r\n\r\n", &mut ());
    let answer = wire.take_sent();
    assert_eq!(answer.iter().filter(|it| **it == b'x').count(), 1 << 20);
    assert!(answer.ends_with(b"\r\n0\r\nSum: 7\r\n\r\n"), "{}", answer.len());
}

#[test]
fn an_incomplete_response_is_never_taken_for_a_whole_one() {
    let cut: Call = |response, _| {
        response.head(Status::OK).streamed();
        response.write(b"half");
        Flow::Close
    };
    let short: Call = |response, _| {
        response.head(Status::OK).length(10);
        response.write(b"half");
        response.finish();
        Flow::Continue
    };
    let long: Call = |response, _| {
        response.head(Status::OK).length(3);
        response.write(b"more");
        Flow::Continue
    };
    let twice: Call = |response, _| {
        response.head(Status::OK).streamed();
        response.head(Status::OK).body(b"again");
        Flow::Continue
    };
    let early: Call = |response, _| {
        response.write(b"no head");
        Flow::Continue
    };
    for (call, reason) in [
        (cut, "before its response was complete"),
        (short, "less than the length"),
        (long, "more than the length"),
        (twice, "a second head"),
        (early, "before a complete head"),
    ] {
        let mut wire = wire(Plan { request: Some(call), ..Plan::default() });
        wire.feed(GET, &mut ());
        let answer = sent(&mut wire);
        assert!(!answer.ends_with("0\r\n\r\n") && !answer.contains("again"), "{answer}");
        wire.end_input(&mut ());
        let text = wire.into_reason().expect("it has ended").to_string();
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_value_never_makes_another_line() {
    let odd: Call = |response, _| {
        let head = response.head(Status::OK).field("A", "1\r\nEvil: 2\0\x7f").field("B\r\nC", "3");
        let head =
            head.field("Content-Length", "7").field("Connection", "x").field("D", "\t\u{e9}");
        head.field("Transfer-Encoding", "chunked").number("E", u64::MAX).body(b"x");
        Flow::Continue
    };
    let mut wire = wire(Plan { request: Some(odd), ..Plan::default() });
    wire.feed(GET, &mut ());
    let expected = "HTTP/1.1 200 OK\r\nA: 1  Evil: 2  \r\nD: \t\u{e9}\r\nE: 18446744073709551615\r\n\
        Content-Length: 1\r\n\r\nx";
    assert_eq!(sent(&mut wire), expected);
}

#[test]
fn responses_without_a_body_have_none_whatever_is_written() {
    let calls: [(Call, &str); 6] = [
        (
            |response, _| {
                response.head(Status::NO_CONTENT).body(b"x");
                Flow::Continue
            },
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            |response, _| {
                response.head(Status::NOT_MODIFIED).body(b"x");
                Flow::Continue
            },
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 1\r\n\r\n",
        ),
        (
            |response, _| {
                response.head(Status::NOT_MODIFIED).empty();
                Flow::Continue
            },
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ),
        (
            |response, _| {
                response.head(Status::NO_CONTENT).streamed();
                response.write(b"x");
                response.finish_with(&[("A", b"b")]);
                Flow::Continue
            },
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            |response, _| {
                response.redirect(Status::SEE_OTHER, "/b");
                Flow::Continue
            },
            "HTTP/1.1 303 See Other\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            |response, _| {
                response.head(Status::new(299).expect("a code")).shared(Arc::from(&b""[..]));
                Flow::Continue
            },
            "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n",
        ),
    ];
    for (call, expected) in calls {
        let mut wire = wire(Plan { request: Some(call), ..Plan::default() });
        wire.feed(&[GET, NEXT].concat(), &mut ());
        assert_eq!(sent(&mut wire), expected.repeat(2));
    }
    let stream: Call = |response, _| {
        response.head(Status::OK).streamed();
        response.write(b"x");
        Flow::Continue
    };
    let finish: Call = |response, _| {
        response.finish();
        Flow::Continue
    };
    let mut wire = wire(Plan { request: Some(stream), resume: Some(finish), ..Plan::default() });
    wire.feed(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", &mut ());
    wire.feed(NEXT, &mut ());
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(sent(&mut wire), head, "the service has not finished");
    wire.wake(&mut ());
    assert_eq!(sent(&mut wire), format!("{head}1\r\nx\r\n"));
    wire.wake(&mut ());
    wire.feed(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &mut ());
    wire.wake(&mut ());
    assert_eq!(sent(&mut wire), "0\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx");
    assert!(wire.is_shut_down(), "the end of the connection is that of the body");
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let hint: Call = |response, _| {
        response.informational(Status::EARLY_HINTS, &[("Link", b"</a.css>")]);
        response.text(Status::OK, "ok");
        response.informational(Status::EARLY_HINTS, &[]);
        Flow::Continue
    };
    let mut wire = wire(Plan { request: Some(hint), ..Plan::default() });
    wire.feed(GET, &mut ());
    let answer = sent(&mut wire);
    assert!(answer.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 "));
    assert_eq!(answer.matches("103").count(), 1);
    wire.feed(b"GET / HTTP/1.0\r\n\r\n", &mut ());
    assert!(!sent(&mut wire).contains("103"), "HTTP/1.0 knows none");
}

/// Returns what it receives, behind a greeting.
struct Raw;

impl protocol::Service<Bytes> for Raw {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, _: &mut Context<'_>) -> Flow {
        reply.send(b"raw ");
        Flow::Continue
    }
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _: &mut Context<'_>,
    ) -> Flow {
        reply.send(bytes);
        Flow::Continue
    }
}

#[test]
fn the_protocol_changes_with_what_has_arrived() {
    let switch: Call = |response, _| {
        response.switch_protocols("raw").field("X", "y").empty();
        Flow::Upgrade
    };
    let accept: Call = |response, _| {
        response.head(Status::OK).empty();
        Flow::Upgrade
    };
    let answers = [
        (
            switch,
            GET,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nX: y\r\nConnection: Upgrade\r\n\r\n",
        ),
        (accept, &b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"[..], "HTTP/1.1 200 OK\r\n\r\n"),
    ];
    for (call, request, answer) in answers {
        let whole = [request, NEXT].concat();
        for cut in 0..=whole.len() {
            let server = Server::new(Plan { request: Some(call), ..Plan::default() }, options());
            let mut session = Upgrade::new(server, |_| Conversation::new(Bytes, Raw));
            let (front, back) = whole.split_at(cut);
            let said = drive(&mut session, &mut (), &[front, back]).expect("it ends in order");
            let expected = [answer.as_bytes(), b"raw ", NEXT].concat();
            assert_eq!(said, expected, "cut at {cut}");
        }
    }
    for (call, reason) in [
        ((|_, _| Flow::Upgrade) as Call, "without such a response"),
        (
            |response, _| {
                response.text(Status::OK, "");
                Flow::Upgrade
            },
            "without such a response",
        ),
        (
            |response, _| {
                response.switch_protocols("raw").empty();
                Flow::Continue
            },
            "does not upgrade",
        ),
    ] {
        let mut wire = wire(Plan { request: Some(call), ..Plan::default() });
        wire.feed(GET, &mut ());
        wire.end_input(&mut ());
        let text = wire.into_reason().expect("it has ended").to_string();
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_stop_closes_idle_connections_and_waits_for_responses() {
    let mut idle = wire(Plan { request: Some(ok), ..Plan::default() });
    idle.feed(GET, &mut ());
    idle.stop(&mut ());
    assert!(idle.is_shut_down());
    let mut busy = wire(Plan { resume: Some(ok), ..Plan::default() });
    busy.feed(&[GET, NEXT].concat(), &mut ());
    busy.stop(&mut ());
    assert!(!busy.is_shut_down());
    busy.wake(&mut ());
    let answer = sent(&mut busy);
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("ok"), "{answer}");
    assert!(busy.is_shut_down(), "the next request is not answered");
    assert_eq!(log(&mut busy)[..4], ["/a", "end", "stopping", "resume"]);
}

#[test]
fn a_client_that_has_ended_its_stream_gets_its_answers() {
    let mut wire = wire(Plan { resume: Some(ok), ..Plan::default() });
    wire.feed(&[GET, NEXT].concat(), &mut ());
    wire.end_input(&mut ());
    wire.wake(&mut ());
    wire.wake(&mut ());
    assert_eq!(sent(&mut wire).matches("HTTP/1.1 200 OK").count(), 2);
    assert_eq!(
        log(&mut wire),
        ["/a", "end", "hung up", "resume", "/next", "end", "resume", "closed peer closed"]
    );
}

#[test]
fn a_stream_that_ends_in_a_request_is_reported() {
    for part in [&GET[..5], &POST[..POST.len() - 1], POST] {
        let mut wire = wire(Plan::default());
        wire.feed(part, &mut ());
        wire.end_input(&mut ());
        assert_eq!(sent(&mut wire), "");
        let reason = wire.into_reason().expect("it has ended").to_string();
        assert_eq!(reason, format!("refused: {}", Refusal::Truncated));
    }
}

#[test]
fn a_body_that_comes_too_slowly_is_refused() {
    let post = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let mut wire = wire(Plan::default());
    wire.feed(post, &mut ());
    for _ in 0..50 {
        // 1,100 bytes in ten seconds, more than the least.
        for _ in 0..10 {
            wire.feed(&[b'x'; 110], &mut ());
            wire.pass(Duration::from_secs(1), &mut ());
        }
    }
    assert!(sent(&mut wire).is_empty() && !wire.is_shut_down());
    for _ in 0..20 {
        wire.feed(&[b'x'; 50], &mut ());
        wire.pass(Duration::from_secs(1), &mut ());
    }
    assert!(sent(&mut wire).starts_with("HTTP/1.1 408 "));
}

#[test]
fn timeouts_of_the_service_are_its_own() {
    let set: Call = |_, context| {
        context.effects.set_timeout(7, Some(Duration::from_secs(1)));
        Flow::Continue
    };
    let mut wire = wire(Plan { request: Some(set), timeout: Some(ok), ..Plan::default() });
    wire.feed(GET, &mut ());
    wire.pass(Duration::from_secs(1), &mut ());
    assert!(sent(&mut wire).ends_with("ok"));
    assert_eq!(log(&mut wire), ["/a", "end", "timeout 7"]);
    assert_eq!(TIMEOUT_KEY, 255);
}

#[test]
fn limits_of_heads_have_their_own_answers() {
    let limits =
        Options { head_size_max: 300, fields_max: 40, target_size_max: 50, ..Options::default() };
    let limits = limits.shared().expect("right");
    let fields =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A:\r\n".repeat(count));
    let cases = [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(49)), 200),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(50)), 414),
        (format!("GET /{}", "x".repeat(200)), 414),
        (fields(39), 200),
        (fields(40), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(268)), 200),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(269)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "x".repeat(300)), 431),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: {}",
                "x".repeat(300)
            ),
            431,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n",
                "A:\r\n".repeat(41)
            ),
            431,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{}",
                "x".repeat(1100)
            ),
            400,
        ),
    ];
    for (input, status) in cases {
        let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        for pieces in [&[input.as_bytes()][..], &bytes] {
            let plan = Plan { end: Some(ok), ..Plan::default() };
            let mut wire =
                Wire::over(Link::new(Server::new(plan, limits.clone()), Limits::DEFAULT.into()));
            for piece in pieces {
                wire.feed(piece, &mut ());
            }
            let answer = sent(&mut wire);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{status}: {input:.60}: {answer}"
            );
        }
    }
    for wrong in [
        Options { head_size_max: 65_536, ..Options::default() },
        Options { fields_max: 257, ..Options::default() },
        Options { requests_max: 0, ..Options::default() },
        Options { head_timeout: Duration::ZERO, ..Options::default() },
    ] {
        assert!(wrong.shared().is_err());
    }
}
