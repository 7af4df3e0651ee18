//! Descriptors that the process was started with.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use super::check;

/// Takes over a descriptor that this process was started with, such as a listening socket of a
/// service manager (`sd_listen_fds(3)`). It is closed on exec from then on (`FD_CLOEXEC`,
/// `fcntl(2)`).
///
/// What the process opens itself is closed on exec, so a descriptor that is not was there at the
/// start. Each is taken once. Code that opens descriptors without that flag, which C libraries may
/// do, must not run before.
///
/// ```
/// // Nothing was passed to this process.
/// assert!(reactor::inherited_descriptor(99).is_err());
/// ```
///
/// # Errors
/// - [`InvalidInput`](io::ErrorKind::InvalidInput) for standard input, output and error, which the
///   standard library has, and for a descriptor that is closed on exec.
/// - `EBADF` when no descriptor has that number.
pub fn inherited_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if (0..=2).contains(&number) {
        return Err(refused(number, "the standard library has it"));
    }
    // SAFETY: fcntl with this command takes no pointer.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(refused(
            number,
            "it is closed on exec, so this process has opened or taken it",
        ));
    }
    // SAFETY: as above.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and no other code has it: it was there at the start, and another call of
    // this function would have refused it because of its flag.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn refused(number: RawFd, why: &str) -> io::Error {
    let text = format!("descriptor {number} cannot be taken over: {why}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    #[test]
    fn what_was_there_at_the_start_is_taken_once() {
        let file = File::open("/dev/null").expect("it opens");
        // SAFETY: dup takes no pointer.
        let number = check(unsafe { libc::dup(file.as_raw_fd()) }).expect("a duplicate");
        let taken = inherited_descriptor(number).expect("nothing has it");
        let again = inherited_descriptor(number).expect_err("it is taken");
        assert_eq!(again.kind(), io::ErrorKind::InvalidInput);
        let own = inherited_descriptor(file.as_raw_fd()).expect_err("this test has opened it");
        assert_eq!(own.kind(), io::ErrorKind::InvalidInput);
        assert!(inherited_descriptor(1).is_err() && inherited_descriptor(-1).is_err());
        assert_eq!(taken.into_raw_fd(), number);
        // SAFETY: nothing else has the number.
        check(unsafe { libc::close(number) }).expect("it closes");
    }
}
