//! What is refused, with which status: each of them over a socket, on every backend.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use testkit::{PATIENCE, has_peer, process, skip};

use crate::common::Daemon;
use crate::proxy::{proxy, serve};
use crate::{BACKENDS, Site, WEB, folder};

const HOST: &str = "Host: x\r\n";

/// Requests, and the status that each of them is refused with.
fn cases() -> Vec<(u16, String)> {
    let get = |rest: &str| format!("GET /small HTTP/1.1\r\n{HOST}{rest}\r\n");
    let put = |rest: &str| format!("PUT /api/small HTTP/1.1\r\n{HOST}{rest}");
    vec![
        (400, format!("GET /small HTTP/1.1\n{HOST}\r\n")),
        (400, "GET /small HTTP/1.1\r\n\r\n".to_owned()),
        (400, get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")),
        (400, put("Transfer-Encoding: chunked\r\n\r\nx\r\n")),
        (400, "\x16\x03\x01\x02\0\x01\0\x01".to_owned()),
        (413, put("Content-Length: 101\r\n\r\n")),
        (413, put(&format!("Transfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n", "x".repeat(101)))),
        (414, format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "x".repeat(8000))),
        (414, format!("GET /{}", "x".repeat(9000))),
        (417, get("Expect: 200-ok\r\n")),
        (431, get(&format!("A: {}\r\n", "x".repeat(9000)))),
        (431, get(&"A: b\r\n".repeat(101))),
        (431, put(&format!("Transfer-Encoding: chunked\r\n\r\n0\r\nA: {}\r\n", "x".repeat(9000)))),
        (501, get("Transfer-Encoding: gzip, chunked\r\n")),
        (505, format!("GET /small HTTP/2.0\r\n{HOST}\r\n")),
    ]
}

/// Sends bytes without an end, and returns what comes until the server ends the connection.
fn exchange(mut stream: TcpStream, bytes: &[u8]) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    stream.write_all(bytes).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers, and ends in order");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn each_refusal_has_its_status_closes_the_connection_and_is_logged() {
    let other = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let route = format!("/api={other}");
    for backend in BACKENDS {
        let folder = crate::folder("web-refusals", &[("small", "small")]);
        let log = folder.file("log");
        let args = ["--backend", backend, "--head-max", "8500", "--body-max", "100"];
        let more = ["--proxy", &route, "--access-log", &log, "--head-timeout", "500ms"];
        let args = [&args[..], &more, &["--body-timeout", "500ms"]].concat();
        let site = Site::start(folder, &args);
        let late = [
            (408, format!("GET /small HTTP/1.1\r\n{HOST}")),
            (408, format!("PUT /api/small HTTP/1.1\r\n{HOST}Content-Length: 9\r\n\r\nabc")),
        ];
        let cases: Vec<_> = cases().into_iter().chain(late).collect();
        for (status, request) in &cases {
            // What follows is not answered, whatever it is. It completes no head that is late.
            let all = format!("{request}{}", if *status == 408 { "" } else { "\r\n\r\n" });
            let answer = exchange(site.server.connect(), all.as_bytes());
            let what = format!("{backend}: {:?}: {answer}", &request[..request.len().min(90)]);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{what}");
        }
        assert_eq!(site.server.stop().0, Some(0));
        let lines = fs::read_to_string(&log).expect("there is one");
        for (status, _) in &cases {
            let count = |text: &str| lines.lines().filter(|line| line.contains(text)).count();
            let expected = cases.iter().filter(|(other, _)| other == status).count();
            assert_eq!(count(&format!("\" {status} ")), expected, "{backend}: {status} in {lines}");
        }
        drop(site.folder);
    }
}

#[test]
fn a_server_without_connections_to_another_answers_503_and_goes_on() {
    let other = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    for backend in BACKENDS {
        let server = proxy(&other, &["--backend", backend, "--proxy-connections", "1"]);
        let request = format!("GET /api/x HTTP/1.1\r\n{HOST}\r\n");
        let mut waiting = server.connect();
        waiting.write_all(request.as_bytes()).expect("it reads");
        testkit::wait_until("its connection", || server.counters()["connections"] == 2);
        let close = format!("GET /api/x HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n");
        let answer = exchange(server.connect(), close.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 503 "), "{backend}: {answer}");
        // Once the first client has left, there is room for another.
        drop(waiting);
        testkit::wait_until("its end", || server.counters()["connections"] == 0);
        let mut next = server.connect();
        next.write_all(request.as_bytes()).expect("it reads");
        testkit::wait_until("its connection", || server.counters()["connections"] == 2);
    }
}

/// Root may read every file, so the server has a user of its own.
#[test]
fn what_the_server_may_not_read_is_forbidden_and_named_in_the_log() {
    if !process::is_of_root() {
        return skip("only root can give the server a user of its own");
    }
    if !has_peer("curl") {
        return;
    }
    let files = ["secret", "locked/a", "blind/index.html", "unlisted/a", "open/a"];
    let folder = folder("web-forbidden", &files.map(|name| (name, "x")));
    for (name, mode) in
        [("secret", 0o600), ("locked", 0o700), ("blind/index.html", 0o600), ("unlisted", 0o711)]
    {
        let path = folder.file(&format!("site/{name}"));
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    let (program, root) = (folder.file("web"), folder.file("site"));
    process::copy_program(WEB, &program);
    let user = format!("--reuid={}", 100_000 + std::process::id());
    let args = ["--listen", "127.0.0.1:0", "--root", &root, "--listing"];
    let server = Daemon::start(&["setpriv", "--clear-groups", &user], &program, &args);
    let site = Site { folder, server };
    for (path, status) in [
        ("/secret", 403),
        ("/locked/", 403),
        ("/locked/a", 403),
        // No list takes the place of an index that is there.
        ("/blind/", 403),
        ("/unlisted/", 403),
        ("/unlisted/a", 200),
        ("/open/", 200),
    ] {
        assert_eq!(site.get(path, &[]).status, status, "{path}");
    }
    let (code, log) = site.server.stop();
    assert_eq!(code, Some(0));
    for path in ["/secret", "/locked/", "/locked/a", "/blind/", "/unlisted/"] {
        assert!(log.contains(&format!("cannot open {path}: EACCES")), "{path}: {log}");
    }
}
