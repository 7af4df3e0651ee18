//! What threads share. Models of loom (`models.rs`) use loom's own, which tries every order of steps.

pub(crate) use primitives::*;

#[cfg(not(all(loom, test)))]
mod primitives {
    pub(crate) use std::sync::atomic::AtomicBool;
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

    pub(crate) use crate::sys::EventFd;

    /// Returns a number of the calling thread that no other running thread has.
    pub(crate) fn this_thread() -> usize {
        thread_local! {
            static PLACE: u8 = const { 0 };
        }
        PLACE.with(|place| std::ptr::from_ref(place).addr())
    }
}

#[cfg(all(loom, test))]
mod primitives {
    use std::io;
    use std::os::fd::OwnedFd;

    pub(crate) use loom::sync::atomic::AtomicBool;
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

    loom::thread_local! {
        static PLACE: Box<u8> = Box::new(0);
    }

    pub(crate) fn this_thread() -> usize {
        PLACE.with(|place| std::ptr::from_ref(&**place).addr())
    }

    /// An `eventfd(2)` in a model.
    pub(crate) struct EventFd {
        is_notified: Mutex<bool>,
        notified: Condvar,
    }

    impl EventFd {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self { is_notified: Mutex::new(false), notified: Condvar::new() })
        }

        pub(crate) fn notify(&self) {
            *self.is_notified.lock().expect("no model panics with it") = true;
            self.notified.notify_one();
        }

        /// Waits until the event is readable, and reads it.
        pub(crate) fn wait(&self) {
            let mut is_notified = self.is_notified.lock().expect("no model panics with it");
            while !*is_notified {
                is_notified = self.notified.wait(is_notified).expect("no model panics with it");
            }
            *is_notified = false;
        }

        pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}
