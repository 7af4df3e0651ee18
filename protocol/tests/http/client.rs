//! The client: responses, their framing, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use protocol::http::{
    Client, ClientOptions, Fields, IdleOptions, IdlePool, Refusal, Request, Requester, ResponseHead,
};
use protocol::testing::Wire;
use protocol::{Context, Flow, Reason};

/// Sends requests of these methods, one after the other, and records what it is told.
#[derive(Debug, Default)]
pub(crate) struct Script {
    methods: Vec<&'static str>,
    body: Option<&'static str>,
    log: Vec<String>,
    current: Vec<u8>,
    reason: Option<String>,
}

impl Script {
    pub(crate) fn of(methods: &[&'static str]) -> Self {
        let methods = methods.iter().rev().copied().collect();
        Self { methods, ..Self::default() }
    }
}

impl<A> Requester<A> for Script {
    fn ready(&mut self, request: &mut Request<'_>, _: &mut Context<'_, A>) -> Flow {
        let Some(method) = self.methods.pop() else { return Flow::Continue };
        let target = if method == "CONNECT" { "a:1" } else { "/" };
        let head = request.head(method, target, "a");
        match self.body {
            Some(body) => head.body(body.as_bytes()),
            None if method == "UPLOAD" => head.streamed(),
            None => head.empty(),
        }
        Flow::Continue
    }

    fn informational(
        &mut self,
        head: &ResponseHead<'_>,
        _: &mut Request<'_>,
        _: &mut Context<'_, A>,
    ) -> Flow {
        self.log.push(format!("interim {}", head.status()));
        Flow::Continue
    }

    fn response(
        &mut self,
        head: &ResponseHead<'_>,
        _: &mut Request<'_>,
        _: &mut Context<'_, A>,
    ) -> Flow {
        self.log.push(format!("{} {:?} {:?}", head.status(), head.reason(), head.body()));
        self.current.clear();
        if head.status().code() == 101 { Flow::Upgrade } else { Flow::Continue }
    }

    fn body(&mut self, piece: &mut [u8], _: &mut Request<'_>, _: &mut Context<'_, A>) -> Flow {
        self.current.extend_from_slice(piece);
        Flow::Continue
    }

