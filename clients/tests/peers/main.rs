//! Servers and sentinels that say anything. The fuzz targets of this package check the same.

mod answers;
mod model;

use std::collections::BTreeSet;

use testkit::Random;

use crate::answers::{Valid, check};

/// How many servers there are.
const SERVERS: u64 = 120;
/// How many answers there are.
const ANSWERS: u64 = 5_000;

#[test]
fn whatever_the_server_sends_each_command_completes_once() {
    let mut told = BTreeSet::new();
    for seed in 0..SERVERS {
        let bytes = Random::new(seed).bytes(600);
        told.extend(model::play(&bytes));
    }
    // Chance has come everywhere.
    let expected = ["answered", "not sent", "refused", "timed out", "timed out, sent", "unknown"];
    assert_eq!(told.into_iter().collect::<Vec<_>>(), expected);
}

/// The words that the parsers look for, and others that are almost right.
const WORDS: [&str; 24] = [
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
    "fe80::1%eth0",
    "a:b",
    "17001",
    "0",
    "-1",
    "99999999999999999999",
    "",
    "s_down",
    "role:slave\nmaster_host:x\nmaster_port:1\nslave0:ip=::1,port=1,offset=1",
    "127.0.0.1,1,x,1,m,::1,2,3",
    "m ::1 1 fe80::1%2 2",
    "slave x ::1 1 @ m ::1 2",
];

/// Appends a string.
fn bulk(word: &str, bytes: &mut Vec<u8>) {
    bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
}

/// Appends what a sentinel says of a server, or what is almost that.
fn any_report(random: &mut Random, bytes: &mut Vec<u8>) {
    let hosts = ["127.0.0.1", "::1", "fe80::1%eth0", "unix"];
    let fields = [
        ("name", random.pick(&["m", "n"])),
        ("ip", random.pick(&hosts)),
        ("port", random.pick(&["1", "17001"])),
        ("flags", random.pick(&["master", "slave,s_down", "master,o_down"])),
        (random.pick(&WORDS), random.pick(&WORDS)),
    ];
    let fields = &fields[random.index(2) * random.index(2)..];
    bytes.extend(format!("*{}\r\n", 2 * fields.len()).bytes());
    for (key, value) in fields {
        bulk(key, bytes);
        bulk(if random.one_in(30) { random.pick(&WORDS) } else { value }, bytes);
    }
}

/// Appends an answer of RESP, which is often almost valid.
fn any_answer(random: &mut Random, depth: u64, bytes: &mut Vec<u8>) {
    match random.below(11) {
        7 => {
            bytes.extend(b"*2\r\n");
            bulk(random.pick(&WORDS), bytes);
            bulk("17001", bytes);
        }
        8 => any_report(random, bytes),
        9 => {
            let count = random.below(4);
            bytes.extend(format!("*{count}\r\n").bytes());
            (0..count).for_each(|_| any_report(random, bytes));
        }
        0 => bytes.extend(b"*-1\r\n"),
        1 => bytes.extend(format!(":{}\r\n", random.below(70_000)).bytes()),
        2 => {
            let count = random.index(10);
            bytes.extend(random.bytes(count));
        }
        3..7 if depth > 0 => {
            let count = random.below(12);
            bytes.extend(format!("*{count}\r\n").bytes());
            (0..count).for_each(|_| any_answer(random, depth - 1, bytes));
        }
        _ => bulk(random.pick(&WORDS), bytes),
    }
}

#[test]
fn whatever_a_sentinel_says_no_parser_panics_and_places_are_shown_as_they_are_parsed() {
    let (mut random, mut valid) = (Random::new(1), Valid::default());
    for _ in 0..ANSWERS {
        let mut bytes = Vec::new();
        any_answer(&mut random, 1, &mut bytes);
        check(&bytes, &mut valid);
        let words: Vec<&str> = (0..1 + random.index(8)).map(|_| random.pick(&WORDS)).collect();
        check(words.join(random.pick(&[",", " ", "\n", ":"])).as_bytes(), &mut valid);
    }
    assert!(valid.counts().iter().all(|count| *count > 5), "some are valid: {valid:?}");
}
