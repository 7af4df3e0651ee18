//! `fork(2)`, for programs that may not call it themselves.

use std::io;

use super::check;
use super::mask::with_signals_blocked;
use super::signal::forget_pending;

/// Forks. Returns the number of the new process, or `None` in that process. The caller has made sure
/// that this is the only thread.
pub(crate) fn fork() -> io::Result<Option<u32>> {
    with_signals_blocked(|| {
        // SAFETY: no other thread can hold a lock that the new process would wait for, and
        // everything else is copied as it is.
        let number = check(unsafe { libc::fork() })?;
        if number == 0 {
            // They are those of the other process.
            forget_pending();
        }
        Ok(u32::try_from(number).ok().filter(|number| *number != 0))
    })
}
