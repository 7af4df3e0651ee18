//! Children whose source has ended before them. A thread of its own reaps them, which lives as long
//! as there are any, so that none stays behind as a zombie.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use log::warn;

use crate::sys::{self, EventFd, Pidfd, Process};

/// The children that the thread has not taken over yet.
struct Left {
    children: Vec<Arc<Pidfd>>,
    /// Notifies the thread, while there is one, and the process that it belongs to.
    thread: Option<(Arc<EventFd>, Process)>,
}

static LEFT: Mutex<Left> = Mutex::new(Left { children: Vec::new(), thread: None });

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps a child when it ends.
pub(super) fn reap_later(child: Arc<Pidfd>) {
    let mut left = left();
    if left.thread.as_ref().is_some_and(|(_, process)| process.is_another()) {
        // The children of the process that this one was forked from, and its thread.
        left.thread = None;
        left.children.clear();
    }
    left.children.push(child);
    match &left.thread {
        Some((event, _)) => event.notify(),
        None => match start() {
            Ok(event) => left.thread = Some((event, Process::this())),
            Err(error) => {
                warn!(
                    "children that were left are reaped later: no thread can be started: {error}"
                );
            }
        },
    }
}

fn start() -> io::Result<Arc<EventFd>> {
    let event = Arc::new(EventFd::new()?);
    let notified = Arc::clone(&event);
    let builder = thread::Builder::new().name("reaper".to_owned());
    sys::with_signals_blocked(|| builder.spawn(move || run(&notified)))?;
    Ok(event)
}

/// Reaps children until there are none left.
fn run(event: &EventFd) {
    let mut children: Vec<Arc<Pidfd>> = Vec::new();
    loop {
        {
            let mut left = left();
            children.append(&mut left.children);
            children.retain(|child| matches!(child.reap(), Ok(None)));
            if children.is_empty() {
                left.thread = None;
                return;
            }
        }
        let fds = children.iter().map(|child| child.as_fd()).chain([event.as_fd()]).collect();
        if let Err(error) = sys::wait_for_input(fds) {
            warn!("waiting for children that were left fails, until another is: {error}");
            let mut left = left();
            left.thread = None;
            left.children.append(&mut children);
            return;
        }
        // It fails if the event was not notified.
        let _ = sys::read(event.as_fd(), &mut [0; 8]);
    }
}
