//! Other servers that misbehave: how often they get a request, and when the client is told.

use std::io::{BufReader, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use testkit::has_peer;

use crate::curl;
use crate::proxy::{proxy, read_head, serve, url};

/// A server that answers requests for `/api/good` and keeps the connection. It answers others with
/// `answer`, and then ends the connection, or keeps it open until the proxy has ended it. Returns its
/// address and the heads that it gets.
fn misbehaving(answer: &'static str, ends: bool) -> (String, Receiver<String>) {
    let (heads, seen) = channel();
    let heads = Mutex::new(heads);
    let address = serve(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        while let Some(head) = read_head(&mut reader) {
            let is_good = head.contains(" /api/good ");
            heads.lock().expect("none panics").send(head).expect("the test listens");
            if is_good {
                let good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(good).expect("it is read");
                continue;
            }
            let _ = stream.write_all(answer.as_bytes());
            if !ends {
                let _ = reader.read_to_end(&mut Vec::new());
            }
            return;
        }
    });
    (address, seen)
}

#[test]
fn a_request_is_repeated_only_if_its_kept_connection_ended_without_an_answer() {
    if !has_peer("curl") {
        return;
    }
    for (answer, ends, status, count) in [
        ("", false, 504, 1),
        ("HTTP/1.1 200 O", false, 504, 1),
        ("HTTP/1.1 200 O", true, 502, 1),
        ("HTTP/1.1 100 Continue\r\n\r\n", true, 502, 1),
        ("SSH-2.0-OpenSSH\r\n", true, 502, 1),
        ("", true, 502, 2),
    ] {
        let (address, seen) = misbehaving(answer, ends);
        let server = proxy(&address, &["--proxy-timeout", "300ms"]);
        for method in ["GET", "DELETE"] {
            assert_eq!(curl(&url(&server, "/api/good"), &[]).text(), "ok");
            let bad = curl(&url(&server, "/api/bad"), &["-X", method]);
            assert_eq!(bad.status, status, "{method} {answer:?}");
            let is_bad = |head: &String| head.contains(" /api/bad ");
            assert_eq!(seen.try_iter().filter(is_bad).count(), count, "{method} {answer:?}");
        }
    }
}

#[test]
fn the_client_is_told_of_a_failure_although_the_other_server_keeps_its_connection() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    for (answer, status) in [("", 504), ("SSH-2.0-OpenSSH\r\n", 502), (switch, 502)] {
        // It keeps its connection even when the proxy has ended it.
        let (done, finished) = channel();
        let finished = Mutex::new(finished);
        let address = serve(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
            read_head(&mut reader);
            let _ = stream.write_all(answer.as_bytes());
            let _ = finished.lock().expect("none panics").recv();
        });
        let server = proxy(&address, &["--proxy-timeout", "200ms"]);
        // It would linger for 5 s. A busy machine may be slow once.
        let is_told_soon = || {
            let start = Instant::now();
            let mut stream = server.connect();
            stream.write_all(b"GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
            let mut line = [0; 12];
            stream.read_exact(&mut line).expect("it answers");
            assert_eq!(line, *format!("HTTP/1.1 {status}").as_bytes(), "{answer:?}");
            done.send(()).expect("the other server waits");
            start.elapsed() < Duration::from_secs(4)
        };
        assert!((0..3).any(|_| is_told_soon()), "{answer:?}");
    }
}
