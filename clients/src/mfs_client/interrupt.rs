//! Ctrl-C ends a command in order: chunks are unlocked and the session is closed. A second one ends the
//! program at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use super::exit::INTERRUPTED;

/// Whether the command is to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts a thread that waits for the signals. Threads that are started later inherit the mask in
    /// which they are blocked.
    pub(super) fn listen() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let events = SignalFd::new(&signals)?;
        let this = Self::default();
        let happened = this.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            while events.read_signal().is_ok() {
                if happened.0.swap(true, Ordering::Relaxed) {
                    std::process::exit(INTERRUPTED.into());
                }
            }
        })?;
        Ok(this)
    }

    /// Returns whether it has happened.
    pub(super) fn has_happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
