//! Questions over TCP: many at once, answered in any order.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use protocol::dns::{Message, ResponseCode};

use super::asking::{Answer, Server, question, read_message, write_message};
use super::upstream::{Upstream, answer};

/// Returns an upstream that takes long for names that begin with `slow`.
fn mixed() -> Upstream {
    Upstream::start(
        |bytes| {
            let message = Message::parse(bytes).expect("it is right");
            let name = message.question().expect("there is one").name.to_string();
            let is_slow = name.to_ascii_lowercase().starts_with("slow");
            vec![(Duration::from_millis(if is_slow { 300 } else { 0 }), answer(bytes))]
        },
        |_| Vec::new(),
    )
}

#[test]
fn a_quick_answer_does_not_wait_for_a_slow_one() {
    let upstream = mixed();
    let server = Server::start(&[upstream.address], &[]);
    let mut stream = server.connect();
    let mut bytes = Vec::new();
    for (number, name) in [(1, "slow.example"), (2, "quick.example"), (3, "quick-too.example")] {
        write_message(&mut bytes, &question(number, name));
    }
    stream.write_all(&bytes).expect("it is written");
    // The client is done, and still gets all answers.
    stream.shutdown(Shutdown::Write).expect("it is open");
    let mut order = Vec::new();
    while let Some(bytes) = read_message(&mut stream) {
        let answer = Answer(bytes);
        assert_eq!(answer.texts(), ["192.0.2.1"]);
        order.push(answer.message().header().id);
    }
    assert_eq!(order.len(), 3);
    assert_eq!(order[2], 1, "{order:?}");
}

#[test]
fn a_connection_has_a_limit_of_questions_that_wait_and_all_are_answered() {
    let upstream = mixed();
    let server = Server::start(&[upstream.address], &["--pipelined-max", "4"]);
    let mut stream = server.connect();
    let mut bytes = Vec::new();
    for number in 0..200 {
        write_message(&mut bytes, &question(number, &format!("{number}.example")));
    }
    // Byte by byte at first, so that messages are split.
    for byte in &bytes[..100] {
        stream.write_all(&[*byte]).expect("it is written");
    }
    stream.write_all(&bytes[100..]).expect("it is written");
    let mut seen: Vec<u16> = (0..200)
        .map(|_| {
            let answer = Answer(read_message(&mut stream).expect("there is an answer"));
            answer.message().header().id
        })
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..200));
}

#[test]
fn what_is_no_question_is_answered_and_the_connection_goes_on() {
    let upstream = mixed();
    let server = Server::start(&[upstream.address], &[]);
    let mut stream = server.connect();
    let mut wrong = question(5, "a.example");
    wrong.truncate(20);
    write_message(&mut stream, &wrong);
    let refused = Answer(read_message(&mut stream).expect("there is an answer"));
    assert_eq!((refused.message().header().id, refused.code()), (5, ResponseCode::FORMERR));
    write_message(&mut stream, &question(6, "a.example"));
    let right = Answer(read_message(&mut stream).expect("there is an answer"));
    assert_eq!((right.message().header().id, right.texts().len()), (6, 1));
    // A message that is shorter than a header ends it.
    write_message(&mut stream, &[1, 2, 3]);
    assert_eq!(stream.read(&mut [0]).expect("it is closed in order"), 0);
}

#[test]
fn a_silent_connection_is_closed() {
    let upstream = mixed();
    let server = Server::start(&[upstream.address], &["--idle-timeout", "200ms"]);
    let mut stream = server.connect();
    assert_eq!(stream.read(&mut [0]).expect("it is closed in order"), 0);
}

#[test]
fn the_ports_to_upstreams_are_no_connections_of_clients() {
    let upstream = mixed();
    let args = ["--max-connections", "1", "--ports", "64"];
    let server = Server::start(&[upstream.address], &args);
    for number in 0..3 {
        let mut stream = server.connect();
        write_message(&mut stream, &question(number, "a.example"));
        let answer = Answer(read_message(&mut stream).expect("there is an answer"));
        assert_eq!((answer.message().header().id, answer.code()), (number, ResponseCode::NOERROR));
    }
}

#[test]
fn a_server_that_is_told_to_stop_answers_what_connections_have_asked() {
    let upstream = mixed();
    let server = Server::start(&[upstream.address], &[]);
    let mut stream = server.connect();
    write_message(&mut stream, &question(1, "slow.example"));
    testkit::wait_until("the question", || server.counter("forwarded") == 1);
    server.daemon.signal("TERM");
    let answer = Answer(read_message(&mut stream).expect("there is an answer"));
    assert_eq!(answer.texts(), ["192.0.2.1"]);
    let Server { mut daemon, .. } = server;
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(0), "{log}");
}
