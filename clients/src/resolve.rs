//! Resolves names as a program would, and prints every field of the answer.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use reactor::{AddressInfo, Query, Reactor, ResolveError, Resolved, Resolver, ResolverOptions};

use crate::Failure;
use crate::output::json_text;

/// Looks `query` up on a loop, within `timeout`.
///
/// # Errors
/// Fails if there is no answer: the message is one sentence that names the question.
pub fn resolve(query: &Query, timeout: Duration) -> Result<Arc<Resolved>, Failure> {
    let mut reactor: Reactor<Option<Result<Arc<Resolved>, ResolveError>>> = Reactor::new(None)?;
    let resolver = Resolver::new(ResolverOptions { timeout, ..ResolverOptions::DEFAULT })?;
    resolver.resolve(query.clone(), &mut reactor.cx(), |answer, cx| *cx.app = Some(answer))?;
    reactor.run_until(Option::is_some)?;
    match reactor.app.take() {
        Some(Ok(found)) => Ok(found),
        Some(Err(error)) => Err(Failure::new(error.to_string())),
        None => Err(Failure::new(format!("{query}: the loop was stopped"))),
    }
}

/// Returns the answer as a table: a line for each entry, with its address, port, family, type and
/// protocol. The canonical name follows in the first line.
pub fn table(found: &Resolved) -> String {
    let width = |entry: &AddressInfo| address(entry).len();
    let width = found.entries().iter().map(width).max().unwrap_or(0);
    let mut text = String::new();
    for (place, entry) in found.entries().iter().enumerate() {
        let line = format!(
            "{:width$} {:5} {} {:8} {:3} {}",
            address(entry),
            entry.address.port(),
            entry.family(),
            entry.socket_type,
            entry.ip_protocol,
            found.canonical_name().filter(|_| place == 0).unwrap_or_default(),
        );
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// Returns an IP address with its scope, if it has one (RFC 4007).
fn address(entry: &AddressInfo) -> String {
    match entry.address {
        std::net::SocketAddr::V6(v6) if v6.scope_id() != 0 => {
            format!("{}%{}", v6.ip(), v6.scope_id())
        }
        address => address.ip().to_string(),
    }
}

/// Returns the answer as one JSON object in a line (RFC 8259): `canonical_name`, a text or null, and
/// `entries`, objects with `address`, `port`, `family` (4 or 6), `socket_type` and `protocol` by name,
/// and their numbers.
pub fn json(found: &Resolved) -> String {
    let mut text = "{\"canonical_name\":".to_owned();
    match found.canonical_name() {
        Some(name) => text += &json_text(name),
        None => text += "null",
    }
    text += ",\"entries\":[";
    for (place, entry) in found.entries().iter().enumerate() {
        let separator = if place == 0 { "" } else { "," };
        let family = if entry.address.is_ipv4() { 4 } else { 6 };
        let (kind, protocol) = (entry.socket_type, entry.ip_protocol);
        text += separator;
        text += "{\"address\":";
        text += &json_text(&address(entry));
        // Writing to a text does not fail.
        let _ = write!(
            text,
            ",\"port\":{},\"family\":{family},\"socket_type\":\"{kind}\",\"socket_type_number\":{},\
             \"protocol\":\"{protocol}\",\"protocol_number\":{}}}",
            entry.address.port(),
            kind.number(),
            protocol.number(),
        );
    }
    text + "]}\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::{Hints, IpProtocol, SocketType};

    fn answer() -> Resolved {
        let entry = |address: &str, socket_type, ip_protocol| AddressInfo {
            socket_type,
            ip_protocol,
            address: address.parse().expect("it is an address"),
        };
        let entries = vec![
            entry("[fe80::1%2]:80", SocketType::STREAM, IpProtocol::TCP),
            entry("10.0.0.1:80", SocketType::DATAGRAM, IpProtocol::UDP),
            entry("10.0.0.1:80", SocketType::from_number(6), IpProtocol::from_number(33)),
        ];
        Resolved::new(entries, Some("a\"\\\u{1}b".to_owned()))
    }

    #[test]
    fn an_answer_is_a_table_with_every_field() {
        assert_eq!(
            table(&answer()),
            "fe80::1%2    80 IPv6 stream   tcp a\"\\\u{1}b\n\
             10.0.0.1     80 IPv4 datagram udp\n\
             10.0.0.1     80 IPv4 6        33\n"
        );
    }

    #[test]
    fn an_answer_is_json_with_every_field() {
        let text = json(&answer());
        assert!(
            text.starts_with("{\"canonical_name\":\"a\\\"\\\\\\u0001b\",\"entries\":[{"),
            "{text}"
        );
        assert!(text.contains(
            "{\"address\":\"fe80::1%2\",\"port\":80,\"family\":6,\"socket_type\":\"stream\",\
             \"socket_type_number\":1,\"protocol\":\"tcp\",\"protocol_number\":6}"
        ));
        let found = resolve(&Query::new("::1").hints(Hints::DEFAULT), Duration::from_secs(1));
        assert!(json(&found.expect("it is an address")).starts_with("{\"canonical_name\":null,"));
    }
}
