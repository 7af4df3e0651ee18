//! What a server and the client use while a number of things is done.

use std::io;
use std::time::{Duration, Instant};

use crate::measure;

/// A measurement under way.
#[derive(Debug)]
pub struct Meter {
    pid: u32,
    server: u64,
    client: u64,
    started: Instant,
}

impl Meter {
    /// Starts measuring the processor time of the process `pid` and of this one.
    ///
    /// # Errors
    /// Fails if there is no such process.
    pub fn start(pid: u32) -> io::Result<Self> {
        let (server, client) = (measure::cpu_nanoseconds(pid)?, measure::own_nanoseconds());
        Ok(Self { pid, server, client, started: Instant::now() })
    }

    /// Returns the processor time of the server so far.
    ///
    /// # Errors
    /// Fails if the server has ended.
    pub fn server(&self) -> io::Result<Duration> {
        // The sum falls if a thread of the server ends.
        let total = measure::cpu_nanoseconds(self.pid)?;
        Ok(Duration::from_nanos(total.saturating_sub(self.server)))
    }

    /// Returns the time so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the figures of `count` things that were done, one a line, as [`crate::run`] reads
    /// them.
    ///
    /// # Errors
    /// Fails if the server has ended.
    pub fn lines(self, count: u64) -> io::Result<String> {
        let elapsed = self.elapsed().as_secs_f64();
        let server = self.server()?.as_nanos() as f64;
        let client = (measure::own_nanoseconds() - self.client) as f64;
        let values = [
            ("server_ns", server / count.max(1) as f64),
            ("per_second", count as f64 / elapsed),
            ("server_busy", server / 1e9 / elapsed),
            ("client_busy", client / 1e9 / elapsed),
        ];
        Ok(values.iter().map(|(name, value)| format!("{name} {value:.3}\n")).collect())
    }
}
