//! Blocks that a backend has received.

use std::io;

use protocol::link::{self, Layer, Link, Scratch};

use crate::sys::BLOCK_SIZE;
use crate::{Cx, Exchanged, Storage};

/// A block of a backend and the buffer of a loop can be exchanged.
const _: () = assert!(Scratch::INPUT_SIZE == BLOCK_SIZE);

/// Exchanges the empty buffer of a link for a block that the backend has received, if it has a large one.
#[cold]
pub(super) fn exchange<A, S, L: Layer>(
    link: &mut Link<S, L>,
    scratch: &mut Scratch,
    cx: &mut Cx<'_, A>,
) -> io::Result<Option<Exchanged>> {
    if !cx.is_completed() {
        return Ok(None);
    }
    cx.exchange(match link.input_storage(scratch) {
        link::Storage::Empty(storage) => Storage::Empty(storage),
        link::Storage::Behind(room) => Storage::Behind(room),
    })
}
