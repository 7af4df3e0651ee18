//! Serves the input as HTTP, whole and in pieces that it chooses itself. Both have to deliver the same
//! requests and send responses with the same status.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::testing::Choices;

#[path = "../../tests/http/recorder.rs"]
#[allow(dead_code, unused_imports)]
mod recorder;

use recorder::{narrow, options, serve};

fuzz_target!(|input: &[u8]| {
    let (choices, stream) = input.split_at(input.len().min(8));
    let mut choices = Choices::new(choices);
    let (mut rest, mut pieces) = (stream, Vec::new());
    while !rest.is_empty() {
        let size = if choices.is_over() { rest.len() } else { 1 + choices.below(64) };
        let (piece, later) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    for options in [options(), narrow(1 + stream.len() * 2 / 3)] {
        serve(&options, &[stream]).check_like(&serve(&options, &pieces));
    }
});
