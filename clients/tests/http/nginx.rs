//! nginx as the server.

use std::fs;
use std::process::{Child, Command, Stdio};

use testkit::authority::Authority;
use testkit::{Folder, Random, free_port, has_peer, process, wait_until};

use super::tool::{failed, fetched};

/// A server with some files, over plain connections and TLS.
struct Nginx {
    folder: Folder,
    child: Child,
    plain: u16,
    secure: u16,
}

impl Nginx {
    /// Starts it, unless it is not installed.
    fn start(name: &str) -> Option<Self> {
        if !has_peer("nginx") {
            return None;
        }
        let folder = Folder::new(name);
        fs::create_dir(folder.file("site")).expect("the folder is writable");
        let authority = Authority::new("Test Authority");
        let issued = authority.server(&["one.example", "127.0.0.1"]);
        fs::write(folder.file("ca.pem"), authority.certificate()).expect("it is written");
        fs::write(folder.file("cert.pem"), &issued.certificate).expect("it is written");
        fs::write(folder.file("key.pem"), &issued.key).expect("it is written");
        let (plain, secure) = (free_port(), free_port());
        let config = folder.file("nginx.conf");
        fs::write(&config, configuration(&folder, plain, secure)).expect("it is written");
        let mut child = Command::new("nginx")
            .args(["-c", &config, "-p", &folder.file("")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let is_up = |port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until("nginx listens", || {
            let ended = child.try_wait().expect("it can be waited for");
            assert_eq!(ended, None, "nginx ended: see error_log");
            is_up(plain) && is_up(secure)
        });
        Some(Self { folder, child, plain, secure })
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.file(&format!("site/{name}")), bytes).expect("it is written");
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.plain)
    }

    fn secure_url(&self, path: &str) -> String {
        format!("https://one.example:{}{path}", self.secure)
    }

    fn resolve(&self) -> String {
        format!("one.example:{}:127.0.0.1", self.secure)
    }

