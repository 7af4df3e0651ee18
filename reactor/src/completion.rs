//! Completion: a backend that moves the bytes of connections itself.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use crate::Tag;

/// What a backend had of a connection whose bytes it does not move any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The bytes that were received and not read.
    pub received: Vec<u8>,
    /// The bytes that were written and not sent.
    pub unsent: Vec<u8>,
}

/// Where a block goes.
#[derive(Debug)]
pub enum Storage<'a> {
    /// Storage of which nothing is needed, which may be exchanged.
    Empty(&'a mut Vec<u8>),
    /// Room behind other bytes.
    Behind(&'a mut [u8]),
}

/// A block that was exchanged or copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// How many bytes there are, from the beginning of the storage.
    pub count: usize,
    /// Whether a read would not block.
    pub has_more: bool,
}

/// What a backend does for connections if it is told of completed operations instead of readiness
/// (`io_uring(7)`). Reads return what has completed. Writes copy into memory that the backend owns until it
/// is sent.
///
/// The operations report as those of a non-blocking descriptor do: the error
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing was received, or if there is no room for what
/// is written. Afterwards, an event tells that there is.
pub trait Completion {
    /// Begins to move the bytes of a connected stream socket, which nothing else may read or write
    /// until it is removed.
    ///
    /// # Errors
    /// The error of the kernel.
    fn begin(&mut self, fd: BorrowedFd<'_>, tag: Tag) -> io::Result<()>;

    /// Returns what was received, as far as there is room in `buffer`. Fewer bytes are all that there
    /// are. Zero bytes are the end of the stream. A backend may leave a large block to
    /// [`exchange`](Self::exchange) if `buffer` is as large as its blocks, 68 KiB.
    ///
    /// # Errors
    /// `WouldBlock`, that of receiving (`recv(2)`), or that of a send that no write has told.
    fn read(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize>;

    /// Returns a block that a read has left: exchanges it for `storage` where that has the same size, and
    /// copies it otherwise. Returns `None` if there is none.
    ///
    /// # Errors
    /// The error of the kernel.
    fn exchange(
        &mut self,
        fd: BorrowedFd<'_>,
        storage: Storage<'_>,
    ) -> io::Result<Option<Exchanged>>;

    /// Takes bytes to be sent, and returns how many. They are sent at the next wait, together with those of
    /// other connections.
    ///
    /// # Errors
    /// `WouldBlock`, or that of sending (`send(2)`), which may be about earlier bytes.
    fn write(&mut self, fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Gives what was written to the kernel, for an operation on the descriptor that has to follow it.
    ///
    /// # Errors
    /// `WouldBlock`, or that of sending.
    fn flush(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Reports once that there is room for output, for an operation on the descriptor that would block.
    ///
    /// # Errors
    /// The error of the kernel.
    fn await_room(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Returns and clears the error of the connection (`SO_ERROR`, `socket(7)`), also if an operation has
    /// got it already.
    ///
    /// # Errors
    /// The error of the kernel.
    fn take_error(&mut self, fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>>;

    /// Ends the sending side after everything that was written (`shutdown(2)`).
    ///
    /// # Errors
    /// The error of the kernel.
    fn shutdown_write(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Stops moving the bytes of a connection, and returns those that are on their way. Its descriptor is not
    /// watched afterwards. This may wait for the kernel to stop.
    ///
    /// # Errors
    /// `WouldBlock` when its sending side is to end after output that is not sent yet; nothing has changed
    /// then. Otherwise the error of the kernel.
    fn leave(&mut self, fd: BorrowedFd<'_>) -> io::Result<Left>;

    /// Returns how many bytes were written that the kernel has not taken yet.
    fn unsent(&self, fd: BorrowedFd<'_>) -> u32;
}
