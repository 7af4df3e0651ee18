//! The fields that a proxy passes on, leaves out and adds.

use std::fmt::Write;
use std::net::IpAddr;

use protocol::http::{Fields, RequestHead, Version};

/// Fields that are about one connection (RFC 9110, section 7.6.1), besides those that `Connection`
/// names, and `Expect`, which the session answers.
const OF_A_CONNECTION: [&str; 9] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// Fields of requests that the proxy writes itself.
const REWRITTEN: [&str; 5] =
    ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"];

const MAX_FORWARDS: &str = "max-forwards";

/// Returns the fields that are for the end of the way, without those that describe the length of the
/// body, which each connection has its own of.
fn passed_on<'a>(fields: Fields<'a>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let is = |name: &str, own: &&str| name.eq_ignore_ascii_case(own);
    fields.iter().map(|field| (field.name, field.value)).filter(move |(name, _)| {
        !OF_A_CONNECTION.iter().any(|own| is(name, own))
            && !is(name, &"content-length")
            && !is(name, &"transfer-encoding")
            && !fields.contains_token("connection", name)
    })
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The address of the client; `None` for Unix sockets.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) is_encrypted: bool,
}

/// Calls `add` with each field of the request to the other server, except for `Host`.
pub(crate) fn of_request(head: &RequestHead<'_>, origin: Origin, mut add: impl FnMut(&str, &[u8])) {
    let fields = head.fields();
    let has_hops = counts_hops(head);
    for (name, value) in passed_on(fields) {
        if has_hops && name.eq_ignore_ascii_case(MAX_FORWARDS) {
            if let Some(left) = hops(value) {
                add(name, left.saturating_sub(1).to_string().as_bytes());
            }
        } else if !REWRITTEN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            add(name, value);
        }
    }
    let scheme = if origin.is_encrypted { "https" } else { "http" };
    let peer = origin.peer.map_or("unknown".to_owned(), |peer| peer.to_string());
    add("X-Forwarded-For", &list(fields, "x-forwarded-for", &peer));
    add("X-Forwarded-Proto", scheme.as_bytes());
    if !head.host().is_empty() {
        add("X-Forwarded-Host", head.host().as_bytes());
    }
    add("Forwarded", &list(fields, "forwarded", &forwarded(head.host(), origin, scheme)));
    // The version is that of the message that was received (RFC 9110, section 7.6.3).
    let via = if head.version() == Version::Http11 { "1.1 web" } else { "1.0 web" };
    add("Via", via.as_bytes());
}

/// Returns whether `Max-Forwards` is about a request (RFC 9110, section 7.6.2).
fn counts_hops(head: &RequestHead<'_>) -> bool {
    matches!(head.method(), "OPTIONS" | "TRACE")
}

fn hops(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// Returns whether a request may not be passed on to another server.
pub(crate) fn ends_here(head: &RequestHead<'_>) -> bool {
    counts_hops(head) && head.fields().get(MAX_FORWARDS).and_then(hops) == Some(0)
}

/// Returns the protocol that a request offers to change to (RFC 9110, section 7.8). One that has a
/// body cannot change it here.
pub(crate) fn upgrade<'a>(head: &RequestHead<'a>) -> Option<&'a str> {
    let fields = head.fields();
    let protocol = fields.get_str("upgrade")?;
    let is_asked = fields.contains_token("connection", "upgrade");
    (is_asked && head.version() == Version::Http11 && head.body().is_empty()).then_some(protocol)
}

/// Calls `add` with each field of the response for the client.
pub(crate) fn of_response(fields: Fields<'_>, mut add: impl FnMut(&str, &[u8])) {
    passed_on(fields).for_each(|(name, value)| add(name, value));
}