    /// Returns the connection of each request in its log, once there are so many.
    fn connections(&self, requests: usize) -> Vec<String> {
        let log = self.folder.file("access.log");
        let read = || fs::read_to_string(&log).unwrap_or_default();
        wait_until("the requests are in the log", || read().lines().count() >= requests);
        read().lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A server that has ended already is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(folder: &Folder, plain: u16, secure: u16) -> String {
    let path = folder.path().display();
    format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;
         events {{ worker_connections 256; }}
         http {{
           log_format connections '$connection';
           access_log {path}/access.log connections;
           client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
           fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
           types {{ text/plain txt; }}
           server {{
             listen 127.0.0.1:{plain}; root {path}/site; gzip on; gzip_min_length 1; gzip_types text/plain;
             location /moved {{ return 301 /file.txt; }}
             location /secure {{ return 302 https://one.example:{secure}/file.txt; }}
             location ~ [.]br$ {{ gzip off; add_header Content-Encoding br; }}
             location ~ [.]zst$ {{ gzip off; add_header Content-Encoding zstd; }}
             location /split/ {{
               # In pieces of a few hundred bytes.
               alias {path}/site/; gzip off; sendfile off; output_buffers 1 700; postpone_output 0;
               location ~ ^/split/(.*[.]br)$ {{
                 alias {path}/site/$1; add_header Content-Encoding br;
               }}
               location ~ ^/split/(.*[.]zst)$ {{
                 alias {path}/site/$1; add_header Content-Encoding zstd;
               }}
             }}
           }}
           server {{
             listen 127.0.0.1:{secure} ssl; root {path}/site;
             ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;
           }}
         }}"
    )
}

#[test]
fn files_ranges_and_redirections() {
    let Some(nginx) = Nginx::start("nginx-files") else { return };
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|it| (it / 3) as u8).collect();
    nginx.file("big", &bytes);
    nginx.file("file.txt", b"some text\n");
    let path = nginx.folder.file("out");
    fetched(&[&nginx.url("/big"), "-o", &path]);
    assert!(fs::read(&path).expect("it is there") == bytes);
    assert_eq!(fetched(&[&nginx.url("/file.txt"), "-r", "5-8"]), b"text");
    assert_eq!(fetched(&[&nginx.url("/moved")]), b"some text\n");
    // A part of an earlier transfer is continued.
    fs::rename(&path, nginx.folder.file("out.part")).expect("it is there");
    let part = fs::OpenOptions::new().write(true).open(nginx.folder.file("out.part"));
    let part = part.expect("it is there");
    part.set_len(1_234_567).expect("it is writable");
    let time = fs::metadata(nginx.folder.file("site/big")).and_then(|it| it.modified());
    let seconds =
        time.expect("it is there").duration_since(std::time::UNIX_EPOCH).expect("it is later");
    let whole = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.as_secs());
    part.set_modified(whole).expect("it is writable");
    fetched(&[&nginx.url("/big"), "-o", &path, "-C", "-", "-v"]);
    assert!(fs::read(&path).expect("it is there") == bytes);
    failed(&[nginx.url("/none")], 22, "404 Not Found");
}

#[test]
fn compressed_files_are_decoded() {
    let Some(nginx) = Nginx::start("nginx-gzip") else { return };
    let text = "some text that is compressed\n".repeat(10_000);
    nginx.file("file.txt", text.as_bytes());
    let url = nginx.url("/file.txt");
    assert!(fetched(&[&url, "--compressed"]) == text.as_bytes());
    assert!(fetched(&[&url]) == text.as_bytes());
    let raw = fetched(&[&url, "-H", "Accept-Encoding: gzip"]);
    assert!(raw.starts_with(b"\x1f\x8b") && raw.len() < 10_000, "{} bytes", raw.len());
}

/// Compresses a text with a program of Debian, as a server would store it beside the file.
fn compress(program: &str, args: &[&str], text: &[u8]) -> Vec<u8> {
    let output = process::run(Command::new(program).args(args).arg("-c"), text);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn files_that_were_compressed_before_are_decoded_whole_and_in_pieces() {
    if !has_peer("brotli") || !has_peer("zstd") {
        return;
    }
    let Some(nginx) = Nginx::start("nginx-precompressed") else { return };
    // What is repeated, what is not, and what is far away.
    let noise = Random::new(7).bytes(200_000);
    let text = [&b"some text that is repeated\n".repeat(20_000), &noise, &noise[..]].concat();
    let zstd = |it: &[u8]| compress("zstd", &["-19", "-q"], it);
    let brotli = |it: &[u8]| compress("brotli", &["-q", "5"], it);
    let (one, other) = text.split_at(300_000);
    for (name, bytes, text) in [
        ("text.br", brotli(&text), &text[..]),
        ("text.zst", zstd(&text), &text),
        // Several frames are one body (RFC 8878 section 3.1).
        ("frames.zst", [zstd(one), zstd(b""), zstd(other)].concat(), &text),
        ("empty.br", brotli(b""), b""),
        ("empty.zst", zstd(b""), b""),
    ] {
        nginx.file(name, &bytes);
        for path in [format!("/{name}"), format!("/split/{name}")] {
            let decoded = fetched(&[&nginx.url(&path), "--compressed"]);
            assert!(decoded == text, "{path}: {} bytes", decoded.len());
            assert!(fetched(&[nginx.url(&path)]) == bytes, "{path}: as it is");
        }
        if text.is_empty() {
            continue;
        }
        let (start, end) = name.split_once('.').expect("it has an extension");
        for (cut, damaged) in [
            (bytes[..bytes.len() - 1].to_vec(), format!("{start}-cut.{end}")),
            ([&bytes[..], b"more"].concat(), format!("{start}-more.{end}")),
            (noise[..5000].to_vec(), format!("{start}-noise.{end}")),
        ] {
            nginx.file(&damaged, &cut);
            for path in [format!("/{damaged}"), format!("/split/{damaged}")] {
                failed(&[&nginx.url(&path), "--compressed"], 61, "");
            }
        }
    }
}

#[test]
fn kept_connections_are_used_again() {
    let Some(nginx) = Nginx::start("nginx-kept") else { return };
    nginx.file("file.txt", b"x");
    let urls: Vec<String> = (0..10).map(|_| nginx.url("/file.txt")).collect();
    assert_eq!(fetched(&urls), b"xxxxxxxxxx");
    let mut connections = nginx.connections(10);
    connections.dedup();
    assert_eq!(connections.len(), 1, "{connections:?}");
    let mut secure: Vec<String> = (0..10).map(|_| nginx.secure_url("/file.txt")).collect();
    secure.extend(["--ca".to_owned(), nginx.folder.file("ca.pem")]);
    secure.extend(["--resolve".to_owned(), nginx.resolve(), "-Z".to_owned(), "3".to_owned()]);
    assert_eq!(fetched(&secure), b"xxxxxxxxxx");
    let mut connections = nginx.connections(20).split_off(10);
    connections.sort();
    connections.dedup();
    assert!(connections.len() <= 3, "{connections:?}");
}

#[test]
fn certificates_are_checked() {
    let Some(nginx) = Nginx::start("nginx-tls") else { return };
    nginx.file("file.txt", b"secret\n");
    let (url, ca, resolve) =
        (nginx.secure_url("/file.txt"), nginx.folder.file("ca.pem"), nginx.resolve());
    let resolve = ["--resolve", resolve.as_str()];
    let with = |more: &[&str]| -> Vec<String> {
        [&[url.as_str()], more, &resolve].concat().into_iter().map(str::to_owned).collect()
    };
    assert_eq!(fetched(&with(&["--ca", &ca])), b"secret\n");
    failed(&with(&[]), 60, "one.example");
    let output = super::tool::fetch(&with(&["--insecure"]));
    assert_eq!(output.stdout, b"secret\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not verified"), "{output:?}");
    let moved = [nginx.url("/secure"), "--ca".to_owned(), ca.clone()];
    let moved: Vec<&str> = moved.iter().map(String::as_str).chain(resolve).collect();
    assert_eq!(fetched(&moved), b"secret\n");
    // The certificate has the address, but no other name.
    let by_address = format!("https://127.0.0.1:{}/file.txt", nginx.secure);
    assert_eq!(fetched(&[&by_address, "--ca", &ca]), b"secret\n");
    let other = format!("https://localhost:{}/file.txt", nginx.secure);
    failed(&[&other, "--ca", &ca, "--retry", "0"], 60, "localhost");
    let plain = format!("https://127.0.0.1:{}/", nginx.plain);
    failed(&[&plain, "--ca", &ca, "--retry", "0"], 35, "not TLS");
}
