//! Helpers that the tests of properties share.

use proptest::collection::vec;
use proptest::prelude::*;

/// Cuts `bytes` into pieces of the given sizes, which repeat.
pub(crate) fn cut<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    pieces
}

/// Returns the sizes of such pieces.
pub(crate) fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(1_usize..20, 1..10)
}
