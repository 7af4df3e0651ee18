//! Child processes by descriptor (`pidfd_open(2)`): a descriptor names one process for ever, while a
//! number may name another one later.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use super::mask::{change_mask, with_signals_blocked};
use super::{check, pointer};

/// How many signals the kernel has (`_NSIG`): 64, except on MIPS.
const SIGNALS: i32 = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 128 } else { 64 };

/// The descriptor of a child process.
#[derive(Debug)]
pub(crate) struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the descriptor of a process, closed on exec (`pidfd_open(2)`, Linux 5.3).
    pub(crate) fn open(process: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes no pointer.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) };
        let fd = check(fd as libc::c_int)?;
        // SAFETY: the descriptor was just opened, and no other code owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Returns whether this process may open and wait for such descriptors at all.
    pub(crate) fn check_support() -> io::Result<()> {
        let own = Self::open(std::process::id())?;
        match own.wait(libc::WEXITED | libc::WNOHANG) {
            // It is no child of itself. A kernel before Linux 5.4 does not know the question.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Returns another descriptor of the same process.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Sends a signal to the process (`pidfd_send_signal(2)`). It never reaches another process.
    pub(crate) fn signal(&self, number: i32) -> io::Result<()> {
        let (call, fd) = (libc::SYS_pidfd_send_signal, self.0.as_raw_fd());
        let information = pointer::<libc::siginfo_t>(None);
        // SAFETY: the information may be null, as for kill(2).
        check(unsafe { libc::syscall(call, fd, number, information, 0) } as libc::c_int).map(drop)
    }

    /// Returns how the process has ended, and removes it from the list of processes; `None` if it
    /// has not.
    ///
    /// # Errors
    /// `ECHILD` if it is no child of this process, or was removed already.
    pub(crate) fn reap(&self) -> io::Result<Option<ExitStatus>> {
        self.wait(libc::WEXITED | libc::WNOHANG)
    }

    /// Returns whether it is a child of this process that was not removed.
    pub(crate) fn is_child(&self) -> bool {
        self.wait(libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).is_ok()
    }

    /// `waitid(2)`, of this process alone (`P_PIDFD`, Linux 5.4).
    fn wait(&self, options: libc::c_int) -> io::Result<Option<ExitStatus>> {
        // SAFETY: all-zero bytes are a valid siginfo_t, which is made of integers and pointers.
        let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let id = self.0.as_raw_fd() as libc::id_t;
        // SAFETY: `information` outlives the call.
        check(unsafe { libc::waitid(libc::P_PIDFD, id, &mut information, options) })?;
        // SAFETY: the kernel has filled in the fields of SIGCHLD, or left them zero.
        if unsafe { information.si_pid() } == 0 {
            return Ok(None);
        }
        // SAFETY: as above.
        let status = unsafe { information.si_status() };
        Ok(Some(ExitStatus::from_raw(match information.si_code {
            libc::CLD_EXITED => (status & 0xff) << 8,
            libc::CLD_DUMPED => status | 0x80,
            _ => status,
        })))
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns whether the kernel removes ended children by itself, so that nothing can learn how they
/// ended (`SIG_IGN`, `SA_NOCLDWAIT`, `sigaction(2)`).
pub(crate) fn forgets_children() -> io::Result<bool> {
    // SAFETY: all-zero bytes are a valid sigaction; it is filled by the call.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set, and `action` outlives the call.
    check(unsafe { libc::sigaction(libc::SIGCHLD, pointer(None), &mut action) })?;
    Ok(action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0)
}

/// Starts a program whose signals have their default actions, and of which none is blocked. The
/// standard library leaves ignored signals ignored, and blocked ones blocked.
pub(crate) fn spawn_with_default_signals(mut command: Command) -> io::Result<std::process::Child> {
    // SAFETY: the function makes system calls that are async-signal-safe and allocates nothing.
    unsafe { command.pre_exec(reset_signals) };
    // Until then the child has the handlers of this program, which would take a signal for the child.
    with_signals_blocked(|| command.spawn())
}

/// Gives each signal its default action, and then blocks none. It is async-signal-safe.
fn reset_signals() -> io::Result<()> {
    // The C library would refuse its own signals, which may have been ignored before this program
    // was executed. Zeros are the default action with an empty mask, however long the structure is.
    let default = [0_u64; 16];
    let before = std::ptr::null_mut::<u64>();
    for number in 1..=libc::c_long::from(SIGNALS) {
        let (call, action) = (libc::SYS_rt_sigaction, default.as_ptr());
        // SAFETY: `default` outlives the call. The signals that have no other action are refused.
        unsafe { libc::syscall(call, number, action, before, SIGNALS as usize / 8) };
    }
    // SAFETY: all-zero bytes are a valid sigset_t: the empty set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    change_mask(libc::SIG_SETMASK, &none).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::process::Command;

    use super::*;
    use crate::sys::forbidden::forbid;
    use crate::{Child, ChildOptions, PidfdUnavailable, Reactor};

    #[test]
    fn a_signal_during_the_start_has_its_default_action() {
        // SAFETY: no other test of this program handles this signal.
        unsafe { libc::signal(libc::SIGVTALRM, libc::SIG_IGN) };
        let mut command = Command::new("true");
        // SAFETY: raise is async-signal-safe.
        let raise = || check(unsafe { libc::raise(libc::SIGVTALRM) }).map(drop);
        // SAFETY: the function calls raise alone. It runs before the signals are reset.
        unsafe { command.pre_exec(raise) };
        let mut child = spawn_with_default_signals(command).expect("it starts");
        let status = child.wait().expect("it is this process's child");
        assert_eq!(status.signal(), Some(libc::SIGVTALRM));
    }

    #[test]
    fn without_descriptors_of_processes_the_error_says_so_and_nothing_is_started() {
        let cases = [
            (libc::ENOSYS, PidfdUnavailable::OldKernel),
            (libc::EPERM, PidfdUnavailable::Forbidden),
        ];
        for (errno, expected) in cases {
            let checks = move || {
                forbid(libc::SYS_pidfd_open, errno);
                let mut reactor = Reactor::new(()).expect("the reactor opens");
                let (cx, options) = (&mut reactor.cx(), &ChildOptions::DEFAULT);
                let refused = Child::spawn(Command::new("true"), options, cx, |_, _| {});
                let error = refused.expect_err("it cannot be watched");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                let why = error.get_ref().and_then(|error| error.downcast_ref());
                assert_eq!(why, Some(&expected), "{error}");
            };
            std::thread::spawn(checks).join().expect("the checks succeed");
        }
    }
}
