//! Upstreams that are broken or lie, and senders beside the path that forge answers.

use std::sync::Mutex;
use std::time::Duration;

use protocol::Random;
use protocol::dns::{Message, ResponseCode, append_option, option};

use super::asking::{Server, question, receive};
use super::upstream::{Upstream, answer, respond};

const FORGED: &str = "203.0.113.66";
/// The first port from which a spoofer assumes that the upstream was asked.
const GUESSED_FIRST: u16 = 32_768;
const NOW: Duration = Duration::ZERO;

/// Returns an answer with the wrong address.
fn forged(bytes: &[u8]) -> Vec<u8> {
    respond(bytes, ResponseCode::NOERROR, |name| vec![format!("{name} 60 IN A {FORGED}")])
}

/// Checks that the first answer of `lies` does not count, and that the true one after it does.
fn ignores(lies: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static, counter: &str) {
    let upstream = Upstream::saying(move |bytes| vec![lies(bytes), answer(bytes)]);
    let server = Server::start(&[upstream.address], &[]);
    for number in 0..20 {
        let name = format!("name-{number}.of-many-letters.example");
        assert_eq!(server.ask(&name).texts(), ["192.0.2.1"], "{counter}");
    }
    assert!(server.counter(counter) >= 20, "{counter}");
}

#[test]
fn an_answer_with_the_wrong_number_is_dropped() {
    let lie = |bytes: &[u8]| {
        let mut lie = forged(bytes);
        lie[0] ^= 1;
        lie
    };
    ignores(lie, "wrong_number");
}

#[test]
fn an_answer_to_another_question_is_dropped() {
    let lie = |bytes: &[u8]| {
        let mut lie = forged(bytes);
        // Another letter of the name, which is that of the record too.
        lie[13] = if lie[13].eq_ignore_ascii_case(&b'x') { b'y' } else { b'x' };
        lie
    };
    ignores(lie, "wrong_question");
    let lie = |bytes: &[u8]| {
        let (mut lie, name) = (forged(bytes), bytes[12..].iter().position(|byte| *byte == 0));
        let kind = 12 + name.expect("the name has an end") + 2;
        lie[kind] = 28;
        lie
    };
    ignores(lie, "wrong_question");
}

#[test]
fn an_answer_with_another_cookie_is_dropped() {
    let lie = |bytes: &[u8]| {
        let message = Message::parse(bytes).expect("it is right");
        let cookie = message.edns().and_then(|edns| edns.option(option::COOKIE));
        let mut cookie = cookie.expect("the server sends one").to_vec();
        cookie[7] ^= 1;
        let mut options = Vec::new();
        append_option(option::COOKIE, &cookie, &mut options);
        let mut lie = forged(bytes);
        // An OPT record, which is the only record of its section.
        lie[11] = 1;
        lie.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.len() as u8]);
        lie.extend(options);
        lie
    };
    ignores(lie, "wrong_cookie");
}

#[test]
fn an_answer_that_is_a_question_is_dropped() {
    let lie = |bytes: &[u8]| {
        let mut lie = forged(bytes);
        lie[2] &= 0x7f;
        lie
    };
    ignores(lie, "wrong_number");
}

#[test]
fn answers_that_are_no_messages_are_dropped() {
    // A name that points to itself, and one that points forward.
    for pointer in [[0xc0, 12], [0xc0, 200]] {
        let lie = move |bytes: &[u8]| {
            let mut lie = forged(bytes);
            lie[12..14].copy_from_slice(&pointer);
            lie
        };
        ignores(lie, "answers_malformed");
    }
    // Cut in a record.
    let lie = |bytes: &[u8]| {
        let mut lie = forged(bytes);
        lie.truncate(lie.len() - 3);
        lie
    };
    ignores(lie, "answers_malformed");
}

/// Returns the same message with the case of the first letter of its name changed.
fn other_case(mut bytes: Vec<u8>) -> Vec<u8> {
    let place = bytes[13..].iter().position(u8::is_ascii_alphabetic);
    bytes[13 + place.expect("the name has a letter")] ^= 0x20;
    bytes
}

#[test]
fn an_answer_in_the_wrong_case_is_asked_for_over_tcp() {
    let upstream = Upstream::start(
        |bytes| vec![(NOW, other_case(forged(bytes)))],
        |bytes| vec![answer(bytes)],
    );
    let server = Server::start(&[upstream.address], &[]);
    for number in 0..20 {
        assert_eq!(server.ask(&format!("n{number}.example")).texts(), ["192.0.2.1"]);
    }
    assert!(server.counter("wrong_case") >= 20);
    // With --keep-case, the case is that of the client, and checked too.
    let upstream = Upstream::honest();
    let server = Server::start(&[upstream.address], &["--keep-case"]);
    assert_eq!(server.ask("KeptCase.example").texts(), ["192.0.2.1"]);
}

#[test]
fn an_answer_from_another_port_never_arrives() {
    let other = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let upstream = Upstream::start_knowing(
        move |bytes, _, client| {
            // Everything is right but the port of the sender.
            other.send_to(&forged(bytes), client).expect("it is sent");
            vec![(Duration::from_millis(5), answer(bytes))]
        },
        |_| Vec::new(),
    );
    let server = Server::start(&[upstream.address], &[]);
    for number in 0..20 {
        assert_eq!(server.ask(&format!("{number}.example")).texts(), ["192.0.2.1"]);
    }
}

