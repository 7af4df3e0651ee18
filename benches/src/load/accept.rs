//! The server of programs that make connections: it accepts and closes them, and nothing else.
//!
//! It closes first, so `TIME_WAIT` is on its side, and the ports of the program that connects are
//! free again at once.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::meter::Meter;
use super::{Load, NAP, PATIENCE};
use crate::net;

/// The number of connections that a program has under way at a time.
pub const UNDER_WAY: usize = 64;

/// Accepts and closes connections for a time. Returns their number.
fn accept(listener: &OwnedFd, duration: Duration) -> io::Result<u64> {
    let nap = Timespec { tv_sec: 0, tv_nsec: i64::from(NAP.subsec_nanos()) };
    let (mut count, start) = (0, Instant::now());
    while start.elapsed() < duration {
        poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&nap))?;
        while start.elapsed() < duration
            && let Some(connection) = net::accept(listener)?
        {
            drop(connection);
            count += 1;
        }
    }
    Ok(count)
}

/// Measures the process `pid`, which connects to the listener that this process has as its standard
/// input. Returns the figures, one a line.
///
/// # Errors
/// Fails if accepting fails, or nothing connects for a long time.
pub fn run(load: Load, pid: u32) -> io::Result<String> {
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    accept(&listener, load.warm_up)?;
    let meter = Meter::start(pid)?;
    let (start, mut count) = (Instant::now(), 0);
    // On a busy machine, the program may not run in a short measurement.
    while count == 0 && start.elapsed() < PATIENCE {
        count = accept(&listener, load.duration)?;
    }
    match count {
        0 => Err(io::Error::other("nothing connected")),
        count => meter.lines(count),
    }
}
