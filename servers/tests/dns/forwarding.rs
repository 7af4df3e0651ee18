//! Questions that are forwarded, and answers that come back.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use protocol::dns::{Edns, Header, Message, RecordType, ResponseCode};
use testkit::dns::DnsPeer;
use testkit::refusing_udp_socket;

use super::asking::{Server, name, question, question_for, receive};
use super::common::chain::Chain;
use super::upstream::{Upstream, answer, respond, respond_bare};

const NOW: Duration = Duration::ZERO;

#[test]
fn a_question_is_forwarded_and_its_answer_goes_back() {
    let upstream = Upstream::honest();
    let server = Server::start(&[upstream.address], &[]);
    let socket = server.socket();
    socket.send(&question(4711, "wWw.Example.org")).expect("it is sent");
    let answer = receive(&socket);
    let message = answer.message();
    let header = message.header();
    assert_eq!((header.id, header.code), (4711, ResponseCode::NOERROR));
    assert!(header.is_response && header.recursion_desired && header.recursion_available);
    let question = message.question().expect("it is repeated");
    assert!(question.name.is_spelled_like(name("wWw.Example.org").view()), "{question:?}");
    assert_eq!(answer.texts(), ["192.0.2.1"]);
    // The client has sent no OPT record, so it gets none.
    assert!(message.edns().is_none());
    assert_eq!(server.counter("forwarded"), 1);
    let (code, log) = server.daemon.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn numbers_ports_and_spellings_differ() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let say = {
        let seen = Arc::clone(&seen);
        move |bytes: &[u8], _: &UdpSocket, client: SocketAddr| {
            let message = Message::parse(bytes).expect("it is right");
            let question = message.question().expect("there is one");
            let mut seen = seen.lock().expect("it is whole");
            seen.push((message.header().id, question.name.to_string(), client.port()));
            vec![(NOW, answer(bytes))]
        }
    };
    let upstream = Upstream::start_knowing(say, |_| Vec::new());
    let args = ["--port-questions", "4", "--port-range", "20000-29999"];
    let server = Server::start(&[upstream.address], &args);
    for number in 0..100 {
        let name = format!("a-name-of-many-letters-{number:02}.example.org");
        assert_eq!(server.ask(&name).texts(), ["192.0.2.1"]);
    }
    let seen = seen.lock().expect("it is whole");
    let numbers: HashSet<u16> = seen.iter().map(|(number, _, _)| *number).collect();
    let cases = |name: &str| name.chars().map(|it| it.is_ascii_uppercase()).collect();
    let spellings: HashSet<Vec<bool>> = seen.iter().map(|(_, name, _)| cases(name)).collect();
    let ports: HashSet<u16> = seen.iter().map(|(_, _, port)| *port).collect();
    // Each of the eight ports takes four of the hundred questions.
    assert!(ports.len() >= 25, "{} ports for 100 questions", ports.len());
    assert!(ports.iter().all(|port| (20_000..30_000).contains(port)), "{ports:?}");
    assert!(numbers.len() >= 95, "{} of 100 numbers differ", numbers.len());
    assert!(spellings.len() >= 95, "{} of 100 spellings differ", spellings.len());
}

#[test]
fn a_question_that_many_ask_at_once_is_asked_once() {
    let upstream =
        Upstream::start(|bytes| vec![(Duration::from_millis(80), answer(bytes))], |_| Vec::new());
    let server = Server::start(&[upstream.address], &[]);
    let sockets: Vec<_> = (0..50).map(|_| server.socket()).collect();
    for (number, socket) in sockets.iter().enumerate() {
        let spelled = if number % 2 == 0 { "POPULAR.example" } else { "popular.EXAMPLE" };
        socket.send(&question(number as u16, spelled)).expect("it is sent");
    }
    for (number, socket) in sockets.iter().enumerate() {
        let answer = receive(socket);
        assert_eq!(answer.message().header().id, number as u16);
        let asked = answer.message().question().expect("it is repeated").name.to_string();
        assert_eq!(asked.starts_with("POPULAR"), number % 2 == 0, "{asked}");
    }
    assert_eq!(server.counter("forwarded"), 1);
    assert_eq!(server.counter("joined"), 49);
    // The latency is not known at first, so it may have been asked twice.
    assert!(upstream.asked() <= 2, "{}", upstream.asked());
}

