//! Clients that keep a connection and give nothing for it, in four ways. The server has a limit for
//! each, and its other clients do not notice.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use testkit::{PATIENCE, has_peer};

use crate::cuts::pem;
use crate::proxy::{proxy, read_head, serve};
use crate::{BACKENDS, Site, folder};

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

#[test]
fn a_slow_upload_to_another_server_is_refused_and_its_connection_given_back() {
    let (ends, ended) = channel();
    let ends = Mutex::new(ends);
    let address = serve(move |stream| {
        let mut reader = BufReader::new(stream);
        read_head(&mut reader).expect("the head is passed on");
        let mut body = Vec::new();
        let _ = reader.read_to_end(&mut body);
        ends.lock().expect("none panics").send(body.len()).expect("the test listens");
    });
    for backend in BACKENDS {
        let args = ["--backend", backend, "--body-timeout", "300ms", "--proxy-timeout", "1h"];
        let server = proxy(&address, &args);
        for (framing, text) in
            [("Content-Length: 1000000", "b"), ("Transfer-Encoding: chunked", "1\r\nb\r\n")]
        {
            let begin = format!("POST /api/x HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
            let answer = trickle(server.connect(), &begin, text);
            assert!(answer.starts_with("HTTP/1.1 408 "), "{framing} on {backend}: {answer}");
            let passed = ended.recv_timeout(PATIENCE).expect("its connection ends");
            assert!((1..1024).contains(&passed), "{framing} on {backend}: {passed} bytes");
        }
        // A client that sends the kilobyte in time is not slow.
        let mut stream = server.connect();
        stream
            .write_all(b"POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n")
            .expect("it reads");
        for _ in 0..9 {
            stream.write_all(&[b'b'; 1000]).expect("it reads");
            std::thread::sleep(Duration::from_millis(60));
        }
        drop(stream);
        assert_eq!(ended.recv_timeout(PATIENCE).expect("its connection ends"), 9000);
    }
}

/// Many clients that give nothing for their connections.
struct Crowd {
    /// Each with what it has received, until its connection has ended.
    open: Vec<(TcpStream, Vec<u8>)>,
    /// What the others have received.
    received: Vec<Vec<u8>>,
    /// How much more memory the server took at most.
    memory: u64,
}

impl Crowd {
    /// Connects `count` clients to this address. Each begins with `begin`, sends one byte of `drip`
    /// after another, and reads `take` bytes after each, until the server has ended all connections.
    /// Other clients are served meanwhile.
    fn outlast(
        site: &Site,
        address: &str,
        count: usize,
        (begin, drip, take): (&[u8], &[u8], usize),
    ) -> Self {
        answers_others(site);
        let before = site.server.memory();
        let connect = |_| {
            let mut stream = TcpStream::connect(address).expect("it accepts");
            stream.write_all(begin).expect("it reads");
            stream.set_nonblocking(true).expect("it can be set");
            (stream, Vec::new())
        };
        let open = (0..count).map(connect).collect();
        let mut crowd = Self { open, received: Vec::new(), memory: 0 };
        let (start, mut room) = (Instant::now(), vec![0; take]);
        for round in 0.. {
            assert!(start.elapsed() < PATIENCE, "{} are still connected", crowd.open.len());
            let byte = (!drip.is_empty()).then(|| drip[round % drip.len()]);
            let end = |(stream, received): &mut (TcpStream, Vec<u8>)| {
                // Once the server has closed, it resets the connection. What has arrived before can be
                // read for long after that.
                let fails = byte.is_some_and(|byte| stream.write(&[byte]).is_err())
                    || stream.take_error().expect("it can be asked").is_some();
                match stream.read(&mut room) {
                    Ok(0) => true,
                    Ok(count) => {
                        received.extend_from_slice(&room[..count]);
                        take == 1 && fails
                    }
                    Err(error) => error.kind() != ErrorKind::WouldBlock || fails,
                }
            };
            let ended = crowd.open.extract_if(.., end).map(|(_, received)| received);
            crowd.received.extend(ended);
            if crowd.open.is_empty() {
                eprintln!("{address}: {count} clients are closed after {:?}", start.elapsed());
                return crowd;
            }
            crowd.memory = crowd.memory.max(site.server.memory().saturating_sub(before));
            if round % 8 == 0 {
                answers_others(site);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        crowd
    }

    /// Checks that the connections took no more memory than this, each, besides what the server takes
    /// once.
    fn check_memory(&self, each: u64, backend: &str) {
        // The ring adds blocks that all connections share while receives often find none.
        let once: u64 = if backend == "uring" { 5 << 20 } else { 1 << 20 };
        let most = once + each * self.received.len() as u64;
        let count = self.received.len();
        assert!(self.memory <= most, "{backend}: {} bytes for {count}", self.memory);
    }
}

const CROWD: usize = 60;

/// Starts a server of a small and a large file, with and without TLS and through a proxy of itself,
/// whose limits are short.
fn short(name: &str, backend: &str, more: &[&str]) -> Site {
    let folder = folder(name, &[("small", "small")]);
    let large = File::create(folder.file("site/large")).expect("it is created");
    large.set_len(100 << 20).expect("the file system has sparse files");
    let pem = pem(&folder);
    let tls = ["--backend", backend, "--listen", "tls://127.0.0.1:0", "--cert", &pem];
    Site::start(folder, &[&tls[..], more].concat())
}

#[test]
fn crowds_with_slow_heads_and_bodies_are_refused_in_time() {
    let head = &b"GET /small HTTP/1.1\r\nHost: x\r\n"[..];
    let drip = &b"X-A: b\r\n"[..];
    for backend in BACKENDS {
        let limits = ["--head-timeout", "500ms", "--body-timeout", "500ms"];
        let site = short("web-crowd-head", backend, &limits);
        let crowd = Crowd::outlast(&site, &site.server.addresses[0], CROWD, (head, drip, 4096));
        for answer in &crowd.received {
            let text = String::from_utf8_lossy(answer);
            assert!(text.starts_with("HTTP/1.1 408 "), "{backend}: {text}");
        }
        crowd.check_memory(8 << 10, backend);
        // The answer to a request for a path that is not there waits for no body.
        let body = &b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"[..];
        let crowd = Crowd::outlast(&site, &site.server.addresses[0], CROWD, (body, b"b", 4096));
        for answer in &crowd.received {
            assert!(answer.starts_with(b"HTTP/1.1 405 "), "{}", answer.escape_ascii());
        }
        crowd.check_memory(8 << 10, backend);
    }
}

#[test]
fn a_crowd_that_hardly_reads_is_cut_off_and_takes_little_memory() {
    for backend in BACKENDS {
        let site = short("web-crowd-reader", backend, &["--idle-timeout", "500ms"]);
        let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
        let crowd = Crowd::outlast(&site, &site.server.addresses[0], CROWD / 4, (request, b"", 1));
        for answer in &crowd.received {
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") || answer.len() < 17);
            assert!(answer.len() < 100_000, "{} bytes", answer.len());
        }
        crowd.check_memory(8 << 10, backend);
        // Through a proxy, a part of the body is in memory: two pipes with their high marks. Before the
        // ring knows that a session has paused, the kernel may have received 32 blocks of 68 KiB for it.
        let each = if backend == "uring" { (1 << 20) + 32 * (68 << 10) } else { 1 << 20 };
        let route = format!("/large={}", site.server.addresses[0]);
        let args = ["--idle-timeout", "500ms", "--backend", backend, "--proxy", &route];
        let front = Site::start(folder("web-crowd-front", &[("small", "small")]), &args);
        let crowd =
            Crowd::outlast(&front, &front.server.addresses[0], CROWD / 4, (request, b"", 1));
        crowd.check_memory(each, backend);
    }
}

#[test]
fn crowds_in_slow_handshakes_and_idle_ones_are_closed_in_time() {
    // The beginning of a ClientHello of 512 bytes (RFC 8446, section 4.1.2).
    let hello = &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..];
    for backend in BACKENDS {
        let site = short("web-crowd-hello", backend, &["--handshake-timeout", "500ms"]);
        let address = site.server.addresses[1].replace("tls://", "");
        let crowd = Crowd::outlast(&site, &address, CROWD, (hello, b"\0", 4096));
        crowd.check_memory(16 << 10, backend);
        let site = short("web-crowd-idle", backend, &["--idle-timeout", "500ms"]);
        let address = site.server.addresses[1].replace("tls://", "");
        for (address, begin) in [
            (&address, &b""[..]),
            (&site.server.addresses[0], b""),
            (&site.server.addresses[0], b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"),
        ] {
            let crowd = Crowd::outlast(&site, address, 2 * CROWD, (begin, b"", 4096));
            crowd.check_memory(if begin.is_empty() { 16 << 10 } else { 4 << 10 }, backend);
        }
    }
}
