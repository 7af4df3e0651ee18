//! How far a connection is.

use crate::Stream;

/// What each idle connection takes, beside its session: with a session of 8 bytes, an allocator that
/// adds 8 and rounds up to 16 takes 64.
const _: () = assert!(size_of::<Stream<()>>() <= 40);

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The kernel is connecting.
    Connecting,
    /// The session has not been told that it is open.
    Opening,
    Open,
    /// The session is done; what it said is being sent.
    Closing,
    /// All is sent and the peer told so; what it still sends is thrown away until it ends too.
    Lingering,
}

/// How far the sending side of a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    Open,
    /// The session has ended its output; what there is of it is being sent.
    Ending,
    Ended,
}
