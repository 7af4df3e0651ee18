//! A new program takes over: questions that are under way are answered, and clients keep their cookies (P11).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use protocol::dns::{Edns, Header, Message, RecordType, ResponseCode, append_option, option};
use testkit::{PATIENCE, process, wait_until};

use super::DNS;
use super::asking::{Answer, question, question_for, read_message, receive, write_message};
use super::common::chain::Chain;
use super::upstream::{Upstream, answer, respond};

/// Longer than a connection may be silent while a loop winds down.
const SILENCE: Duration = Duration::from_millis(700);
/// Nothing is given up meanwhile, however busy the machine is.
const PATIENT: [&str; 2] = ["--deadline", "2m"];

/// What an upstream knows that answers when it is told to, but names that begin with "quick" at once.
#[derive(Default)]
struct Slow {
    /// The names that it was asked for.
    asked: BTreeSet<String>,
    is_released: bool,
    /// What it has not said yet, and to which client.
    held: Vec<(Vec<u8>, SocketAddr)>,
    socket: Option<UdpSocket>,
}

type Shared = Arc<Mutex<Slow>>;

fn slow(shared: &Shared) -> MutexGuard<'_, Slow> {
    shared.lock().expect("no thread has panicked")
}

fn slow_upstream() -> (Upstream, Shared) {
    slow_upstream_saying(answer, |_| Vec::new())
}