/// Returns a list with one more element.
fn list(fields: Fields<'_>, name: &str, element: &str) -> Vec<u8> {
    let mut list = Vec::new();
    for value in fields.get_all(name).filter(|value| !value.is_empty()) {
        list.extend_from_slice(value);
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    list
}

/// Returns an element of `Forwarded` (RFC 7239, section 4).
fn forwarded(host: &str, origin: Origin, scheme: &str) -> String {
    let mut text = match origin.peer {
        Some(IpAddr::V4(peer)) => format!("for={peer}"),
        Some(IpAddr::V6(peer)) => format!("for=\"[{peer}]\""),
        None => "for=unknown".to_owned(),
    };
    // A host has no quotation marks, or the head would have been refused.
    if !host.is_empty() && !host.contains(['"', '\\']) {
        // Writing to a string cannot fail.
        let _ = write!(text, ";host=\"{host}\"");
    }
    let _ = write!(text, ";proto={scheme}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::http::OwnedRequestHead;

    fn passed(text: &str, origin: Origin) -> String {
        let text = text.replace('\n', "\r\n");
        let parsed = OwnedRequestHead::parse(text.as_bytes()).expect("it is right");
        let (head, _) = parsed.expect("it is whole");
        let mut passed = String::new();
        of_request(&head.view(), origin, |name, value| {
            passed += &format!("{name}: {}\n", String::from_utf8_lossy(value));
        });
        passed
    }

    #[test]
    fn what_is_about_the_connection_stays_behind() {
        let origin = Origin { peer: Some([192, 0, 2, 7].into()), is_encrypted: false };
        let text = "POST http://b.example:80/x HTTP/1.1\nHost: b.example:80\nAccept: a\n\
                    Connection: close, X-Secret\nX-Secret: s\nKeep-Alive: 5\nTE: trailers\n\
                    Trailer: X\nUpgrade: h2c\nProxy-Connection: close\nProxy-Authorization: p\n\
                    Expect: 100-continue\nTransfer-Encoding: chunked\nX-Two: 1\nX-Two: 2\n\n";
        assert_eq!(
            passed(text, origin),
            "Accept: a\nX-Two: 1\nX-Two: 2\nX-Forwarded-For: 192.0.2.7\n\
             X-Forwarded-Proto: http\nX-Forwarded-Host: b.example:80\n\
             Forwarded: for=192.0.2.7;host=\"b.example:80\";proto=http\nVia: 1.1 web\n"
        );
    }

    #[test]
    fn the_version_and_the_hops_are_those_of_the_request() {
        let origin = Origin { peer: Some([192, 0, 2, 7].into()), is_encrypted: false };
        let old = passed("GET / HTTP/1.0\n\n", origin);
        assert!(old.ends_with("Via: 1.0 web\n") && !old.contains("X-Forwarded-Host"), "{old}");
        for (method, value, passes) in [
            ("OPTIONS", "7", Some("6")),
            ("TRACE", "1", Some("0")),
            ("TRACE", "x", None),
            ("GET", "7", Some("7")),
        ] {
            let text = format!("{method} / HTTP/1.1\nHost: a\nMax-Forwards: {value}\n\n");
            let passed = passed(&text, origin);
            let line = passed.lines().find_map(|line| line.strip_prefix("Max-Forwards: "));
            assert_eq!(line, passes, "{method} {value}");
        }
        for (method, value, ends) in [
            ("OPTIONS", "0", true),
            ("TRACE", "0", true),
            ("OPTIONS", "1", false),
            ("GET", "0", false),
        ] {
            let text = format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {value}\r\n\r\n");
            let parsed = OwnedRequestHead::parse(text.as_bytes()).expect("it is right");
            assert_eq!(ends_here(&parsed.expect("it is whole").0.view()), ends, "{method} {value}");
        }
    }

    #[test]
    fn earlier_proxies_stay_in_the_list_and_the_rest_is_replaced() {
        let peer = "2001:db8::1".parse().expect("it is an address");
        let origin = Origin { peer: Some(peer), is_encrypted: true };
        let text = "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1.1.1.1\nX-Forwarded-For: 2.2.2.2\n\
                    X-Forwarded-Proto: evil\nX-Forwarded-Host: evil\nForwarded: for=1.1.1.1\n\
                    Connection: X-Forwarded-For\n\n";
        assert_eq!(
            passed(text, origin),
            "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 2001:db8::1\nX-Forwarded-Proto: https\n\
             X-Forwarded-Host: a\n\
             Forwarded: for=1.1.1.1, for=\"[2001:db8::1]\";host=\"a\";proto=https\nVia: 1.1 web\n"
        );
        let nowhere = Origin { peer: None, is_encrypted: false };
        assert!(passed("GET / HTTP/1.1\nHost: a\n\n", nowhere).contains("for=unknown;"));
    }
}
