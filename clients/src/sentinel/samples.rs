//! Answers for tests: valid, and random.

use testkit::Random;

use super::*;
use crate::resp::Answer;

pub(super) fn bulk(text: &str) -> Answer {
    Answer::Bulk(text.into())
}

/// Names and values of fields, as RESP2 lists them.
pub(super) fn fields(pairs: &[(&str, &str)]) -> Answer {
    Answer::Array(pairs.iter().flat_map(|(key, value)| [bulk(key), bulk(value)]).collect())
}

/// The words that the parsers look for, and others that are almost right.
const WORDS: [&str; 26] = [
    "name",
    "ip",
    "port",
    "runid",
    "flags",
    "config-epoch",
    "master",
    "slave",
    "sentinel",
    "connected",
    "127.0.0.1",
    "::1",
    "17001",
    "0",
    "-1",
    "99999999999999999999",
    "",
    "s_down",
    "role:master",
    "role:slave\nmaster_host:x\nmaster_port:1",
    "slave0:ip=::1,port=1,offset=1",
    "127.0.0.1,1,x,1,m,::1,2,3",
    "m ::1 1 ::1 2",
    "slave x ::1 1 @ m ::1 2",
    ",,,,,,,",
    "\u{fffd} ",
];

fn any_text(random: &mut Random) -> Vec<u8> {
    if random.one_in(4) {
        let length = random.index(20);
        return random.bytes(length);
    }
    let count = 1 + random.index(8);
    let separator = random.pick(&[",", " ", "\n", ":", "="]);
    let words: Vec<&str> = (0..count).map(|_| random.pick(&WORDS)).collect();
    words.join(separator).into_bytes()
}

/// A random answer that is often almost valid.
pub(super) fn any_answer(random: &mut Random, depth: usize) -> Answer {
    let elements = |random: &mut Random| -> Vec<Answer> {
        let count = random.index(16);
        (0..count).map(|_| any_answer(random, depth.saturating_sub(1))).collect()
    };
    match random.below(if depth == 0 { 6 } else { 10 }) {
        0 => Answer::Null,
        1 => Answer::Integer(random.number() as i64),
        2 => Answer::Simple(any_text(random)),
        3 => Answer::Error(any_text(random)),
        4 => Answer::Double(0.5),
        5 => Answer::Bulk(random.pick(&WORDS).into()),
        6 => Answer::Map(elements(random).into_iter().map(|it| (it, Answer::Null)).collect()),
        7 => Answer::Push(elements(random)),
        _ => Answer::Array(elements(random)),
    }
}

#[test]
fn no_input_makes_a_parser_panic() {
    let mut random = Random::new(1);
    let mut parsed = [0; 7];
    for _ in 0..50_000 {
        let answer = any_answer(&mut random, 2);
        let text = String::from_utf8_lossy(&any_text(&mut random)).into_owned();
        let results = [
            Report::parse(&answer).is_ok() || Report::parse_all(&answer).is_ok(),
            parse_address(&answer).is_ok(),
            Role::parse(&answer).is_ok(),
            Replication::parse(&text).is_ok(),
            Hello::parse(&text).is_ok(),
            Switch::parse(&text).is_ok(),
            Event::parse("+sdown", &text).is_ok(),
        ];
        for (count, is_ok) in parsed.iter_mut().zip(results) {
            *count += usize::from(is_ok);
        }
    }
    assert!(parsed.iter().all(|count| *count > 0), "some of them are valid: {parsed:?}");
}
