//! Answers requests with the input, whole and in pieces that it chooses itself. Both have to deliver the
//! same responses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::testing::Choices;

#[path = "../../tests/http/client.rs"]
#[allow(dead_code, unused_imports)]
mod client;

use client::{Script, answer, answer_within, narrow};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "CONNECT", "GET", "GET"];

fuzz_target!(|input: &[u8]| {
    let (choices, stream) = input.split_at(input.len().min(8));
    let mut choices = Choices::new(choices);
    let methods = &METHODS[choices.below(METHODS.len())..];
    let (mut rest, mut pieces) = (stream, Vec::new());
    while !rest.is_empty() {
        let size = if choices.is_over() { rest.len() } else { 1 + choices.below(64) };
        let (piece, later) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    let (whole, _) = answer(Script::of(methods), &[stream]);
    let (parts, _) = answer(Script::of(methods), &pieces);
    assert_eq!(whole, parts);
    let limited = |pieces: &[&[u8]]| {
        answer_within(narrow(1 + stream.len() * 2 / 3), Script::of(methods), pieces).0
    };
    assert_eq!(limited(&[stream]), limited(&pieces));
});
