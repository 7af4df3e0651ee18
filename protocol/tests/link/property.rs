//! Plays of the model whose choices come from seeds.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use protocol::Random;

use crate::model::play;

/// How many plays there are.
const ROUNDS: u64 = 400;

#[test]
fn links_do_what_their_model_says() {
    let mut ends = BTreeSet::new();
    for seed in 0..ROUNDS {
        let mut random = Random::new(seed);
        let length = 100 + random.index(1500);
        let bytes = random.bytes(length);
        match catch_unwind(AssertUnwindSafe(|| play(bytes))) {
            Ok(reasons) => ends.extend(reasons),
            Err(panic) => {
                eprintln!("in the play of seed {seed}");
                resume_unwind(panic);
            }
        }
    }
    // Chance has come everywhere.
    let expected = [
        "cancelled",
        "deadline passed",
        "finished",
        "idle for too long",
        "limit reached: message_size_max: the session does not consume its input",
        "limit reached: output_max: the peer does not read",
        "peer closed",
        "read: connection reset",
        "refused: bug in the session: it hands over, and no other comes after it",
        "refused: chance",
        "stopped",
        "write: connection reset",
    ];
    assert_eq!(ends.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
