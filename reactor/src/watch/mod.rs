//! Watches files and directories (`inotify(7)`).
//!
//! - [`TreeWatch`] watches directories and what is in them. It knows their entries, so it also reports
//!   what has changed while the kernel lost events (P30).
//! - [`FileWatch`] watches files by their names, such as those of a configuration. It reports which of
//!   them have changed, and works for names that do not exist yet.
//!
//! Both are sources of a loop. A change is what a name leads to: a file that is replaced by another of
//! the same name is a changed file.
//!
//! The kernel reports what programs of this machine do through the names that are watched. It does not
//! report writes through a memory mapping or through another hard link, nor what other machines do on
//! a network file system, nor changes in `/proc` and `/sys`. A simulated host has no inotify
//! ([`sim`](crate::sim)).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::source::handler::explained;
use crate::sys;

mod change;
mod digest;
mod files;
mod limits;
mod mark;
mod names;
mod source;
mod tree;

pub use change::{Change, FileKind, Notice, What};
pub use files::{FileOptions, FileWatch};
pub use limits::{Delivery, Depth, Links, TreeOptions};
pub use source::TreeWatch;

/// Opens an instance of inotify.
fn open_instance() -> io::Result<OwnedFd> {
    sys::open_inotify().map_err(|error| match error.raw_os_error() {
        Some(libc::EMFILE) => io::Error::other(format!(
            "inotify_init1: {error}: this process has no descriptor left (ulimit -n), or this user \
             has too many instances of inotify (sysctl fs.inotify.max_user_instances)"
        )),
        _ => explained("inotify_init1", error),
    })
}

/// Returns an error of a watch with its path and what to do about it.
fn explain(path: &Path, watched: usize, error: io::Error) -> io::Error {
    let path = path.display();
    match error.raw_os_error() {
        Some(libc::ENOSPC) => io::Error::other(format!(
            "cannot watch {path}: this user may watch no more files and directories (sysctl \
             fs.inotify.max_user_watches), and this watch has {watched}: raise that limit, or watch less"
        )),
        _ => explained(&format!("cannot watch {path}: inotify_add_watch"), error),
    }
}

#[cfg(test)]
mod tests;
