//! The copy of a loop in a forked process, which refuses to work.

use std::fmt;
use std::io;

use crate::reactor::core::Core;

/// The error of an operation on a loop in a process that `fork(2)` has made since. The copy shares
/// kernel objects with the original, so using it would take events and bytes from the other
/// process. The operation had no effect.
///
/// Functions that return an [`io::Error`] contain it ([`io::Error::get_ref`]), with the kind
/// [`Unsupported`](io::ErrorKind::Unsupported).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forked;

impl fmt::Display for Forked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this loop belongs to the process that this one was forked from: rebuild it here \
             (Reactor::rebuild), or drop it and make a new Reactor",
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
    /// Returns whether this is a copy that a fork has made.
    #[inline]
    pub(crate) fn is_copy(&self) -> bool {
        self.process.is_another()
    }

    /// Returns an error if this is a copy.
    #[inline]
    pub(crate) fn refuse_copy(&self) -> Result<(), Forked> {
        if self.is_copy() { Err(Forked) } else { Ok(()) }
    }
}
