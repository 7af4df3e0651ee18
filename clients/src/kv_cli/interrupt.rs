//! Ctrl-C while messages are printed: they end, and the prompt comes back.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use crate::resp::Cutter;

/// What Ctrl-C does: cuts the connection that messages are printed from, or ends the program.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupts {
    target: Arc<Mutex<Option<Cutter>>>,
    happened: Arc<AtomicBool>,
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
            Some(cutter) => {
                self.happened.store(true, Ordering::Release);
                cutter.cut();
            }
            None => std::process::exit(1),
        }
    }

    /// Has Ctrl-C cut this connection, or end the program.
    pub(super) fn aim(&self, cutter: Option<Cutter>) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = cutter;
    }

    /// Whether Ctrl-C has cut a connection, which nobody has taken note of.
    pub(super) fn peek(&self) -> bool {
        self.happened.load(Ordering::Acquire)
    }

    /// Whether Ctrl-C has cut a connection since this was last asked.
    pub(super) fn take(&self) -> bool {
        self.happened.swap(false, Ordering::Acquire)
    }
}
