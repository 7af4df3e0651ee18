//! Heads of requests and responses, beside the parser `httparse`.
//!
//! That parser is the one of hyper and of most servers in Rust, small and well kept, so it is a
//! reference for what a head says. It accepts more, on purpose: bare line feeds, several empty lines
//! before a request, any version digits, any bytes above 127 in a target. So what this crate accepts, `httparse` has to
//! accept too, with the same parts; and what this crate refuses and `httparse` accepts has to be
//! refused for one of those reasons, or for a rule above the syntax.

use protocol::Random;
use protocol::http::{OwnedRequestHead, Refusal};

/// Pieces of requests, right and wrong, of which heads are made.
const PIECES: &[&str] = &[
    "GET",
    "POST",
    " ",
    "  ",
    "/",
    "/a?b",
    "*",
    "http://a/b",
    " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/1.2",
    "\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "Host: a",
    "Host",
    ": ",
    ":",
    "Content-Length: 5",
    "A: b",
    "A:",
    " A: b",
    "\t",
    "\0",
    "\u{e9}",
    "Transfer-Encoding: chunked",
    "Connection: close",
    "\"",
    "x",
    "(",
    "#",
    "\u{7f}",
    "OPTIONS",
    "a:80",
];

fn random_head(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.one_in(3) {
        for _ in 0..random.below(12) {
            bytes.extend_from_slice(random.pick::<str>(PIECES).as_bytes());
        }
        return bytes;
    }
    // Mostly right, with a change or two.
    let method = random.pick(&["GET", "POST", "M-SEARCH", "OPTIONS", "get"]);
    let target = random.pick(&["/", "/a/b?c=d", "*", "http://h:1/x", "/%41|{}"]);
    let version = random.pick(&["1.1", "1.0", "1.1", "1.1"]);
    bytes.extend_from_slice(format!("{method} {target} HTTP/{version}\r\n").as_bytes());
    for _ in 0..random.below(6) {
        let name = random.pick(&["Host", "Accept", "X-Y_z", "Content-Length", "connection"]);
        let value = random.pick(&["a", "5", "", " a\tb ", "\u{e9}t\u{e9}", "x, y"]);
        bytes.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    for _ in 0..random.below(3) {
        let place = random.index(bytes.len());
        let piece = random.pick::<str>(PIECES).as_bytes();
        match random.below(3) {
            0 => bytes[place] = piece[0],
            1 => drop(bytes.remove(place)),
            _ => drop(bytes.splice(place..place, piece.iter().copied())),
        }
    }
    bytes
}

/// Whether `httparse` is known to accept a head that is refused for this reason.
fn is_stricter_here(refusal: Refusal, bytes: &[u8]) -> bool {
    match refusal {
        // Rules above the syntax.
        Refusal::NoHost
        | Refusal::SeveralHosts
        | Refusal::Host
        | Refusal::Target
        | Refusal::Length
        | Refusal::SeveralLengths
        | Refusal::LengthAndCoding
        | Refusal::Coding
        | Refusal::UnknownCoding
        | Refusal::CodingInHttp10
        | Refusal::Expectation => true,
        // A line feed without a carriage return, anywhere.
        Refusal::LineEnd => {
            bytes.windows(2).any(|it| it[1] == b'\n' && it[0] != b'\r') || bytes[0] == b'\n'
        }
        // Empty lines before the request.
        Refusal::RequestLine => bytes.starts_with(b"\r\n") || bytes.starts_with(b"\n"),
        _ => false,
    }
}

#[test]
fn heads_are_read_as_another_parser_reads_them() {
    let mut random = Random::new(1);
    let (mut accepted, mut refused, mut both) = (0, 0, 0);
    for _ in 0..20_000 {
        let bytes = random_head(&mut random);
        let text = bytes.escape_ascii();
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut other = httparse::Request::new(&mut headers);
        let status = other.parse(&bytes);
        match (OwnedRequestHead::parse(&bytes), status) {
            (Ok(Some((head, length))), Ok(httparse::Status::Complete(other_length))) => {
                accepted += 1;
                let head = head.view();
                assert_eq!(length, other_length, "{text}");
                assert_eq!(Some(head.method()), other.method, "{text}");
                assert_eq!(Some(head.target_text()), other.path, "{text}");
                let fields: Vec<_> = head.fields().iter().map(|it| (it.name, it.value)).collect();
                let others: Vec<_> = other.headers.iter().map(|it| (it.name, it.value)).collect();
                assert_eq!(fields, others, "{text}");
            }
            (Ok(None), Ok(httparse::Status::Partial)) | (Err(_), Err(_)) => both += 1,
            // What follows may be refused later.
            (Err(_), Ok(httparse::Status::Partial)) => both += 1,
            (Err(refusal), Ok(httparse::Status::Complete(_))) => {
                refused += 1;
                assert!(is_stricter_here(refusal, &bytes), "{refusal:?}: {text}");
            }
            // It has not looked at a line that has not ended.
            (Ok(None), Err(_)) => both += 1,
            (here, there) => panic!("{here:?} here, {there:?} there: {text}"),
        }
    }
    assert!(accepted > 500 && refused > 2000 && both > 5000, "{accepted} {refused} {both}");
}
