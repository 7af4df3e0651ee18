//! What TLS costs: memory of an idle connection, and processor time of handshakes, messages, bulk and
//! files. The book has the figures of a release build:
//!
//! ```sh
//! cargo test --release -p myevent-servers --test tls -- --ignored --nocapture --test-threads 1
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use protocol::link::{Layer, Link, Plain};
use protocol::testing::Wire;
use protocol::tls::{
    Identity, Roots, Tls, TlsClient, TlsClientOptions, TlsServer, TlsServerOptions, Trust, Version,
};
use protocol::{Buffer, Cause, Context, FileRange, Flow, Limits, Output, Reason, Session};
use reactor::{
    Accepted, Address, ListenOptions, Listener, LoopCx, Reactor, Stream, raise_descriptor_limit,
};
use testkit::{PATIENCE, has_peer, process};

use super::common::Daemon;
use super::{ECHO, Files};

/// Connections that are idle.
const IDLE: usize = if cfg!(debug_assertions) { 300 } else { 1000 };
/// How often something is done, for a figure.
const TIMES: u64 = if cfg!(debug_assertions) { 50 } else { 500 };
/// The size of a file.
const SIZE: u64 = if cfg!(debug_assertions) { 32 << 20 } else { 512 << 20 };

/// Says what it is told to say, and counts what it hears.
#[derive(Default)]
struct Talk {
    to_say: Vec<u8>,
    heard: usize,
    is_open: bool,
}

impl Session for Talk {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        _context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        self.is_open = true;
        output.append(&std::mem::take(&mut self.to_say));
        self.heard += input.len();
        input.clear();
        Ok(Flow::Continue)
    }
}

/// A client over a blocking socket.
struct Peer<L> {
    wire: Wire<Talk, L>,
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl<L: Layer> Peer<L> {
    /// Connects, and completes the handshake.
    fn connect(address: &str, layer: L) -> Self {
        let stream = TcpStream::connect(address).expect("it accepts");
        stream.set_nodelay(true).expect("it is TCP");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        let link = Link::with_layer(Talk::default(), layer, Limits::DEFAULT.into());
        let mut peer = Self { wire: Wire::over(link), stream, bytes: vec![0; 1 << 18] };
        peer.wire.run(&mut ());
        peer.until(|talk| talk.is_open);
        peer
    }

    /// Says `bytes`, and waits until `count` bytes have come.
    fn ask(&mut self, bytes: &[u8], count: usize) {
        let talk = self.wire.session_mut();
        talk.to_say.extend_from_slice(bytes);
        let wanted = talk.heard + count;
        self.wire.wake(&mut ());
        self.until(|talk| talk.heard >= wanted);
    }

    fn until(&mut self, done: impl Fn(&Talk) -> bool) {
        loop {
            self.stream.write_all(&self.wire.take_sent()).expect("it takes them");
            if done(self.wire.session_mut()) {
                return;
            }
            let count = self.stream.read(&mut self.bytes).expect("it says something");
            assert!(count > 0, "it closes: {:?}", self.wire.reason());
            self.wire.feed(&self.bytes[..count], &mut ());
        }
    }
}

fn client(files: &Files, version: Version) -> TlsClient {
    let authority = std::fs::read(files.path("ca.pem")).expect("it is there");
    let roots = Roots::from_pem(&authority).expect("it is an authority");
    let mut options = TlsClientOptions::new(Trust::Roots(roots));
    options.version_max = version;
    TlsClient::new(options).expect("they fit")
}

fn layer(client: &TlsClient) -> Tls {
    client.layer("one.example").expect("a name")
}

/// Returns the private memory of a server for each of so many connections, in bytes.
fn idle<L: Layer>(
    server: &Daemon,
    connect: impl Fn() -> Peer<L>,
    use_it: impl Fn(&mut Peer<L>),
) -> u64 {
    let memory = || process::memory_bytes(server.id()).expect("it runs");
    // What the first ones need is kept.
    let first: Vec<Peer<L>> = (0..100).map(|_| connect()).collect();
    let before = memory();
    let mut all: Vec<Peer<L>> = (0..IDLE).map(|_| connect()).collect();
    all.iter_mut().for_each(use_it);
    let after = memory();
    drop(first);
    after.saturating_sub(before) / IDLE as u64
}

/// Returns the time that a process needs for one of `times`, in nanoseconds, and the wall-clock time.
fn each(pid: u32, times: u64, mut work: impl FnMut()) -> (u64, u64) {
    let used = || process::cpu_nanoseconds(pid).expect("it runs");
    // Not the first one.
    work();
    let (before, start) = (used(), Instant::now());
    (0..times).for_each(|_| work());
    let wall = start.elapsed().as_nanos() as u64;
    ((used() - before) / times, wall / times)
}

#[test]
#[ignore = "it measures, on a machine that does nothing else"]
fn an_idle_connection_takes_a_bounded_amount_of_memory_and_returns_its_buffers() {
    raise_descriptor_limit(5000).expect("it can be raised");
    let files = Files::new("tls-idle");
    files.issue("one", &["one.example"]);
    let mut figures = Vec::new();
    for version in [Version::Tls12, Version::Tls13] {
        let tls = client(&files, version);
        for is_used in [false, true] {
            let server = files.start(ECHO, &["one"], &[]);
            let address = server.addresses[0].strip_prefix("tls://").expect("it is encrypted");
            let bytes = [7; 200_000];
            let figure = idle(
                &server,
                || Peer::connect(address, layer(&tls)),
                |peer| {
                    if is_used {
                        peer.ask(&bytes, bytes.len());
                    }
                },
            );
            println!("{version:?}: {figure} bytes for an idle connection, used: {is_used}");
            figures.push(figure);
        }
    }
    let server = Daemon::start(&[], ECHO, &["--listen", "127.0.0.1:0"]);
    let plain = idle(&server, || Peer::connect(&server.addresses[0], Plain), |_| {});
    println!("{plain} bytes without TLS");
    for pair in figures.chunks(2) {
        let (fresh, used) = (pair[0], pair[1]);
        assert!(fresh < 8_000, "an idle connection takes {fresh} bytes");
        // What 200 KB have needed is given back.
        assert!(used < fresh + 2_000, "one that was used takes {used} bytes instead of {fresh}");
    }
}

#[test]
#[ignore = "it measures, on a machine that does nothing else"]
fn every_further_handshake_is_resumed_and_the_figures_are_told() {
    let files = Files::new("tls-handshakes");
    files.issue("one", &["one.example"]);
    let server = files.start(ECHO, &["one"], &[]);
    let ours = server.addresses[0].strip_prefix("tls://").expect("it is encrypted");
    let nginx = Nginx::start(&files);
    let theirs = nginx.as_ref().map(|it| ("nginx", it.address.as_str(), it.process.id()));
    for (name, address, pid) in [("ours", ours, server.id())].into_iter().chain(theirs) {
        for version in [Version::Tls12, Version::Tls13] {
            let full = each(pid, TIMES, || {
                drop(Peer::connect(address, layer(&client(&files, version))));
            });
            let (keeps, mut count) = (client(&files, version), 0);
            let resumed = each(pid, TIMES, || {
                let mut peer = Peer::connect(address, layer(&keeps));
                count += u64::from(peer.wire.link().layer().is_resumed() == Some(true));
                // The tickets of TLS 1.3 come behind the handshake.
                peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 26);
                drop(peer);
            });
            println!(
                "{name}, {version:?}: full {full:?}, resumed {resumed:?} ns (server, wall); {count} \
                 were"
            );
            // All but the first are.
            assert!(name != "ours" || count == TIMES, "{count} of {TIMES} were resumed");
        }
    }
}

