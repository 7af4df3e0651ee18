//! Cookies of clients and of upstreams (RFC 7873, RFC 9018).

use std::net::UdpSocket;

use protocol::dns::{Builder, Edns, Header, RecordType, ResponseCode, append_option, option};
use testkit::Folder;
use testkit::dns::{DnsPeer, dig};

use super::asking::{Answer, Server, question, question_for, receive};
use super::upstream::Upstream;

/// Sends a question with a cookie, and returns the answer.
fn ask(socket: &UdpSocket, number: u16, cookie: &[u8]) -> Answer {
    let mut options = Vec::new();
    append_option(option::COOKIE, cookie, &mut options);
    let edns = Edns::new(1232).with_options(&options).expect("they are whole");
    let name = format!("name-{number}.example");
    socket.send(&question_for(number, &name, RecordType::A, Some(edns))).expect("it is sent");
    receive(socket)
}

/// Returns the cookie of an answer.
fn cookie_of(answer: &Answer) -> Option<Vec<u8>> {
    answer.message().edns().and_then(|edns| edns.option(option::COOKIE)).map(<[u8]>::to_vec)
}

#[test]
fn a_client_with_a_cookie_of_the_server_has_no_limit() {
    let upstream = Upstream::honest();
    let server = Server::start(&[upstream.address], &["--rate-limit", "1", "--cache-size", "1mb"]);
    let socket = server.socket();
    let first = ask(&socket, 1, b"a client");
    assert_eq!(first.texts(), ["192.0.2.1"]);
    let cookie = cookie_of(&first).expect("there is one");
    assert!(cookie.len() == 24 && cookie.starts_with(b"a client"), "{cookie:?}");
    // The first answers are from the upstream, the others from the cache.
    for number in 0..60 {
        let answer = ask(&socket, number % 30, &cookie);
        assert_eq!(answer.texts(), ["192.0.2.1"], "{number}");
        assert_eq!(cookie_of(&answer).map(|it| it.len()), Some(24));
    }
    assert_eq!((server.counter("proven"), server.counter("limited")), (60, 0));
    // Beside it, the limit counts: a cookie that was guessed is worth nothing.
    let mut wrong = cookie;
    wrong[23] ^= 1;
    let mut truncated = 0;
    for number in 0..20 {
        let mut options = Vec::new();
        append_option(option::COOKIE, &wrong, &mut options);
        let edns = Edns::new(1232).with_options(&options).expect("they are whole");
        let bytes = question_for(number, "name-1.example", RecordType::A, Some(edns));
        socket.send(&bytes).expect("it is sent");
        // Every second one beyond the limit is not answered.
        socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).expect("a timeout");
        let mut bytes = [0; 512];
        let Ok(size) = socket.recv(&mut bytes) else { continue };
        let answer = Answer(bytes[..size].to_vec());
        truncated += u64::from(answer.message().header().is_truncated);
        assert_eq!(cookie_of(&answer).map(|it| it.len()), Some(24));
    }
    let limited = server.counter("limited");
    assert!(limited >= 5 && truncated >= limited / 3, "{limited} limited, {truncated} truncated");
    assert_eq!(server.counter("proven"), 60);
}

/// RFC 7873 section 5.4: a client may ask for a cookie alone.
#[test]
fn a_message_with_a_cookie_and_no_question_gets_a_cookie() {
    let upstream = Upstream::honest();
    let server = Server::start(&[upstream.address], &[]);
    let socket = server.socket();
    let ask = |options: &[u8]| {
        let mut builder = Builder::new(Header::question(9), 512);
        let edns = Edns::new(1232).with_options(options).expect("they are whole");
        builder.edns(&edns).expect("there is room");
        socket.send(&builder.finish()).expect("it is sent");
        receive(&socket)
    };
    let mut options = Vec::new();
    append_option(option::COOKIE, b"a client", &mut options);
    let answer = ask(&options);
    assert_eq!((answer.code(), answer.message().header().id), (ResponseCode::NOERROR, 9));
    assert_eq!(cookie_of(&answer).map(|it| it.len()), Some(24));
    // Without a cookie, it asks for nothing.
    let answer = ask(&[]);
    assert_eq!(answer.code(), ResponseCode::FORMERR);
    assert!(answer.message().edns().is_some());
}