    fn end(
        &mut self,
        trailers: Fields<'_>,
        is_kept: bool,
        _: &mut Request<'_>,
        _: &mut Context<'_, A>,
    ) -> Flow {
        let body = self.current.escape_ascii();
        let trailers: String = trailers.iter().map(|it| format!(" {}", it.name)).collect();
        self.log.push(format!("[{body}]{trailers} kept={is_kept}"));
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, _: &mut Context<'_, A>) {
        self.reason = Some(reason.to_string());
    }
}

pub(crate) fn options() -> Arc<ClientOptions> {
    ClientOptions::default().shared().expect("the defaults are right")
}

/// Answers the requests with `pieces`, and then ends the stream. Returns the log and the reason.
pub(crate) fn answer(script: Script, pieces: &[&[u8]]) -> (Vec<String>, String) {
    answer_within(options(), script, pieces)
}

/// Returns options of which each head reaches a limit soon.
pub(crate) fn narrow(head_size_max: usize) -> Arc<ClientOptions> {
    let options = ClientOptions { head_size_max, fields_max: 4, ..ClientOptions::default() };
    options.shared().expect("no limit is zero")
}

/// Does what [`answer`] does, with options.
pub(crate) fn answer_within(
    options: Arc<ClientOptions>,
    script: Script,
    pieces: &[&[u8]],
) -> (Vec<String>, String) {
    let mut client = Client::new(script, options);
    let mut wire = Wire::new(&mut client);
    wire.run(&mut ());
    for piece in pieces {
        wire.feed(piece, &mut ());
    }
    wire.end_input(&mut ());
    let script = client.into_requester();
    (script.log, script.reason.expect("it has ended"))
}

#[test]
fn requests_follow_each_other_on_a_kept_connection() {
    let stream = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
        HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\nT: 1\r\n\r\n\
        HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\
        HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n\
        HTTP/1.1 200 OK\r\n\r\nuntil the end";
    let script = || Script::of(&["GET", "POST", "GET", "HEAD", "GET", "GET"]);
    let whole = answer(script(), &[stream]);
    let expected = [
        "200 \"OK\" Known(3)",
        "[abc] kept=true",
        "interim 100",
        "200 \"\" Chunked",
        "[abc] T kept=true",
        "204 \"No Content\" Known(0)",
        "[] kept=true",
        "200 \"OK\" Known(0)",
        "[] kept=true",
        "304 \"Not Modified\" Known(0)",
        "[] kept=true",
        "200 \"OK\" UntilClose",
        "[until the end] kept=false",
    ];
    assert_eq!(whole, (expected.map(str::to_owned).to_vec(), "peer closed".to_owned()));
    for cut in 0..=stream.len() {
        let (front, back) = stream.split_at(cut);
        assert_eq!(answer(script(), &[front, back]), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(answer(script(), &bytes), whole, "byte by byte");
}

#[test]
fn requests_are_written_as_they_should_be() {
    let cases = [
        ("GET", None, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("POST", None, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
        ("POST", Some("abc"), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        ("UPLOAD", None, "UPLOAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("CONNECT", None, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    for (method, body, expected) in cases {
        let script = Script { body, ..Script::of(&[method]) };
        let mut wire = Wire::new(Client::new(script, options()));
        wire.run(&mut ());
        assert_eq!(String::from_utf8_lossy(&wire.take_sent()), expected);
    }
}

#[test]
fn what_a_program_puts_into_a_request_makes_no_other_line() {
    struct Odd(&'static str, &'static str, &'static str);
    impl Requester for Odd {
        fn ready(&mut self, request: &mut Request<'_>, _: &mut Context<'_>) -> Flow {
            let head = request.head(self.0, self.1, self.2).field("A\r\nB", "x");
            head.field("X", "1\r\nEvil: 2").field("Content-Length", "7").empty();
            Flow::Continue
        }
    }
    let mut wire = Wire::new(Client::new(Odd("GET", "/a b\r\n#\u{e9}", "a"), options()));
    wire.run(&mut ());
    let sent = String::from_utf8(wire.take_sent()).expect("it is text");
    let expected = "GET /a%20b%0D%0A%23%C3%A9 HTTP/1.1\r\nHost: a\r\nX: 1  Evil: 2\r\n\r\n";
    assert_eq!(sent, expected);
    for odd in [Odd("G T", "/", "a"), Odd("GET", "/", "a\r\nX: y"), Odd("GET", "", "a")] {
        let mut wire = Wire::new(Client::new(odd, options()));
        wire.run(&mut ());
        assert_eq!(wire.take_sent(), b"");
        wire.end_input(&mut ());
        let reason = wire.into_reason().expect("it has ended").to_string();
        assert!(reason.contains("bug in the requester"), "{reason}");
    }
}

#[test]
fn a_part_is_never_taken_for_the_whole() {
    let cut: [(&[u8], Refusal); 12] = [
        (b"", Refusal::NoResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Refusal::Truncated),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", Refusal::Truncated),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Refusal::Truncated),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            Refusal::Truncated,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd", Refusal::ChunkEnd),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", Refusal::Coding),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\nabc", Refusal::UnknownCoding),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            Refusal::SeveralLengths,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            Refusal::LengthAndCoding,
        ),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::CodingInHttp10),
        (b"<html>", Refusal::StatusLine),
    ];
    for (input, refusal) in cut {
        let (log, reason) = answer(Script::of(&["GET"]), &[input]);
        let text = input.escape_ascii();
        assert_eq!(reason, format!("refused: {refusal}"), "{text}: {log:?}");
        assert!(!log.iter().any(|line| line.contains("kept")), "{text}: {log:?}");
    }
}

#[test]
fn a_reset_after_a_part_of_a_head_cuts_a_response() {
    for (input, expected) in [
        ("", "read"),
        ("HTTP/1.1 200 O", "the stream ended in the middle"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", "read"),
    ] {
        let mut client = Client::new(Script::of(&["GET"]), options());
        let mut wire = Wire::new(&mut client);
        wire.run(&mut ());
        wire.feed(input.as_bytes(), &mut ());
        wire.reset(&mut ());
        let reason = client.into_requester().reason.expect("it has ended");
        assert!(reason.contains(expected), "{input:?}: {reason}");
    }
}

#[test]
fn status_lines_that_are_none_are_refused() {
    let lines = [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 099 No",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 200OK",
        "http/1.1 200 OK",
        "HTTP/1 200 OK",
        "HTTP/1.1 2000",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 20x OK",
        "200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 O\u{0}K",
    ];
    for line in lines {
        let (log, reason) = answer(Script::of(&["GET"]), &[format!("{line}\r\n\r\n").as_bytes()]);
        assert!(reason.starts_with("refused: ") && log.is_empty(), "{line}: {reason}");
    }
    let (_, reason) = answer(Script::of(&["GET"]), &[b"HTTP/2.0 200 OK\r\n\r\n"]);
    assert_eq!(reason, format!("refused: {}", Refusal::Version));
}

#[test]
fn a_server_that_says_something_without_a_request_is_left() {
    let (log, reason) = answer(Script::default(), &[b"HTTP/1.1 408 Request Timeout\r\n\r\n"]);
    assert_eq!((log.len(), reason), (0, format!("refused: {}", Refusal::Unsolicited)));
    let input = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd";
    let (log, reason) = answer(Script::of(&["GET"]), &[input]);
    assert_eq!((log.len(), reason), (2, format!("refused: {}", Refusal::Unsolicited)));
}

#[test]
fn interim_responses_have_a_limit() {
    let many = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(21);
    let (log, reason) = answer(Script::of(&["GET"]), &[many.as_bytes()]);
    assert_eq!((log.len(), reason), (20, format!("refused: {}", Refusal::TooManyInterims)));
}

#[test]
fn limits_hold_for_responses() {
    let limits = ClientOptions {
        head_size_max: 100,
        fields_max: 3,
        body_size_max: 10,
        ..ClientOptions::default()
    };
    let limits = limits.shared().expect("right");
    let cases = [
        (format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(100)), Refusal::HeadTooLarge),
        (format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(4)), Refusal::TooManyFields),
        ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n".to_owned(), Refusal::BodyTooLarge),
        (format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(11)), Refusal::BodyTooLarge),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n".to_owned(),
            Refusal::BodyTooLarge,
        ),
    ];
    for (input, refusal) in cases {
        let mut wire = Wire::new(Client::new(Script::of(&["GET"]), Arc::clone(&limits)));
        wire.run(&mut ());
        wire.feed(input.as_bytes(), &mut ());
        wire.end_input(&mut ());
        let reason = wire.into_reason().expect("it has ended").to_string();
        assert_eq!(reason, format!("refused: {refusal}"), "{input}");
    }
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    for (input, refusal) in [
        ("", Refusal::ResponseTimeout),
        ("HTTP/1.1 100 Continue\r\n\r\n", Refusal::ResponseTimeout),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na", Refusal::ResponseStalled),
    ] {
        let mut wire = Wire::new(Client::new(Script::of(&["GET"]), options()));
        wire.run(&mut ());
        wire.pass(Duration::from_secs(30), &mut ());
        wire.feed(input.as_bytes(), &mut ());
        let more = if input.is_empty() { 30 } else { 60 };
        wire.pass(Duration::from_secs(more - 1), &mut ());
        assert!(!wire.is_shut_down(), "{input:?}: too early");
        wire.pass(Duration::from_secs(1), &mut ());
        wire.end_input(&mut ());
        let reason = wire.into_reason().expect("it has ended").to_string();
        assert_eq!(reason, format!("refused: {refusal}"), "{input:?}");
    }
    let mut wire = Wire::new(Client::new(Script::of(&["GET"]), options()));
    wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &mut ());
    wire.pass(Duration::from_secs(3600), &mut ());
    assert!(wire.reason().is_none() && !wire.is_shut_down(), "an idle connection may be silent");
}

