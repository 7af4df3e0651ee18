//! Proxies of HTTP and SOCKS5, alive and dead.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::peer::{Peer, ok, read_request, status};
use super::tool::{command, failed, fetched};

/// A proxy that speaks SOCKS5 or HTTP, by the first byte that it receives.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// What it was asked to connect to.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let for_all = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&for_all);
                std::thread::spawn(move || serve(stream, &asked));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test has panicked with it").clone()
    }
}

/// Serves one client. Ends when anything goes wrong.
fn serve(mut client: TcpStream, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut first = [0];
    client.peek(&mut first).ok()?;
    let target = if first[0] == 5 { socks(&mut client)? } else { connect(&mut client)? };
    asked.lock().expect("no test has panicked with it").push(target.clone());
    let answer: (&[u8], &[u8]) = match first[0] {
        5 => (
            b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
            b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00",
        ),
        _ => (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"),
    };
    // Names of tests are names of this host.
    let port = target.rsplit(':').next()?;
    let Ok(server) = TcpStream::connect(format!("127.0.0.1:{port}")) else {
        client.write_all(answer.1).ok()?;
        return None;
    };
    client.write_all(answer.0).ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    Some(())
}

fn connect(client: &mut TcpStream) -> Option<String> {
    let mut writer = client.try_clone().ok()?;
    let mut reader = BufReader::with_capacity(1, client.try_clone().ok()?);
    let asked = read_request(&mut reader, &mut writer)?;
    Some(asked.target().to_owned())
}

fn socks(client: &mut TcpStream) -> Option<String> {
    let mut head = [0; 2];
    client.read_exact(&mut head).ok()?;
    let mut methods = vec![0; head[1].into()];
    client.read_exact(&mut methods).ok()?;
    let method = if methods.contains(&2) { 2 } else { 0 };
    client.write_all(&[5, method]).ok()?;
    let mut byte = [0];
    if method == 2 {
        client.read_exact(&mut byte).ok()?;
        assert_eq!(byte, [1], "the version of the dialogue (RFC 1929)");
        let (user, word) = (counted(client)?, counted(client)?);
        let is_right = user == b"user" && word == b"word";
        client.write_all(&[1, u8::from(!is_right)]).ok()?;
        if !is_right {
            return None;
        }
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).ok()?;
    let host = match request[3] {
        1 => {
            let mut ip = [0; 4];
            client.read_exact(&mut ip).ok()?;
            std::net::Ipv4Addr::from(ip).to_string()
        }
        _ => String::from_utf8(counted(client)?).ok()?,
    };
    let mut port = [0; 2];
    client.read_exact(&mut port).ok()?;
    Some(format!("{host}:{}", u16::from_be_bytes(port)))
}

/// Reads a length and so many bytes.
fn counted(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0];
    client.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; length[0].into()];
    client.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

#[test]
fn socks_carries_requests_to_names_that_only_the_proxy_knows() {
    let (peer, proxy) = (Peer::start(|asked| ok(asked.target())), Proxy::start());
    let url = format!("http://only.invalid:{}/x", peer.address.port());
    let name = format!("socks5h://{}", proxy.address);
    assert_eq!(fetched(&[&url, &url, "-x", &name]), b"/x/x");
    assert_eq!(proxy.asked(), [format!("only.invalid:{}", peer.address.port())]);
    let with_user = format!("socks5://user:word@{}", proxy.address);
    assert_eq!(fetched(&[&url, "-x", &with_user]), b"/x");
    let wrong = format!("socks5://user:wrong@{}", proxy.address);
    failed(&[&url, "-x", &wrong, "--retry", "0"], 97, "does not accept the user");
    let nowhere = "http://only.invalid:1/";
    failed(&[nowhere, "-x", &name, "--retry", "0"], 97, "the connection was refused");
}

#[test]
fn a_proxy_of_http_is_given_the_whole_url() {
    let proxy = Peer::start(|asked| ok(asked.target()));
    let name = format!("http://user:word@{}", proxy.address);
    let text = fetched(&["http://one.example:81/a?b#c", "http://two.example/", "-x", &name]);
    assert_eq!(text, b"http://one.example:81/a?bhttp://two.example/");
    let asked = proxy.asked();
    assert_eq!(asked[0].field("host"), Some("one.example:81"));
    assert_eq!(asked[0].field("proxy-authorization"), Some("Basic dXNlcjp3b3Jk"));
    assert_eq!(proxy.connections(), 1, "the connection serves both");
    let mut from_environment = command(&["http://one.example/"]);
    let output =
        from_environment.env("http_proxy", proxy.address.to_string()).output().expect("it runs");
    assert_eq!(output.stdout, b"http://one.example/");
    let peer = Peer::start(|_| ok("direct"));
    let mut excepted = command(&[peer.url("/")]);
    let output = excepted
        .env("all_proxy", proxy.address.to_string())
        .env("no_proxy", "127.0.0.0/8")
        .output()
        .expect("it runs");
    assert_eq!(output.stdout, b"direct");
}

#[test]
fn proxies_that_do_not_work_are_named() {
    let dead = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = dead.local_addr().expect("it has an address").to_string();
    for scheme in ["socks5", "http"] {
        let name = format!("{scheme}://{address}");
        let args =
            ["https://one.example/", "-x", &name, "--connect-timeout", "0.2", "--retry", "0"];
        failed(&args, 28, &address);
    }
    let refuses = testkit::refusing_address().to_string();
    failed(&["http://one.example/", "-x", &refuses, "--retry", "0"], 7, &refuses);
    let refuses = Peer::start(|_| status("407 Who are you", ""));
    let name = refuses.address.to_string();
    failed(&["https://one.example/", "-x", &name, "--retry", "0"], 97, "USER:PASSWORD");
    assert!(refuses.asked()[0].line.starts_with("CONNECT one.example:443 HTTP/1.1"));
}
