//! Ctrl-C while messages are printed: they end, and the prompt comes back. While keys are gone
//! through, what was found so far is told.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use crate::resp::Cutter;

/// What Ctrl-C does.
#[derive(Debug, Default)]
pub(super) enum Target {
    /// Ends the program.
    #[default]
    Program,
    /// Cuts the connection that messages are printed from.
    Connection(Cutter),
    /// Is remembered until it is asked for.
    Loop,
}

/// Ctrl-C, from where the program waits for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupts {
    target: Arc<Mutex<Target>>,
    happened: Arc<AtomicBool>,
    /// Told when it has happened to the loop.
    looped: Arc<Condvar>,
}

impl Interrupts {
    /// Listens to Ctrl-C from now on. Called before there are other threads, which inherit that
    /// the signal is kept from them.
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

    /// Makes the next Ctrl-C do this.
    pub(super) fn aim(&self, target: Target) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Waits for so long, or until Ctrl-C has come to the loop.
    pub(super) fn pause(&self, duration: Duration) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        // How it ended is for the loop to ask.
        let _ = self.looped.wait_timeout_while(target, duration, |_| !self.peek());
    }

    /// Whether Ctrl-C has come and was not taken note of.
    pub(super) fn peek(&self) -> bool {
        self.happened.load(Ordering::Acquire)
    }

    /// Whether Ctrl-C has come since this was last asked.
    pub(super) fn take(&self) -> bool {
        self.happened.swap(false, Ordering::Acquire)
    }
}
