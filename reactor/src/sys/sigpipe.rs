//! Calls without `MSG_NOSIGNAL`, kept from ending the process (P26).

use std::io;

use super::mask::change_mask;
use super::{check, pointer, timespec};
use std::time::Duration;

/// What is known of the action of `SIGPIPE`. To look at it takes a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sigpipe {
    Unknown,
    Ignored,
}

/// Makes `call` without raising `SIGPIPE`. Where that signal is ignored, as in every program that
/// the runtime of Rust started, this costs one look at its action, which `known` keeps. Otherwise the
/// signal is blocked, and removed from this thread after the call.
pub(crate) fn without_sigpipe<T>(
    known: &mut Sigpipe,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    if *known == Sigpipe::Unknown {
        if !is_ignored()? {
            return held_back(call);
        }
        *known = Sigpipe::Ignored;
    }
    call()
}

/// Makes `call` with `SIGPIPE` blocked, and removes it.
#[cold]
fn held_back<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let pipe = only_sigpipe()?;
    let before = change_mask(libc::SIG_BLOCK, &pipe)?;
    let was_pending = is_pending()?;
    let result = call();
    if !was_pending {
        let none = pointer::<libc::siginfo_t>(None).cast_mut();
        let at_once = timespec(Duration::ZERO);
        // SAFETY: the set and the timeout outlive the call, and no information is requested.
        unsafe { libc::sigtimedwait(&pipe, none, &at_once) };
    }
    change_mask(libc::SIG_SETMASK, &before)?;
    result
}

fn is_ignored() -> io::Result<bool> {
    // SAFETY: all-zero bytes are a valid sigaction; it is filled by the call.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set, and `action` outlives the call.
    check(unsafe { libc::sigaction(libc::SIGPIPE, pointer(None), &mut action) })?;
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

/// Returns whether the signal is pending already. That one does not come from this call.
fn is_pending() -> io::Result<bool> {
    // SAFETY: all-zero bytes are a valid sigset_t; it is filled by the call.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` outlives the call.
    check(unsafe { libc::sigpending(&mut set) })?;
    // SAFETY: `set` is initialized.
    Ok(check(unsafe { libc::sigismember(&set, libc::SIGPIPE) })? == 1)
}

fn only_sigpipe() -> io::Result<libc::sigset_t> {
    // SAFETY: all-zero bytes are a valid sigset_t: the empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` outlives the call.
    check(unsafe { libc::sigaddset(&mut set, libc::SIGPIPE) })?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{sendfile, writev};
    use std::fs::File;
    use std::io::IoSlice;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    /// Set in the process with the default action.
    const CHILD: &str = "REACTOR_TEST_SIGPIPE_CHILD";

    fn write_to_the_dead() {
        // SAFETY: signal takes no pointer, and the default action runs no code of this program.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let broken = Some(libc::EPIPE);
        let (socket, _) = UnixStream::pair().expect("a pair can be made");
        let file = File::open("/proc/self/exe").expect("it opens");
        let error = sendfile(socket.as_fd(), &file, 0, 100, &mut Sigpipe::Unknown)
            .expect_err("the peer is gone");
        assert_eq!(error.raw_os_error(), broken);
        let (_, pipe) = io::pipe().expect("a pipe can be made");
        let error = writev(pipe.as_fd(), &[IoSlice::new(b"x")]).expect_err("the peer is gone");
        assert_eq!(error.raw_os_error(), broken);
        assert!(!is_ignored().expect("it can be asked"));
        // SAFETY: raise takes no pointer. The mask is the original one, so this ends the process.
        unsafe { libc::raise(libc::SIGPIPE) };
        unreachable!("SIGPIPE is still held back");
    }

    #[test]
    fn a_program_with_the_default_action_survives_writing_to_the_dead() {
        use std::os::unix::process::ExitStatusExt;
        if std::env::var_os(CHILD).is_some() {
            return write_to_the_dead();
        }
        let name = "a_program_with_the_default_action_survives_writing_to_the_dead";
        let child = std::env::current_exe().expect("this is a program");
        let output = Command::new(child)
            .args([&format!("sys::sigpipe::tests::{name}"), "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("it starts");
        // It ended by the signal that it sent itself at the end, after everything else had passed.
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGPIPE), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }

    const CUT: &str = "REACTOR_TEST_SIGPIPE_CUT_CHILD";

    fn send_to_readers_that_leave() {
        use std::io::Read;
        // SAFETY: signal takes no pointer, and the default action runs no code of this program.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let path = std::env::temp_dir().join(format!("reactor-{}-cut", std::process::id()));
        let options =
            File::options().create(true).truncate(true).read(true).write(true).open(&path);
        let file = options.expect("the folder is writable");
        std::fs::remove_file(&path).expect("it is there");
        file.set_len(256 << 20).expect("there is room");
        for round in 0..500 {
            let (near, mut far) = UnixStream::pair().expect("a pair can be made");
            let reader = std::thread::spawn(move || {
                let mut sink = vec![0; 64 << 10];
                for _ in 0..20 + round % 7 {
                    assert!(far.read(&mut sink).expect("it reads") > 0);
                }
            });
            let mut offset = 0;
            let mut known = Sigpipe::Unknown;
            while let Ok(count) = sendfile(near.as_fd(), &file, offset, 128 << 20, &mut known) {
                offset = (offset + count as u64) % (64 << 20);
            }
            reader.join().expect("it does not panic");
        }
        // SAFETY: raise takes no pointer. The mask is the original one, so this ends the process.
        unsafe { libc::raise(libc::SIGTERM) };
    }

    #[test]
    fn a_file_whose_reader_goes_while_it_is_sent_ends_no_program() {
        use std::os::unix::process::ExitStatusExt;
        if std::env::var_os(CUT).is_some() {
            return send_to_readers_that_leave();
        }
        let name = "a_file_whose_reader_goes_while_it_is_sent_ends_no_program";
        let child = std::env::current_exe().expect("this is a program");
        let output = Command::new(child)
            .args([&format!("sys::sigpipe::tests::{name}"), "--exact", "--nocapture"])
            .env(CUT, "1")
            .output()
            .expect("it starts");
        // It ended by the signal that it sent itself at the end, after everything else had passed.
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGTERM), "{text}");
    }
}