#[test]
fn late_and_repeated_answers_do_no_harm() {
    let upstream = Upstream::start(
        |bytes| {
            let late = Duration::from_millis(150);
            vec![(NOW, answer(bytes)), (NOW, forged(bytes)), (late, forged(bytes))]
        },
        |_| Vec::new(),
    );
    let server = Server::start(&[upstream.address], &[]);
    for number in 0..50 {
        assert_eq!(server.ask(&format!("{number}.example")).texts(), ["192.0.2.1"]);
    }
    testkit::wait_until("the late answers", || server.counter("wrong_number") >= 100);
    assert_eq!(server.counter("waiting"), 0);
}

#[test]
fn an_oversized_answer_is_cut_for_the_client() {
    let upstream = Upstream::saying(|bytes| {
        vec![respond(bytes, ResponseCode::NOERROR, |name| {
            (0..250).map(|number| format!("{name} 60 IN TXT \"{}\"", "x".repeat(number))).collect()
        })]
    });
    let server = Server::start(&[upstream.address], &[]);
    let answer = server.ask("a.example");
    assert!(answer.message().header().is_truncated);
    assert!(answer.0.len() <= 512);
}

#[test]
fn an_upstream_that_cuts_for_ever_ends_in_a_failure_or_at_another_upstream() {
    let cut = |bytes: &[u8]| {
        let mut cut = answer(bytes);
        cut[2] |= 2;
        cut
    };
    let hostile =
        Upstream::start(move |bytes| vec![(NOW, cut(bytes))], move |bytes| vec![cut(bytes)]);
    let server = Server::start(&[hostile.address], &["--deadline", "1s", "--tries", "4"]);
    assert_eq!(server.ask("a.example").code(), ResponseCode::SERVFAIL);
    // It is not asked for ever either.
    assert!(hostile.asked() + hostile.asked_over_tcp() <= 8);
    let good = Upstream::honest();
    let server = Server::start(&[hostile.address, good.address], &[]);
    for number in 0..20 {
        assert_eq!(server.ask(&format!("{number}.example")).texts(), ["192.0.2.1"]);
    }
}

#[test]
fn a_wrong_question_over_tcp_is_dropped() {
    let upstream = Upstream::start(
        |bytes| {
            let mut cut = answer(bytes);
            cut[2] |= 2;
            vec![(NOW, cut)]
        },
        |bytes| {
            let mut lie = forged(bytes);
            lie[13] = b'x';
            vec![lie]
        },
    );
    let server = Server::start(&[upstream.address], &["--deadline", "1s"]);
    assert_eq!(server.ask("a.example").code(), ResponseCode::SERVFAIL);
}

/// Forges answers for `count` questions, as one that knows the question, the upstream and the time, and
/// does not know the number, the port and the case. `tries` are sent for each question.
/// If the port is known, the number is guessed a few times in all, and then the case decides.
fn spoof(questions: u32, tries: u32, ports: Ports) {
    let random = Mutex::new(Random::new(15));
    let upstream = Upstream::start_knowing(
        move |bytes, socket, client| {
            let mut lie = forged(bytes);
            let message = Message::parse(bytes).expect("it is right");
            let name = message.question().expect("there is one").name.to_name();
            let mut random = random.lock().expect("it is whole");
            for _ in 0..tries {
                lie[..2].copy_from_slice(&(random.number() as u16).to_be_bytes());
                let spelled = name.with_case(|| random.one_in(2));
                lie[12..12 + spelled.as_bytes().len()].copy_from_slice(spelled.as_bytes());
                let port = match ports {
                    Ports::Guessed => GUESSED_FIRST + random.below(28_232) as u16,
                    Ports::Known => client.port(),
                };
                // Most ports are closed.
                let _ = socket.send_to(&lie, (client.ip(), port));
            }
            vec![(NOW, answer(bytes))]
        },
        |_| Vec::new(),
    );
    let range = format!("{GUESSED_FIRST}-{}", GUESSED_FIRST + 28_231);
    let args = ["--tries", "1", "--deadline", "30s", "--port-range", &range];
    let server = Server::start(&[upstream.address], &args);
    let socket = server.socket();
    let mut answered = 0;
    for number in 0..questions {
        let name = format!("a-name-of-more-letters-{number}.example");
        socket.send(&question(number as u16, &name)).expect("it is sent");
        let answer = receive(&socket);
        match answer.code() {
            // The machine was too busy for so many lies within the deadline.
            ResponseCode::SERVFAIL => {}
            _ => {
                assert_eq!(answer.texts(), ["192.0.2.1"]);
                answered += 1;
            }
        }
    }
    assert!(answered * 2 > questions, "{answered} of {questions} are answered");
    if matches!(ports, Ports::Known) {
        assert!(server.counter("wrong_number") > 0);
    }
}

/// What a spoofer knows of the port from which an upstream was asked.
#[derive(Clone, Copy)]
enum Ports {
    Guessed,
    Known,
}

#[test]
fn a_spoofer_that_knows_neither_number_nor_port_nor_case_has_no_success() {
    spoof(20, 50_000, Ports::Guessed);
}

#[test]
fn a_spoofer_that_knows_the_port_too_has_no_success() {
    // More at once would not fit into the buffer of the port, and the answer neither.
    spoof(2000, 100, Ports::Known);
}
