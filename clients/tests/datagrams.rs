//! `talk` and `load` over datagrams as a user runs them, against servers in the same process.

mod common;

use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::Limits;
use protocol::codecs::Bytes;
use reactor::{
    BackendKind, DatagramOptions, DatagramSocket, Datagrams, LoopLimits, Reactor, Remote, Signal,
};
use servers::Loopback;
use testkit::{Folder, PATIENCE, process, refusing_udp_socket, wait_until};

const TALK: &str = env!("CARGO_BIN_EXE_talk");
const LOAD: &str = env!("CARGO_BIN_EXE_load");

/// A server of datagrams on a thread. It stops on drop.
struct Server {
    address: String,
    remote: Remote<()>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(address: &str, make: fn() -> Loopback) -> Self {
        let address = address.parse().expect("it is an address");
        let options =
            DatagramOptions { receive_buffer: Some(4 << 20), ..DatagramOptions::default() };
        let socket = DatagramSocket::bind(&address, &options).expect("it is free");
        let address = socket.address().to_string();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let backend = BackendKind::Epoll.open().expect("epoll opens");
            let limits = LoopLimits::DEFAULT;
            let mut reactor = Reactor::with_backend(backend, limits, ()).expect("it opens");
            Datagrams::serve(socket, Bytes, make(), Limits::DEFAULT, &mut reactor.cx())
                .expect("it registers");
            sender.send(reactor.cx().remote()).expect("the test waits for it");
            reactor.run().expect("it runs");
        });
        let remote = receiver.recv().expect("the server starts");
        Self { address, remote, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.remote.post(|cx| cx.stop()).expect("the server is there");
        self.thread.take().expect("it is joined once").join().expect("it does not panic");
    }
}

/// Both kinds of addresses, of which one is in `folder`.
fn kinds(folder: &Folder) -> [String; 2] {
    ["udp://127.0.0.1:0".to_owned(), format!("unix-dgram:{}", folder.file("server"))]
}

/// Returns the command for a tool that puts its files into `folder`.
fn command(tool: &str, folder: &Folder, backend: &str, args: &[&str]) -> Command {
    let mut command = Command::new(tool);
    command.args(args).env("REACTOR_BACKEND", backend).env("TMPDIR", folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns how many sockets of clients are in `folder`.
fn files(folder: &Folder) -> usize {
    let names = fs::read_dir(folder.path()).expect("it can be read");
    let names = names.map(|it| it.expect("it is there").file_name());
    names.filter(|name| name.to_string_lossy().starts_with("reactor-")).count()
}

fn text(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout);
    format!("{printed}{}", String::from_utf8_lossy(&output.stderr))
}

#[test]
fn talk_sends_each_line_as_a_datagram_and_prints_the_replies() {
    let folder = Folder::new("talk");
    for address in kinds(&folder) {
        let server = Server::start(&address, servers::uppercase::session);
        for backend in BackendKind::ALL {
            let mut talk = command(TALK, &folder, backend.name(), &[&server.address]);
            let input: String = (0..200).map(|number| format!("line {number}\n\n")).collect();
            let output = process::run(&mut talk, format!("{input}no end").as_bytes());
            assert!(output.status.success(), "{backend}: {}", text(&output));
            let expected = format!("{}NO END", input.to_uppercase());
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{backend}");
            let output = process::run(&mut talk, b"");
            assert!(output.status.success() && output.stdout.is_empty(), "{}", text(&output));
        }
        assert_eq!(files(&folder), 0, "a file was left behind");
    }
}

#[test]
fn talk_explains_what_went_wrong() {
    let folder = Folder::new("talk");
    let refusing = refusing_udp_socket("127.0.0.1");
    let closed = format!("udp://{}", refusing.local_addr().expect("it is bound"));
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let silent_address = format!("udp://{}", silent.local_addr().expect("it is bound"));
    let nowhere = format!("unix-dgram:{}", folder.file("none"));
    let long = [b"x".repeat(65_508), b"\n".to_vec()].concat();
    for (address, input, hint) in [
        (&closed, &b"hello\n"[..], "nothing listens there"),
        (&silent_address, b"one\ntwo\n", "2 of 2 datagrams were not answered"),
        (&silent_address, &long, "a line of more than 65507 bytes"),
        (&silent_address, &long.repeat(20), "a line of more than 65507 bytes"),
        (&silent_address, &b"x".repeat(400_000), "a line of more than 65507 bytes"),
        (&nowhere, b"", "cannot send datagrams to"),
        (&"udp://".to_owned(), b"", "as in udp://127.0.0.1:8080"),
        (&"udp://127.0.0.1".to_owned(), b"", "a port must follow the IP address"),
        (&"udp://127.0.0.1:65536".to_owned(), b"", "0 to 65535"),
        (&"unix-dgram:".to_owned(), b"", "as in unix-dgram:/run/x.sock"),
        (&"udp://name.invalid:7".to_owned(), b"", "name.invalid:7: "),
    ] {
        let output = process::run(&mut command(TALK, &folder, "epoll", &[address]), input);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(hint) && message.lines().count() == 1, "{hint}: {message}");
    }
    assert_eq!(files(&folder), 0, "a file was left behind");
}

