//! What a fork copies of a loop, which is of no use.

use std::fmt;
use std::io;

use crate::reactor::core::Core;

/// A loop was asked for something in a process that `fork(2)` has made since. The copy shares the
/// kernel's objects with the original, so that going on with it would take events and bytes from the
/// other process. Nothing was done.
///
/// The functions that return an [`io::Error`] have it inside ([`io::Error::get_ref`]), of the kind
/// [`Unsupported`](io::ErrorKind::Unsupported).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forked;

impl fmt::Display for Forked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this loop belongs to the process that this one was forked from: drop it here, and make \
             a new Reactor",
        )
    }
}

impl std::error::Error for Forked {}

impl From<Forked> for io::Error {
    fn from(error: Forked) -> Self {
        Self::new(io::ErrorKind::Unsupported, error)
    }
}

impl<A> Core<A> {
    /// Whether this is a copy, which a fork has made.
    #[inline]
    pub(crate) fn is_copy(&self) -> bool {
        self.process.is_another()
    }

    /// Refuses to go on with a copy.
    #[inline]
    pub(crate) fn refuse_copy(&self) -> Result<(), Forked> {
        if self.is_copy() { Err(Forked) } else { Ok(()) }
    }
}
