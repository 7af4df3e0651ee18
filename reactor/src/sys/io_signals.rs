//! Signals that report the readiness of descriptors (`F_SETSIG`, `fcntl(2)`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::mask::change_mask;
use super::{check, pointer, poll, timespec};
use crate::Readiness;

/// Commands of `fcntl(2)` that `libc` does not have (`asm-generic/fcntl.h`).
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;
/// The owner is a thread (`asm-generic/fcntl.h`).
const F_OWNER_TID: libc::c_int = 0;

/// Which thread gets the signals: `struct f_owner_ex`.
#[repr(C)]
struct Owner {
    kind: libc::c_int,
    pid: libc::pid_t,
}

/// What a signal of a descriptor says.
pub(crate) enum IoSignal {
    /// A descriptor has become ready.
    Ready(RawFd, Readiness),
    /// The queue of signals was full (`RLIMIT_SIGPENDING`), so reports were lost.
    Overflow,
}

/// The beginning of `siginfo_t` as the kernel fills it for a descriptor (`sigaction(2)`). `libc` has no
/// names for these fields.
#[repr(C)]
struct Filled {
    number: libc::c_int,
    error: libc::c_int,
    code: libc::c_int,
    band: libc::c_long,
    fd: libc::c_int,
}

const _: () = assert!(size_of::<Filled>() <= size_of::<libc::siginfo_t>());

/// Returns the first real-time signal that the C library leaves to programs (`signal(7)`). Unlike others,
/// signals from there on are queued.
fn number() -> libc::c_int {
    libc::SIGRTMIN()
}

/// Returns the signal of descriptors, and the one that replaces it when the queue is full.
fn signals() -> io::Result<libc::sigset_t> {
    // SAFETY: all-zero bytes are a valid sigset_t: the empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in [number(), libc::SIGIO] {
        // SAFETY: `set` is initialized and outlives the call.
        check(unsafe { libc::sigaddset(&mut set, signal) })?;
    }
    Ok(set)
}

/// Blocks the signals of descriptors in this thread, and returns them.
pub(crate) fn block_io_signals() -> io::Result<libc::sigset_t> {
    let set = signals()?;
    change_mask(libc::SIG_BLOCK, &set)?;
    Ok(set)
}

/// Makes a descriptor signal this thread whenever it becomes ready (`F_SETOWN_EX`, `F_SETSIG` and
/// `O_ASYNC`, `fcntl(2)`).
pub(crate) fn signal_when_ready(fd: BorrowedFd<'_>) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    // SAFETY: gettid takes nothing and always succeeds.
    let thread = unsafe { libc::gettid() };
    let owner = Owner { kind: F_OWNER_TID, pid: thread };
    // SAFETY: `owner` outlives the call.
    check(unsafe { libc::fcntl(fd, F_SETOWN_EX, &raw const owner) })?;
    // SAFETY: F_SETSIG takes no pointer.
    check(unsafe { libc::fcntl(fd, F_SETSIG, number()) })?;
    // SAFETY: F_GETFL takes no pointer.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    let wanted = flags | libc::O_ASYNC | libc::O_NONBLOCK;
    // SAFETY: F_SETFL takes no pointer.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, wanted) })?;
    // A kind of file that cannot signal ignores the flag.
    // SAFETY: F_GETFL takes no pointer.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    if flags & libc::O_ASYNC == 0 {
        let text = "descriptors of this kind do not signal when they are ready (O_ASYNC, open(2))";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok(())
}

/// Waits for the next signal of a descriptor (`sigtimedwait(2)`). Returns `None` when the time has passed or
/// another signal was handled.
pub(crate) fn wait_for_io_signal(
    set: &libc::sigset_t,
    timeout: Option<Duration>,
) -> io::Result<Option<IoSignal>> {
    let timeout = timeout.map(timespec);
    // SAFETY: all-zero bytes are a valid siginfo_t; it is filled by the call.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: all three structures outlive the call, and the last may be null.
    let result = check(unsafe { libc::sigtimedwait(set, &mut info, pointer(timeout.as_ref())) });
    let none = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
    match result {
        Ok(number) if number == libc::SIGIO => return Ok(Some(IoSignal::Overflow)),
        // A program may send the signal without a descriptor: it says nothing.
        Ok(_) if info.si_code <= 0 => return Ok(None),
        Ok(_) => {}
        Err(error) if none.contains(&error.kind()) => return Ok(None),
        Err(error) => return Err(error),
    }
    // SAFETY: the structure is as large and as aligned as its beginning, and was zeroed before.
    let filled = unsafe { &*(&raw const info).cast::<Filled>() };
    let band = filled.band as libc::c_short;
    Ok(Some(IoSignal::Ready(filled.fd, poll::readiness(band))))
}
