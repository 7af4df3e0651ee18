//! What threads share. Models of loom (`models.rs`) use loom's own, which tries every order of steps.

pub(crate) use primitives::*;

#[cfg(not(all(loom, test)))]
mod primitives {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread;

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

    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use loom::thread;

    use crate::sys;

    loom::thread_local! {
        static PLACE: Box<u8> = Box::new(0);
    }

    pub(crate) fn this_thread() -> usize {
        PLACE.with(|place| std::ptr::from_ref(&**place).addr())
    }

    /// An event that a model can wait for. Whatever else is done with it, a real one has to stand.
    pub(crate) struct EventFd {
        is_notified: Mutex<bool>,
        notified: Condvar,
        real: sys::EventFd,
    }

    impl EventFd {
        pub(crate) fn new() -> io::Result<Self> {
            let (is_notified, notified) = (Mutex::new(false), Condvar::new());
            Ok(Self { is_notified, notified, real: sys::EventFd::new()? })
        }

        pub(crate) fn notify(&self) {
            self.real.notify();
            *self.is_notified.lock().expect("no model panics with it") = true;
            self.notified.notify_one();
        }

        pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
            self.real.duplicate()
        }

        pub(crate) fn renew(&self) -> io::Result<()> {
            self.real.renew()
        }

        /// Returns whether there was a notification since the last call.
        pub(crate) fn take(&self) -> bool {
            std::mem::take(&mut *self.is_notified.lock().expect("no model panics with it"))
        }

        /// Waits for a notification, and takes it.
        pub(crate) fn wait(&self) {
            let mut is_notified = self.is_notified.lock().expect("no model panics with it");
            while !std::mem::take(&mut *is_notified) {
                is_notified = self.notified.wait(is_notified).expect("no model panics with it");
            }
        }
    }
}
