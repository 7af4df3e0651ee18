//! A gate before which jobs wait.

use std::sync::{Arc, Condvar, Mutex};

#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().expect("no thread panics with it") = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let mut is_open = self.0.0.lock().expect("no thread panics with it");
        while !*is_open {
            is_open = self.0.1.wait(is_open).expect("no thread panics with it");
        }
    }
}
