//! The error of a system without descriptors of processes.

use std::fmt;
use std::io;

/// The error of watching a child where the system has no descriptors of processes for it. Functions
/// that return an [`io::Error`] contain it ([`io::Error::get_ref`]), with the kind
/// [`Unsupported`](io::ErrorKind::Unsupported). No process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PidfdUnavailable {
    /// The kernel is older than Linux 5.4.
    OldKernel,
    /// A policy such as `seccomp(2)` forbids it.
    Forbidden,
}

impl fmt::Display for PidfdUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OldKernel => {
                "children cannot be watched: this system has no pidfd_open(2) and no \
                 waitid(2) for it, which need Linux 5.4 and a container that permits them"
            }
            Self::Forbidden => {
                "children cannot be watched: a policy such as seccomp(2) forbids pidfd_open(2)"
            }
        })
    }
}

impl std::error::Error for PidfdUnavailable {}

impl PidfdUnavailable {
    /// Returns the error of the first use of a descriptor of a process.
    pub(super) fn explain(error: io::Error) -> io::Error {
        let why = match error.raw_os_error() {
            Some(libc::ENOSYS | libc::EINVAL) => Self::OldKernel,
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden,
            _ => return error,
        };
        io::Error::new(io::ErrorKind::Unsupported, why)
    }
}
