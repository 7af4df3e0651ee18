//! Requests that two programs could understand in different ways, and what each is answered with.

use super::recorder::{options, serve, serve_whole};

/// What would be smuggled: a request that must never be delivered.
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A head whose first lines are in order. What follows is up to the case.
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

/// Field lines after `POST`, the rest of the stream, and the status of the answer. Each is refused.
const BY_FIELDS: &[(&str, &str, u16)] = &[
    // Both a length and chunks (CL.TE and TE.CL).
    ("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nG", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 6", "0\r\n\r\nG", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 4", "5c\r\n", 400),
    ("Content-Length: 0\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("Transfer-Encoding: identity\r\nContent-Length: 3", "abc", 400),
    ("content-length: 3\r\nTRANSFER-ENCODING: CHUNKED", "0\r\n\r\n", 400),
    // Several lengths.
    ("Content-Length: 0\r\nContent-Length: 34", "", 400),
    ("Content-Length: 3\r\nContent-Length: 3", "abc", 400),
    ("Content-Length: 0, 34", "", 400),
    ("Content-Length: 3, 3", "abc", 400),
    ("Content-Length: 3,", "abc", 400),
    ("Content-Length: ,3", "abc", 400),
    // Lengths that some parsers accept.
    ("Content-Length: +3", "abc", 400),
    ("Content-Length: -3", "abc", 400),
    ("Content-Length: 0x3", "abc", 400),
    ("Content-Length: 3 4", "abc", 400),
    ("Content-Length: 3.0", "abc", 400),
    ("Content-Length: 3a", "abc", 400),
    ("Content-Length: \"3\"", "abc", 400),
    ("Content-Length: 1_0", "0123456789", 400),
    ("Content-Length:", "", 400),
    ("Content-Length: 3;a=b", "abc", 400),
    ("Content-Length: 18446744073709551616", "", 400),
    ("Content-Length: 99999999999999999999999999999", "", 400),
    ("Content-Length: \u{0b}3", "abc", 400),
    ("Content-Length: \u{663}", "abc", 400),
    // Codings that are not exactly chunked.
    ("Transfer-Encoding: xchunked", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunkedx", "0\r\n\r\n", 400),
    ("Transfer-Encoding: \"chunked\"", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunked;q=1", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunk ed", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunked, chunked", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunked, identity", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", "0\r\n\r\n", 400),
    ("Transfer-Encoding: cow", "0\r\n\r\n", 400),
    ("Transfer-Encoding: identity", "", 400),
    ("Transfer-Encoding:", "0\r\n\r\n", 400),
    ("Transfer-Encoding: ,", "0\r\n\r\n", 400),
    ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n", 501),
    ("Transfer-Encoding: identity, chunked", "0\r\n\r\n", 501),
    ("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 501),
    ("Transfer-Encoding: \u{0b}chunked", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunked\u{0}", "0\r\n\r\n", 400),
    ("Transfer-Encoding: chunked\r", "0\r\n\r\n", 400),
    // Names that some parsers normalise.
    ("Transfer-Encoding : chunked", "0\r\n\r\n", 400),
    ("Transfer-Encoding\t: chunked", "0\r\n\r\n", 400),
    ("Content-Length : 3", "abc", 400),
    (" Transfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("\tTransfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("X: y\r\n\tz", "", 400),
    ("Transfer-Encoding:\r\n chunked", "0\r\n\r\n", 400),
    ("\u{0}Transfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("Transfer\u{0}-Encoding: chunked", "0\r\n\r\n", 400),
    ("Transfer-\u{e9}ncoding: chunked", "0\r\n\r\n", 400),
    (": chunked", "", 400),
    ("Transfer-Encoding", "", 400),
    ("Foo bar: x", "", 400),
    ("\"Content-Length\": 3", "abc", 400),
    // Line ends that some parsers accept.
    ("X: y\nTransfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("X: y\rTransfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("X: y\n\nGET /smuggled HTTP/1.1", "", 400),
    ("X: y\r\n\nGET /smuggled HTTP/1.1", "", 400),
    ("X: y\r\r\nContent-Length: 3", "abc", 400),
    ("X: y\0Content-Length: 3", "abc", 400),
    // Hosts.
    ("Host: b", "", 400),
    ("host: a", "", 400),
    // Expectations.
    ("Content-Length: 3\r\nExpect: 200-maybe", "abc", 417),
    ("Content-Length: 3\r\nExpect: 100-continue, x", "abc", 417),
];

/// Chunked bodies that are refused: what follows a head with `Transfer-Encoding: chunked`.
const BY_CHUNKS: &[&str] = &[
    "0x3\r\nabc\r\n0\r\n\r\n",
    "+3\r\nabc\r\n0\r\n\r\n",
    "-3\r\nabc\r\n0\r\n\r\n",
    " 3\r\nabc\r\n0\r\n\r\n",
    "3 \r\nabc\r\n0\r\n\r\n",
    "3\t\r\nabc\r\n0\r\n\r\n",
    "\r\nabc\r\n0\r\n\r\n",
    ";a=b\r\nabc\r\n0\r\n\r\n",
    "g\r\nabc\r\n0\r\n\r\n",
    "3g\r\nabc\r\n0\r\n\r\n",
    "3 g\r\nabc\r\n0\r\n\r\n",
    "3\nabc\r\n0\r\n\r\n",
    "3\rabc\r\n0\r\n\r\n",
    "3\r\rabc\r\n0\r\n\r\n",
    "3;a\nabc\r\n0\r\n\r\n",
    "3;a\rb\r\nabc\r\n0\r\n\r\n",
    "3;a\0b\r\nabc\r\n0\r\n\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "3\r\nab\r\n0\r\n\r\n",
    "3\r\nabc0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "3\r\nabc\r0\r\n\r\n",
    "3\r\nabc\r\n\r\n0\r\n\r\n",
    "10000000000000000\r\nabc\r\n0\r\n\r\n",
    "00000000000000003\r\nabc\r\n0\r\n\r\n",
    "0\n\n",
    "0\r\n\n",
    "0\r\nA: b\n\r\n",
    "0\r\nA : b\r\n\r\n",
    "0\r\n A: b\r\n\r\n",
    "0\r\nno field\r\n\r\n",
    "0\r\nA: b\0\r\n\r\n",
];

/// First lines that are refused, with the status of the answer. A `Host` follows.
const BY_LINE: &[(&str, u16)] = &[
    ("GET  / HTTP/1.1", 400),
    ("GET /  HTTP/1.1", 400),
    ("GET / HTTP/1.1 ", 400),
    (" GET / HTTP/1.1", 400),
    ("GET\t/ HTTP/1.1", 400),
    ("GET /\tHTTP/1.1", 400),
    ("GET / a HTTP/1.1", 400),
    ("GET /", 400),
    ("GET", 400),
    ("GET / ", 400),
    ("GET HTTP/1.1", 400),
    ("GET  HTTP/1.1", 400),
    (" / HTTP/1.1", 400),
    ("G\u{e9}T / HTTP/1.1", 400),
    ("GET / http/1.1", 400),
    ("GET / HTTP/1,1", 400),
    ("GET / HTTP/11", 400),
    ("GET / HTTP/1.10", 400),
    ("GET / HTTP/01.1", 400),
    ("GET / HTTP/1.x", 400),
    ("GET / HTTPS/1.1", 400),
    ("GET / ICY/1.1", 400),
    ("GET / HTTP/0.9", 505),
    ("GET / HTTP/2.0", 505),
    ("GET / HTTP/3.1", 505),
    ("GET /\0 HTTP/1.1", 400),
    ("GET /\u{e9} HTTP/1.1", 400),
    ("GET /\u{7f} HTTP/1.1", 400),
    ("GET /a#b HTTP/1.1", 400),
    ("GET a HTTP/1.1", 400),
    ("GET ../a HTTP/1.1", 400),
    ("GET * HTTP/1.1", 400),
    ("OPTIONS ** HTTP/1.1", 400),
    ("GET a:80 HTTP/1.1", 400),
    ("GET http:/a HTTP/1.1", 400),
    ("GET http:///a HTTP/1.1", 400),
    ("GET http://u@a/ HTTP/1.1", 400),
    ("GET http://a b/ HTTP/1.1", 400),
    ("GET http://a:b/ HTTP/1.1", 400),
    ("GET 1http://a/ HTTP/1.1", 400),
    ("CONNECT / HTTP/1.1", 400),
    ("CONNECT a HTTP/1.1", 400),
    ("CONNECT a: HTTP/1.1", 400),
    ("CONNECT :1 HTTP/1.1", 400),
    ("CONNECT a:65536 HTTP/1.1", 400),
    ("CONNECT http://a:1/ HTTP/1.1", 400),
];

/// Values of `Host` that are refused.
const BY_HOST: &[&str] = &[
    "a b",
    "a/b",
    "a,b/",
    "a@b",
    "a?b",
    "a#b",
    "a\\b",
    "a:b",
    "a:1:2",
    "a:-1",
    "a:65536",
    "[::1",
    "::1",
    "[]",
    "[::1]x",
    "[::1]:x",
    "[a b]",
    "\u{e9}",
    "a\"b",
    "a<b",
    "http://a",
    "[v1.\u{e9}]",
];

/// Serves a stream and what would be smuggled. Checks that it is refused with `status`, however it
/// arrives.
fn check_refused(stream: &str, status: u16) {
    let stream = format!("{stream}{NEXT}");
    let whole = serve_whole(stream.as_bytes());
    let text = stream.escape_debug();
    assert_eq!(whole.statuses(), [status], "{text}: {whole:#?}");
    assert!(whole.requests.is_empty(), "{text}: {whole:#?}");
    assert_eq!(whole.refusals.len(), 1, "{text}");
    assert!(whole.sent.contains("\r\nConnection: close\r\n"), "{text}: {}", whole.sent);
    let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    let trickled = serve(&options(), &bytes);
    assert_eq!(trickled.statuses(), [status], "byte by byte: {text}");
    assert!(trickled.requests.is_empty(), "byte by byte: {text}: {trickled:#?}");
}

#[test]
fn what_could_smuggle_is_refused() {
    assert!(BY_FIELDS.len() + BY_CHUNKS.len() + BY_LINE.len() >= 60);
    for (fields, rest, status) in BY_FIELDS {
        check_refused(&format!("{POST}{fields}\r\n\r\n{rest}"), *status);
    }
    for rest in BY_CHUNKS {
        check_refused(&format!("{POST}Transfer-Encoding: chunked\r\n\r\n{rest}"), 400);
    }
    for (line, status) in BY_LINE {
        check_refused(&format!("{line}\r\nHost: a\r\n\r\n"), *status);
    }
    for host in BY_HOST {
        check_refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400);
    }
    check_refused("GET / HTTP/1.1\r\n\r\n", 400);
    check_refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    check_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    check_refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

#[test]
fn what_looks_odd_and_is_right_is_delivered() {
    let cases = [
        ("Content-Length: 003", "abc", "body=3 [abc]"),
        ("Content-Length:3", "abc", "body=3 [abc]"),
        ("Content-Length: \t 3 \t ", "abc", "body=3 [abc]"),
        ("CONTENT-LENGTH: 3", "abc", "body=3 [abc]"),
        ("Content-Length: 35\r\nX: y", NEXT, "[GET /smuggled HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n]"),
        ("Transfer-Encoding:chunked", "3\r\nabc\r\n0\r\n\r\n", "body=chunked [abc]"),
        ("Transfer-Encoding: , chunked ,", "3\r\nabc\r\n0\r\n\r\n", "body=chunked [abc]"),
        ("transfer-encoding: CHUNKED", "0003\r\nabc\r\n00\r\n\r\n", "body=chunked [abc]"),
        ("Transfer-Encoding: chunked", "3;a;b=c;d=\"e;\"\r\nabc\r\n0;x\r\n\r\n", "[abc]"),
        ("Transfer-Encoding: chunked", "3 \t; a\r\nabc\r\n0\r\n\r\n", "[abc]"),
        ("Transfer-Encoding: chunked", "A\r\n0123456789\r\n0\r\n\r\n", "[0123456789]"),
        ("Transfer-Encoding: chunked", "0\r\nContent-Length: 5\r\n\r\n", "[] Content-Length=5"),
        ("X-Transfer-Encoding: chunked\r\nContent-Length: 3", "abc", "[abc]"),
        ("X: \u{e9}\t\"\r\nContent-Length: 3", "abc", "[abc]"),
        ("X:\r\nY: \r\nContent-Length: 3", "abc", "[abc]"),
        ("Content-Length: 3\r\nExpect: 100-Continue", "abc", "[abc]"),
    ];
    for (fields, rest, expected) in cases {
        let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
        let rest = if rest == NEXT { &NEXT[..35] } else { rest };
        let stream = format!("{POST}{fields}\r\n\r\n{rest}{next}");
        let whole = serve_whole(stream.as_bytes());
        assert_eq!(whole.requests.len(), 2, "{fields}: {whole:#?}");
        assert!(whole.requests[0].ends_with(expected), "{fields}: {whole:#?}");
    }
    let lines = [
        ("GET http://b:80/x?y HTTP/1.1", "host=b:80"),
        ("GET https://b HTTP/1.1", "host=b"),
        ("OPTIONS * HTTP/1.1", "host=a"),
        ("CONNECT b:443 HTTP/1.1", "host=b:443"),
        ("CONNECT [::1]:443 HTTP/1.1", "host=[::1]:443"),
        ("GET /?a=b?c HTTP/1.1", "host=a"),
        ("GET //x HTTP/1.1", "host=a"),
        ("M-SEARCH /{|}\"<>^`\\ HTTP/1.1", "host=a"),
        ("GET / HTTP/1.2", "host=a"),
    ];
    for (line, expected) in lines {
        let outcome = serve_whole(format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
        assert!(outcome.refusals.is_empty(), "{line}: {outcome:#?}");
        let host = format!("{expected} ");
        assert!(outcome.requests.first().is_none_or(|it| it.contains(&host)), "{outcome:#?}");
    }
    for host in ["", "a", "a:", "a:80", "[::1]", "[::1]:80", "a.b-c_d", "%41", "127.0.0.1:1"] {
        let outcome = serve_whole(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(outcome.statuses(), [200], "{host}");
    }
}

#[test]
fn a_port_has_five_digits_at_most() {
    for port in ["65536", "000080", "02222222222222222222222222222", &"9".repeat(5000), "-1", "+1"]
    {
        for head in [
            format!("GET / HTTP/1.1\r\nHost: a:{port}\r\n\r\n"),
            format!("GET http://a:{port}/ HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("CONNECT a:{port} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            let outcome = serve_whole(head.as_bytes());
            assert_eq!(outcome.statuses(), [400], "{head:.60}");
        }
    }
}
