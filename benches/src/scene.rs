//! The classic scenario of the authors of libevent and libev: many pairs of sockets are watched, a
//! few are active at a time, and each passes a byte to the next.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::{measure, net};

/// The maximum number of pairs that are active at a time.
pub const ACTIVE: usize = 100;
/// The number of times that a byte is passed on in one run.
const WRITES: usize = 1000;
/// The number of events of one run, if there are at least as many pairs as may be active.
pub const EVENTS: usize = ACTIVE + WRITES;
/// The minimum number of runs.
const RUNS_MIN: usize = 5;
/// The minimum duration of all runs.
const DURATION: Duration = Duration::from_millis(60);
/// A buffer for more bytes than can be in one pair, so that a read is always short.
pub const READ_SIZE: usize = 1024;

/// The writing ends of the pairs, and the state of a run.
#[derive(Debug)]
pub struct Chain {
    writers: Vec<OwnedFd>,
    left: usize,
    fired: usize,
    received: usize,
    /// The task that waits for the end of a run, in loops with futures.
    waker: Option<Waker>,
}

/// Creates the pairs: the reading ends for the loop, the writing ends for the chain.
///
/// # Errors
/// Fails with the error of the system call: each pair takes two descriptors.
pub fn pairs(count: usize) -> io::Result<(Vec<OwnedFd>, Chain)> {
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (reader, writer) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        readers.push(reader);
        writers.push(writer);
    }
    let chain = Chain { writers, left: 0, fired: 0, received: 0, waker: None };
    Ok((readers, chain))
}

impl Chain {
    /// Writes the first bytes.
    ///
    /// # Errors
    /// Fails with the error of the write.
    pub fn start(&mut self) -> io::Result<()> {
        let active = ACTIVE.min(self.writers.len());
        let stride = self.writers.len() / active;
        (self.left, self.fired, self.received) = (WRITES, active, 0);
        for place in 0..active {
            net::write(&self.writers[place * stride], b"e")?;
        }
        Ok(())
    }

    /// Handles `count` bytes from a pair: passes them to the next pair, until the run ends.
    ///
    /// # Errors
    /// Fails with the error of the write.
    pub fn received(&mut self, pair: usize, count: usize) -> io::Result<()> {
        self.received += count;
        for _ in 0..count.min(self.left) {
            self.left -= 1;
            self.fired += 1;
            let next = if pair + 1 == self.writers.len() { 0 } else { pair + 1 };
            net::write(&self.writers[next], b"e")?;
        }
        if self.is_done()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
        Ok(())
    }

    /// Returns whether every byte of this run has arrived.
    pub fn is_done(&self) -> bool {
        self.received == self.fired
    }

    /// Waits for the end of a run, in loops with futures.
    pub fn poll_done(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.is_done() {
            return Poll::Ready(());
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// The runs of a chain, until they have taken long enough.
#[derive(Debug)]
pub struct Runs {
    until: Instant,
    count: usize,
    started: u64,
}

impl Runs {
    /// Starts the clock.
    #[expect(clippy::new_without_default, reason = "it starts a clock")]
    pub fn new() -> Self {
        Self { until: Instant::now() + DURATION, count: 0, started: 0 }
    }

    /// Starts another run unless enough time has passed. Returns whether it did.
    ///
    /// # Errors
    /// Fails with the error of the write.
    pub fn start(&mut self, chain: &mut Chain) -> io::Result<bool> {
        if self.count >= RUNS_MIN && Instant::now() > self.until {
            return Ok(false);
        }
        chain.start()?;
        self.count += 1;
        self.started = measure::own_nanoseconds();
        Ok(true)
    }

    /// Prints the processor time for each event of the run. Other work on the machine affects it
    /// less than elapsed time.
    pub fn end(&self, chain: &Chain) {
        let nanoseconds = (measure::own_nanoseconds() - self.started) as f64;
        println!("ns_per_event {:.2}", nanoseconds / chain.received as f64);
    }
}
