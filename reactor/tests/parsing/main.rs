//! Addresses and locations: any text is parsed, and what is printed is parsed again.

mod checks;

use std::collections::BTreeMap;

use testkit::Random;

use crate::checks::{Kind, check};

/// How many texts there are.
const ROUNDS: u64 = 200_000;

/// Parts of valid texts, and others that are almost right.
const PARTS: [&str; 40] = [
    "tcp://",
    "udp://",
    "unix:",
    "unix://",
    "unix-dgram:",
    "unix",
    "//",
    "/",
    ":",
    "[",
    "]",
    "%",
    "@",
    ".",
    "-",
    "_",
    "\0",
    " ",
    "\u{e9}",
    "127.0.0.1",
    "10.0.0.300",
    "::1",
    "::ffff:1.2.3.4",
    "fe80::1",
    "fe80::1%eth0",
    "eth0",
    "localhost",
    "a.example",
    "3com",
    "0x7f",
    "0X7F",
    "http",
    "domain",
    "0",
    "1",
    "80",
    "65535",
    "65536",
    "+80",
    "99999999999999999999",
];

fn text(random: &mut Random) -> String {
    let count = 1 + random.index(7);
    let mut text: String = (0..count).map(|_| random.pick(&PARTS)).collect();
    if random.one_in(2) {
        text += random.pick(&[":80", ":http", ":0", "]:80", "]:http"]);
    }
    text
}

#[test]
fn what_is_printed_is_parsed_again_and_no_text_makes_a_parser_panic() {
    let (mut random, mut counts) = (Random::new(1), BTreeMap::new());
    for _ in 0..ROUNDS {
        *counts.entry(check(&text(&mut random))).or_insert(0) += 1;
        let bytes = random.bytes(8);
        check(&String::from_utf8_lossy(&bytes));
    }
    for kind in [Kind::Address, Kind::Host, Kind::Neither] {
        assert!(counts.get(&kind).is_some_and(|count| *count > ROUNDS / 200), "{counts:?}");
    }
}

#[test]
fn what_is_shown_of_a_path_or_a_name_is_not_taken_for_another() {
    for (text, shown) in [
        // Two slashes after the colon are no part of the path.
        ("unix:////run/x.sock", "unix:////run/x.sock"),
        ("unix-dgram:////x", "unix-dgram:////x"),
        ("unix:///run/x.sock", "unix:/run/x.sock"),
        // A host may have the name of a kind of sockets.
        ("tcp://unix:80", "tcp://unix:80"),
        ("tcp://unix-dgram:http", "tcp://unix-dgram:http"),
        ("udp://unix:80", "udp://unix:80"),
        ("tcp://localhost:80", "localhost:80"),
    ] {
        let location: reactor::Location = text.parse().expect(text);
        assert_eq!(location.to_string(), shown);
        check(text);
    }
}
