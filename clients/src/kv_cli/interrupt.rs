//! Handles Ctrl-C. While messages are printed, it ends them and returns to the prompt. While keys
//! are scanned, it ends the scan, and the results so far are printed.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use crate::blocking::Cutter;

/// The effect of Ctrl-C.
#[derive(Debug, Default)]
pub(super) enum Target {
    /// Ends the program.
    #[default]
    Program,
    /// Cuts the connection whose messages are printed.
    Connection(Cutter),
    /// Sets a flag, which a loop checks.
    Loop,
}

/// The state of Ctrl-C, shared with the thread that waits for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupts {
    target: Arc<Mutex<Target>>,
    happened: Arc<AtomicBool>,
    /// Notified when Ctrl-C is pressed while the target is [`Target::Loop`].
    looped: Arc<Condvar>,
}

impl Interrupts {
    /// Starts a thread that waits for Ctrl-C. It has to be called before other threads are started:
    /// they inherit the signal mask, in which the signal is blocked.
    pub(super) fn listen(&self) -> io::Result<()> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        let events = SignalFd::new(&signals)?;
        let this = self.clone();
        std::thread::spawn(move || {
            while events.read_signal().is_ok() {
                this.happen();
            }
        });
        Ok(())
    }

    fn happen(&self) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        match &*target {
            Target::Program => std::process::exit(1),
            Target::Connection(cutter) => {
                self.happened.store(true, Ordering::Release);
                cutter.cut();
            }
            Target::Loop => {
                self.happened.store(true, Ordering::Release);
                self.looped.notify_all();
            }
        }
    }

    /// Sets the effect of the next Ctrl-C.
    pub(super) fn aim(&self, target: Target) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Waits for `duration`, or until Ctrl-C when the target is [`Target::Loop`].
    pub(super) fn pause(&self, duration: Duration) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        // The caller checks how the wait ended.
        let _ = self.looped.wait_timeout_while(target, duration, |_| !self.peek());
    }

    /// Returns whether Ctrl-C was pressed since the last call of [`take`](Self::take).
    pub(super) fn peek(&self) -> bool {
        self.happened.load(Ordering::Acquire)
    }

    /// Returns whether Ctrl-C was pressed since the last call, and resets the flag.
    pub(super) fn take(&self) -> bool {
        self.happened.swap(false, Ordering::Acquire)
    }
}