#[test]
#[ignore = "it measures, on a machine that does nothing else"]
fn messages_and_bulk_come_back_and_the_figures_are_told() {
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-messages");
    files.issue("one", &["one.example"]);
    let tls = client(&files, Version::Tls13);
    let server = files.start(ECHO, &["one"], &["--listen", "127.0.0.1:0"]);
    let address = server.addresses[0].strip_prefix("tls://").expect("it is encrypted");
    let mut encrypted = Peer::connect(address, layer(&tls));
    let mut plain = Peer::connect(&server.addresses[1], Plain);
    let mut line = [b'x'; 64];
    line[63] = b'\n';
    let (bulk, pid) = ([b'x'; 65_536], server.id());
    for (name, size, times) in [("64 bytes", 64, 40 * TIMES), ("64 KiB", 65_536, 5 * TIMES)] {
        let bytes = if size == 64 { &line[..] } else { &bulk };
        let over = each(pid, times, || encrypted.ask(bytes, size));
        let without = each(pid, times, || plain.ask(bytes, size));
        println!("{name}: TLS {over:?}, plain {without:?} ns (server, wall)");
    }
    let openssl = Openssl::start(&files);
    let mut peer = Peer::connect(&openssl.address, layer(&tls));
    let figure = each(openssl.process.id(), 40 * TIMES, || peer.ask(&line, 64));
    println!("64 bytes: openssl s_server -rev {figure:?} ns (server, wall)");
}

/// Sends a file as soon as the connection is open.
struct Sends(Arc<File>, u64);

impl Session for Sends {
    fn advance(
        &mut self,
        _input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        if context.cause == Cause::Opened {
            output.file(FileRange { file: Arc::clone(&self.0), offset: 0, length: self.1 });
        }
        Ok(if context.input_ended { Flow::Close } else { Flow::Continue })
    }
}