#[test]
fn an_idle_connection_gets_its_request_when_it_is_woken() {
    let mut wire = Wire::new(Client::new(Script::default(), options()));
    wire.run(&mut ());
    assert_eq!(wire.take_sent(), b"");
    wire.session_mut().requester_mut().methods.push("GET");
    wire.wake(&mut ());
    assert_eq!(wire.take_sent(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire.stop(&mut ());
    assert!(!wire.is_shut_down(), "its response is waited for");
    wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &mut ());
    assert!(wire.is_shut_down());
    assert!(wire.session_mut().requester().log[1].contains("kept=false"));
}

#[test]
fn a_pool_keeps_no_more_than_it_may_and_the_newest() {
    let start = std::time::Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let options = IdleOptions { per_key_max: 2, total_max: 3, expiry: Duration::from_secs(10) };
    let mut pool = IdlePool::new(options);
    assert_eq!(pool.put("a", 1, at(0)), None);
    assert_eq!(pool.put("a", 2, at(1)), None);
    assert_eq!(pool.put("b", 3, at(2)), None);
    assert_eq!(pool.put("a", 4, at(3)), Some(1), "the oldest of its key");
    assert_eq!(pool.put("c", 5, at(4)), Some(2), "the oldest of all");
    assert_eq!(pool.len(), 3);
    assert_eq!(pool.next_expiry(), Some(at(12)));
    assert_eq!(pool.expire(at(11)), None);
    assert_eq!(pool.expire(at(12)), Some(3));
    assert_eq!(pool.take(&"a", at(13)), None, "it has expired");
    assert_eq!(pool.expire(at(13)), Some(4));
    assert_eq!(pool.remove(&"c", |it| *it == 4), None);
    assert_eq!(pool.remove(&"c", |it| *it == 5), Some(5));
    assert!(pool.is_empty() && pool.next_expiry().is_none() && pool.take(&"c", at(0)).is_none());
    let none = IdleOptions { total_max: 0, ..options };
    assert_eq!(IdlePool::new(none).put("a", 1, at(0)), Some(1));
}
