//! Clients that keep a connection and give nothing for it, in four ways. The server has a limit for
//! each, and its other clients do not notice.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::has_peer;

use crate::Site;

/// Reads to the end of a stream, or to its reset. Returns what came, and whether it ended in order.
fn read_all(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let (mut all, mut room) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut room) {
            Ok(0) => return (all, true),
            Ok(count) => all.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (all, false),
            Err(error) => panic!("it neither answers nor ends: {error}"),
        }
    }
}

/// Sends `text` byte by byte until the server ends the connection. Returns its answer.
fn trickle(mut stream: TcpStream, begin: &str, text: &str) -> String {
    stream.write_all(begin.as_bytes()).expect("it reads");
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("it can be set");
    let mut answer = Vec::new();
    for byte in text.bytes().cycle() {
        // Once the server has closed, it resets the connection.
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        let mut room = [0; 4096];
        match stream.read(&mut room) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(_) => {}
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn answers_others(site: &Site) {
    if has_peer("curl") {
        assert_eq!(site.get("/small", &[]).text(), "small");
    }
}

#[test]
fn a_slow_head_is_refused() {
    let site = Site::with("web-slow-head", &[("small", "small")], &["--head-timeout", "500ms"]);
    let answer = trickle(site.server.connect(), "GET /small HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    answers_others(&site);
}

#[test]
fn a_slow_body_is_refused() {
    let site = Site::with("web-slow-body", &[("small", "small")], &["--body-timeout", "500ms"]);
    let begin = "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    // The answer does not wait for the body, which is not needed. Then the connection is closed.
    let answer = trickle(site.server.connect(), begin, "b");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    answers_others(&site);
}

#[test]
fn a_reader_that_reads_nothing_is_closed() {
    let large = "x".repeat(30_000_000);
    let files = [("large", large.as_str()), ("small", "small")];
    let site = Site::with("web-slow-reader", &files, &["--idle-timeout", "500ms"]);
    let mut stream = site.server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    stream.read_exact(&mut [0; 100]).expect("it begins to answer");
    testkit::wait_until("its end", || site.server.counters()["connections"] == 0);
    let (answer, is_orderly) = read_all(&mut stream);
    assert!(answer.len() < large.len() && !is_orderly, "{} bytes", answer.len());
    answers_others(&site);
}

#[test]
fn a_silent_connection_is_closed() {
    let site = Site::with("web-slow-idle", &[("small", "small")], &["--idle-timeout", "500ms"]);
    let mut fresh = site.server.connect();
    let mut used = site.server.connect();
    used.write_all(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    let (answer, is_orderly) = read_all(&mut used);
    assert!(answer.ends_with(b"\r\n\r\nsmall") && is_orderly);
    assert_eq!(read_all(&mut fresh), (Vec::new(), true));
    answers_others(&site);
}