/// Sends a file of `size` to a client over `layer`. Returns the time of the server's thread and the
/// wall-clock time, in nanoseconds.
fn send_file<S: Layer + 'static, C: Layer>(
    file: &Arc<File>,
    size: u64,
    server: impl Fn() -> S + Send + 'static,
    client: C,
) -> (u64, u64) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let file = Arc::clone(file);
    let thread = std::thread::spawn(move || {
        let mut reactor = Reactor::new(()).expect("it opens");
        let any: Address = "127.0.0.1:0".parse().expect("it is an address");
        let listener = Listener::bind(&any, &ListenOptions::DEFAULT).expect("a port is free");
        sender.send(listener.address().to_string()).expect("the test waits");
        let accept = move |accepted: Accepted, cx: &mut LoopCx<'_>| {
            let session = Sends(Arc::clone(&file), size);
            let link = Link::with_layer(session, server(), Limits::DEFAULT.into());
            Stream::over(link).register(accepted, cx).map(drop)
        };
        listener.register(&mut reactor.cx(), accept).expect("it listens");
        sender.send(String::new()).expect("the test waits");
        reactor
            .run_while(|reactor| {
                let counters = reactor.counters();
                counters.accepts == 0 || counters.connections > 0
            })
            .expect("it runs");
        let own = std::fs::read_to_string("/proc/thread-self/schedstat").expect("it is there");
        own.split(' ').next().and_then(|it| it.parse::<u64>().ok()).expect("it is a number")
    });
    let address = receiver.recv().expect("it starts");
    receiver.recv().expect("it listens");
    let start = Instant::now();
    let mut peer = Peer::connect(&address, client);
    peer.until(|talk| talk.heard as u64 >= size);
    let wall = start.elapsed().as_nanos() as u64;
    drop(peer);
    (thread.join().expect("it serves"), wall)
}

#[test]
#[ignore = "it measures, on a machine that does nothing else"]
fn a_file_is_sent_whole_and_the_figures_are_told() {
    let files = Files::new("tls-file");
    files.issue("one", &["one.example"]);
    let path = files.path("large");
    let file = File::create(&path).expect("it is created");
    file.set_len(SIZE).expect("it is sparse");
    let file = Arc::new(File::open(&path).expect("it is there"));
    let read = |name: &str| std::fs::read(files.path(name)).expect("it is there");
    let identity = Identity::from_pem(&read("one.pem"), &read("one.key")).expect("it is whole");
    let server = TlsServer::new(TlsServerOptions::new(vec![identity])).expect("they fit");
    let tls = client(&files, Version::Tls13);
    let server = move || server.layer().expect("a layer");
    let encrypted = send_file(&file, SIZE, server, layer(&tls));
    let plain = send_file(&file, SIZE, || Plain, Plain);
    for (name, (used, wall)) in [("TLS", encrypted), ("sendfile", plain)] {
        let rate = |time: u64| (SIZE * 1000).checked_div(time).unwrap_or_default();
        println!("a file, {name}: {} MB/s of processor time, {} MB/s", rate(used), rate(wall));
    }
}

/// A running `openssl s_server`, which sends each line back with its bytes in reverse order. It is
/// killed on drop.
struct Openssl {
    process: std::process::Child,
    address: String,
}

impl Openssl {
    fn start(files: &Files) -> Self {
        let mut process = std::process::Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-rev", "-quiet"])
            .args(["-cert", &files.path("one.pem"), "-key", &files.path("one.key")])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("openssl starts");
        let address = loop {
            let address = listening(process.id());
            if let Some(address) = address {
                break address;
            }
            assert!(process.try_wait().expect("it can be waited for").is_none(), "it ended");
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        Self { process, address }
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the address that a process listens on, if it does.
fn listening(pid: u32) -> Option<String> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .filter_map(|entry| {
            std::fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned)
        })
        .collect();
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let port = u16::from_str_radix(local.split_once(':')?.1, 16).ok()?;
        let is_own = *state == "0A" && sockets.contains(&format!("socket:[{inode}]"));
        is_own.then(|| format!("127.0.0.1:{port}"))
    })
}

/// A running `nginx` with one worker, whose process is the only one. It is killed on drop.
struct Nginx {
    process: std::process::Child,
    address: String,
}

impl Nginx {
    /// Starts one, if it is installed: it is only for comparison.
    fn start(files: &Files) -> Option<Self> {
        let port = testkit::free_port();
        let (pem, key, log) = (files.path("one.pem"), files.path("one.key"), files.path("log"));
        let configuration = format!(
            "daemon off; master_process off; pid {}; error_log {log};\n\
             events {{ }}\n\
             http {{ access_log off; client_body_temp_path {temporary}; proxy_temp_path {temporary};\n\
             fastcgi_temp_path {temporary}; uwsgi_temp_path {temporary}; scgi_temp_path {temporary};\n\
             server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {pem};\n\
             ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;\n\
             ssl_session_cache shared:x:10m;\n\
             location / {{ return 200 'hello'; }} }} }}\n",
            files.path("pid"),
            temporary = files.path("temporary"),
        );
        let path = files.path("nginx.conf");
        std::fs::write(&path, configuration).ok()?;
        let process = std::process::Command::new("nginx").args(["-c", &path]).spawn().ok()?;
        let address = format!("127.0.0.1:{port}");
        testkit::wait_until("nginx listens", || TcpStream::connect(&address).is_ok());
        Some(Self { process, address })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
