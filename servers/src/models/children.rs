//! The child processes of a model.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::parent_id;
use std::process::ExitStatus;
use std::time::Duration;

use log::debug;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::kill;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use reactor::blocking::Told;
use reactor::{Child, ChildOptions, LoopCx, Signal};

/// How often the signal to stop is repeated: one that arrives just before a child begins to wait does
/// not end the wait.
const REPEAT_EVERY: Duration = Duration::from_millis(250);

/// The child processes of a model, by their numbers.
#[derive(Default)]
pub(super) struct Children(HashMap<u32, Child>);

/// The state of a loop that has child processes.
pub(super) trait Parent: Sized + 'static {
    fn children(&mut self) -> &mut Children;
}

impl Children {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Sends a signal to all.
    pub(super) fn signal(&self, signal: Signal) {
        for (pid, child) in &self.0 {
            if let Err(error) = child.signal(signal) {
                debug!("process {pid}: {error}");
            }
        }
    }
}

/// Watches a child, and calls `exited` after its end. It is killed if the loop ends before.
///
/// # Errors
/// When the kernel has no descriptor left for it. The child runs on.
pub(super) fn watch<A: Parent>(
    pid: u32,
    cx: &mut LoopCx<'_, A>,
    exited: impl FnOnce(io::Result<ExitStatus>, &mut LoopCx<'_, A>) + 'static,
) -> io::Result<()> {
    let child = Child::adopt(pid, &ChildOptions::DEFAULT, cx, move |status, cx| {
        cx.app.children().0.remove(&pid);
        exited(status, cx);
    })?;
    cx.app.children().0.insert(pid, child);
    Ok(())
}

/// Ends a child that cannot be watched.
pub(super) fn discard(pid: u32) {
    let Ok(number) = i32::try_from(pid) else { return };
    let number = Pid::from_raw(number);
    // It was killed, so this does not wait long.
    if let Err(error) = kill(number, nix::sys::signal::Signal::SIGKILL)
        .and_then(|()| waitpid(number, None).map(drop))
    {
        debug!("process {pid}: {error}");
    }
}

/// Tells the children to stop. To stop at once is to end the loop, which kills them.
///
/// # Errors
/// When the loop takes no timer.
pub(super) fn tell<A: Parent>(told: Told, cx: &mut LoopCx<'_, A>) -> io::Result<()> {
    if told == Told::Stop {
        cx.app.children().signal(Signal::TERMINATE);
        cx.every(REPEAT_EVERY, |_, cx| cx.app.children().signal(Signal::TERMINATE))?;
    }
    Ok(())
}

/// Asks the kernel to tell this process to stop when its parent ends, for any reason.
///
/// # Errors
/// When the parent has ended already.
pub(super) fn follow(parent: u32) -> io::Result<()> {
    set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
    if parent_id() == parent { Ok(()) } else { Err(io::Error::other("the parent has ended")) }
}