#[test]
fn flags_and_options_are_passed_on() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let say = {
        let seen = Arc::clone(&seen);
        move |bytes: &[u8]| {
            let message = Message::parse(bytes).expect("it is right");
            let edns = message.edns().expect("the server has options of its own");
            seen.lock().expect("it is whole").push((message.header(), edns.dnssec_ok, edns.size));
            let mut answer = answer(bytes);
            // AD
            answer[3] |= 0x20;
            vec![answer]
        }
    };
    let upstream = Upstream::saying(say);
    let server = Server::start(&[upstream.address], &[]);
    let socket = server.socket();
    let ask = |flags: u8, dnssec_ok: Option<bool>| {
        let edns = dnssec_ok.map(|dnssec_ok| {
            let mut edns = Edns::new(4096);
            edns.dnssec_ok = dnssec_ok;
            edns
        });
        let name = format!("signed-{flags}-{dnssec_ok:?}.example");
        let mut bytes = question_for(1, &name.replace(['(', ')'], ""), RecordType::A, edns);
        bytes[3] |= flags;
        socket.send(&bytes).expect("it is sent");
        receive(&socket)
    };
    let has = |answer: &super::asking::Answer| {
        let message = answer.message();
        let Header { is_authentic, checking_disabled, .. } = message.header();
        (is_authentic, checking_disabled, message.edns().map(|edns| edns.dnssec_ok))
    };
    assert_eq!(has(&ask(0, None)), (false, false, None));
    assert_eq!(has(&ask(0x20, None)), (true, false, None));
    assert_eq!(has(&ask(0x10, Some(false))), (false, true, Some(false)));
    assert_eq!(has(&ask(0, Some(true))), (true, false, Some(true)));
    let seen = seen.lock().expect("it is whole");
    let flags: Vec<_> = seen
        .iter()
        .map(|(header, dnssec_ok, _)| (header.is_authentic, header.checking_disabled, *dnssec_ok))
        .collect();
    assert_eq!(
        flags,
        [(false, false, false), (true, false, false), (false, true, false), (false, false, true)]
    );
    assert!(seen.iter().all(|(_, _, size)| *size == 1232));
}

#[test]
fn what_cannot_be_answered_is_refused_with_its_code() {
    let upstream = Upstream::honest();
    let server = Server::start(&[upstream.address], &[]);
    let socket = server.socket();
    let ask = |bytes: &[u8]| {
        socket.send(bytes).expect("it is sent");
        receive(&socket)
    };
    let edited = |edit: fn(&mut Vec<u8>)| {
        let mut bytes = question(9, "a.example");
        edit(&mut bytes);
        bytes
    };
    let mut later = Edns::new(512);
    later.version = 1;
    // UPDATE, no question, two questions of which one is there, a class that nothing serves.
    let with_options = |edit: fn(&mut Vec<u8>)| {
        let mut bytes = question_for(9, "a.example", RecordType::A, Some(Edns::new(512)));
        edit(&mut bytes);
        bytes
    };
    // RFC 6891 section 6.1.1: an answer has options if the message has some, also one that is no question.
    for (bytes, code, has_options) in [
        (with_options(|it| it[2] |= 4 << 3), ResponseCode::NOTIMP, true),
        (with_options(|it| it[5] = 0), ResponseCode::FORMERR, false),
    ] {
        let answer = ask(&bytes);
        assert_eq!((answer.code(), answer.message().edns().is_some()), (code, has_options));
    }
    for (bytes, code) in [
        (edited(|it| it[2] |= 5 << 3), ResponseCode::NOTIMP),
        (edited(|it| it[5] = 0), ResponseCode::FORMERR),
        (edited(|it| it[5] = 2), ResponseCode::FORMERR),
        (edited(|it| *it.last_mut().expect("a class") = 3), ResponseCode::REFUSED),
        (question_for(9, "a.example", RecordType::AXFR, None), ResponseCode::REFUSED),
        (question_for(9, "a.example", RecordType::A, Some(later)), ResponseCode::BADVERS),
    ] {
        let answer = ask(&bytes);
        assert_eq!((answer.message().header().id, answer.code()), (9, code));
    }
    // RFC 8482
    let any = ask(&question_for(9, "a.example", RecordType::ANY, None));
    let kinds: Vec<RecordType> = any.message().answers().map(|it| it.kind).collect();
    assert_eq!(kinds, [RecordType::HINFO]);
    // Answers and rubbish get nothing.
    let mut response = question(9, "a.example");
    response[2] |= 0x80;
    socket.send(&response).expect("it is sent");
    socket.send(&[1, 2, 3]).expect("it is sent");
    assert_eq!(ask(&question(10, "b.example")).message().header().id, 10);
    assert_eq!(upstream.asked(), 1);
}