/// Returns an upstream that says `slowly` in datagrams when it is told to, and `over_tcp` at once.
fn slow_upstream_saying(
    slowly: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    over_tcp: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> (Upstream, Shared) {
    let shared = Shared::default();
    let say = {
        let shared = Arc::clone(&shared);
        move |bytes: &[u8], socket: &UdpSocket, client| {
            let message = Message::parse(bytes).expect("the server asks right");
            let name = message.question().expect("it asks").name.to_string().to_lowercase();
            let (is_quick, mut slow) = (name.starts_with("quick"), slow(&shared));
            slow.asked.insert(name);
            if is_quick || slow.is_released {
                let said = if is_quick { answer(bytes) } else { slowly(bytes) };
                return vec![(Duration::ZERO, said)];
            }
            slow.held.push((slowly(bytes), client));
            slow.socket.get_or_insert_with(|| socket.try_clone().expect("a descriptor is left"));
            Vec::new()
        }
    };
    (Upstream::start_knowing(say, over_tcp), shared)
}

/// Returns an answer without records that says that it is truncated.
fn truncated(question: &[u8]) -> Vec<u8> {
    let mut bytes = respond(question, ResponseCode::NOERROR, |_| Vec::new());
    bytes[2] |= 2;
    bytes
}

/// Lets the upstream answer, after a while of silence.
fn release(shared: &Shared) {
    std::thread::sleep(SILENCE);
    let mut slow = slow(shared);
    slow.is_released = true;
    let held = std::mem::take(&mut slow.held);
    let socket = slow.socket.as_ref().expect("it was asked");
    for (bytes, client) in held {
        // The port of another attempt may be closed.
        let _ = socket.send_to(&bytes, client);
    }
}

/// Starts a server with an upstream. Returns its address of UDP and of TCP.
fn start(upstream: SocketAddr, args: &[&str]) -> (Chain, SocketAddr, SocketAddr) {
    let upstream = upstream.to_string();
    let listen = ["--listen", "udp://127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let own = ["--upstream", &upstream, "--cache-size", "0"];
    let chain = Chain::start(DNS, &[&listen[..], &own[..], args].concat());
    let find = |is_udp: bool| {
        let mut all = chain.daemon.addresses.iter();
        let found = all.find(|it| it.starts_with("udp://") == is_udp).expect("it listens");
        found.trim_start_matches("udp://").parse().expect("an address")
    };
    let (udp, tcp) = (find(true), find(false));
    (chain, udp, tcp)
}

fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    socket.connect(server).expect("it is there");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// Asks slowly answered questions: each of `clients` five in datagrams, and a connection five. Returns the
/// connection when the upstream has all of them.
fn ask_slowly(clients: &[UdpSocket], tcp: SocketAddr, shared: &Shared) -> TcpStream {
    let mut stream = TcpStream::connect(tcp).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for number in 0..5 {
        for (place, client) in clients.iter().enumerate() {
            let name = format!("slow-{place}-{number}.example");
            client.send(&question(number, &name)).expect("it is sent");
        }
        write_message(&mut stream, &question(number, &format!("slow-tcp-{number}.example")));
    }
    let expected = 5 * (clients.len() + 1);
    wait_until("all questions at the upstream", || slow(shared).asked.len() == expected);
    stream
}

/// Checks that all questions of [`ask_slowly`] are answered, in any order.
fn expect_answers(clients: &[UdpSocket], stream: &mut TcpStream) {
    let check = |answers: Vec<Answer>| {
        let mut numbers: Vec<u16> = answers.iter().map(|it| it.message().header().id).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert!(answers.iter().all(|it| it.texts() == ["192.0.2.1"]));
    };
    for client in clients {
        check((0..5).map(|_| receive(client)).collect());
    }
    let read = |_| Answer(read_message(stream).expect("there is an answer"));
    check((0..5).map(read).collect());
}

#[test]
fn questions_under_way_are_answered_while_a_new_program_serves() {
    let several = ["--threads", "2", "--accept", "reuseport"];
    let backends = ["epoll", "epoll-lt", "poll", "select", "uring"].map(|it| ["--backend", it]);
    let variants = backends.iter().map(|it| &it[..]).chain([&several[..]]);
    for args in variants {
        let (upstream, shared) = slow_upstream();
        let (mut chain, udp, tcp) = start(upstream.address, &[args, &PATIENT].concat());
        let clients: Vec<_> = (0..4).map(|_| client(udp)).collect();
        let mut stream = ask_slowly(&clients, tcp, &shared);
        let old = chain.process;
        process::signal(old, "USR2");
        wait_until("a new program", || !chain.successors().is_empty());
        chain.process = chain.successors()[0];
        // The new program has the sockets, also for clients that the old one owes something.
        let late = client(udp);
        for socket in clients.iter().chain([&late]) {
            socket.send(&question(77, "quick.example")).expect("it is sent");
        }
        assert_eq!(receive(&late).texts(), ["192.0.2.1"], "{args:?}");
        for client in &clients {
            let quick = receive(client);
            assert_eq!(quick.message().header().id, 77, "{args:?}: the slow ones come later");
            assert_eq!(quick.texts(), ["192.0.2.1"], "{args:?}");
        }
        release(&shared);
        expect_answers(&clients, &mut stream);
        wait_until("the end of the old program", || !process::runs(old));
        let log = chain.daemon.log();
        assert!(!log.contains("not sent") && !log.contains("ERROR"), "{args:?}: {log}");
    }
}

/// At the addresses of an interface, each program has sockets of its own.
#[test]
fn questions_under_way_at_an_interface_are_answered_too() {
    let (upstream, shared) = slow_upstream();
    let port = testkit::free_port();
    let (mut chain, _, tcp) = {
        let own = ["--interface", &format!("lo:{port}")];
        start(upstream.address, &[&own[..], &PATIENT].concat())
    };
    let place = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let is_open = format!("clients may ask at {place}");
    let openings = |chain: &Chain| {
        let text = format!("{}{}", chain.daemon.start_log, chain.daemon.log());
        text.matches(&is_open).count()
    };
    wait_until("the sockets", || openings(&chain) == 1);
    let clients: Vec<_> = (0..4).map(|_| client(place)).collect();
    let mut stream = ask_slowly(&clients, tcp, &shared);
    let old = chain.process;
    process::signal(old, "USR2");
    wait_until("a new program", || !chain.successors().is_empty());
    chain.process = chain.successors()[0];
    wait_until("the sockets of the new program", || openings(&chain) == 2);
    release(&shared);
    expect_answers(&clients, &mut stream);
    wait_until("the end of the old program", || !process::runs(old));
    for client in &clients {
        client.send(&question(77, "quick.example")).expect("it is sent");
        assert_eq!(receive(client).texts(), ["192.0.2.1"]);
    }
}

#[test]
fn questions_under_way_are_answered_by_a_server_that_is_told_to_stop() {
    let (upstream, shared) = slow_upstream();
    let (mut chain, udp, tcp) = start(upstream.address, &PATIENT);
    let clients: Vec<_> = (0..4).map(|_| client(udp)).collect();
    let mut stream = ask_slowly(&clients, tcp, &shared);
    process::signal(chain.process, "TERM");
    release(&shared);
    expect_answers(&clients, &mut stream);
    let (code, log) = chain.daemon.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("not sent"), "{log}");
}

/// What comes truncated is asked again over TCP, for which there was no connection before.
#[test]
fn answers_that_come_truncated_are_fetched_over_tcp_by_a_program_that_winds_down() {
    for name in ["TERM", "USR2"] {
        let (upstream, shared) = slow_upstream_saying(truncated, |bytes| vec![answer(bytes)]);
        let (mut chain, udp, tcp) = start(upstream.address, &PATIENT);
        let clients: Vec<_> = (0..4).map(|_| client(udp)).collect();
        let mut stream = ask_slowly(&clients, tcp, &shared);
        assert_eq!(upstream.asked_over_tcp(), 0);
        let old = chain.process;
        process::signal(old, name);
        if name == "USR2" {
            wait_until("a new program", || !chain.successors().is_empty());
            chain.process = chain.successors()[0];
        }
        release(&shared);
        expect_answers(&clients, &mut stream);
        assert!(upstream.asked_over_tcp() >= 25, "{name}: each is asked over TCP");
        wait_until("the end of the old program", || !process::runs(old));
        let log = chain.daemon.log();
        assert!(!log.contains("not sent") && !log.contains("ERROR"), "{name}: {log}");
    }
}

/// An upstream that says nothing keeps the old program no longer than the deadline of the questions.
#[test]
fn an_old_program_ends_when_the_deadline_of_its_questions_has_passed() {
    let upstream = Upstream::saying(|_| Vec::new());
    let (mut chain, udp, _) = start(upstream.address, &["--deadline", "1s"]);
    let client = client(udp);
    client.send(&question(7, "a.example")).expect("it is sent");
    wait_until("the question at the upstream", || upstream.asked() > 0);
    // It waits for the end of the old program.
    chain.restart();
    assert_eq!(receive(&client).code(), ResponseCode::SERVFAIL);
}

/// Sends a question with a cookie, and returns the answer.
fn ask_with(socket: &UdpSocket, number: u16, cookie: &[u8]) -> Answer {
    let mut options = Vec::new();
    append_option(option::COOKIE, cookie, &mut options);
    let edns = Edns::new(1232).with_options(&options).expect("they are whole");
    let name = format!("quick-{number}.example");
    socket.send(&question_for(number, &name, RecordType::A, Some(edns))).expect("it is sent");
    receive(socket)
}

/// RFC 7873: the secret of the cookies goes from program to program, though it is random.
#[test]
fn clients_keep_their_cookies_through_several_programs() {
    let (upstream, _) = slow_upstream();
    for args in [&["--rate-limit", "1"][..], &["--rate-limit", "1", "--threads", "2"]] {
        let (mut chain, udp, _) = start(upstream.address, args);
        let socket = client(udp);
        let first = ask_with(&socket, 1, b"a client");
        let edns = first.message().edns().expect("the answer has a cookie");
        let cookie = edns.option(option::COOKIE).expect("there is one").to_vec();
        for _ in 0..2 {
            chain.restart();
            // Without a cookie that it knows, the server would truncate or drop most of the answers.
            for number in 0..20 {
                let answer = ask_with(&socket, number, &cookie);
                let Header { is_truncated, .. } = answer.message().header();
                assert!(!is_truncated && answer.texts() == ["192.0.2.1"], "{args:?}: {number}");
            }
        }
    }
}
