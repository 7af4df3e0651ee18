//! Child processes that a loop watches.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use log::debug;

use crate::process::left;
use crate::process::unavailable::PidfdUnavailable;
use crate::sys::{self, Pidfd, Process};
use crate::{Cx, Handler, Interest, LoopCx, Reason, Registration, Signal, Timeout, Token, kernel};

/// What happens to a child whose source ends before it: when the loop is dropped, or its token is
/// closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenLeft {
    /// It is killed (`SIGKILL`).
    Kill,
    /// It runs on.
    RunOn,
}

/// How a child is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildOptions {
    /// The signal with which [`Child::end`] asks it to end.
    pub end_signal: Signal,
    /// How long after that signal it is killed (`SIGKILL`).
    pub patience: Duration,
    /// What happens to it if its source ends before it. Either way, a thread that lives as long as
    /// there are such children waits for its end, so that it does not stay as a zombie.
    pub when_left: WhenLeft,
}

impl ChildOptions {
    /// `SIGTERM`, ten seconds, and no child outlives its loop.
    pub const DEFAULT: Self = Self {
        end_signal: Signal::TERMINATE,
        patience: Duration::from_secs(10),
        when_left: WhenLeft::Kill,
    };
}

impl Default for ChildOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A child process that a loop watches, by a descriptor of the process (`pidfd_open(2)`, Linux 5.4).
/// So each loop learns of its own children alone, and reaps no other: children that other code of
/// the program has started stay as they are, and `SIGCHLD` is not used.
///
/// This is a handle, which may be kept or dropped; the source of the loop does not need it. When the
/// child has ended, the closure is called with its exit status, once, and the source ends. It is not
/// called if the source ends first ([`ChildOptions::when_left`]).
///
/// ```
/// use reactor::{Child, ChildOptions, Reactor};
/// use std::process::Command;
///
/// let mut reactor = Reactor::new(None)?;
/// let mut command = Command::new("sh");
/// command.args(["-c", "exit 7"]);
/// let exited = |status, cx: &mut reactor::LoopCx<'_, _>| *cx.app = Some(status);
/// Child::spawn(command, &ChildOptions::DEFAULT, &mut reactor.cx(), exited)?;
/// reactor.run_until(Option::is_some)?;
/// let status: std::io::Result<std::process::ExitStatus> = reactor.app.take().expect("it has ended");
/// assert_eq!(status?.code(), Some(7));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Child {
    /// The writing end of its standard input, if the command has that piped ([`Command::stdin`]).
    /// [`Stream::register_fd`](crate::Stream::register_fd) drives a session over it. The child reads
    /// the end of its input when this is dropped.
    pub stdin: Option<OwnedFd>,
    /// The reading end of its standard output, if the command has that piped.
    pub stdout: Option<OwnedFd>,
    /// The reading end of its standard error, if the command has that piped.
    pub stderr: Option<OwnedFd>,
    pid: u32,
    token: Token,
    pidfd: Arc<Pidfd>,
    options: ChildOptions,
}

