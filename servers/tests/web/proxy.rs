//! Requests that are passed on: to nginx, to servers of the test, and to another `web`.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use testkit::{Folder, PATIENCE, has_peer, wait_until};

use crate::common::Daemon;
use crate::{BACKENDS, Site, WEB, curl, folder, write};

/// A running nginx. It is killed on drop.
struct Nginx {
    child: Child,
    folder: Folder,
    socket: String,
}

impl Nginx {
    /// Starts an nginx that serves the folder `site` on a Unix socket and takes uploads.
    fn start(folder: Folder) -> Self {
        let socket = folder.file("nginx.sock");
        let base = folder.file(".");
        let text = format!(
            "daemon off; user root; worker_processes 1; pid {base}/pid; error_log {base}/errors;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n\
               access_log {base}/access; client_body_temp_path {base}/body;\n\
               proxy_temp_path {base}/p; fastcgi_temp_path {base}/f; uwsgi_temp_path {base}/u;\n\
               scgi_temp_path {base}/s; client_max_body_size 0;\n               absolute_redirect off;\n\
               server {{\n\
                 listen unix:{socket}; root {base}/site; dav_methods PUT DELETE;\n\
                 location /api/host {{ return 200 \"$http_host $http_x_forwarded_for \
                   $http_x_forwarded_proto $http_connection-\"; }}\n\
                 location /api/none {{ return 204; }}\n\
                 location /api/moved {{ return 302 /other; }}\n\
               }}\n\
             }}\n"
        );
        let config = folder.file("nginx.conf");
        fs::write(&config, text).expect("it is written");
        let child = Command::new("nginx")
            .args(["-c", &config, "-p", &base, "-e", &folder.file("errors")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let socket_path = socket.clone();
        wait_until("nginx", || std::os::unix::net::UnixStream::connect(&socket_path).is_ok());
        Self { child, folder, socket }
    }

    /// Returns how many connections it has seen.
    fn requests(&self) -> usize {
        fs::read_to_string(self.folder.file("access")).unwrap_or_default().lines().count()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        testkit::process::signal(self.child.id(), "QUIT");
        let _ = self.child.wait();
    }
}

/// Starts a proxy of `/api` to an address.
pub(crate) fn proxy(address: &str, args: &[&str]) -> Daemon {
    let route = format!("/api={address}");
    let mut all = vec!["--listen", "127.0.0.1:0", "--proxy", &route];
    all.extend(args);
    Daemon::start(&[], WEB, &all)
}

pub(crate) fn url(server: &Daemon, path: &str) -> String {
    format!("http://{}{path}", server.addresses[0])
}

/// A server that handles each connection with `serve` on a thread of its own. Returns its address.
pub(crate) fn serve(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one").to_string();
    let serve = std::sync::Arc::new(serve);
    // It ends with the process of the test.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.expect("it accepts"), std::sync::Arc::clone(&serve));
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads the body of one request, of whatever framing, without a look at it, and answers with 204. The
/// body ends with zeros, which no byte of an end in chunks is mistaken for.
pub(crate) fn discard(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
    let Some(head) = read_head(&mut reader) else { return };
    let head = head.to_ascii_lowercase();
    let length = head
        .split_once("content-length: ")
        .and_then(|(_, rest)| rest.split("\r\n").next()?.parse::<u64>().ok());
    let mut room = vec![0; 1 << 20];
    match length {
        Some(mut left) => {
            while left > 0 {
                match reader.read(&mut room) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => left -= count as u64,
                }
            }
        }
        None => loop {
            match reader.read(&mut room) {
                Ok(0) | Err(_) => return,
                Ok(count) if room[..count].ends_with(b"0\r\n\r\n") => break,
                Ok(_) => {}
            }
        },
    }
    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
}

/// Reads the head of a request. Returns `None` at the end.
pub(crate) fn read_head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match reader.read_line(&mut head) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    Some(head)
}

#[test]
fn nginx_is_an_upstream_on_every_backend() {
    if !has_peer("curl") || !has_peer("nginx") {
        return;
    }
    let folder = folder("web-proxy-nginx", &[("api/small", "hello"), ("api/index.html", "<p>")]);
    let large: Vec<u8> = (0..5_000_000_u32).map(|it| (it / 11) as u8).collect();
    write(&folder, "api/large", &large);
    let nginx = Nginx::start(folder);
    for backend in BACKENDS {
        let server = proxy(&format!("unix:{}", nginx.socket), &["--backend", backend]);
        let get = |path: &str, args: &[&str]| curl(&url(&server, path), args);
        for version in ["--http1.0", "--http1.1"] {
            assert_eq!(get("/api/small", &[version]).text(), "hello", "{backend}");
            assert!(get("/api/large", &[version]).body == large, "{backend}");
        }
        let head = get("/api/large", &["--head"]);
        assert_eq!(head.field("content-length"), Some("5000000"), "{backend}");
        assert_eq!(get("/api/large", &["-r", "5-9"]).body, large[5..10]);
        assert_eq!(get("/api/none", &[]).status, 204);
        assert_eq!(get("/api/lost", &[]).status, 404);
        assert_eq!(get("/api/moved", &[]).field("location"), Some("/other"));
        let tag = head.field("etag").expect("it has one").to_owned();
        let same = get("/api/large", &["-H", &format!("If-None-Match: {tag}")]);
        assert_eq!((same.status, same.body.len()), (304, 0));
        let host = get("/api/host", &["-H", "Host: a.example", "-H", "X-Forwarded-For: 1.2.3.4"]);
        assert_eq!(host.text(), "a.example 1.2.3.4, 127.0.0.1 http -", "{backend}");
        assert_eq!(get("/other", &[]).status, 404);
        drop(server);
    }
}

#[test]
fn the_other_server_learns_that_a_client_is_encrypted() {
    if !has_peer("curl") {
        return;
    }
    let address = serve(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        let head = read_head(&mut reader).unwrap_or_default();
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{head}");
        let _ = stream.write_all(answer.as_bytes());
    });
    let authority = testkit::authority::Authority::new("Test Authority");
    let issued = authority.server(&["localhost"]);
    let folder = Folder::new("web-proxy-tls");
    let pem = folder.file("pem");
    fs::write(&pem, format!("{}{}", issued.certificate, issued.key)).expect("it is written");
    let server = proxy(&address, &["--listen", "tls://127.0.0.1:0", "--cert", &pem]);
    let encrypted = server.addresses[1].replace("tls://", "https://");
    let seen = curl(&format!("{encrypted}/api/x"), &["--insecure", "-H", "Host: a.example"]);
    assert!(seen.text().contains("X-Forwarded-Proto: https\r\n"), "{}", seen.text());
    let forwarded = "Forwarded: for=127.0.0.1;host=\"a.example\";proto=https\r\n";
    assert!(seen.text().contains(forwarded), "{}", seen.text());
    assert!(curl(&url(&server, "/api/x"), &[]).text().contains("X-Forwarded-Proto: http\r\n"));
}

