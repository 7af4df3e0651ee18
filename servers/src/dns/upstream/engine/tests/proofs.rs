//! Cookies of upstreams, and marks of loops.

use protocol::dns::{Edns, append_option, option};

use super::*;
use crate::dns::front::MARKS;

/// Returns the cookie of a question.
fn cookie_of(question: &[u8]) -> Vec<u8> {
    let message = Message::parse(question).expect("it is right");
    let content = message.edns().and_then(|edns| edns.option(option::COOKIE));
    content.expect("there is a cookie").to_vec()
}

/// Returns an answer with a cookie, whose name has another case.
fn response_with_cookie(question: &[u8], content: &[u8]) -> Vec<u8> {
    let message = Message::parse(question).expect("it is right");
    let asked = message.question().expect("there is one");
    let mut options = Vec::new();
    append_option(option::COOKIE, content, &mut options);
    let mut builder = Builder::new(message.header().response(ResponseCode::NOERROR), 512);
    builder.question(asked.name, asked.kind, asked.class).expect("there is room");
    builder.edns(&Edns::new(512).with_options(&options).expect("whole")).expect("there is room");
    let mut bytes = builder.finish();
    bytes[13] ^= 0x20;
    bytes
}

#[test]
fn an_answer_with_another_cookie_is_dropped_and_one_without_is_doubted() {
    let mut bench = Bench::new(1);
    let hear = |bench: &mut Bench, sent: &Sent, bytes: &[u8]| {
        let message = Message::parse(bytes).expect("it is right");
        bench.engine.hear(sent.1, &message, bench.now)
    };
    let mut known = HashSet::new();
    for number in 0..10 {
        bench.ask(&format!("name-{number}.example"));
        let sent = bench.sent().remove(0);
        let own = cookie_of(&sent.2);
        let wrong = [own[0] ^ 1; 16];
        assert!(hear(&mut bench, &sent, &response_with_cookie(&sent.2, &wrong)).is_none());
        assert!(hear(&mut bench, &sent, &response_with_cookie(&sent.2, &own[..7])).is_none());
        // Each port has another cookie.
        let is_known = !known.insert(sent.1);
        assert_eq!(own.len(), if is_known { 24 } else { 8 });
        let right = [&own[..8], b"of the upstream."].concat();
        if is_known {
            assert!(own.ends_with(b"of the upstream."));
            // An upstream that has sent cookies sends them always.
            let without = response(&sent.2, ResponseCode::NOERROR);
            assert!(hear(&mut bench, &sent, &without).is_none());
            let order = bench.engine.tcp.pop_front().expect("it is asked over TCP");
            bench.engine.refused_over_tcp(order.ticket);
        }
        // The cookie is harder to guess than the case.
        let done = hear(&mut bench, &sent, &response_with_cookie(&sent.2, &right));
        assert!(done.is_some_and(|it| it.failure.is_none()));
    }
    let counts = bench.engine.counts;
    assert_eq!((counts.wrong_cookie, counts.wrong_case), (20, 0));
    assert!(counts.missing_cookie > 0);
    bench.check_empty();
}

#[test]
fn an_upstream_that_wants_another_cookie_is_asked_over_tcp() {
    let mut bench = Bench::new(1);
    bench.ask("a.example");
    let sent = bench.sent().remove(0);
    let mut bytes = response_with_cookie(&sent.2, &cookie_of(&sent.2));
    bytes[13] ^= 0x20;
    // BADCOOKIE is 23: 7 in the header, and 1 in the OPT record, behind its type and its size.
    bytes[3] |= 7;
    let opt = bytes.len() - 11 - 12;
    bytes[opt + 5] = 1;
    let message = Message::parse(&bytes).expect("it is right");
    assert_eq!(message.response_code(), ResponseCode::BADCOOKIE);
    assert!(bench.engine.hear(sent.1, &message, bench.now).is_none());
    let order = bench.engine.tcp.pop_front().expect("it is asked over TCP");
    let bytes = response(&order.question, ResponseCode::NOERROR);
    let message = Message::parse(&bytes).expect("it is right");
    assert!(bench.engine.hear_over_tcp(order.ticket, Some(&message), bench.now).is_some());
    bench.check_empty();
}

#[test]
fn a_question_of_this_process_is_known_by_its_mark() {
    let mut bench = Bench::new(1);
    bench.ask("a.example");
    let sent = bench.sent().remove(0);
    // Another server has changed everything but the mark, and has added its own.
    let message = Message::parse(&sent.2).expect("it is right");
    let mark = message.edns().and_then(|edns| edns.option(MARKS)).expect("there is one");
    let mut marks = [mark, &Marks::default().make([9; 4])].concat();
    let ask = |bench: &mut Bench, marks: &[u8]| {
        let asked = Asked { marks: marks.into(), ..bench.asked("b.example") };
        let client = Client { source: ConnectionId(0), peer: None };
        bench.engine.ask(Waiter { client, asked }, 0, bench.now)
    };
    assert_eq!(ask(&mut bench, &marks), Begun::Looped);
    // A mark of another process says nothing, unless there are many.
    marks[0] ^= 1;
    assert_eq!(ask(&mut bench, &marks), Begun::Waits);
    let sent = bench.sent().remove(0);
    let message = Message::parse(&sent.2).expect("it is right");
    let passed_on = message.edns().and_then(|edns| edns.option(MARKS)).expect("there are some");
    assert_eq!((&passed_on[..24], passed_on.len()), (&marks[..], 36));
    assert_eq!(ask(&mut bench, &[1; 96]), Begun::Looped);
    assert_eq!(bench.engine.counts.looped, 2);
}
