//! Each failure has its exit code and a clear message.

use std::net::TcpListener;
use std::process::Stdio;

use super::peer::{After, Answer, Peer, cut, ok, status};
use super::tool::{command, failed, fetch, fetched};

/// No pause between attempts, which would only take time.
const ONCE: [&str; 2] = ["--retry", "0"];

fn once(url: &str) -> Vec<&str> {
    [url].into_iter().chain(ONCE).collect()
}

#[test]
fn connections_that_cannot_be_made() {
    let url = format!("http://{}/", testkit::refusing_address());
    failed(&once(&url), 7, "nothing listens there");
    failed(&once("http://no-such-host.invalid/"), 6, "no-such-host.invalid");
    failed(&once("ftp://one.example/"), 3, "the scheme ftp is not supported");
    failed(&once("http://"), 3, "no URL");
    let output = fetch(&["http://one.example/", "--parallel", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn responses_that_end_too_early() {
    for (text, code, hint) in [
        ("", 52, "closed the connection before it answered"),
        ("HTTP/1.1 200 OK\r\nContent-Le", 18, ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", 18, ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", 18, ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123", 18, ""),
    ] {
        let peer = Peer::start(move |_| cut(text));
        let output = failed(&once(&peer.url("/")), code, hint);
        assert_eq!(
            String::from_utf8_lossy(&output.stderr).lines().count(),
            1,
            "{text}: {output:?}"
        );
        assert_eq!(peer.asked().len(), 1, "{text}");
    }
}

#[test]
fn a_response_without_a_length_ends_with_the_connection() {
    let peer = Peer::start(|_| cut("HTTP/1.0 200 OK\r\n\r\neverything"));
    assert_eq!(fetched(&[peer.url("/")]), b"everything");
}

#[test]
fn responses_that_break_the_rules() {
    for text in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ] {
        let peer = Peer::start(move |_| cut(text));
        failed(&once(&peer.url("/")), 8, &peer.address.to_string());
    }
}

#[test]
fn statuses_of_errors_fail_unless_the_user_wants_them() {
    let peer = Peer::start(|_| {
        let text = "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nno, I";
        Answer(text.as_bytes().to_vec(), After::Keep)
    });
    let output = failed(&[peer.url("/x")], 22, "the server answers 404 Not Found");
    assert!(output.stdout.is_empty());
    assert_eq!(fetched(&[&peer.url("/x"), "--any-status"]), b"no, I");
    let output = failed(&[&peer.url("/x"), "-s"], 22, "");
    assert!(output.stderr.is_empty(), "-s prints nothing");
}

#[test]
fn each_limit_of_time_says_which_it_is() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/", silent.local_addr().expect("it has an address"));
    let args = [once(&url), vec!["--answer-timeout", "0.2"]].concat();
    failed(&args, 28, "does not answer the request for 200ms");
    let args = [once(&url), vec!["--max-time", "0.2"]].concat();
    failed(&args, 28, "longer than 200ms altogether");
    let stalls = Peer::start(|_| {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123";
        Answer(text.as_bytes().to_vec(), After::Hang)
    });
    let url = stalls.url("/");
    let args = [once(&url), vec!["--stall-timeout", "0.2"]].concat();
    failed(&args, 28, "stands still for 200ms");
    // Nothing answers the handshake.
    let url = format!("https://{}/", silent.local_addr().expect("it has an address"));
    let args = [once(&url), vec!["--insecure", "--connect-timeout", "0.2"]].concat();
    failed(&args, 28, "does not answer");
}

#[test]
fn attempts_are_repeated_if_that_does_no_harm() {
    let fails_twice = |first: &'static str| {
        Peer::start(move |asked| if asked.number < 2 { cut(first) } else { ok("third") })
    };
    let peer = fails_twice("");
    assert_eq!(fetched(&[peer.url("/")]), b"third");
    assert_eq!(peer.asked().len(), 3);
    let peer = fails_twice("HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(fetched(&[peer.url("/")]), b"third");
    // A request that may have been carried out is not sent twice.
    let peer = fails_twice("");
    failed(&[&peer.url("/"), "-d", "x"], 52, "closed the connection before it answered");
    assert_eq!(peer.asked().len(), 1);
    // The last status counts.
    let peer = Peer::start(|_| status("503 Busy", "Retry-After: 0\r\n"));
    failed(&[&peer.url("/"), "--retry", "1"], 22, "503 Busy");
    assert_eq!(peer.asked().len(), 2);
}

#[test]
fn a_large_body_is_refused() {
    let peer = Peer::start(|_| ok("1234567890"));
    failed(&[&peer.url("/"), "--max-filesize", "9"], 63, "larger than 9 bytes");
    assert_eq!(fetched(&[&peer.url("/"), "--max-filesize", "10"]), b"1234567890");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n";
    let peer = Peer::start(move |_| cut(chunked));
    failed(&[&peer.url("/"), "--max-filesize", "4"], 63, "larger than 4 bytes");
}

#[test]
fn bodies_that_cannot_be_decoded() {
    let peer = Peer::start(|asked| {
        assert!(asked.field("accept-encoding").expect("it is asked for").contains("br"));
        let encoding = asked.target().trim_start_matches('/').to_owned();
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 4\r\n\r\nnone"
        );
        Answer(text.into_bytes(), After::Keep)
    });
    for (encoding, hint) in [
        ("gzip", "cannot be decoded as gzip"),
        ("br", "cannot be decoded as br"),
        ("zstd", "cannot be decoded as zstd"),
        ("compress", "\"compress\", which is not supported"),
    ] {
        failed(&[&peer.url(&format!("/{encoding}")), "--compressed"], 61, hint);
    }
}

#[test]
fn the_first_failure_determines_the_code() {
    let peer = Peer::start(|asked| match asked.target() {
        "/404" => status("404 Not Found", ""),
        "/cut" => cut("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"),
        _ => ok("fine"),
    });
    let urls = [peer.url("/fine"), peer.url("/cut"), peer.url("/404"), peer.url("/fine")];
    let args: Vec<&str> = urls.iter().map(String::as_str).chain(ONCE).collect();
    let output = failed(&args, 18, "404 Not Found");
    assert_eq!(output.stdout, b"fine12345fine");
}

#[test]
fn a_closed_standard_output_ends_it_without_a_message() {
    let body = "x".repeat(10_000_000);
    let peer = Peer::start(move |_| ok(&body));
    let mut child = command(&[peer.url("/")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