#[test]
fn uploads_are_passed_on_with_a_length_and_in_chunks() {
    if !has_peer("curl") || !has_peer("nginx") {
        return;
    }
    let folder = folder("web-proxy-upload", &[("api/x", "")]);
    let large: Vec<u8> = (0..3_000_000_u32).map(|it| (it / 13) as u8).collect();
    let upload = folder.file("upload");
    fs::write(&upload, &large).expect("it is written");
    let nginx = Nginx::start(folder);
    let server = proxy(&format!("unix:{}", nginx.socket), &["--body-max", "3mb"]);
    for (name, args) in [
        ("length", vec!["-T", &upload]),
        ("chunks", vec!["-T", &upload, "-H", "Transfer-Encoding: chunked"]),
        ("expect", vec!["-T", &upload, "-H", "Expect: 100-continue"]),
        ("old", vec!["-T", &upload, "--http1.0"]),
    ] {
        let answer = curl(&url(&server, &format!("/api/{name}")), &args);
        assert_eq!(answer.status, 201, "{name}");
        let stored = fs::read(nginx.folder.file(&format!("site/api/{name}")));
        assert!(stored.expect("it is stored") == large, "{name}");
    }
    let more = nginx.folder.file("more");
    fs::write(&more, vec![0; 3 * 1024 * 1024 + 1]).expect("it is written");
    for args in [vec!["-T", &more], vec!["-T", &more, "-H", "Transfer-Encoding: chunked"]] {
        assert_eq!(curl(&url(&server, "/api/more"), &args).status, 413);
    }
    assert_eq!(curl(&url(&server, "/api/length"), &["-X", "DELETE"]).status, 204);
    assert!(!fs::exists(nginx.folder.file("site/api/length")).expect("it can be looked for"));
    assert!(nginx.requests() >= 5);
}

