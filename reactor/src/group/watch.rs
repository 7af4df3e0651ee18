//! How many loops of a group run, and how many of its listeners are open.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Waker;

/// Counts what runs, and wakes a source of another loop when something has ended.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    running: AtomicUsize,
    listeners: AtomicUsize,
    observer: Mutex<Option<Waker>>,
}

impl Watch {
    /// Returns how many loops run.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Returns how many listeners are open.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.load(Ordering::SeqCst)
    }

    /// Sets what is woken when a loop or a listener ends, and wakes it.
    pub(crate) fn set_observer(&self, observer: Waker) {
        *self.observer.lock().unwrap_or_else(PoisonError::into_inner) = Some(observer);
        self.wake_observer();
    }

    fn wake_observer(&self) {
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(observer) = &*observer {
            // A loop that is gone observes nothing.
            let _ = observer.wake();
        }
    }
}

/// A loop that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Watch>);

impl Running {
    pub(crate) fn new(watch: &Arc<Watch>) -> Self {
        watch.running.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(watch))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.wake_observer();
    }
}

/// A listener that is open, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenListener(Arc<Watch>);

impl OpenListener {
    pub(crate) fn new(watch: &Arc<Watch>) -> Self {
        watch.listeners.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(watch))
    }
}

impl Drop for OpenListener {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::SeqCst);
        self.0.wake_observer();
    }
}
