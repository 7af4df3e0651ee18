//! Plays of the model of a client's session, whose choices come from seeds. The fuzz target `exchange`
//! plays the same.

mod model;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use protocol::Random;

use crate::model::play;

/// How many plays there are.
const ROUNDS: u64 = 3_000;

#[test]
fn whatever_the_peer_sends_each_request_ends_once_and_as_the_peer_has_seen_it() {
    let mut happened = BTreeSet::new();
    for seed in 0..ROUNDS {
        let mut random = Random::new(seed);
        let length = 20 + random.index(600);
        let bytes = random.bytes(length);
        match catch_unwind(AssertUnwindSafe(|| play(bytes))) {
            Ok(seen) => happened.extend(seen),
            Err(panic) => {
                eprintln!("in the play of seed {seed}");
                resume_unwind(panic);
            }
        }
    }
    // Chance has come everywhere.
    let expected = [
        "answered",
        "closed: cancelled",
        "closed: deadline passed",
        "closed: finished",
        "closed: peer closed",
        "closed: read: connection reset",
        "closed: refused: a reply came that answers no request",
        "closed: refused: a reply came to number , which is no request",
        "closed: refused: bug in the exchange: it is opened twice",
        "closed: refused: it says bye",
        "closed: refused: line longer than  bytes",
        "closed: refused: the stream ended  bytes after the last line end",
        "expired",
        "expired, written",
        "left",
        "left, sent",
        "one way",
        "opened",
        "pushed",
    ];
    assert_eq!(happened.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
