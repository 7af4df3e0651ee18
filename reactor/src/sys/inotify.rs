//! `inotify(7)`: descriptors that report changes of files.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::check;

/// Opens a descriptor, non-blocking and closed on exec (`inotify_init1(2)`).
pub(crate) fn open_inotify() -> io::Result<OwnedFd> {
    // SAFETY: inotify_init1 takes no pointer.
    let fd = check(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
    // SAFETY: the descriptor was just opened, and no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Watches what `path` names (`inotify_add_watch(2)`). Returns the number of the watch, which is the same
/// for every path that leads to the same file.
pub(crate) fn add_watch(fd: BorrowedFd<'_>, path: &Path, mask: u32) -> io::Result<i32> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a string of C, which outlives the call.
    check(unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), mask) })
}

/// Ends a watch (`inotify_rm_watch(2)`).
pub(crate) fn remove_watch(fd: BorrowedFd<'_>, watch: i32) -> io::Result<()> {
    // SAFETY: inotify_rm_watch takes no pointer.
    check(unsafe { libc::inotify_rm_watch(fd.as_raw_fd(), watch) }).map(drop)
}
