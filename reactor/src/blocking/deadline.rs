//! How long an operation may take.

use std::io;
use std::time::{Duration, Instant};

/// How long an operation may still take. The time starts when the operation first waits.
///
/// ```
/// use reactor::blocking::Deadline;
/// use std::time::Duration;
///
/// let mut deadline = Deadline::after(Some(Duration::ZERO));
/// assert_eq!(deadline.left()?, Some(Duration::ZERO), "the first wait gets all of the time");
/// assert!(deadline.left().is_err(), "and there is none left for a second one");
/// assert_eq!(Deadline::after(None).left()?, None, "this one waits for ever");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    timeout: Option<Duration>,
    until: Option<Instant>,
}

impl Deadline {
    /// Returns a deadline that passes `timeout` after the operation first waits, or never if
    /// `timeout` is `None`.
    pub fn after(timeout: Option<Duration>) -> Self {
        Self { timeout, until: None }
    }

    /// Returns the remaining time, or `None` if the deadline never passes. The first call starts
    /// the time and returns all of it. So the usual operation, which waits once, always passes the
    /// same timeout to the kernel.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) when no time is left.
    pub fn left(&mut self) -> io::Result<Option<Duration>> {
        let Some(timeout) = self.timeout else { return Ok(None) };
        let now = Instant::now();
        match self.until {
            None => {
                self.until = now.checked_add(timeout);
                Ok(Some(timeout))
            }
            Some(until) if until > now => Ok(Some(until - now)),
            Some(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Like [`left`](Self::left), but no longer than until another time.
    pub(super) fn left_until(&mut self, until: Option<Instant>) -> io::Result<Option<Duration>> {
        let left = self.left()?;
        let Some(until) = until else { return Ok(left) };
        let other = until.saturating_duration_since(Instant::now());
        Ok(Some(left.map_or(other, |left| left.min(other))))
    }
}
