//! The end of the sending side of a connection.

use std::io;

use protocol::link::{Layer, Link, Scratch};

use crate::Cx;
use crate::planted::{self, Planted};

/// Tells the peer that nothing more is sent.
#[cold]
pub(super) fn end_output<A, S, L: Layer>(
    link: &mut Link<S, L>,
    scratch: &mut Scratch,
    cx: &mut Cx<'_, A>,
) -> io::Result<()> {
    let is_done = planted::is(Planted::NoLinger) && link.is_lingering();
    if shut_down(cx)? == HalfClose::Impossible || is_done {
        // The peer learns that nothing more comes when the descriptor is closed.
        link.received(scratch, 0, false);
    }
    Ok(())
}

/// Whether the sending side of a descriptor was ended.
#[derive(PartialEq, Eq)]
enum HalfClose {
    Done,
    /// It is no socket.
    Impossible,
}

/// Ends the sending side of a descriptor.
fn shut_down<A>(cx: &mut Cx<'_, A>) -> io::Result<HalfClose> {
    match cx.shutdown_write() {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => Ok(HalfClose::Impossible),
        // Both sides have ended theirs already.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(HalfClose::Done),
        result => result.map(|()| HalfClose::Done).inspect_err(|_| cx.failed = Some("shutdown")),
    }
}
