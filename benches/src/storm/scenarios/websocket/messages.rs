//! Messages that follow from numbers.

use protocol::websocket::Kind;
use testkit::Random;

/// What text consists of: it can be compressed, and its characters have one to four bytes.
const WORDS: [&str; 6] = ["the same ", "again ", "häufig ", "δέλτα ", "二 ", "🦀"];

/// Returns text of about this size.
fn text(random: &mut Random, size: usize) -> String {
    let mut text = String::with_capacity(size + 16);
    while text.len() < size {
        text += WORDS[random.index(WORDS.len())];
    }
    text
}

/// Returns message `number` of a conversation.
pub(super) fn message(seed: u64, number: u64) -> (Kind, Vec<u8>) {
    let mut random = Random::new(seed ^ (number << 32));
    let size = match random.below(20) {
        0 => 0,
        1..17 => random.index(1_500),
        17..19 => random.index(9_000),
        _ => random.index(60_000),
    };
    if random.one_in(2) {
        (Kind::Binary, random.bytes(size))
    } else {
        (Kind::Text, text(&mut random, size).into_bytes())
    }
}

/// Returns message `number` that a server sends to all its subscribers in its `life`.
pub(super) fn news(life: u64, number: u64) -> String {
    let mut random = Random::new(life ^ (number << 32));
    let size = random.index(1_200);
    format!("{life} {number} {}", text(&mut random, size))
}

/// Returns the last message of a conversation that the server ends.
pub(super) fn farewell(seed: u64) -> String {
    let mut random = Random::new(seed);
    let size = random.index(40_000);
    text(&mut random, size)
}