#[test]
fn a_signal_that_can_be_caught_leaves_no_file_behind() {
    let folder = Folder::new("talk");
    let path = folder.file("server");
    let server = UnixDatagram::bind(&path).expect("it is free");
    server.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    let address = format!("unix-dgram:{path}");
    // A tool that was started with nohup outlives the terminal.
    let is_heeded = |signal: &&str| *signal != "HUP" || !Signal::HANGUP.is_ignored();
    for signal in ["INT", "TERM", "HUP"].into_iter().filter(is_heeded) {
        let mut talk = command(TALK, &folder, "epoll", &[&address]).spawn().expect("it starts");
        let mut input = talk.stdin.take().expect("it is piped");
        input.write_all(b"hello\n").expect("it reads");
        server.recv(&mut [0; 16]).expect("it sends");
        assert_eq!(files(&folder), 1);
        process::signal(talk.id(), signal);
        let code = talk.wait().expect("it can be waited for").code();
        assert_eq!((code, files(&folder)), (Some(1), 0), "after SIG{signal}");
    }
    let args = [&*address, "--connections", "20", "--duration", "60"];
    for signal in ["INT", "TERM", "HUP"].into_iter().filter(is_heeded) {
        let mut load = command(LOAD, &folder, "epoll", &args).spawn().expect("it starts");
        wait_until("all sockets", || files(&folder) == 20);
        process::signal(load.id(), signal);
        let code = load.wait().expect("it can be waited for").code();
        assert_eq!((code, files(&folder)), (Some(1), 0), "after SIG{signal}");
    }
}

#[test]
fn load_verifies_every_reply_on_every_backend() {
    let folder = Folder::new("load");
    for address in kinds(&folder) {
        let server = Server::start(&address, servers::uppercase::session);
        for backend in BackendKind::ALL {
            // On a busy machine, a reply may take more than a second.
            let own = ["--lost-after", "30", "--duration", "1", "--expect", "uppercase"];
            let own = [&[&*server.address], &own[..]].concat();
            let loads = [
                ["--connections", "20", "--idle", "5", "--depth", "4", "--size", "100"],
                ["--connections", "2", "--idle", "0", "--depth", "2", "--size", "60000"],
                ["--connections", "3", "--idle", "0", "--depth", "8", "--size", "1"],
            ];
            // Each takes a second.
            let count = if backend == BackendKind::Epoll { loads.len() } else { 1 };
            for more in &loads[..count] {
                let args = [&own[..], more].concat();
                let output = process::run(&mut command(LOAD, &folder, backend.name(), &args), b"");
                let report = text(&output);
                assert!(output.status.success(), "{backend} {more:?}: {report}");
                assert!(report.contains("every byte verified"), "{report}");
                assert!(!report.contains("messages     0 "), "{report}");
            }
        }
        assert_eq!(files(&folder), 0, "a file was left behind");
    }
}

/// How often the answers look whether the test is over.
const LOOK: Duration = Duration::from_millis(50);

/// Answers datagrams until the test is over.
fn answer(
    socket: &UdpSocket,
    is_over: &AtomicBool,
    mut change: impl FnMut(u64, &mut Vec<u8>) -> bool,
) {
    socket.set_read_timeout(Some(LOOK)).expect("timeouts can be set");
    let mut buffer = vec![0; 70_000];
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let mut reply = buffer[..length].to_vec();
        if change(number, &mut reply) {
            // The client may have ended.
            let _ = socket.send_to(&reply, from);
        }
        number += 1;
    }
}

