//! A page over TLS with a WebSocket, in headless Chromium.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use testkit::authority::Files;
use testkit::{has_peer, wait_until};

use super::proxy::{read_head, serve};
use crate::common::Daemon;
use crate::{WEB, folder};

/// The files of the page.
const PAGE: [(&str, &str); 4] = [
    ("index.html", include_str!("page/index.html")),
    ("style.css", include_str!("page/style.css")),
    ("checks.js", include_str!("page/checks.js")),
    ("numbers.txt", "0123456789abcdefghijklmnopqrstuvwxyz"),
];
/// What the checks of the page find.
const REPORT: &str = "\
protocol of the page: https:
style sheet: applied
range of a file: 206 abcdefghij
upload of 1 MiB to a proxied path: 200 1048576 bytes
WebSocket: extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover
WebSocket: text: grüße €
WebSocket: 1 MiB of bytes: the same bytes came back
WebSocket: 1,000 messages at once: in order
WebSocket: end: 1000 clean
";
/// Set to `1`, the screenshot of the book is taken anew.
const UPDATE: &str = "UPDATE_BOOK";

/// What the page has told the server behind the proxied path.
#[derive(Default)]
struct Told {
    report: Mutex<Option<String>>,
}

impl Told {
    /// Returns the report, if it has arrived.
    fn report(&self) -> Option<String> {
        self.report.lock().expect("no holder panics").clone()
    }

    /// Answers the requests of one connection.
    fn answer(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        while let Some(head) = read_head(&mut reader) {
            let lower = head.to_ascii_lowercase();
            let length = lower.split_once("content-length: ").map(|(_, rest)| rest);
            let length = length.and_then(|it| it.split("\r\n").next()?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let text = match head.split(' ').nth(1) {
                Some("/api/wait") => {
                    wait_until("a report of the page", || self.report().is_some());
                    String::new()
                }
                Some("/api/report") => {
                    let report = String::from_utf8_lossy(&body).into_owned();
                    *self.report.lock().expect("no holder panics") = Some(report);
                    String::new()
                }
                _ => format!("{} bytes", body.len()),
            };
            let length = text.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Returns the hash of the public key of a certificate, by which Chromium is told to accept it.
fn key_hash(certificate: &str) -> String {
    let script = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der \
                  | openssl dgst -sha256 -binary | openssl base64";
    let output = Command::new("sh").args(["-c", script, certificate]).output();
    let hash = String::from_utf8(output.expect("it starts").stdout).expect("it is text");
    assert_eq!(hash.trim().len(), 44, "{hash}");
    hash.trim().to_owned()
}

#[test]
fn chromium_loads_a_page_over_tls_and_uses_its_websocket() {
    if !has_peer("chromium") || !has_peer("openssl") {
        return;
    }
    let (folder, files) = (folder("web-chromium", &PAGE), Files::new("web-chromium"));
    files.write("server", &files.issuer().server(&["localhost"]));
    let told = Arc::new(Told::default());
    let upstream = serve({
        let told = Arc::clone(&told);
        move |stream| told.answer(stream)
    });
    let (root, route) = (folder.file("site"), format!("/api={upstream}"));
    let (certificate, key) = (files.certificate("server"), files.key("server"));
    let args = [
        ["--listen", "tls://127.0.0.1:0"],
        ["--cert", &certificate],
        ["--key", &key],
        ["--root", &root],
        ["--echo", "/echo"],
        ["--proxy", &route],
    ];
    let server = Daemon::start(&[], WEB, args.as_flattened());
    let port = server.addresses[0].rsplit(':').next().expect("it has a port");
    let screenshot = folder.file("page.png");
    let output = Command::new("timeout")
        .args(["--kill-after=5", "60", "chromium", "--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-background-networking", "--no-first-run", "--hide-scrollbars"])
        .args(["--window-size=760,560", &format!("--user-data-dir={}", folder.file("profile"))])
        .arg(format!("--ignore-certificate-errors-spki-list={}", key_hash(&certificate)))
        .arg(format!("--screenshot={screenshot}"))
        .arg(format!("https://localhost:{port}/"))
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.report(), Some(REPORT.to_owned()), "{errors}");
    let image = fs::read(&screenshot).unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert!(image.starts_with(b"\x89PNG\r\n\x1a\n"), "{} bytes are no image", image.len());
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
    if std::env::var_os(UPDATE).is_some_and(|value| value == "1") {
        let book = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/web-chromium.png");
        fs::write(book, image).expect("the book is writable");
    }
}
