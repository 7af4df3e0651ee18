//! The signals that a thread does not handle.

use std::io;

use super::check;

/// Calls `start` with every signal blocked. A thread that it starts keeps them blocked, so signals of
/// the process are handled by the threads of the program.
pub(crate) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let before = all_signals().and_then(|all| change_mask(libc::SIG_SETMASK, &all));
    let result = start();
    if let Ok(before) = before {
        // It was this thread's mask, so it is a valid one.
        let _ = change_mask(libc::SIG_SETMASK, &before);
    }
    result
}

fn all_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: all-zero bytes are a valid sigset_t; it is filled by the call.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` outlives the call.
    check(unsafe { libc::sigfillset(&mut set) })?;
    Ok(set)
}

/// Changes the signal mask of this thread. Returns the previous one.
pub(super) fn change_mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    // SAFETY: all-zero bytes are a valid sigset_t; it is filled by the call.
    let mut before: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: both sets outlive the call.
    match unsafe { libc::pthread_sigmask(how, set, &mut before) } {
        0 => Ok(before),
        // Unlike other calls, this one returns the error number itself.
        number => Err(io::Error::from_raw_os_error(number)),
    }
}