#[test]
fn a_cookie_of_a_wrong_size_is_an_error_and_none_gets_none() {
    let upstream = Upstream::honest();
    let server = Server::start(&[upstream.address], &[]);
    let socket = server.socket();
    for size in [0, 7, 9, 15, 41] {
        let answer = ask(&socket, 1, &vec![1; size]);
        assert_eq!((answer.code(), cookie_of(&answer)), (ResponseCode::FORMERR, None), "{size}");
    }
    assert_eq!(cookie_of(&ask(&socket, 1, &[1; 40])).map(|it| it.len()), Some(24));
    socket.send(&question(3, "a.example")).expect("it is sent");
    assert!(receive(&socket).message().edns().is_none());
    // Over TCP too.
    let mut stream = server.connect();
    let mut options = Vec::new();
    append_option(option::COOKIE, b"a client", &mut options);
    let edns = Edns::new(1232).with_options(&options).expect("they are whole");
    let bytes = question_for(3, "a.example", RecordType::A, Some(edns));
    super::asking::write_message(&mut stream, &bytes);
    let answer = Answer(super::asking::read_message(&mut stream).expect("there is an answer"));
    assert_eq!(cookie_of(&answer).map(|it| it.len()), Some(24));
}

#[test]
fn servers_with_one_secret_know_each_others_cookies() {
    let (folder, upstream) = (Folder::new("dns-cookies"), Upstream::honest());
    let file = folder.file("secret");
    std::fs::write(&file, "e5e973e5a6b2a43f48e7dc849e37bfcf\n").expect("it is written");
    // Each loop of a server knows them too.
    let with = ["--cookie-secret", file.as_str(), "--rate-limit", "1", "--threads", "2"];
    let first = Server::start(&[upstream.address], &with);
    let cookie = cookie_of(&ask(&first.socket(), 1, b"a client")).expect("there is one");
    let second = Server::start(&[upstream.address], &with);
    for number in 0..20 {
        // Another port of the client may be that of another loop.
        assert_eq!(ask(&second.socket(), number, &cookie).texts(), ["192.0.2.1"]);
    }
    std::fs::write(&file, "no secret\n").expect("it is written");
    let output = std::process::Command::new(super::DNS)
        .args(["--listen", "127.0.0.1:0", "--upstream", "192.0.2.1", "--cookie-secret", &file])
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains(&file) && errors.contains("32 hexadecimal digits"), "{errors}");
}

#[test]
fn dig_and_named_understand_the_cookies() {
    let records = ["$TTL 60", "@ SOA ns admin 1 2 3 4 5", "@ NS ns", "* A 192.0.2.1"];
    let Some(upstream) = DnsPeer::named_with("example", &records, "require-server-cookie yes;")
    else {
        return;
    };
    let server = Server::start(&[upstream.address()], &["--ports", "1"]);
    let Some(said) = dig(server.udp, &["+cookie", "www.example", "A"]) else { return };
    let is_good = |line: &str| line.starts_with("; COOKIE: ") && line.ends_with(" (good)");
    assert!(said.lines().any(is_good), "{said}");
    assert!(said.contains("192.0.2.1"), "{said}");
    // The port has learned the cookie of named by its refusal, so it asks over TCP no longer.
    let over_tcp = server.counter("over_tcp");
    assert_eq!(over_tcp, 1);
    for number in 0..10 {
        assert_eq!(server.ask(&format!("{number}.example")).texts(), ["192.0.2.1"]);
    }
    assert_eq!((server.counter("over_tcp"), server.counter("missing_cookie")), (1, 0));
}
