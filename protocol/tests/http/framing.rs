//! Every combination of the rules of RFC 9112 section 6.3, for requests and for responses.

use super::client::{Script, answer};
use super::recorder::serve_whole;

/// What the field `Transfer-Encoding` says, if it is there, and what a message with it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    None,
    Chunked,
    OtherThenChunked,
    ChunkedThenOther,
    Other,
}

impl Coding {
    const ALL: [Self; 5] =
        [Self::None, Self::Chunked, Self::OtherThenChunked, Self::ChunkedThenOther, Self::Other];

    fn line(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Chunked => "Transfer-Encoding: chunked\r\n",
            Self::OtherThenChunked => "Transfer-Encoding: gzip, chunked\r\n",
            Self::ChunkedThenOther => "Transfer-Encoding: chunked, gzip\r\n",
            Self::Other => "Transfer-Encoding: gzip\r\n",
        }
    }
}

/// What the field `Content-Length` says, if it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    None,
    Zero,
    Three,
    Twice,
    Invalid,
}

impl Length {
    const ALL: [Self; 5] = [Self::None, Self::Zero, Self::Three, Self::Twice, Self::Invalid];

    fn line(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Zero => "Content-Length: 0\r\n",
            Self::Three => "Content-Length: 3\r\n",
            Self::Twice => "Content-Length: 3\r\nContent-Length: 3\r\n",
            Self::Invalid => "Content-Length: three\r\n",
        }
    }
}

/// Returns the status that a request is refused with, or the body that it has.
fn rule_for_requests(coding: Coding, length: Length, is_1_1: bool) -> Result<&'static str, u16> {
    // Rule 5: an invalid length is an error, whatever else there is.
    if matches!(length, Length::Twice | Length::Invalid) {
        return Err(400);
    }
    // Rule 3: both may be an attempt to smuggle.
    if coding != Coding::None && length != Length::None {
        return Err(400);
    }
    // Section 6.1: a message of HTTP/1.0 with a coding has faulty framing.
    if coding != Coding::None && !is_1_1 {
        return Err(400);
    }
    match (coding, length) {
        (Coding::Chunked, _) => Ok("abc"),
        (Coding::OtherThenChunked, _) => Err(501),
        // Rule 4: the length of the body cannot be determined.
        (Coding::ChunkedThenOther | Coding::Other, _) => Err(400),
        (Coding::None, Length::Three) => Ok("abc"),
        // Rule 7: no body.
        (Coding::None, _) => Ok(""),
    }
}

#[test]
fn requests_have_the_bodies_that_the_rules_give_them() {
    let mut count = 0;
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for (is_1_1, coding, length) in combinations() {
            count += 1;
            let version = if is_1_1 { "1.1" } else { "1.0" };
            let (coding_line, length_line) = (coding.line(), length.line());
            let expected = rule_for_requests(coding, length, is_1_1);
            let body = match (coding, length) {
                (Coding::None, Length::Three) => "abc",
                (Coding::None, _) => "",
                _ => "3\r\nabc\r\n0\r\n\r\n",
            };
            let next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            for lines in [[coding_line, length_line], [length_line, coding_line]] {
                let stream = format!(
                    "{method} / HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n{}\r\n{body}{next}",
                    lines.concat()
                );
                let outcome = serve_whole(stream.as_bytes());
                let text = format!("{method} {version} {coding:?} {length:?}: {outcome:#?}");
                match expected {
                    Ok(body) => {
                        assert_eq!(outcome.requests.len(), 2, "{text}");
                        assert!(outcome.requests[0].ends_with(&format!(" [{body}]")), "{text}");
                        assert_eq!(outcome.statuses(), [200, 200], "{text}");
                    }
                    Err(status) => {
                        assert_eq!(outcome.statuses(), [status], "{text}");
                        assert!(outcome.requests.is_empty(), "{text}");
                    }
                }
            }
        }
    }
    assert_eq!(count, 7 * 50);
}

fn combinations() -> impl Iterator<Item = (bool, Coding, Length)> {
    [false, true].into_iter().flat_map(|is_1_1| {
        Coding::ALL.into_iter().flat_map(move |coding| {
            Length::ALL.into_iter().map(move |length| (is_1_1, coding, length))
        })
    })
}

/// The body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    None,
    Chunked,
    Three,
    UntilClose,
    Refused,
}

fn rule_for_responses(
    method: &str,
    status: u16,
    (is_1_1, coding, length): (bool, Coding, Length),
) -> Body {
    // A length that cannot be read is an error, even where it would not matter.
    if matches!(length, Length::Twice | Length::Invalid) {
        return Body::Refused;
    }
    // Rules 1 and 2.
    let is_tunnel = method == "CONNECT" && (200..300).contains(&status);
    if method == "HEAD" || is_tunnel || matches!(status, 204 | 304) {
        return Body::None;
    }
    if coding != Coding::None && (length != Length::None || !is_1_1) {
        return Body::Refused;
    }
    match (coding, length) {
        (Coding::Chunked, _) => Body::Chunked,
        // No coding but chunked was offered, so others cannot be read.
        (Coding::OtherThenChunked | Coding::ChunkedThenOther | Coding::Other, _) => Body::Refused,
        (Coding::None, Length::Three) => Body::Three,
        (Coding::None, Length::Zero) => Body::None,
        // Rule 8.
        (Coding::None, _) => Body::UntilClose,
    }
}

#[test]
fn responses_have_the_bodies_that_the_rules_give_them() {
    let mut count = 0;
    for method in ["GET", "HEAD", "POST", "CONNECT"] {
        for status in [200, 204, 206, 304, 404, 500] {
            for case @ (is_1_1, coding, length) in combinations() {
                if method == "CONNECT" && (200..300).contains(&status) {
                    // Another session goes on: a test of its own.
                    continue;
                }
                count += 1;
                let expected = rule_for_responses(method, status, case);
                let body = match expected {
                    Body::None | Body::Refused => "",
                    Body::Chunked => "3\r\nabc\r\n0\r\n\r\n",
                    Body::Three => "abc",
                    Body::UntilClose => "until the end",
                };
                let version = if is_1_1 { "1.1" } else { "1.0" };
                let stream = format!(
                    "HTTP/{version} {status} X\r\nConnection: keep-alive\r\n{}{}\r\n{body}",
                    coding.line(),
                    length.line()
                );
                let (log, reason) = answer(Script::of(&[method]), &[stream.as_bytes()]);
                let text = format!("{method} {status} {case:?}: {log:?} {reason}");
                let end = match expected {
                    Body::Refused => {
                        assert!(reason.starts_with("refused: ") && log.is_empty(), "{text}");
                        continue;
                    }
                    Body::None => "[] kept=true",
                    Body::Chunked | Body::Three => "[abc] kept=true",
                    Body::UntilClose => "[until the end] kept=false",
                };
                assert_eq!(log.last().map(String::as_str), Some(end), "{text}");
                assert_eq!(reason, "peer closed", "{text}");
            }
        }
    }
    assert_eq!(count, 50 * (4 * 6 - 3));
}
