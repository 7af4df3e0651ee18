//! The clocks that a loop does not count in: that of the wall, and the one that counts while the
//! machine is suspended (`timerfd_create(2)`, `localtime(3)`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{check, read, timespec};

/// Returns a timer on a clock. It is not armed.
fn timer(clock: libc::clockid_t) -> io::Result<OwnedFd> {
    // SAFETY: timerfd_create takes no pointer.
    let fd = check(unsafe { libc::timerfd_create(clock, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) })?;
    // SAFETY: the descriptor was just opened, and no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Arms a timer for a time that its clock shows.
fn arm(fd: BorrowedFd<'_>, flags: libc::c_int, at: Duration) -> io::Result<()> {
    let value = libc::itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(at) };
    let flags = flags | libc::TFD_TIMER_ABSTIME;
    // SAFETY: `value` outlives the call, which takes no result.
    check(unsafe { libc::timerfd_settime(fd.as_raw_fd(), flags, &value, std::ptr::null_mut()) })
        .map(drop)
}

/// Returns a descriptor that becomes readable when the clock of the wall is set
/// ([`watch_steps`]).
pub(crate) fn step_watch() -> io::Result<OwnedFd> {
    let fd = timer(libc::CLOCK_REALTIME)?;
    watch_steps(fd.as_fd())?;
    Ok(fd)
}

/// Makes such a descriptor report the next time that the clock is set, or that the machine was
/// suspended. It is for a timer that is not due within the life of the program.
pub(crate) fn watch_steps(fd: BorrowedFd<'_>) -> io::Result<()> {
    /// In the year 2200. A clock that shows it is wrong, and then the timer fires, which does no harm.
    const FAR: Duration = Duration::from_secs(7_258_118_400);
    match arm(fd, libc::TFD_TIMER_CANCEL_ON_SET, FAR) {
        // The clock was set since it was armed last. It is armed now.
        Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => Ok(()),
        result => result,
    }
}

/// Reads a report of [`step_watch`]. Returns `None` if there is none.
pub(crate) fn read_step(fd: BorrowedFd<'_>) -> io::Result<Option<()>> {
    match read(fd, &mut [0; 8]) {
        Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(|_| Some(())),
    }
}

/// Returns the time since the machine was started, with the time that it was suspended
/// (`CLOCK_BOOTTIME`, `clock_gettime(2)`).
pub(crate) fn boottime() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, which does not fail for an existing clock.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    // Neither is ever negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns a descriptor that becomes readable at a time of [`boottime`].
pub(crate) fn boottime_timer(at: Duration) -> io::Result<OwnedFd> {
    let fd = timer(libc::CLOCK_BOOTTIME)?;
    arm(fd.as_fd(), 0, at)?;
    Ok(fd)
}

/// Returns by how many seconds the local time is ahead of UTC at a time since 1970, as the time zone
/// of the process says (`TZ`, `/etc/localtime`; `localtime_r(3)`). Zero for a time that cannot be
/// represented.
pub(crate) fn utc_offset(at: i64) -> i64 {
    let mut local = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both places outlive the call, which fills in the second if it does not fail.
    let filled = unsafe { libc::localtime_r(&at, local.as_mut_ptr()) };
    if filled.is_null() {
        return 0;
    }
    // SAFETY: the call has filled it in.
    let local = unsafe { local.assume_init() };
    local.tm_gmtoff
}