impl Child {
    /// Starts a program, and calls `exited` when it has ended, with its exit status.
    ///
    /// The program starts with the default action for each signal and with no signal blocked,
    /// whatever this process ignores and blocks (P16).
    ///
    /// `exited` gets an error if other code of this process has reaped the child, such as a
    /// `wait(2)` for any child.
    ///
    /// # Errors
    /// No program runs if this fails:
    /// - The program cannot be started ([`Command::spawn`]).
    /// - [`PidfdUnavailable`]: the system does not let this process watch children.
    /// - This process ignores `SIGCHLD`, so that nothing can learn how a child ended.
    /// - There is no descriptor left for it. The loop is being dropped, or was
    ///   [forked](crate::Forked).
    /// - A simulated host has no processes ([`sim`](crate::sim)).
    pub fn spawn<A: 'static, P>(
        command: Command,
        options: &ChildOptions,
        cx: &mut Cx<'_, A, P>,
        exited: impl FnOnce(io::Result<ExitStatus>, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Self> {
        check(cx)?;
        let program = command.get_program().to_string_lossy().into_owned();
        let mut process = sys::spawn_with_default_signals(command).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let watched = Self::watch(process.id(), options, cx, exited);
        if watched.is_err() {
            // It was killed, so this does not wait long.
            let _ = process.kill().and_then(|()| process.wait());
        }
        Ok(Self {
            stdin: process.stdin.take().map(OwnedFd::from),
            stdout: process.stdout.take().map(OwnedFd::from),
            stderr: process.stderr.take().map(OwnedFd::from),
            ..watched?
        })
    }

    /// Watches a child that other code has started, by its number, and calls `exited` when it has
    /// ended, as [`spawn`](Self::spawn) does: one of [`fork`](crate::fork), for example, or of the
    /// standard library, whose handle must not be waited for then.
    ///
    /// # Errors
    /// As for [`spawn`](Self::spawn), and [`NotFound`](io::ErrorKind::NotFound) when this process
    /// has no such child, or it was reaped.
    pub fn adopt<A: 'static, P>(
        pid: u32,
        options: &ChildOptions,
        cx: &mut Cx<'_, A, P>,
        exited: impl FnOnce(io::Result<ExitStatus>, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Self> {
        check(cx)?;
        Self::watch(pid, options, cx, exited)
    }

    fn watch<A: 'static, P>(
        pid: u32,
        options: &ChildOptions,
        cx: &mut Cx<'_, A, P>,
        exited: impl FnOnce(io::Result<ExitStatus>, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Self> {
        let pidfd = match Pidfd::open(pid) {
            Ok(pidfd) if pidfd.is_child() => Arc::new(pidfd),
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                return Err(crate::source::handler::explained("pidfd_open", error));
            }
            Ok(_) | Err(_) => {
                let text = format!("process {pid} is no child of this process, or was reaped");
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
        };
        let when_left = options.when_left;
        let watched = pidfd.duplicate()?;
        let source = Watches {
            pidfd: Arc::clone(&pidfd),
            exited: Some(exited),
            pid,
            when_left,
            process: Process::this(),
        };
        let registration = Registration::new(Interest::READ).known_nonblocking();
        let token = cx.register(watched, registration, source)?;
        let options = *options;
        Ok(Self { stdin: None, stdout: None, stderr: None, pid, token, pidfd, options })
    }

    /// Returns its number. After its end, another process may get that.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the name of its source. Closing it ([`Cx::close`]) is not the way to end the child:
    /// its exit status is never delivered then.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Sends a signal to the child. It never reaches another process, even if the child has ended
    /// and its number is in use again.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when it has ended. The error of the kernel
    /// (`pidfd_send_signal(2)`).
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.pidfd.signal(signal.number()).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => {
                let text = format!("process {} has ended already", self.pid);
                io::Error::new(io::ErrorKind::NotFound, text)
            }
            _ => error,
        })
    }

    /// Asks the child to end ([`ChildOptions::end_signal`]), and kills it if it runs
    /// [`ChildOptions::patience`] later. It has no effect if the child has ended. A second call
    /// repeats the signal, and the time begins anew.
    ///
    /// # Errors
    /// The error of the kernel (`pidfd_send_signal(2)`).
    pub fn end<A: 'static, P>(&self, cx: &mut Cx<'_, A, P>) -> io::Result<()> {
        match self.signal(self.options.end_signal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        }
        cx.set_timeout_of(self.token, self.options.patience);
        Ok(())
    }
}

/// Returns an error if this loop cannot watch children.
fn check<A, P>(cx: &Cx<'_, A, P>) -> io::Result<()> {
    if kernel::is_simulated() {
        return Err(kernel::no_such("processes"));
    }
    cx.core.refuse_copy()?;
    if sys::forgets_children()? {
        let text = "this process ignores SIGCHLD, so the kernel forgets how its children ended: \
                    give that signal its default action";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Pidfd::check_support().map_err(PidfdUnavailable::explain)
}

/// The source of a child.
struct Watches<F> {
    pidfd: Arc<Pidfd>,
    /// `None` once it was called.
    exited: Option<F>,
    pid: u32,
    when_left: WhenLeft,
    /// The process whose child it is.
    process: Process,
}

impl<A, F: FnOnce(io::Result<ExitStatus>, &mut LoopCx<'_, A>)> Handler<A> for Watches<F> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let pidfd = &self.pidfd;
        let status = match cx.try_io("waitid", Interest::READ, |_| pidfd.reap()) {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => Ok(status),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
                let text = format!("other code of this program has reaped process {}", self.pid);
                Err(io::Error::new(io::ErrorKind::NotFound, text))
            }
            Err(error) => Err(error),
        };
        cx.end(Reason::Finished);
        if let Some(exited) = self.exited.take() {
            exited(status, &mut cx.outside());
        }
        Ok(())
    }

    /// The time to end by itself has passed.
    fn timeout(&mut self, _timeout: Timeout, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        debug!("process {} does not end when it is asked to, and is killed", self.pid);
        self.pidfd.signal(libc::SIGKILL).or_else(|error| match error.raw_os_error() {
            // It has just ended.
            Some(libc::ESRCH) => Ok(()),
            _ => Err(error),
        })
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        cx.end(Reason::Cancelled);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, _cx: &mut LoopCx<'_, A>) {
        // In a forked process, it is a child of the other one.
        if self.exited.is_none() || self.process.is_another() {
            return;
        }
        if self.when_left == WhenLeft::Kill
            && let Err(error) = self.pidfd.signal(libc::SIGKILL)
        {
            debug!("process {} cannot be killed: {error}", self.pid);
        }
        left::reap_later(self.pidfd);
    }

    fn name(&self) -> &'static str {
        "reactor::Child"
    }
}