#[test]
fn load_notices_losses_wrong_replies_and_missing_servers_but_no_duplicates() {
    let folder = Folder::new("load");
    let run = |socket: &UdpSocket, change: fn(u64, &mut Vec<u8>) -> bool| {
        let address = format!("udp://{}", socket.local_addr().expect("it is bound"));
        let args = [&*address, "--connections", "2", "--depth", "4", "--duration", "2"];
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| answer(socket, &is_over, change));
            let output = command(LOAD, &folder, "epoll", &args).output();
            is_over.store(true, Ordering::Relaxed);
            let output = output.expect("it runs");
            (output.status.code(), text(&output))
        })
    };
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let (code, report) = run(&socket, |number, _| number % 500 != 20);
    assert_eq!(code, Some(1), "{report}");
    assert!(
        report.contains("replies are missing") && !report.contains("unanswered   0"),
        "{report}"
    );
    assert!(report.contains("errors       0"), "{report}");

    let (code, report) = run(&socket, |number, reply| {
        if number == 20 {
            reply[40] ^= 1;
        }
        true
    });
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("the reply differs"), "{report}");

    drop(socket);
    let refusing = refusing_udp_socket("127.0.0.1");
    let address = format!("udp://{}", refusing.local_addr().expect("it is bound"));
    let output = command(LOAD, &folder, "epoll", &[&address]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("nothing listens there"), "{}", text(&output));
}

#[test]
fn load_takes_replies_in_any_order_and_ignores_duplicates() {
    let folder = Folder::new("load");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.set_read_timeout(Some(LOOK)).expect("timeouts can be set");
    let address = format!("udp://{}", socket.local_addr().expect("it is bound"));
    let args = [&*address, "--connections", "1", "--depth", "4", "--duration", "1"];
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 100];
            let mut held = None;
            // Each is sent twice, in the wrong order.
            while !is_over.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let reply = buffer[..length].to_vec();
                match held.take() {
                    None => held = Some(reply),
                    Some(first) => {
                        for reply in [&reply, &first, &first, &reply] {
                            let _ = socket.send_to(reply, from);
                        }
                    }
                }
            }
        });
        let output = command(LOAD, &folder, "epoll", &args).output();
        is_over.store(true, Ordering::Relaxed);
        let output = output.expect("it runs");
        let (code, report) = (output.status.code(), text(&output));
        // The last message may have been held.
        let is_fine = code == Some(0) || report.contains("unanswered   1");
        assert!(is_fine && report.contains("errors       0"), "{report}");
    });
}

/// A network in which the name `server` has two addresses of this host.
const TWO_ADDRESSES: &str = "ip link set lo up
printf '::1 server\\n127.0.0.1 server\\n' >/tmp/hosts.$$
mount --bind /tmp/hosts.$$ /etc/hosts
rm /tmp/hosts.$$ 2>/dev/null || true";

#[test]
fn an_address_that_refuses_is_not_the_last_of_its_name() {
    let test = "an_address_that_refuses_is_not_the_last_of_its_name";
    if !testkit::in_namespace(test, TWO_ADDRESSES) {
        return;
    }
    let server = Server::start("udp://127.0.0.1:0", servers::uppercase::session);
    let port = server.address.rsplit(':').next().expect("it has a port").to_owned();
    let stream = common::Server::start();
    let stream = stream.address.replace("127.0.0.1", "server");
    let address = format!("udp://server:{port}");
    let location: reactor::Location = address.parse().expect("it is a location");
    let addresses = location.addresses().expect("the hosts file has it");
    assert!(addresses[0].to_string().starts_with("udp://[::1]"), "{addresses:?}");
    let folder = Folder::new("two-addresses");
    for backend in BackendKind::ALL {
        let run = |tool, args: &[&str], input: &[u8]| {
            process::run(&mut command(tool, &folder, backend.name(), args), input)
        };
        let output = run(TALK, &[&address], b"one\ntwo\nthree");
        assert_eq!(text(&output), "ONE\nTWO\nTHREE", "{backend}");
        for args in [
            &[address.as_str(), "--expect", "uppercase"][..],
            &[stream.as_str(), "--expect", "echo"],
        ] {
            let args = [args, &["--duration", "1", "--connections", "3"]].concat();
            let report = text(&run(LOAD, &args, b""));
            assert!(report.contains("every byte verified"), "{backend}: {report}");
            assert!(report.contains("errors       0"), "{backend}: {report}");
        }
    }
    drop(server);
    // Now both refuse.
    let output = process::run(&mut command(TALK, &folder, "epoll", &[&address]), b"one\n");
    assert!(text(&output).contains("nothing listens there"), "{}", text(&output));
}