#[test]
fn connections_are_kept_and_an_end_in_between_is_not_noticed() {
    if !has_peer("curl") {
        return;
    }
    let (connections, accepted) = std::sync::mpsc::channel();
    let connections = std::sync::Mutex::new(connections);
    let address = serve(move |stream| {
        connections.lock().expect("none panics").send(()).expect("the test listens");
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        let mut stream = stream;
        // After two requests it ends the connection without saying so.
        for _ in 0..2 {
            if read_head(&mut reader).is_none() {
                return;
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer).expect("it is read");
        }
    });
    let server = proxy(&address, &[]);
    for _ in 0..6 {
        assert_eq!(curl(&url(&server, "/api/x"), &[]).text(), "ok");
    }
    assert_eq!(accepted.try_iter().count(), 3);
}

#[test]
fn a_server_that_fails_is_a_bad_gateway() {
    if !has_peer("curl") {
        return;
    }
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let unused = closed.local_addr().expect("it has one").to_string();
    drop(closed);
    let rude = serve(drop);
    let wrong = serve(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        read_head(&mut reader);
        let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n");
    });
    let silent = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let smuggler = serve(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        read_head(&mut reader);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
        let _ = stream.write_all(answer.as_bytes());
    });
    for (address, status) in
        [(unused, 502), (rude, 502), (wrong, 502), (smuggler, 502), (silent, 504)]
    {
        let server = proxy(&address, &["--proxy-timeout", "300ms"]);
        for args in [&[][..], &["-d", "body"]] {
            let answer = curl(&url(&server, "/api/x"), args);
            assert_eq!(answer.status, status, "{address} {args:?}");
        }
    }
}

#[test]
fn a_response_that_is_cut_is_cut_for_the_client_too() {
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let address = serve(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
            read_head(&mut reader);
            let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n");
            let _ = stream.write_all(answer.as_bytes());
        });
        let server = proxy(&address, &[]);
        let mut stream = server.connect();
        stream.write_all(b"GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        let mut answer = Vec::new();
        // It ends, perhaps with a reset, before the length or the last chunk.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        let answer = String::from_utf8(answer).expect("it is text");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(body.len() < 100 && !body.ends_with("0\r\n\r\n"), "{head}: {answer}");
    }
}

#[test]
fn both_ways_stop_when_the_other_side_does_not_read() {
    // The server sends for ever, and counts what it can send before it has to wait.
    let (sent, counts) = std::sync::mpsc::channel();
    let sent = std::sync::Mutex::new(sent);
    let address = serve(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        read_head(&mut reader);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("it is read");
        stream.set_write_timeout(Some(std::time::Duration::from_secs(1))).expect("it can be set");
        let mut total = 0_usize;
        while let Ok(count) = stream.write(&[7; 65_536]) {
            total += count;
            if total > 200_000_000 {
                break;
            }
        }
        sent.lock().expect("none panics").send(total).expect("the test listens");
    });
    let server = proxy(&address, &[]);
    let before = server.memory();
    let mut stream = server.connect();
    stream.write_all(b"GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    let total = counts.recv_timeout(PATIENCE).expect("it has to wait");
    assert!(total < 50_000_000, "{total}");
    assert!(server.memory() < before + 8_000_000, "{} bytes", server.memory() - before);
    drop(stream);
}

#[test]
fn a_websocket_passes_through() {
    // A server of the test that changes the protocol and sends back what it gets, in upper case.
    let address = serve(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        let Some(head) = read_head(&mut reader) else { return };
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n")
        );
        assert!(head.contains("sec-websocket-key: abc\r\n"));
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\nSec-WebSocket-Accept: def\r\n\r\nfirst ";
        stream.write_all(answer.as_bytes()).expect("it is read");
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("it ends");
        all.make_ascii_uppercase();
        stream.write_all(&all).expect("it is read");
    });
    for backend in BACKENDS {
        let server = proxy(&address, &["--backend", backend]);
        let mut stream = server.connect();
        let request = "GET /api/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        let head = read_head(&mut reader).expect("it answers");
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Sec-WebSocket-Accept: def"));
        let sent = "payload ".repeat(200_000);
        thread::scope(|scope| {
            scope.spawn(|| {
                stream.write_all(sent.as_bytes()).expect("it reads");
                stream.shutdown(std::net::Shutdown::Write).expect("it is open");
            });
            let mut answer = String::new();
            reader.read_to_string(&mut answer).expect("it is text");
            assert_eq!(answer.len(), sent.len() + 6, "{backend}: {:?}", answer.get(..20));
            assert!(answer == format!("first {}", sent.to_ascii_uppercase()), "{backend}");
        });
    }
}

