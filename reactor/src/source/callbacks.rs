//! Sources made of a closure: timers and signals.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::kernel::Subscription;
use crate::reactor::clock::nanos;
use crate::source::handler::explained;
use crate::{Cx, Expired, Handler, Interest, LoopCx, Reason, Registration, Timeout, Token, kernel};

/// A closure that is called once.
struct Once<F> {
    call: Option<F>,
}

impl<A, F: FnOnce(&mut LoopCx<'_, A>)> Handler<A> for Once<F> {
    fn ready(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        if let Some(call) = self.call.take() {
            call(&mut cx.outside());
        }
        cx.end(Reason::Finished);
        Ok(())
    }
}

/// A closure that is called periodically.
struct Every<F> {
    call: F,
}

impl<A, F: FnMut(u64, &mut LoopCx<'_, A>)> Handler<A> for Every<F> {
    fn ready(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, A>) -> io::Result<()> {
        (self.call)(timer.ticks, &mut cx.outside());
        Ok(())
    }
}

/// A signal that can be delivered to a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// `SIGINT`: the user typed the interrupt character.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// `SIGKILL`: ends a process, which cannot prevent it. A loop cannot listen to it.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// `SIGTERM`: a request to end the process.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// `SIGHUP`: the terminal is gone; by convention, daemons read their configuration again.
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// `SIGUSR1`: for the application to define.
    pub const USER_1: Self = Self(libc::SIGUSR1);
    /// `SIGUSR2`: for the application to define.
    pub const USER_2: Self = Self(libc::SIGUSR2);
    /// `SIGCHLD`: a child process changed state.
    pub const CHILD: Self = Self(libc::SIGCHLD);

    /// Returns the signal with a number (`signal(7)`). [`Cx::on_signals`] checks whether it can be
    /// caught.
    pub const fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Returns the number of the signal.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// Returns whether the process ignores the signal, as `SIGHUP` under `nohup`. A program that
    /// respects this asks before it listens to the signal ([`Cx::on_signals`]).
    pub fn is_ignored(self) -> bool {
        kernel::is_ignored(self.0)
    }

    /// Returns what has sent this signal last, of those that a loop of this process has listened to.
    /// Signals that arrive faster than a loop turns are merged, and then this is the sender of the
    /// last, or of one that came at the same time on another thread. `None` if there was none, and on
    /// a simulated host, which has no processes.
    ///
    /// ```
    /// use reactor::{Reactor, Signal};
    /// use std::process::Command;
    ///
    /// let mut reactor = Reactor::new(None)?;
    /// reactor.cx().on_signals(&[Signal::USER_1], |signal, cx| *cx.app = signal.last_sender())?;
    /// let me = std::process::id().to_string();
    /// let mut sender = Command::new("kill").args(["-USR1", &me]).spawn()?;
    /// reactor.run_until(|sender| sender.is_some())?;
    /// assert_eq!(reactor.app.and_then(|it| it.pid), Some(sender.id()));
    /// sender.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn last_sender(self) -> Option<SignalSender> {
        let sent = kernel::last_sender(self.0)?;
        let (pid, uid) = sent.from.unzip();
        Some(SignalSender { pid, uid, code: sent.code })
    }

    /// Prevents `signals` from ending the process from now on. A signal that no loop listens to has
    /// no effect. A program that is ending uses this to ignore further requests to end.
    ///
    /// # Errors
    /// When a signal cannot be caught, or too many loops listen.
    pub fn outlive(signals: &[Self]) -> io::Result<()> {
        let numbers: Vec<i32> = signals.iter().map(|signal| signal.0).collect();
        match Subscription::new(&numbers)? {
            // On a simulated host, nothing is left of a program whose loop has ended.
            (Subscription::Simulated(_), _) => {}
            // A subscription that never ends.
            system => std::mem::forget(system),
        }
        Ok(())
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::INTERRUPT => f.write_str("SIGINT"),
            Self::KILL => f.write_str("SIGKILL"),
            Self::TERMINATE => f.write_str("SIGTERM"),
            Self::HANGUP => f.write_str("SIGHUP"),
            Self::USER_1 => f.write_str("SIGUSR1"),
            Self::USER_2 => f.write_str("SIGUSR2"),
            Self::CHILD => f.write_str("SIGCHLD"),
            Self(number) => write!(f, "signal {number}"),
        }
    }
}

/// What has sent a signal ([`Signal::last_sender`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalSender {
    /// The process that has sent it, or for `SIGCHLD` the child; `None` if the kernel has sent it, as
    /// at a key of the terminal. The process may have ended, and another may have its number. Zero
    /// is a process of another PID namespace.
    pub pid: Option<u32>,
    /// The real user ID of that process.
    pub uid: Option<u32>,
    /// The reason as the kernel has it (`si_code`, `sigaction(2)`).
    pub code: i32,
}

impl fmt::Display for SignalSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.uid) {
            (Some(pid), Some(uid)) => write!(f, "process {pid} of user {uid}"),
            _ => f.write_str("the kernel"),
        }
    }
}

/// A closure that is called for signals.
struct Signals<F> {
    subscription: Subscription,
    call: F,
}

impl<A, F: FnMut(Signal, &mut LoopCx<'_, A>)> Handler<A> for Signals<F> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // The descriptor first, then the pending signals: a signal in between notifies again.
        let mut count = [0; 8];
        while cx.read(&mut count)?.is_some() {}
        let pending = self.subscription.take_pending();
        for number in (1..=64).filter(|number| pending >> (number - 1) & 1 == 1) {
            (self.call)(Signal(number), &mut cx.outside());
        }
        Ok(())
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.subscription.renewed()?.map_or(Ok(()), |fd| cx.replace_fd(fd))
    }

    fn name(&self) -> &'static str {
        "reactor::Signal"
    }
}

impl<A: 'static, P> Cx<'_, A, P> {
    /// Calls `call` once, after `delay`, never early. Closing the token cancels it.
    ///
    /// # Errors
    /// A loop that is being dropped refuses.
    pub fn after(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        let token = self.spawn(Once { call: Some(call) })?;
        self.set_timeout_of(token, delay);
        Ok(token)
    }

    /// Calls `call` every `period`, on a grid that does not drift. Its argument is the number of
    /// periods since its last call: more than one when the loop was late. Closing the token cancels
    /// it.
    ///
    /// # Errors
    /// When `period` is zero. A loop that is being dropped refuses.
    pub fn every(
        &mut self,
        period: Duration,
        call: impl FnMut(u64, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        if period.is_zero() {
            let text = "a periodic timer needs a period longer than zero";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let token = self.spawn(Every { call })?;
        let period = nanos(period);
        let tag = token.tag_in(self.core.home);
        self.core.set_timer(tag, self.core.ticks.saturating_add(period), period, 0);
        Ok(token)
    }

    /// Calls `call` on this loop for each of `signals` that the process receives. Signals that
    /// arrive faster than the loop turns are merged, as in the kernel; the last one is never lost.
    /// Every loop of the process that listens to a signal gets it, and threads need no mask.
    /// Executed programs start with the default action. Closing the token restores the previous
    /// action.
    ///
    /// # Errors
    /// When a signal cannot be caught, or too many loops listen.
    pub fn on_signals(
        &mut self,
        signals: &[Signal],
        call: impl FnMut(Signal, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        let numbers: Vec<i32> = signals.iter().map(|signal| signal.0).collect();
        let (subscription, fd) =
            Subscription::new(&numbers).map_err(|error| explained("signals", error))?;
        let registration = Registration::new(Interest::READ).known_nonblocking();
        self.register(fd, registration, Signals { subscription, call })
    }
}