#[test]
fn an_answer_that_is_too_long_is_cut_for_datagrams_and_whole_over_tcp() {
    let long = |bytes: &[u8]| {
        let text = "x".repeat(200);
        respond(bytes, ResponseCode::NOERROR, |name| {
            (0..20).map(|number| format!("{name} 60 IN TXT \"{number}{text}\"")).collect()
        })
    };
    let upstream = Upstream::start(
        |bytes| {
            let mut cut = respond(bytes, ResponseCode::NOERROR, |_| Vec::new());
            cut[2] |= 2;
            vec![(NOW, cut)]
        },
        move |bytes| vec![long(bytes)],
    );
    let server = Server::start(&[upstream.address], &[]);
    let cut = server.ask("long.example");
    assert!(cut.message().header().is_truncated && cut.texts().is_empty());
    let mut stream = server.connect();
    super::asking::write_message(&mut stream, &question(3, "long.example"));
    let bytes = super::asking::read_message(&mut stream).expect("there is an answer");
    let whole = super::asking::Answer(bytes);
    assert!(!whole.message().header().is_truncated);
    assert_eq!((whole.message().header().id, whole.texts().len()), (3, 20));
    assert!(upstream.asked_over_tcp() >= 1);
}

#[test]
fn one_dead_upstream_of_two_is_not_noticed() {
    // One that is silent, and one whose port is closed.
    let silent = Upstream::saying(|_| Vec::new());
    let closed = refusing_udp_socket("127.0.0.1");
    let closed = closed.local_addr().expect("it is bound");
    for dead in [silent.address, closed] {
        let good = Upstream::honest();
        let server = Server::start(&[dead, good.address], &[]);
        let (mut answered, mut slow, count) = (0, 0, 400);
        for number in 0..count {
            let begun = Instant::now();
            let answer = server.ask(&format!("name-{number}.example"));
            answered += u32::from(answer.texts() == ["192.0.2.1"]);
            slow += u32::from(begun.elapsed() >= Duration::from_secs(1));
        }
        assert!(answered * 100 >= count * 99, "{answered} of {count} are answered");
        // A busy machine delays some.
        assert!(slow * 100 <= count, "{slow} of {count} took a second");
        assert!(server.counter("hedged") + server.counter("retried") < u64::from(count) / 4);
    }
}

#[test]
fn an_upstream_that_fails_is_replaced_and_one_that_does_not_know_edns_is_asked_without() {
    let failing =
        Upstream::saying(|bytes| vec![respond(bytes, ResponseCode::SERVFAIL, |_| Vec::new())]);
    let old = Upstream::saying(|bytes| {
        let message = Message::parse(bytes).expect("it is right");
        vec![match message.edns() {
            Some(_) => respond_bare(bytes, ResponseCode::FORMERR),
            None => answer(bytes),
        }]
    });
    let server = Server::start(&[failing.address, old.address], &[]);
    for number in 0..20 {
        assert_eq!(server.ask(&format!("{number}.example")).texts(), ["192.0.2.1"]);
    }
    // If all fail, the client is told what they say, and not only at the deadline.
    let server = Server::start(&[failing.address], &["--deadline", "60s"]);
    assert_eq!(server.ask("a.example").code(), ResponseCode::SERVFAIL);
    let line = format!("upstream {} answers a.example. A with SERVFAIL", failing.address);
    testkit::wait_until("a line in the log", || server.daemon.log().contains(&line));
}

#[test]
fn at_the_deadline_the_client_is_told() {
    let silent = Upstream::saying(|_| Vec::new());
    let server = Server::start(&[silent.address], &["--deadline", "500ms", "--tries", "3"]);
    let begun = Instant::now();
    assert_eq!(server.ask("a.example").code(), ResponseCode::SERVFAIL);
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert!((2..=3).contains(&silent.asked()), "{}", silent.asked());
    assert_eq!(server.counter("waiting"), 0);
    testkit::wait_until("a line in the log", || {
        server.daemon.log().contains("no upstream has answered a.example. A in time")
    });
}

#[test]
fn when_all_upstreams_refuse_the_client_is_told_at_once_and_the_failure_is_kept() {
    let closed = [refusing_udp_socket("127.0.0.1"), refusing_udp_socket("127.0.0.1")];
    let addresses = closed.each_ref().map(|it| it.local_addr().expect("it is bound"));
    // Without the refusals, the answer would come at the deadline, long after the test has given up.
    let server = Server::start(&addresses, &["--deadline", "10m"]);
    assert_eq!(server.ask("a.example").code(), ResponseCode::SERVFAIL);
    assert_eq!(server.ask("a.example").code(), ResponseCode::SERVFAIL);
    assert_eq!((server.counter("forwarded"), server.counter("failed_before")), (1, 1));
    let log = server.daemon.log();
    assert!(addresses.iter().all(|it| log.contains(&format!("upstream {it} down"))), "{log}");
    let line = |it| format!("upstream {it} cannot be asked: connection refused");
    assert!(addresses.iter().all(|it| log.contains(&line(it))), "{log}");
}

