//! Responses that break off. The client notices, whatever shows it the end of the body.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use testkit::{Folder, authority::Authority, has_peer, wait_until};

use crate::proxy::{proxy, read_head, serve};
use crate::{BACKENDS, Site, folder};

/// Reads to the end of `mark`, and no byte more.
fn read_to(mark: &[u8], stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    while !all.ends_with(mark) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("there is more");
        all.push(byte[0]);
    }
    all
}

/// Ends a connection with a reset, after what was sent: something that has arrived is unread.
fn reset(stream: TcpStream) {
    stream.peek(&mut [0]).expect("a byte is there");
    drop(stream);
}

/// A server that answers each request with this head and a part of the body, and breaks off: by a
/// reset, or else by an end in order.
fn breaks_off(head: &'static str, by_reset: bool) -> String {
    serve(move |mut stream| {
        // All but the last byte of the request.
        read_to(b"\r\n\r", &mut stream);
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n5\r\nhello\r\n");
        stream.write_all(answer.as_bytes()).expect("it is read");
        if by_reset {
            reset(stream);
        } else {
            let _ = stream.read(&mut [0]);
        }
    })
}

/// A certificate for tests, in a folder.
pub(crate) fn pem(folder: &Folder) -> String {
    let issued = Authority::new("Test Authority").server(&["localhost"]);
    let pem = folder.file("pem");
    std::fs::write(&pem, format!("{}{}", issued.certificate, issued.key)).expect("it is written");
    pem
}

/// Runs curl. Returns its exit code and what it has received.
fn exit_code(url: &str, args: &[&str]) -> (Option<i32>, Vec<u8>) {
    let output = Command::new("curl")
        .args(["-sS", "--insecure", "--max-time", "60"])
        .args(args)
        .arg(url)
        .output()
        .expect("curl starts");
    (output.status.code(), output.stdout)
}

/// How curl ends when it has received a part of a body: 18 if its length or its last chunk is
/// missing, 56 after a reset, or without the end of TLS.
const BROKEN: [Option<i32>; 2] = [Some(18), Some(56)];

#[test]
fn a_proxied_body_that_breaks_off_is_no_whole_one_for_any_client() {
    if !has_peer("curl") {
        return;
    }
    let heads = [("Content-Length: 100\r\n", false), ("Transfer-Encoding: chunked\r\n", false)];
    // A body that ends with the connection, which ends in order, is whole.
    let resets = [("", true), ("Content-Length: 100\r\n", true)];
    let others = heads.into_iter().chain(resets).map(|(head, by_reset)| breaks_off(head, by_reset));
    let others: Vec<(String, bool)> =
        others.map(|address| (address, true)).chain([(breaks_off("", false), false)]).collect();
    let folder = Folder::new("web-cuts");
    let pem = pem(&folder);
    for backend in BACKENDS {
        for (place, (other, is_cut)) in others.iter().enumerate() {
            let tls = ["--listen", "tls://127.0.0.1:0", "--cert", &pem, "--backend", backend];
            let server = proxy(other, &tls);
            let encrypted = server.addresses[1].replace("tls://", "https://");
            for base in [format!("http://{}", server.addresses[0]), encrypted] {
                for version in ["--http1.0", "--http1.1"] {
                    let (code, body) = exit_code(&format!("{base}/api/x"), &[version]);
                    let what = format!("server {place} on {backend}, {base} {version}");
                    assert_eq!(BROKEN.contains(&code), *is_cut, "{what}: {code:?}");
                    assert!(*is_cut || code == Some(0), "{what}: {code:?}");
                    assert!(body.windows(5).any(|it| it == b"hello"), "{what}: {body:?}");
                }
            }
        }
    }
}

#[test]
fn a_client_of_http_1_0_gets_a_reset_when_the_other_server_is_silent_in_a_body() {
    let address = serve(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        read_head(&mut reader);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").expect("it is read");
        let _ = reader.read(&mut [0]);
    });
    for backend in BACKENDS {
        let server = proxy(&address, &["--backend", backend, "--proxy-timeout", "200ms"]);
        let mut stream = server.connect();
        stream.write_all(b"GET /api/x HTTP/1.0\r\n\r\n").expect("it reads");
        let mut all = Vec::new();
        let error = stream.read_to_end(&mut all).expect_err("it is no whole body");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{backend}");
        assert!(all.ends_with(b"\r\n\r\nhello"), "{backend}");
    }
}

#[test]
fn a_file_that_becomes_shorter_while_it_is_sent_breaks_off() {
    if !has_peer("curl") {
        return;
    }
    const SIZE: u64 = 1 << 30;
    for backend in BACKENDS {
        let folder = folder("web-cuts-file", &[]);
        let (file, got) = (folder.file("site/large"), folder.file("got"));
        let pem = pem(&folder);
        let tls = ["--listen", "tls://127.0.0.1:0", "--cert", &pem, "--backend", backend];
        let site = Site::start(folder, &tls);
        let encrypted = site.server.addresses[1].replace("tls://", "https://");
        for base in [site.url(""), encrypted] {
            let large = File::create(&file).expect("it is created");
            large.set_len(SIZE).expect("the file system has sparse files");
            let _ = std::fs::remove_file(&got);
            let mut curl = Command::new("curl")
                .args(["-sS", "--insecure", "--limit-rate", "50m", "-o", &got])
                .arg(format!("{base}/large"))
                .stderr(Stdio::null())
                .spawn()
                .expect("curl starts");
            wait_until("the first bytes", || std::fs::metadata(&got).is_ok_and(|it| it.len() > 0));
            large.set_len(1000).expect("it can be cut");
            let code = curl.wait().expect("it ends").code();
            assert!(BROKEN.contains(&code), "{backend}, {base}: {code:?}");
        }
    }
}

#[test]
fn a_tunnel_that_breaks_off_on_one_side_is_reset_on_the_other() {
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\
                          Connection: Upgrade\r\n\r\nhello";
    let (ends, told) = std::sync::mpsc::channel();
    let ends = std::sync::Mutex::new(ends);
    let address = serve(move |mut stream| {
        let head = read_to(b"\r\n\r\n", &mut stream);
        stream.write_all(SWITCH.as_bytes()).expect("it is read");
        if head.starts_with(b"GET /api/first") {
            return reset(stream);
        }
        let end = stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        ends.lock().expect("none panics").send(end).expect("the test listens");
    });
    for backend in BACKENDS {
        let server = proxy(&address, &["--backend", backend]);
        for path in ["first", "second"] {
            let mut stream = server.connect();
            let request = format!(
                "GET /api/{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).expect("it reads");
            read_to(b"\r\n\r\n", &mut stream);
            if path == "first" {
                // The other server has something to leave unread.
                stream.write_all(b"x").expect("it reads");
                let mut all = Vec::new();
                let error = stream.read_to_end(&mut all).expect_err("it breaks off");
                assert_eq!((error.kind(), &all[..]), (ErrorKind::ConnectionReset, &b"hello"[..]));
            } else {
                reset(stream);
                let end = told.recv_timeout(testkit::PATIENCE).expect("it ends");
                assert_eq!(end, Err(ErrorKind::ConnectionReset), "{backend}");
            }
        }
    }
}
