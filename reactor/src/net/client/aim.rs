//! Which server a client connects to, which may change.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Location;

/// The server that a client connects to.
pub(super) struct Aim {
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None`: it is not known yet.
    target: Option<Arc<Location>>,
    /// The target has changed, and the source of the client does not know that yet.
    is_moved: bool,
}

impl Aim {
    pub(super) fn new(target: Option<Location>) -> Self {
        let inner = Inner { target: target.map(Arc::new), is_moved: false };
        Self { inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn target(&self) -> Option<Arc<Location>> {
        self.lock().target.clone()
    }

    /// Changes the target. Returns whether it is another one.
    pub(super) fn set_target(&self, target: Option<Location>) -> bool {
        let mut inner = self.lock();
        if inner.target.as_deref() == target.as_ref() {
            return false;
        }
        inner.target = target.map(Arc::new);
        inner.is_moved = true;
        true
    }

    /// Returns whether the target has changed since the last call.
    pub(super) fn take_moved(&self) -> bool {
        std::mem::take(&mut self.lock().is_moved)
    }
}

/// The client as logs name it.
impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target() {
            Some(target) => write!(f, "client of {target}"),
            None => f.write_str("client without a server"),
        }
    }
}
