//! What the application wants to be told of connections.

use std::sync::{Mutex, PoisonError};

use protocol::Exchange;

use crate::{LoopCx, Reason};

type OnConnect<A> = Box<dyn FnMut(&mut LoopCx<'_, A>) + Send>;
type OnDisconnect<A> = Box<dyn FnMut(&Reason, &mut LoopCx<'_, A>) + Send>;
type OnPush<A, E> = Box<dyn FnMut(<E as Exchange>::Push, &mut LoopCx<'_, A>) + Send>;

/// The closures of the application.
pub(super) struct Hooks<A, E: Exchange> {
    pub(super) connect: Hook<OnConnect<A>>,
    pub(super) disconnect: Hook<OnDisconnect<A>>,
    pub(super) push: Hook<OnPush<A, E>>,
}

impl<A, E: Exchange> Hooks<A, E> {
    pub(super) fn new() -> Self {
        Self { connect: Hook::new(), disconnect: Hook::new(), push: Hook::new() }
    }

    /// Drops the closures, which may hold handles of the client.
    pub(super) fn clear(&self) {
        self.connect.set(None);
        self.disconnect.set(None);
        self.push.set(None);
    }
}

/// A closure that other threads may replace, also while it runs.
pub(super) struct Hook<F> {
    slot: Mutex<Slot<F>>,
}

struct Slot<F> {
    closure: Option<F>,
    /// How often it was replaced. A closure that was replaced while it ran is not put back.
    version: u64,
}

impl<F> Hook<F> {
    fn new() -> Self {
        Self { slot: Mutex::new(Slot { closure: None, version: 0 }) }
    }

    pub(super) fn set(&self, closure: Option<F>) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.version += 1;
        let before = std::mem::replace(&mut slot.closure, closure);
        drop(slot);
        // Outside of the lock: it may hold the last handle of a client.
        drop(before);
    }

    /// Calls `call` with the closure, if there is one. The closure stays if it panics.
    pub(super) fn with(&self, call: impl FnOnce(&mut F)) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lent = Lent { hook: self, version: slot.version, closure: slot.closure.take() };
        drop(slot);
        if let Some(closure) = &mut lent.closure {
            call(closure);
        }
    }
}

/// A closure that runs, and is put back afterwards.
struct Lent<'a, F> {
    hook: &'a Hook<F>,
    version: u64,
    closure: Option<F>,
}

impl<F> Drop for Lent<'_, F> {
    fn drop(&mut self) {
        let mut slot = self.hook.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.version == self.version {
            slot.closure = self.closure.take();
        }
    }
}
