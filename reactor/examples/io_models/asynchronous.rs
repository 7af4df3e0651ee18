//! Asynchronous I/O: the kernel receives into memory that it was given in advance, and tells when that is done.
//! What is to be sent goes to it with the call that waits.
//!
//! Try it with `cargo run -p myevent-reactor --example io_asynchronous`, then twice with
//! `nc 127.0.0.1 7000`.

mod echo;

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use echo::{Echo, Step};
use reactor::{Backend, BackendKind, Completion, Tag};

fn main() -> io::Result<()> {
    let mut ring = BackendKind::Uring.open()?;
    let mut echoes = Vec::new();
    for (slot, stream) in (0..).zip(echo::accept_two()?) {
        // From here on, the kernel receives what comes.
        operations(&mut *ring)?.begin(stream.as_fd(), Tag::new(slot, 0))?;
        echoes.push(Some(Echo::new(stream)?));
    }
    let mut done = Vec::new();
    while echoes.iter().any(Option::is_some) {
        // What is missing comes with the next wait.
        ring.wait(&mut done, None).map(drop)?;
        for event in done.drain(..) {
            let place = &mut echoes[event.tag.slot() as usize];
            let Some(echo) = place else { continue };
            if exhaust(echo, operations(&mut *ring)?) == Step::Ended {
                ring.remove(echo.stream.as_fd())?;
                *place = None;
            }
        }
    }
    Ok(())
}

fn operations(ring: &mut dyn Backend) -> io::Result<&mut dyn Completion> {
    ring.completion().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Takes all that was received, and queues it to be sent.
fn exhaust(echo: &mut Echo, operations: &mut dyn Completion) -> Step {
    let mut wire = Wire { operations, fd: echo.stream.as_fd() };
    loop {
        let step = echo.bytes.step(&mut wire);
        if step != Step::Moved {
            return step;
        }
    }
}

/// A connection whose bytes the kernel has moved, or is going to move: no system call is made here.
struct Wire<'a> {
    operations: &'a mut dyn Completion,
    fd: BorrowedFd<'a>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.operations.read(self.fd, buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.operations.write(self.fd, &[IoSlice::new(bytes)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.operations.flush(self.fd)
    }
}
