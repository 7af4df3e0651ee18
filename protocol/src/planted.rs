//! Planted faults: mistakes that implementations of HTTP and WebSocket have made. A test plants them
//! one at a time, to show that it would notice each.
//!
//! Only a build with `--cfg planted` contains them (`.ci/rustc-planted`). In every other build [`is`] is
//! the constant `false`, and the compiler removes what depends on it.

#![cfg_attr(not(planted), allow(unreachable_pub))] // Such a build exports nothing of this.
#![cfg_attr(not(feature = "websocket"), allow(dead_code))] // These have no use without it.

/// A fault that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The end of a body in chunks is not sent while much other output waits.
    ChunkEndLost,
    /// A body that ends with the connection, and before its own end, counts as whole.
    CutIsWhole,
    /// A client keeps a connection although it has not sent the whole body of its request.
    UnsentKept,
    /// What a client sends behind a request is dropped when that is answered later.
    RestDropped,
    /// A WebSocket that closes drops the messages that wait to be sent.
    LastMessageLost,
    /// A WebSocket waits for the answer to a ping for ever.
    PongUnawaited,
    /// A frame of control between the frames of a message drops what has come of that.
    FragmentsDropped,
}

#[cfg(planted)]
impl Planted {
    /// All faults.
    pub const ALL: &[Self] = &[
        Self::ChunkEndLost,
        Self::CutIsWhole,
        Self::UnsentKept,
        Self::RestDropped,
        Self::LastMessageLost,
        Self::PongUnawaited,
        Self::FragmentsDropped,
    ];
}

#[cfg(planted)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in the sessions of this thread, in place of any other, or removes it.
#[cfg(planted)]
pub fn plant(fault: Option<Planted>) {
    PLANTED.set(fault);
}

/// Returns whether this fault is planted on this thread.
#[cfg(planted)]
pub(crate) fn is(fault: Planted) -> bool {
    PLANTED.get() == Some(fault)
}

/// Returns `false`: this build has no planted faults.
#[cfg(not(planted))]
#[inline(always)]
pub(crate) const fn is(_fault: Planted) -> bool {
    false
}