#[test]
fn the_table_is_bounded() {
    let silent = Upstream::saying(|_| Vec::new());
    let server = Server::start(&[silent.address], &["--waiting-max", "10", "--deadline", "30s"]);
    let socket = server.socket();
    for number in 0..20 {
        socket.send(&question(number, &format!("{number}.example"))).expect("it is sent");
    }
    for _ in 0..10 {
        let answer = receive(&socket);
        assert_eq!(answer.code(), ResponseCode::SERVFAIL);
        assert!(answer.message().header().id >= 10);
    }
    // One that is sent again neither counts nor is answered twice.
    socket.send(&question(3, "3.example")).expect("it is sent");
    assert_eq!((server.counter("waiting"), server.counter("full")), (10, 10));
}

#[test]
fn a_loop_is_found() {
    let port = testkit::free_port();
    let own = format!("udp://127.0.0.1:{port}");
    let upstream = format!("127.0.0.1:{port}").parse().expect("an address");
    let server = Server::start(&[upstream], &["--listen", &own, "--deadline", "20s"]);
    let begun = Instant::now();
    assert_eq!(server.ask("a.example").code(), ResponseCode::SERVFAIL);
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(server.counter("looped") >= 1);
}

#[test]
fn a_loop_through_other_servers_is_found_whatever_they_change() {
    // The number and the case are others each time, and the name has no letters to tell them by.
    let ports = [testkit::free_port(), testkit::free_port(), testkit::free_port()];
    let servers: Vec<Server> = (0..3)
        .map(|place| {
            let own = format!("udp://127.0.0.1:{}", ports[place]);
            let next = SocketAddr::from(([127, 0, 0, 1], ports[(place + 1) % 3]));
            Server::start(&[next], &["--listen", &own, "--deadline", "10m"])
        })
        .collect();
    assert_eq!(servers[0].ask("1.2").code(), ResponseCode::SERVFAIL);
    assert_eq!(servers.iter().map(|it| it.counter("looped")).sum::<u64>(), 1);
    assert_eq!(servers.iter().map(|it| it.counter("forwarded")).sum::<u64>(), 3);
}

#[test]
fn a_loop_through_dnsmasq_is_found() {
    let port = testkit::free_port();
    let Some(dnsmasq) = DnsPeer::dnsmasq(&[&format!("--server=127.0.0.1#{port}")]) else { return };
    let own = format!("udp://127.0.0.1:{port}");
    let server = Server::start(&[dnsmasq.address()], &["--listen", &own, "--deadline", "10m"]);
    assert_eq!(server.ask("1.2").code(), ResponseCode::SERVFAIL);
    assert!(server.counter("looped") >= 1);
}

#[test]
fn the_upstreams_are_those_of_the_system_unless_they_are_given() {
    let folder = testkit::Folder::new("resolv");
    let file = folder.file("resolv.conf");
    std::fs::write(&file, "search example\n").expect("it is written");
    let output = std::process::Command::new(super::DNS)
        .args(["--listen", "127.0.0.1:0", "--resolv-conf", &file])
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("there is no upstream: give one with --upstream"), "{errors}");
    std::fs::write(&file, "nameserver 127.0.0.53\n").expect("it is written");
    let server = Server::start(&[], &["--resolv-conf", &file]);
    server.counter("forwarded");
    assert!(server.daemon.log().contains("upstream 127.0.0.53:53"), "{}", server.daemon.log());
    // Another file takes its place, as when the network changes. A file without any changes nothing.
    for (text, is_named) in [("nameserver 127.0.0.54\n", true), ("search example\n", false)] {
        let new = folder.file("new");
        std::fs::write(&new, text).expect("it is written");
        std::fs::rename(&new, &file).expect("it is replaced");
        if is_named {
            let line = format!("{file} has changed: the upstreams are");
            testkit::wait_until("a line in the log", || server.daemon.log().contains(&line));
        }
        server.counter("forwarded");
        assert!(server.daemon.log().contains("upstream 127.0.0.54:53"));
    }
}

#[test]
fn a_new_program_takes_over_while_clients_ask() {
    let upstream = Upstream::honest();
    let upstream = upstream.address.to_string();
    let args =
        ["--listen", "udp://127.0.0.1:0", "--listen", "127.0.0.1:0", "--upstream", &upstream];
    let mut chain = Chain::start(super::DNS, &args);
    let address = chain.daemon.addresses[0].trim_start_matches("udp://").to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.connect(address).expect("it is there");
    socket.set_read_timeout(Some(testkit::PATIENCE)).expect("a timeout");
    let ask = |number: u16| {
        socket.send(&question(number, &format!("{number}.example"))).expect("it is sent");
        assert_eq!(receive(&socket).texts(), ["192.0.2.1"], "question {number}");
    };
    for round in 0..3 {
        (0..20).for_each(|number| ask(round * 40 + number));
        chain.restart();
        (20..40).for_each(|number| ask(round * 40 + number));
    }
}
