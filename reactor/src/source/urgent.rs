//! Urgent data of the stream of a source.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::source::operations::no_descriptor;
use crate::{Cx, Interest, kernel, sys};

/// Urgent data, also called out-of-band data: a byte of a TCP connection (`tcp(7)`, RFC 6093) or a
/// Unix stream (`unix(7)`, Linux 5.15) that its sender marks as urgent. The mark has a place among
/// the other bytes, and there is one at a time: an urgent byte that was not read becomes an
/// ordinary one when the next arrives. [`Interest::PRIORITY`] tells of it, also before the bytes
/// ahead of it were read.
impl<A> Cx<'_, A> {
    /// Sends one urgent byte after all bytes that were written. Returns `Ok(None)` when that would
    /// block.
    ///
    /// # Errors
    /// The error of the kernel (`send(2)`), `EOPNOTSUPP` where a socket has no urgent data; the
    /// source has ended or has no descriptor.
    pub fn write_urgent(&mut self, byte: u8) -> io::Result<Option<()>> {
        self.attempt("send", Interest::WRITE, |fd, _| {
            refuse_simulated(fd)?;
            sys::send_urgent(fd, byte)
        })
    }

    /// Reads the urgent byte. Returns `Ok(None)` when there is none, it was read, or it has not
    /// arrived. The kernel is asked each time, whether or not it has reported
    /// [`Interest::PRIORITY`].
    ///
    /// A [`read`](Self::read) stops at the mark, and the next one goes past it: then the kernel
    /// drops an urgent byte that was not read. A handler that must not miss one asks for it [among
    /// the others](Self::set_urgent_inline).
    ///
    /// ```
    /// use reactor::{Cx, Handler, Readiness};
    /// use std::io;
    ///
    /// /// Drops everything that it has read when it is sent an urgent byte.
    /// struct Interruptible(Vec<u8>);
    ///
    /// impl Handler for Interruptible {
    ///     fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
    ///         if cx.readiness().contains(Readiness::PRIORITY) && cx.read_urgent()?.is_some() {
    ///             self.0.clear();
    ///         }
    ///         let mut buffer = [0; 1024];
    ///         while let Some(count @ 1..) = cx.read(&mut buffer)? {
    ///             self.0.extend(&buffer[..count]);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// The error of the kernel (`recv(2)`), `EOPNOTSUPP` where a socket has no urgent data;
    /// `EINVAL` when urgent bytes are [among the others](Self::set_urgent_inline); the source has
    /// ended or has no descriptor.
    pub fn read_urgent(&mut self) -> io::Result<Option<u8>> {
        // It may be there before the event that reports it was seen.
        let byte = self.attempt("recv", Interest::NONE, |fd, _| {
            refuse_simulated(fd)?;
            match sys::receive_urgent(fd) {
                // There is none, or it was read, unless it is elsewhere.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::EINVAL)
                            && !sys::is_urgent_inline(fd)? =>
                {
                    Ok(None)
                }
                result => result,
            }
        })?;
        self.core.lent.own.take_priority();
        Ok(byte.flatten())
    }

    /// Sets whether the urgent byte is among the others (`SO_OOBINLINE`, `socket(7)`), where
    /// [`read`](Self::read) finds it, and [`is_at_mark`](Self::is_at_mark) tells which it is. It is
    /// not by default.
    ///
    /// # Errors
    /// The error of the kernel (`setsockopt(2)`), or the source has no descriptor.
    pub fn set_urgent_inline(&mut self, is_inline: bool) -> io::Result<()> {
        sys::set_urgent_inline(self.stream()?, is_inline)
    }

    /// Returns whether everything ahead of the urgent byte was read (`sockatmark(3)`). A read never
    /// goes past that mark. If the urgent byte is [among the others](Self::set_urgent_inline), it
    /// is the next one then.
    ///
    /// # Errors
    /// The error of the kernel, or the source has no descriptor.
    pub fn is_at_mark(&self) -> io::Result<bool> {
        sys::is_at_mark(self.stream()?)
    }

    /// Returns the descriptor of this source, which is no simulated one.
    fn stream(&self) -> io::Result<BorrowedFd<'_>> {
        let fd = self.core.lent.own.fd.as_ref().ok_or_else(no_descriptor)?.as_fd();
        refuse_simulated(fd).map(|()| fd)
    }
}

fn refuse_simulated(fd: BorrowedFd<'_>) -> io::Result<()> {
    kernel::refuse_simulated(fd, "urgent data")
}