#[test]
fn many_requests_at_once_share_a_few_connections() {
    if !has_peer("curl") {
        return;
    }
    let address = serve(|stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        let mut stream = stream;
        while let Some(head) = read_head(&mut reader) {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let length = path.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let server = proxy(&address, &[]);
    let urls = url(&server, "/api/[1-400]");
    let output = Command::new("curl")
        .args(["-sS", "--parallel", "--parallel-max", "20", "-w", "\n", &urls])
        .output()
        .expect("curl starts");
    let text = String::from_utf8(output.stdout).expect("it is text");
    let mut numbers: Vec<usize> =
        text.split("/api/").filter_map(|it| it.trim().parse().ok()).collect();
    numbers.sort_unstable();
    assert!(numbers == (1..=400).collect::<Vec<_>>(), "{text}");
}

#[test]
fn too_many_connections_are_refused_with_503() {
    if !has_peer("curl") {
        return;
    }
    let address = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let server = proxy(&address, &["--proxy-connections", "2", "--proxy-timeout", "2s"]);
    let waiting: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
            stream
        })
        .collect();
    // The two that wait, with a connection each behind them.
    wait_until("their requests", || server.counters()["connections"] == 4);
    assert_eq!(curl(&url(&server, "/api/y"), &[]).status, 503);
    drop(waiting);
    wait_until("their end", || server.counters()["connections"] == 0);
}

#[test]
fn a_websocket_sends_back_what_it_gets_directly_and_through_a_proxy() {
    let echo = Daemon::start(&[], WEB, &["--listen", "127.0.0.1:0", "--echo", "/api/echo"]);
    let front = proxy(&echo.addresses[0], &[]);
    for server in [&echo, &front] {
        let mut stream = server.connect();
        // The key, its answer and the frames are those of RFC 6455, sections 1.3 and 5.7.
        let request = "GET /api/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        let head = read_head(&mut reader).expect("it answers");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        stream.write_all(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").expect("it reads");
        let mut frame = [0; 7];
        reader.read_exact(&mut frame).expect("it answers");
        assert_eq!(&frame, b"\x81\x05Hello");
        // A close frame, with an empty mask.
        stream.write_all(b"\x88\x80\0\0\0\0").expect("it reads");
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).expect("it ends");
        assert_eq!(rest, b"\x88\x00");
    }
}

#[test]
fn exact_paths_come_before_those_of_a_proxy_and_refusals_are_logged_with_their_size() {
    let folder = folder("web-exact", &[("api/deeper", "passed on")]);
    let log = folder.file("log");
    let behind = Site::start(folder, &[]);
    let route = format!("/api={}", behind.server.addresses[0]);
    let args = ["--listen", "127.0.0.1:0", "--health", "/api/up", "--echo", "/api"];
    let more = ["--proxy", &route, "--access-log", &log];
    let server = Daemon::start(&[], WEB, &[&args[..], &more[..]].concat());
    let ask = |path: &str| {
        let mut stream = server.connect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
        (head[9..12].to_owned(), body.to_owned())
    };
    let is = |status: &str, body: &str| (status.to_owned(), body.to_owned());
    assert_eq!(ask("/api/up"), is("200", "ok\n"));
    assert_eq!(ask("/api/deeper"), is("200", "passed on"));
    let (status, body) = ask("/api");
    assert_eq!(status, "426", "{body}");
    let (code, _) = server.stop();
    assert_eq!(code, Some(0));
    let lines = fs::read_to_string(&log).expect("it is there");
    let line = format!("\"GET /api HTTP/1.1\" 426 {} ", body.len());
    assert!(lines.contains(&line), "{line}: {lines}");
}
