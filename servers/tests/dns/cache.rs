//! The cache: answers that were given before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use protocol::dns::{Builder, Edns, Message, Record, RecordType, ResponseCode, Section};
use testkit::wait_until;

use super::asking::{Answer, Server, question, question_for, read_message, receive, write_message};
use super::upstream::{Upstream, respond};

/// An upstream whose answers have this TTL. Their addresses count up.
fn counting(ttl: u32) -> Upstream {
    let count = AtomicU32::new(0);
    Upstream::saying(move |bytes| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let record = |name: &str| vec![format!("{name} {ttl} IN A 192.0.2.{}", number % 256)];
        vec![respond(bytes, ResponseCode::NOERROR, record)]
    })
}

#[test]
fn an_answer_is_given_again_without_an_upstream() {
    let upstream = counting(3600);
    let server = Server::start(&[upstream.address], &["--cache-size", "1mb"]);
    for (id, name) in [(1, "www.example"), (2, "WWW.example"), (3, "wWw.ExamplE")] {
        let socket = server.socket();
        socket.send(&question(id, name)).expect("it is sent");
        let answer = receive(&socket);
        let message = answer.message();
        assert_eq!((message.header().id, answer.texts()), (id, vec!["192.0.2.1".to_owned()]));
        let question = message.question().expect("it is repeated");
        assert!(question.name.is_spelled_like(super::asking::name(name).view()), "{question:?}");
        let ttl = message.answers().next().expect("there is one").ttl;
        assert!((3000..=3600).contains(&ttl), "{ttl}");
    }
    let mut stream = server.connect();
    write_message(&mut stream, &question(9, "www.example"));
    let answer = Answer(read_message(&mut stream).expect("there is an answer"));
    assert_eq!(answer.texts(), ["192.0.2.1"]);
    assert_eq!((upstream.asked(), server.counter("cached")), (1, 3));
    // What has options, or another type, is another answer or has another form.
    let socket = server.socket();
    let edns = Some(Edns::new(4096));
    socket.send(&question_for(4, "www.example", RecordType::A, edns)).expect("it is sent");
    let answer = receive(&socket);
    assert!(answer.message().edns().is_some_and(|edns| edns.size == 1232));
    assert_eq!((answer.texts(), upstream.asked()), (vec!["192.0.2.1".to_owned()], 1));
}

#[test]
fn an_answer_ends_with_its_ttl() {
    let upstream = counting(1);
    let server = Server::start(&[upstream.address], &["--cache-size", "1mb"]);
    assert_eq!(server.ask("www.example").texts(), ["192.0.2.1"]);
    wait_until("the end of an answer", || server.ask("www.example").texts() != ["192.0.2.1"]);
    assert!(upstream.asked() >= 2);
}

#[test]
fn a_name_that_does_not_exist_is_remembered_for_all_types() {
    let upstream = Upstream::saying(|bytes| {
        let message = Message::parse(bytes).expect("the server asks right");
        let asked = message.question().expect("the server asks right");
        let header = message.header().response(ResponseCode::NXDOMAIN);
        let mut builder = Builder::new(header, 512);
        builder.question(asked.name, asked.kind, asked.class).expect("there is room");
        let soa: Record =
            "example 900 SOA ns.example admin.example 1 2 3 4 900".parse().expect("it is right");
        builder.record(Section::Authority, &soa.view()).expect("there is room");
        vec![builder.finish()]
    });
    let server = Server::start(&[upstream.address], &["--cache-size", "1mb"]);
    for kind in [RecordType::A, RecordType::AAAA, RecordType::MX] {
        let socket = server.socket();
        socket.send(&question_for(1, "no.example", kind, None)).expect("it is sent");
        let answer = receive(&socket);
        assert_eq!(answer.code(), ResponseCode::NXDOMAIN);
        assert_eq!(answer.message().question().map(|it| it.kind), Some(kind));
        assert_eq!(answer.message().count(Section::Authority), 1);
    }
    assert_eq!(upstream.asked(), 1);
}

#[test]
fn a_stale_answer_is_given_when_no_upstream_answers() {
    let is_silent = Arc::new(AtomicBool::new(false));
    let silence = Arc::clone(&is_silent);
    let upstream = Upstream::saying(move |bytes| match silence.load(Ordering::SeqCst) {
        true => Vec::new(),
        false => {
            let record = |name: &str| vec![format!("{name} 1 IN A 192.0.2.1")];
            vec![respond(bytes, ResponseCode::NOERROR, record)]
        }
    });
    let args = ["--cache-size", "1mb", "--serve-stale", "1d", "--deadline", "300ms"];
    let server = Server::start(&[upstream.address], &args);
    assert_eq!(server.ask("www.example").texts(), ["192.0.2.1"]);
    is_silent.store(true, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(1100));
    let answer = server.ask("www.example");
    assert_eq!(answer.texts(), ["192.0.2.1"]);
    assert_eq!(answer.message().answers().next().map(|record| record.ttl), Some(30));
    assert_eq!(server.counter("stale"), 1);
    assert_eq!(server.ask("other.example").code(), ResponseCode::SERVFAIL);
}

#[test]
fn a_popular_answer_is_renewed_before_it_ends() {
    let upstream = counting(10);
    let server = Server::start(&[upstream.address], &["--cache-size", "1mb"]);
    // In its tenth second the answer ends soon, and there it is asked for.
    wait_until("a prefetch", || {
        server.ask("www.example");
        std::thread::sleep(Duration::from_millis(50));
        server.counter("prefetched") > 0 || upstream.asked() > 3
    });
    assert!(server.counter("prefetched") > 0);
    wait_until("the new answer", || server.ask("www.example").texts() != ["192.0.2.1"]);
}

#[test]
fn the_cache_keeps_to_its_size() {
    let upstream = counting(3600);
    let server = Server::start(&[upstream.address], &["--cache-size", "16kb"]);
    for number in 0..500 {
        assert_eq!(server.ask(&format!("n{number}.example")).code(), ResponseCode::NOERROR);
    }
    let (count, size) = (server.counter("cache_answers"), server.counter("cache_bytes"));
    assert!(count > 30 && size <= 16 * 1024, "{count} answers in {size} bytes");
}
