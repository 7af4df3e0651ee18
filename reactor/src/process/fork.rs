//! Forking, for programs that forbid what is unsafe.

use std::fs;
use std::io;

use crate::{kernel, sys};

/// Which of the two processes this is, after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// This is the process that called [`fork`].
    Parent {
        /// The number of the new process. It stays a zombie after its end until it is reaped, which
        /// [`Child::adopt`](crate::Child::adopt) does.
        child: u32,
    },
    /// This is the new process.
    Child,
}

/// Copies this process (`fork(2)`): both go on from here, with copies of the same memory and with the
/// same open files and sockets.
///
/// A loop of the process belongs to the parent. In the child, its functions return
/// [`Forked`](crate::Forked) until [`Reactor::rebuild`](crate::Reactor::rebuild) makes it a loop of
/// the child; or the child drops it and makes another. If a handler forks, the loop of the child
/// returns from [`run`](crate::Reactor::run) with that error after the call of the handler.
///
/// A fork copies one thread alone. What the others were doing stays half done, and their locks stay
/// locked for ever, in the allocator too. So this refuses while the process has other threads: fork
/// before they start. Threads end by themselves that reaped children or resolved names, some time
/// after they have become idle.
///
/// Output that is buffered is copied too: flush it before, or both processes may write it.
///
/// ```
/// use reactor::{Child, ChildOptions, Fork, Reactor, fork};
///
/// // Tests run on threads of their own, where this is refused.
/// match fork() {
///     Ok(Fork::Child) => std::process::exit(7),
///     Ok(Fork::Parent { child }) => {
///         let mut reactor = Reactor::new(None)?;
///         Child::adopt(child, &ChildOptions::DEFAULT, &mut reactor.cx(), |status, cx| {
///             *cx.app = Some(status);
///         })?;
///         reactor.run_until(Option::is_some)?;
///         assert_eq!(reactor.app.take().expect("it has ended")?.code(), Some(7));
///     }
///     Err(error) => assert!(error.to_string().contains("threads")),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// - [`Unsupported`](io::ErrorKind::Unsupported) when the process has other threads, when it cannot
///   be known how many (`/proc/self/task`, `proc(5)`), or on a simulated host.
/// - The error of the kernel: too many processes, or too little memory.
pub fn fork() -> io::Result<Fork> {
    if kernel::is_simulated() {
        return Err(kernel::no_such("processes"));
    }
    let refused = |text: String| Err(io::Error::new(io::ErrorKind::Unsupported, text));
    match fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(1) => {}
        Ok(threads) => {
            return refused(format!(
                "this process has {threads} threads, and a fork would copy one alone, with the \
                 locks of the others: fork before other threads start"
            ));
        }
        Err(error) => {
            return refused(format!(
                "it is unknown whether this process has other threads, with which it cannot be \
                 forked: /proc/self/task: {error}"
            ));
        }
    }
    Ok(sys::fork()?.map_or(Fork::Child, |child| Fork::Parent { child }))
}
